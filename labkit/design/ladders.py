"""The values between which a knob moves: few, and reaching from too little to notice to enough to break a run."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from labkit.design.config import OTHER_NAMES, SCHEDULERS
from labkit.errors import LabError
from labkit.text import rate_text

LADDERS: dict[str, tuple[Any, ...]] = {                       # numbers, words, or None: derived, as RunConfig says
    "learning_rate": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "lr_scheduler": SCHEDULERS,
    "lr_warmup_steps": (0, 5, 10, 20, 50, 100),
    "max_train_steps": (5, 10, 20, 50, 100, 200, 500, 1000),
    "num_train_epochs": (1, 2, 3, 5, 10, 20, 50),
    "train_batch_size": (1, 2, 4, 8, 16),
    "gradient_accumulation_steps": (1, 2, 4, 8),
    "rank": (1, 2, 4, 8, 16, 32, 64),
    "alpha": (None, 1, 2, 4, 8, 16, 32, 64),
    "n_train": (4, 8, 16, 32, 64, None),
    "snr_gamma": (None, 1, 5, 20),
    "caption_dropout": (0.0, 0.1, 0.3),
    "prior_loss_weight": (0.0, 0.1, 0.3, 1.0),
    "weight_decay": (0.0, 1e-3, 1e-2, 1e-1, 1.0),
    "seed": tuple(range(10)),
}
NONE_MEANS = {"alpha": "as rank", "n_train": "all", "snr_gamma": "off"}
RATES = ("learning_rate", "weight_decay")


def rung_of(rate: float, ladder: Sequence[float] = LADDERS["learning_rate"]) -> int:
    """Return the number of the rung next to a rate."""
    return min(range(len(ladder)), key=lambda i: abs(math.log(ladder[i] / rate)))


def check_knobs(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of knobs as a tuple; LabError names one that has no ladder, and the nearest that has."""
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in LADDERS:
            raise LabError(f"knobs: {name!r} is not a knob of a panel. {_hint(name)}")
    return names


def _hint(name: str) -> str:
    """Name the ladder that was meant, as far as it can be guessed."""
    ours = OTHER_NAMES.get(name)
    near = [ours] if ours in LADDERS else difflib.get_close_matches(str(name), LADDERS, 1)
    return f"Did you mean {near[0]}?" if near else f"The knobs are {', '.join(LADDERS)}."


def rungs(name: str, current: Any = None) -> list[tuple[str, Any]]:
    """Return (label, value) of every step of a knob, and of `current` in its place where it is none of them."""
    values = list(LADDERS[name])
    if current is None and None not in values:
        values.insert(0, None)
    elif current not in values:
        numbers = [value for value in values if value is not None]
        at = sum(value < current for value in numbers) + (values[0] is None)
        values.insert(at, current)
    return [(rung_text(name, value), value) for value in values]


def rung_text(name: str, value: Any) -> str:
    """Write a knob's value for people."""
    if value is None:
        return NONE_MEANS.get(name, "default")
    if name in RATES:
        return rate_text(value)
    if isinstance(value, tuple) and name == "target_modules":
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
