"""Rank runs on the same base and pictures by their final loss, and tell which may equal the best, given the noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.judge.arms import difference, losses
from labkit.judge.compare import has_failed
from labkit.judge.diagnose import DIVERGED, Verdict, diagnose
from labkit.judge.seed_spread import recorded_noise
from labkit.judge.stats import Interval, SeedNoise, paired_difference
from labkit.store.history import Run


@dataclass(frozen=True, eq=False)
class Ranked:
    """Hold a run's place among others on the same base and pictures."""

    run: Run
    verdict: Verdict  # beside the others
    loss: Interval | None  # held out, at its end; over the change since the untouched base. None: not measured
    above: Interval | None  # how much higher it ends than the best; None for the best, and where one cannot say

    @property
    def is_as_good(self) -> bool:
        """Tell whether noise cannot tell it from the best."""
        return self.above is not None and not self.above.low > 0 and not has_failed(self.run)


def ranked(runs: Sequence[Run]) -> list[Ranked]:
    """Return runs with their verdicts, the lowest final held-out loss first; those that broke or have none come last.

    The intervals above the best hold all together. Where a recorded set tells the noise between seeds, it is counted.
    """
    verdicts = {run.run_id: diagnose(run, [other for other in runs if other is not run]) for run in runs}
    ordered = sorted(runs, key=lambda run: _place(run, verdicts[run.run_id]))
    best = ordered[0] if ordered and _place(ordered[0], verdicts[ordered[0].run_id]) < (1, 0.0) else None
    noise = recorded_noise(best) if best is not None else None
    return [Ranked(run, verdicts[run.run_id], final_loss(run),
                   _above(run, best, len(ordered) - 1, noise)) for run in ordered]


def final_loss(run: Run) -> Interval | None:
    """Return the held-out loss at a run's end; None where it was not measured.

    The interval is that of the change since step 0, paired over pictures, which is known far better than the loss.
    """
    curve = run.validations.get("validation")
    if curve is None or not len(curve.steps):
        return None
    start, change = float(curve.means[0]), paired_difference(curve.losses[-1], curve.losses[0])
    return Interval(float(curve.means[-1]), start + change.low, start + change.high)


def are_held_out(runs: Sequence[Run]) -> bool:
    """Tell whether the pictures that the runs were measured on were not trained on; of too few none is held out."""
    return all(run.is_held_out for run in runs)


def loss_name(runs: Sequence[Run]) -> str:
    """Say what the runs' validation losses are of, as the head of a column or a title does."""
    return loss_words(are_held_out(runs))


def loss_words(is_held_out: bool) -> str:
    """Say what a validation loss is of: of held-out pictures, or of those that are trained on."""
    return "held-out loss" if is_held_out else "loss on training pictures"


def _place(run: Run, verdict: Verdict) -> tuple[int, float]:
    if "validation" not in run.validations:
        return 2, 0.0
    end = float(losses(run).mean())
    return (1, end) if verdict.label == DIVERGED or not math.isfinite(end) else (0, end)


def _above(run: Run, best: Run | None, among: int, noise: SeedNoise | None) -> Interval | None:
    """Return how much higher a run ends than the best; None for that one, and where the two cannot be compared."""
    if best is None or run is best or "validation" not in run.validations:
        return None
    is_comparable = losses(run).shape == losses(best).shape and math.isfinite(float(losses(run).mean()))
    return difference(run, best, among, noise) if is_comparable else None
