"""Runs of a race or of a search, trained in the store of a lab as far as that asks, and no further."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from labkit.design.config import RunConfig
from labkit.engine.monitor import Monitor
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.store.events import Checkpoint, Event, Stopped
from labkit.store.history import Run
from labkit.store.runs import COMPLETE

STOPPED = "Stopped, and what was trained is kept: the same command goes on from there."


class PlanTrack:
    """Train planned runs, those that begin together in one pass, and leave the pass where some of them may end.

    Each is a run of the store like any other: what is there is found and not trained again, and one that left can be
    resumed.
    """

    def __init__(self, lab: Lab, monitor: Monitor, *, stop: Callable[[], bool] = lambda: False,
                 tell: Callable[[str], None] = lambda text: None,
                 begin: Callable[[Mapping[str, RunConfig], int], None] = lambda plan, step: None,
                 watch: Callable[[Event], None] = lambda event: None):
        """Take what the runs have in common.

        monitor   that measures wherever runs may leave
        stop      asked after each update; when true, `train` ends there
        begin     is given before each pass what is trained in it, and up to which update
        watch     is given each event
        """
        self.lab, self.monitor, self.stop, self.tell, self.begin, self.watch = lab, monitor, stop, tell, begin, watch

    def train(self, plan: Mapping[str, RunConfig], step: int, kept: Sequence[int] = ()) -> None:
        """Train runs up to `step` updates, or to their ends, and keep a checkpoint there; LabError when stopped.

        plan    {run id: resolved configuration}
        kept    updates after which there are checkpoints too
        """
        while waiting := {name: config for name, config in plan.items() if not self._is_there(name, step)}:
            if self.stop():
                raise LabError(STOPPED)
            self.begin(waiting, step)
            self._one_pass(waiting, step, kept)

    def _one_pass(self, plan: Mapping[str, RunConfig], step: int, kept: Sequence[int]) -> None:
        """Train until the runs of a pass have a checkpoint at `step`, then leave it."""
        at = () if step >= max(config.steps for config in plan.values()) else (step,)
        events = self.lab.sweep(plan, monitor=self.monitor, checkpoint_at=(*kept, *at), stop=self.stop, tell=self.tell)
        seen: set[str] = set()
        with closing(events):
            for event in events:
                self.watch(event)
                seen.add(event.run_id)
                is_there = isinstance(event, Checkpoint) and event.global_step == step
                if is_there or isinstance(event, Stopped):
                    seen.discard(event.run_id)
                    if at and not seen:                       # each further update would be one too many
                        return

    def told(self, name: str, step: int) -> Run:
        """Return what a run had told after `step` updates."""
        builder = self.lab.store.run(name).builder()
        if builder.last_step > step or builder.stopped is not None and builder.stopped.global_step > step:
            builder.cut(step)
        return builder.build()

    def _is_there(self, name: str, step: int) -> bool:
        folder = self.lab.store.run(name)
        if not folder.path.exists():
            return False
        return folder.status in COMPLETE or any(kept >= step for kept in folder.checkpoints())


class LabTrack(PlanTrack):
    """Train runs that differ by the rate alone."""

    def __init__(self, lab: Lab, config: RunConfig, monitor: Monitor, **options: Callable):
        """Take what the runs have in common.

        config    resolved, of the lab's own base and pictures
        options   of PlanTrack
        """
        super().__init__(lab, monitor, **options)
        self.config = config

    def advance(self, rates: Sequence[float], step: int) -> None:
        """Train the runs of these rates up to `step` updates, and keep a checkpoint there; LabError when stopped."""
        self.train(self._plan(rates), step)

    def run(self, rate: float, step: int) -> Run:
        """Return what the run of a rate had told after `step` updates."""
        [name] = self._plan([rate])
        return self.told(name, step)

    def _plan(self, rates: Sequence[float]) -> dict[str, RunConfig]:
        return self.lab.plan([self.config.replace(learning_rate=rate) for rate in rates])
