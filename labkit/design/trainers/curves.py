"""The learning rate as shares of its peak, for every schedule that any of the trainers has.

The kit's own five come from labkit/design/schedules.py, so that what is compared is what is trained. The others are
written down from their definitions: cosine with hard restarts and polynomial (diffusers/optimization.py), inverse_sqrt
and warmup_stable_decay (transformers/optimization.py), REX (arXiv 2107.04197), smooth waves (OneTrainer's
COSINE_WITH_RESTARTS), waves of a given period (SimpleTuner's cosine and sine) and torch's LinearLR and StepLR.
"""

import math
from collections.abc import Callable
from typing import Any

from labkit.design.config import RunConfig
from labkit.design.schedules import lr_at

KIT = ("constant", "linear", "cosine", "exponential", "three_phase")
MOST_POINTS = 4000                            # updates of a longer run that are looked at, evenly spread
Option = dict[str, float]


def _restarts(done: int, updates: int, o: Option) -> float:
    return 0.5 * (1 + math.cos(math.pi * ((o.get("cycles", 1) * done / updates) % 1.0)))


def _rex(done: int, updates: int, o: Option) -> float:
    left = 1 - done / updates
    return left / (0.1 + 0.9 * left)


def _stable_decay(done: int, updates: int, o: Option) -> float:
    decay = max(1, o.get("decay", 0))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, (done - (updates - decay)) / decay))))


def _inverse_root(done: int, updates: int, o: Option) -> float:
    scale = o.get("timescale") or 10_000
    return math.sqrt(scale / (done + scale))


# Updates since the warm-up, updates after it, options -> share of the way from the end to the peak.
OTHERS: dict[str, Callable[[int, int, Option], float]] = {
    "cosine_with_restarts": _restarts,
    "polynomial": lambda done, updates, o: (1 - done / updates) ** o.get("power", 1.0),
    "rex": _rex,
    "waves": lambda done, updates, o: 0.5 * (1 + math.cos(2 * math.pi * o.get("cycles", 1) * done / updates)),
    "cosine_of_period": lambda done, updates, o: 0.5 * (1 + math.cos(math.pi * done / (o.get("period") or 1000))),
    "sine_of_period": lambda done, updates, o: 0.5 * (1 + math.sin(math.pi * done / (o.get("period") or 1000))),
    "line": lambda done, updates, o: o.get("start", 1.0) + (o.get("stop", 0.0) - o.get("start", 1.0)) * done / updates,
    "steps": lambda done, updates, o: o.get("gamma", 0.1) ** (done // max(1, int(o.get("step_size", 1000)))),
    "inverse_sqrt": _inverse_root,
    "warmup_stable_decay": _stable_decay,
}
CURVES = (*KIT, *OTHERS)


def shares(curve: str, total: int, warmup: int = 0, end: float = 0.0, **options: Any) -> list[float]:
    """Return the rate of every update, or of MOST_POINTS of them, over the peak.

    end: the last rate over the peak, to which a curve falls. options: cycles, power, period, start, stop, gamma,
    step_size, timescale and decay, of the curves that have them.
    """
    points = range(0, total, -(-total // MOST_POINTS))
    if curve in KIT:
        # the kit refuses a last rate that a schedule cannot have, so that here it is only given where it can
        last: dict[str, Any] = {} if curve == "constant" else {"lr_end": max(end, 1e-12 if curve in KIT[3:] else 0.0)}
        config = RunConfig(learning_rate=1.0, lr_scheduler=curve, max_train_steps=total, lr_warmup_steps=warmup,
                           **last)
        return [lr_at(step, config) for step in points]
    updates = max(1, total - warmup)
    return [step / warmup if step < warmup else end + (1 - end) * OTHERS[curve](step - warmup, updates, options)
            for step in points]


def difference(one: list[float], other: list[float]) -> float:
    """Return the largest difference of two curves, as a share of the peak."""
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)


def apart(one: list[float], other: list[float]) -> float:
    """Return the mean difference of two curves, as a share of the peak."""
    return math.fsum(abs(a - b) for a, b in zip(one, other, strict=True)) / max(1, len(one))
