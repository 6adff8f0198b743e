"""Runs of a race, trained in the store of a lab as far as the race asks, and no further."""

from collections.abc import Callable, Sequence
from contextlib import closing

from labkit.design.config import RunConfig
from labkit.engine.monitor import Monitor
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.store.events import Checkpoint, Stopped
from labkit.store.history import Run
from labkit.store.runs import COMPLETE

STOPPED = "Stopped, and what was trained is kept: the same command goes on from there."


class LabTrack:
    """Train runs that differ by the rate alone, those that begin together in one pass.

    Each is a run of the store like any other: what is there is found and not trained again, and one that left can be
    resumed.
    """

    def __init__(self, lab: Lab, config: RunConfig, monitor: Monitor, *, stop: Callable[[], bool] = lambda: False,
                 tell: Callable[[str], None] = lambda text: None):
        """Take what the runs have in common.

        config    resolved, of the lab's own base and pictures
        monitor   that measures at every look of the race
        stop      asked after each update; when true, `advance` ends there
        """
        self.lab, self.config, self.monitor, self.stop, self.tell = lab, config, monitor, stop, tell

    def advance(self, rates: Sequence[float], step: int) -> None:
        """Train the runs of these rates up to `step` updates, and keep a checkpoint there; LabError when stopped."""
        plan = self.lab.plan([self._config(rate) for rate in rates])
        while waiting := {name: config for name, config in plan.items() if not self._is_there(name, step)}:
            if self.stop():
                raise LabError(STOPPED)
            self._one_pass(waiting, step)

    def _one_pass(self, plan: dict[str, RunConfig], step: int) -> None:
        """Train until the runs of a pass have a checkpoint at `step`, then leave it."""
        at = () if step >= self.config.steps else (step,)
        events = self.lab.sweep(plan, monitor=self.monitor, checkpoint_at=at, stop=self.stop, tell=self.tell)
        seen: set[str] = set()
        with closing(events):
            for event in events:
                seen.add(event.run_id)
                is_there = isinstance(event, Checkpoint) and event.global_step == step
                if is_there or isinstance(event, Stopped):
                    seen.discard(event.run_id)
                    if at and not seen:                       # each further update would be one too many
                        return

    def run(self, rate: float, step: int) -> Run:
        """Return what the run of a rate had told after `step` updates."""
        [name] = self.lab.plan([self._config(rate)])
        builder = self.lab.store.run(name).builder()
        if builder.last_step > step or builder.stopped is not None and builder.stopped.global_step > step:
            builder.cut(step)
        return builder.build()

    def _config(self, rate: float) -> RunConfig:
        return self.config.replace(learning_rate=rate)

    def _is_there(self, name: str, step: int) -> bool:
        folder = self.lab.store.run(name)
        if not folder.path.exists():
            return False
        return folder.status in COMPLETE or any(kept >= step for kept in folder.checkpoints())
