"""Draw the settings of runs from ranges, a pass at a time, and let losing runs leave: Optuna's samplers and pruners.

A study is a journal, one line of JSON for each thing that happened (Optuna's JournalStorage over a file, of which
nothing is pickled). It goes on where it stopped: trials that were under way are taken up before new ones are drawn.
The sampler is made anew for every trial, with a seed of its own, so that what it draws depends on the seed, the
trial's number and the trials told before, and not on when a sweep was interrupted.

Papers: TPE (Bergstra et al. 2011), asynchronous successive halving (Li et al. 2020); the median rule is Vizier's
(Golovin et al. 2017).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labkit.design.naming import setting_text
from labkit.design.search_space import Range, Space, drawn
from labkit.engine.seeding import seed63
from labkit.errors import LabError

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "successive-halving", "none")
FIRST_LOOK = 4                                                # no run leaves before a quarter of its updates
NAME = "sweep"                                                # of the one study in a journal


@dataclass(frozen=True)
class Trial:
    """Hold one trial: its number, from 0, what was drawn for it, as it is trained, and whether it left."""

    number: int
    values: dict[str, Any]
    left: int | None = None                                   # updates after which it left; None: it did not


class Track(Protocol):
    """Say what a study needs: trials that are trained so far, and their losses by then."""

    def advance(self, trials: Sequence[Trial], step: int | None) -> None:
        """Train the runs of these trials up to `step` updates; None: to their ends."""
        ...

    def losses(self, trial: Trial, step: int | None) -> dict[int, float]:
        """Return held-out losses by the number of updates, up to `step`; that of a run that broke ends infinite."""
        ...


def looks(measured: Sequence[int]) -> tuple[int, ...]:
    """Return after how many updates runs may leave, of those after which they are measured, the end among them."""
    last = max(measured, default=0)
    return tuple(step for step in sorted(measured) if last / FIRST_LOOK <= step < last)


def load():
    """Return Optuna; LabError where it is not installed."""
    try:
        import optuna  # here, as an extra that most installations lack
    except ImportError:
        raise LabError('--sampler: Optuna is not installed here: `pip install "optuna>=5,<6"`, or leave --sampler out '
                       "and give lists, of which all combinations are trained.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """Hold the trials of one sweep, in a file that is there or not yet."""

    def __init__(self, path: Path, space: Space, *, sampler: str, pruner: str, seed: int, first_look: int = 1):
        """Open the file; LabError where it cannot be read as a study.

        path          the journal; its folder is there
        sampler       of SAMPLERS; "grid" takes a space of choices alone
        pruner        of PRUNERS
        seed          of what is drawn
        first_look    updates before which no run leaves
        """
        self.optuna, self.path, self.space = load(), path, space
        self.sampler, self.seed = sampler, seed
        self.idle = self.optuna.samplers.RandomSampler(seed=0)    # when trials end: a grid would want to end a loop
        _mend(path)
        journal = self.optuna.storages.journal
        lock = journal.JournalFileOpenLock(str(path))         # the other one needs rights on Windows
        try:
            self.storage = self.optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=lock))
            self.study = self.optuna.create_study(storage=self.storage, study_name=NAME, load_if_exists=True,
                                                  sampler=self.idle, pruner=self._pruner(pruner, first_look))
            _ = self.trials
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError):
            raise LabError(f"{path} is damaged: move it away, and the sweep begins anew; its runs stay in the store "
                           "and are not trained again.") from None

    @property
    def trials(self) -> list[Trial]:
        """Return all trials whose settings are known, in the order of their numbers."""
        return [self._trial(frozen) for frozen in self._frozen() if set(frozen.params) == set(self.space)]

    def next_pass(self, count: int, beside: int) -> list[Trial]:
        """Return the trials that share the next pass, none where `count` are over: those under way, or new ones.

        beside    how many are drawn at once
        """
        states = self.optuna.trial.TrialState
        going = [frozen for frozen in self._frozen() if frozen.state == states.RUNNING]
        for frozen in going:
            if set(frozen.params) != set(self.space):         # what drew it was killed before it was done
                self.study.tell(frozen.number, state=states.FAIL)
        whole = [self._trial(frozen) for frozen in going if set(frozen.params) == set(self.space)]
        begun = len(self.trials)
        done = begun - len(whole)
        fresh = [self._ask() for _ in range(max(0, min(beside - done % beside - len(whole), count - begun)))]
        return whole + fresh

    def report(self, trial: Trial, losses: dict[int, float]) -> None:
        """Note the losses of a trial by its updates, as far as they are not noted."""
        frozen = self._frozen()[trial.number]
        for step, loss in sorted(losses.items()):
            if step not in frozen.intermediate_values:
                self.storage.set_trial_intermediate_value(frozen._trial_id, step, loss)

    def reached(self, trial: Trial) -> int:
        """Return after how many updates a trial was measured last."""
        return max(self._frozen()[trial.number].intermediate_values, default=0)

    def is_losing(self, trial: Trial) -> bool:
        """Ask the pruner whether a trial should leave by what was reported."""
        return self.study.pruner.prune(self.study, self._frozen()[trial.number])

    def leave(self, trial: Trial) -> None:
        """Note that a trial left early."""
        self.study.tell(trial.number, state=self.optuna.trial.TrialState.PRUNED)

    def end(self, trial: Trial, loss: float) -> None:
        """Note how a trial ended: its last held-out loss, infinite where it broke."""
        self.study.tell(trial.number, loss)

    def _ask(self) -> Trial:
        kinds = self.optuna.distributions
        distributions = {}
        for name, knob in self.space.items():
            if not isinstance(knob, Range):
                distributions[name] = kinds.CategoricalDistribution(knob)
            else:
                kind = kinds.IntDistribution if knob.is_whole else kinds.FloatDistribution
                distributions[name] = kind(knob.low, knob.high, log=knob.is_log)
        self.study.sampler = self._sampler(len(self._frozen()))
        asked = self.study.ask(distributions)
        self.study.sampler = self.idle
        return self._trial(asked)

    def _frozen(self) -> list:
        return self.study.get_trials(deepcopy=False)

    def _trial(self, trial) -> Trial:
        values = {name: drawn(self.space, name, trial.params[name]) for name in self.space}
        state = getattr(trial, "state", None)                 # one that was just asked for has none
        has_left = state == self.optuna.trial.TrialState.PRUNED
        return Trial(trial.number, values, max(trial.intermediate_values, default=0) if has_left else None)

    def _sampler(self, number: int):
        """Return a sampler for the trial of a number; a grid has one order for all of them."""
        samplers = self.optuna.samplers
        seed = seed63(self.seed, "sampler", 0 if self.sampler == "grid" else number) % 2**32   # as numpy takes it
        if self.sampler == "grid":
            return samplers.GridSampler({name: list(knob) for name, knob in self.space.items()}, seed=seed)
        if self.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, constant_liar=True)

    def _pruner(self, name: str, first_look: int):
        pruners = self.optuna.pruners
        if name == "none":
            return pruners.NopPruner()
        if name == "median":
            return pruners.MedianPruner(n_warmup_steps=first_look)
        return pruners.SuccessiveHalvingPruner(min_resource=first_look, reduction_factor=2)


def run_trials(study: Study, track: Track, count: int, beside: int, looks: Sequence[int],
               tell: Callable[[str], None] = lambda text: None) -> None:
    """Train trials, `beside` of them side by side, until `count` are over.

    looks    updates after which losing runs leave
    """
    while trials := study.next_pass(count, beside):
        for look in (*looks, None):
            here = [trial for trial in trials if look is None or study.reached(trial) <= look]
            if here:
                track.advance(here, look)
            for trial in here:
                study.report(trial, track.losses(trial, look))
            for trial in here:
                losses = track.losses(trial, look)
                last = losses[max(losses)] if losses else math.inf
                if look is None or math.isinf(last):
                    study.end(trial, last)
                elif study.is_losing(trial):
                    study.leave(trial)
                    words = ", ".join(setting_text(name, value) for name, value in trial.values.items())
                    tell(f"{words} leaves after {look:,} updates: held-out loss {last:.4f}")
                else:
                    continue
                trials = [other for other in trials if other is not trial]


def _mend(path: Path) -> None:
    """Cut off the half line that a kill may have left at the end of a journal; the next one would be added to it."""
    if path.exists():
        data = path.read_bytes()
        if not data.endswith(b"\n") and data:
            with path.open("r+b") as file:
                file.truncate(data.rfind(b"\n") + 1)
