"""The short test: find a learning rate with a few short runs, and say at each of them what was decided and why."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from labkit.design.ladders import LADDERS
from labkit.errors import LabError
from labkit.judge.diagnose import Verdict, diagnose
from labkit.judge.stats import paired_difference
from labkit.store.history import Run
from labkit.text import rate_text
from labkit.view.tables import Table

LADDER = LADDERS["learning_rate"]                             # half a decade a rung: about the smallest step that a short test tells apart
UNSTABLE = ("diverged", "overshooting")


@dataclass(frozen=True)
class Trial:
    """Hold one short run and what the protocol made of it."""

    learning_rate: float
    run: Run
    verdict: Verdict
    loss: float                                               # held-out, fixed noise, at the end
    raw_loss: tuple[float, float]                             # mean of single steps in the first and in the last fifth
    decision: str


def among(runs):
    """Return what `short_test` trains with where the runs are there already: the run of that rate, of the first seed."""
    known = {run.config.learning_rate: run for run in sorted(runs, key=lambda run: -run.config.seed)}

    def train(config):
        if config.learning_rate not in known:
            raise LabError(f"No run at {rate_text(config.learning_rate)} is among these: they have {', '.join(map(rate_text, sorted(known)))}.")
        return known[config.learning_rate]

    return train


def first_rungs(start: float) -> list[float]:
    """Return the rungs that a test from `start` needs while it climbs: its first and the two above, to be trained in one pass."""
    rung = _rung(start)
    return list(LADDER[rung : rung + 3])


def short_test(train, config, *, start: float = 1e-4) -> Iterator[Trial]:
    """Climb or descend the ladder of rates from `start`, one short run a rung, until both neighbours of the best are known to be worse.

    train     takes a configuration, gives its Run: `Lab.train`, or `among` finished runs
    config    of the short runs; its schedule should be constant, since a warm-up of 100 updates swallows a test of 100

    A rung is better when its held-out loss on fixed noise is lower and the paired interval over pictures excludes zero, one seed each: single
    steps' losses are drawn at new timesteps and cannot tell two rates apart.
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
            direction = -1                                    # at the top of the ladder: only below is anything left to compare with
        beyond = rung + 1 if direction > 0 else min(runs) - 1
        said = {+1: "go on up", -1: "try lower", 0: ""}[direction]
        tried, rung = rung, beyond if direction and 0 <= beyond < len(LADDER) else None
        if rung is None:
            said = "no rate of the ladder is stable" if best is None else f"stop, {rate_text(LADDER[best])} it is"
        yield Trial(LADDER[tried], run, verdict, _final(run), _raw(run), f"{why}: {said}")


def chosen(trials) -> Trial:
    """Return the trial whose rate the protocol ends with: stable, and better than those before it beyond noise. LabError: none was stable."""
    best = None
    for trial in trials:
        if _compare(trial.run, best.run if best else None, trial.verdict)[0]:
            best = trial
    if best is None:
        raise LabError("No rate of the short test was stable: begin it lower.")
    return best


def _rung(learning_rate):
    """Return the number of the rung next to a rate."""
    return min(range(len(LADDER)), key=lambda i: abs(np.log(LADDER[i] / learning_rate)))


def _compare(run, best, verdict) -> tuple[bool, str]:
    """Tell whether a run is better than the best so far, and why."""
    if verdict.label in UNSTABLE:
        return False, verdict.label
    if best is None:
        return True, verdict.label
    difference = paired_difference(run.validations["validation"].losses[-1], best.validations["validation"].losses[-1])
    if difference.high < 0:
        return True, f"lower by {-difference.mean:.3f}"
    return False, f"higher by {difference.mean:.3f}" if difference.low > 0 else "no different beyond the noise of pictures"


def _final(run) -> float:
    return float(run.validations["validation"].means[-1])


def _raw(run) -> tuple[float, float]:
    loss = run.steps["loss"]
    fifth = max(1, len(loss) // 5)
    return float(np.mean(loss[:fifth])), float(np.mean(loss[-fifth:]))


def trial_table(trials) -> Table:
    """Return one row a short run: rate, held-out loss, verdict, what single steps' losses would have said, the decision."""
    return Table(["learning rate", "held-out loss", "verdict", "mean loss of single steps, first and last fifth", "decision (one seed each)"],
                 [[rate_text(t.learning_rate), f"{t.loss:.3f}", t.verdict.label, f"{t.raw_loss[0]:.3f}, {t.raw_loss[1]:.3f}", t.decision] for t in trials])
