"""Which learning rate, found with a few short runs? The short test says at each of them what was decided and why."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.ladders import LADDERS
from labkit.errors import LabError
from labkit.judge.diagnose import Verdict, diagnose
from labkit.judge.stats import paired_difference
from labkit.store.history import Run
from labkit.text import rate_text
from labkit.view.tables import Table

# Half a decade a rung: about the smallest step that a short test tells apart.
LADDER = LADDERS["learning_rate"]
UNSTABLE = ("diverged", "overshooting")


@dataclass(frozen=True)
class Trial:
    """Hold one short run and what the test made of it."""

    learning_rate: float
    run: Run
    verdict: Verdict
    loss: float  # held-out, fixed noise, as last measured, even where the run broke
    raw_loss: tuple[float, float]  # mean of single steps in the first and in the last fifth
    decision: str


def among(runs: Iterable[Run]) -> Callable[[RunConfig], Run]:
    """Return what stands in for training in `short_test` where there are runs already.

    It gives the run of the rate that is wanted, of the first seed; LabError where there is none.
    """
    runs_by_rate = {run.config.learning_rate: run for run in sorted(runs, key=lambda run: -run.config.seed)}

    def train(config):
        if config.learning_rate not in runs_by_rate:
            rates = ", ".join(map(rate_text, sorted(runs_by_rate)))
            raise LabError(f"No run at {rate_text(config.learning_rate)} is among these: they have {rates}.")
        return runs_by_rate[config.learning_rate]

    return train


def first_rungs(start: float) -> list[float]:
    """Return the rungs that a test from `start` needs while it climbs, to be trained in one pass: three of them."""
    rung = _rung(start)
    return list(LADDER[rung : rung + 3])


def short_test(train: Callable[[RunConfig], Run], config: RunConfig, *, start: float = 1e-4) -> Iterator[Trial]:
    """Climb or descend the ladder of rates from `start`, one short run a rung, until the best has no better neighbour.

    train     takes a configuration, gives its Run: `Lab.train`, or `among` finished runs
    config    of the short runs; its schedule should be constant, since a warm-up of 100 updates swallows a test of 100

    A rung is better when its held-out loss on fixed noise is lower and the paired interval over pictures excludes
    zero, one seed each: single steps' losses are drawn at new timesteps and cannot tell two rates apart.
    """
    rung = _rung(start)
    runs, best, direction = {}, None, +1
    while rung is not None:
        run = runs[rung] = train(config.replace(learning_rate=LADDER[rung]))
        verdict = diagnose(run)
        better, why = _compare(run, runs.get(best), verdict)
        if better:
            best = rung
        elif direction > 0 and best in (None, min(runs)):
            direction = -1                                    # nothing above is better: look below the lowest
        elif best is not None:
            direction = 0
        if direction > 0 and rung + 1 == len(LADDER) and best == min(runs):
            direction = -1                                    # the ladder ends: only below is anything left
        beyond = rung + 1 if direction > 0 else min(runs) - 1
        decision = {+1: "go on up", -1: "try lower", 0: ""}[direction]
        tried, rung = rung, beyond if direction and 0 <= beyond < len(LADDER) else None
        if rung is None:
            decision = "no rate of the ladder is stable" if best is None else f"stop, {rate_text(LADDER[best])} it is"
        yield Trial(LADDER[tried], run, verdict, _last_loss(run), _raw(run), f"{why}: {decision}")


def chosen(trials: Iterable[Trial]) -> Trial:
    """Return the trial whose rate the test ends with: stable, and better than those before it beyond noise.

    LabError: none was stable.
    """
    best = None
    for trial in trials:
        if _compare(trial.run, best.run if best else None, trial.verdict)[0]:
            best = trial
    if best is None:
        raise LabError("No rate of the short test was stable: begin it lower.")
    return best


def _rung(learning_rate) -> int:
    """Return the number of the rung next to a rate."""
    return min(range(len(LADDER)), key=lambda i: abs(np.log(LADDER[i] / learning_rate)))


def _compare(run, best, verdict) -> tuple[bool, str]:
    """Tell whether a run is better than the best so far, and why."""
    if verdict.label in UNSTABLE:
        return False, verdict.label
    if best is None:
        return True, verdict.label
    last, lowest = (each.validations["validation"].losses[-1] for each in (run, best))
    difference = paired_difference(last, lowest)
    if difference.high < 0:
        return True, f"lower by {-difference.mean:.3f}"
    if difference.low > 0:
        return False, f"higher by {difference.mean:.3f}"
    return False, "no different beyond the noise of pictures"


def _last_loss(run) -> float:
    return float(run.validations["validation"].means[-1])


def _raw(run) -> tuple[float, float]:
    loss = run.steps["loss"]
    fifth = max(1, len(loss) // 5)
    return float(np.mean(loss[:fifth])), float(np.mean(loss[-fifth:]))


def trial_table(trials: Iterable[Trial]) -> Table:
    """Return one row a short run: rate, held-out loss, verdict, what single steps would have said, the decision."""
    rows = []
    for trial in trials:
        first, last = trial.raw_loss
        rows.append([rate_text(trial.learning_rate), f"{trial.loss:.3f}", trial.verdict.label,
                     f"{first:.3f}, {last:.3f}", trial.decision])
    steps = "mean loss of single steps, first and last fifth"
    return Table(["learning rate", "held-out loss", "verdict", steps, "decision (one seed each)"], rows)
