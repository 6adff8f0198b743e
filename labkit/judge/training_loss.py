"""Read from the training loss of a log whether the run broke, and how noisy single steps are.

The loss of a step depends on its pictures, noise and timestep. How much, beside what was learned, is measured here:
the scatter of single steps over the drop from the first fifth of the run to the last.
"""

import math
from dataclasses import dataclass

import numpy as np

from labkit.judge.stats import Interval, t_quantile
from labkit.store.log_series import Series

BLOCKS = 10                                                   # of the run, whose medians are compared
LEAST_IN_BLOCK = 5
FAR = 8.0                                                     # times the scatter of block medians is no chance
DOUBLED = 2.0                                                 # times the loss of before is an explosion, no bad luck
PART = 5                                                      # the first and the last fifth give the drop


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """Hold what a training loss tells: where it stopped being a number, where it exploded, how noisy it is."""

    broke_at: int | None
    exploded_at: int | None
    evidence: dict


def broke_at(curve: Series | None) -> int | None:
    """Return the step from which on a loss is mostly not finite up to the end, None where it stays finite.

    A single value that is not finite, followed by many that are, is a step that was skipped.
    """
    if curve is None or not len(curve):
        return None
    bad = ~np.isfinite(curve.values)
    if not bad.any() or not bad[-max(1, len(bad) // 20) :].any():
        return None
    shares = bad[::-1].cumsum()[::-1] / np.arange(len(bad), 0, -1)     # of what is not finite, from each point on
    first = np.flatnonzero(bad & (shares >= 0.5))
    return int(curve.steps[first[0]]) if len(first) else None


def training_loss(curve: Series) -> TrainingLoss:
    """Return what a series of training losses tells."""
    finite = np.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite]
    evidence: dict = {"train_points": len(curve), "train_not_finite": int((~finite).sum())}
    if len(values) >= 2 * PART:
        evidence |= _drop(values)
    return TrainingLoss(broke_at(curve), _exploded_at(steps, values), evidence)


def _drop(values: np.ndarray) -> dict:
    """Return the drop from the first fifth to the last with its interval, and the noise of a step beside it."""
    count = len(values) // PART
    first, last = values[:count], values[-count:]
    drop = float(first.mean() - last.mean())
    variance = float(first.var(ddof=1) + last.var(ddof=1)) if count > 1 else math.inf
    half = t_quantile(0.975, max(1, 2 * count - 2)) * math.sqrt(variance / count) if count > 1 else math.inf
    noise = math.sqrt(variance / 2)
    return {"train_noise": noise, "train_drop": Interval(drop, drop - half, drop + half),
            "train_noise_to_drop": noise / abs(drop) if drop else math.inf}


def _exploded_at(steps: np.ndarray, values: np.ndarray) -> int | None:
    """Return the step since which the loss lies far above its level before, None where it does not at the end."""
    if len(values) < BLOCKS * LEAST_IN_BLOCK or (values <= 0).any():
        return None
    blocks = np.array_split(np.log(values), BLOCKS)
    medians = np.array([np.median(block) for block in blocks])
    scatter = max(float(np.median([block.std() / math.sqrt(len(block)) for block in blocks[: BLOCKS // 2]])), 1e-9)
    floor = float(np.median(medians[: BLOCKS // 2]))
    high = (medians > floor + math.log(DOUBLED)) & (medians > floor + FAR * scatter)
    if not high[-1]:
        return None
    since = BLOCKS - int(np.argmin(high[::-1])) if not high.all() else 0
    return int(steps[sum(len(block) for block in blocks[:since])])
