"""The space from which a sampler draws settings: a range for a knob that is a number, or values to choose among.

`learning_rate=1e-5..1e-2` is a range, `rank=4,8,16` and `lr_scheduler=constant,cosine` are lists of choices.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from labkit.design.config import RunConfig
from labkit.errors import LabError

# Knobs whose effect follows their logarithm: a range of them is drawn log-uniformly.
LOGARITHMIC = ("learning_rate", "lr_ratio_B", "lr_end", "rank", "alpha", "adam_epsilon", "weight_decay", "snr_gamma")
LISTS = ("target_modules", "lr_edits", "base", "data", "captions")         # commas in their values are their own
PATHS = ("revision", "parent", "init_lora_weights")           # in whose values two dots are their own
DIGITS = 3                                                    # of a drawn number, as tables and names of runs show it


@dataclasses.dataclass(frozen=True)
class Range:
    """Hold the ends of a range, both of them possible values."""

    low: float
    high: float
    is_whole: bool
    is_log: bool

    def rounded(self, value: float) -> float:
        """Return a drawn value as it is trained: of three digits, so that `train` can be given the same."""
        if self.is_whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Choices = tuple[str, ...]
Space = dict[str, Range | Choices]                            # by the name of a field, in the order of the alphabet


def is_range(name: str, text: str) -> bool:
    """Tell whether a text gives a range for a field; paths and captions may hold two dots of their own."""
    return name not in LISTS + PATHS and ".." in text


def search_space(values: Mapping[str, str]) -> tuple[dict[str, str], Space]:
    """Split the settings of a command line into those that are fixed and those that are drawn.

    values    {field: text}, as --set gives them
    LabError: a name is no field, a range is none, or its knob is no number; each value by itself is checked too.
    """
    fixed: dict[str, str] = {}
    space: Space = {}
    for name, text in sorted(values.items()):
        RunConfig.check_name(name)
        if is_range(name, text):
            space[name] = _range(name, text)
        elif name not in LISTS and "," in text:
            words = list(dict.fromkeys(word.strip() for word in text.split(",")))
            for word in words:
                _checked(name, word)
            space[name] = tuple(words)
        else:
            fixed[name] = text
    return fixed, space


def drawn(space: Space, name: str, value: Any) -> Any:
    """Turn the value that a sampler gave for a field into the one that is trained."""
    knob = space[name]
    return knob.rounded(value) if isinstance(knob, Range) else _checked(name, value)


def corners(space: Space) -> list[dict[str, Any]]:
    """Return settings in which each end of a range and each choice occurs at least once, the first of all first."""
    ends = {name: (knob.low, knob.high) if isinstance(knob, Range) else knob for name, knob in space.items()}
    return [{name: values[min(i, len(values) - 1)] for name, values in ends.items()}
            for i in range(max(map(len, ends.values()), default=1))]


def _range(name: str, text: str) -> Range:
    """Read LOW..HIGH; LabError says what is wrong with it."""
    kinds = _kinds(name)
    if not kinds:
        raise LabError(f"{name} = {text!r}: {name} has no range, since it is a name: give values to choose among, "
                       "with commas between them.")
    words = text.split("..")
    if len(words) != 2 or "," in text:
        raise LabError(f"{name} = {text!r}: give a range as LOW..HIGH, such as 1e-5..1e-2, or values with commas "
                       "between them, not both.")
    low, high = (_checked(name, word) for word in words)
    if low is None or high is None or not low < high:
        raise LabError(f"{name} = {text!r}: the range must begin with the lower of two different numbers.")
    is_log = name in LOGARITHMIC
    if is_log and low <= 0:
        raise LabError(f"{name} = {text!r}: it is drawn from the logarithm of its range, so begin above 0, such as at "
                       f"{high / 1000:g}.")
    return Range(low, high, int in kinds and float not in kinds, is_log)


def _kinds(name: str) -> set[type]:
    """Return which kinds of numbers a field takes: int or float, none where it is a name or a switch."""
    hint = typing.get_type_hints(RunConfig)[name]
    return {int, float} & {hint, *typing.get_args(hint)}


def _checked(name: str, word: str) -> Any:
    """Return one value of a field as its own check reads it; LabError as that raises it, or where it is empty."""
    if not word.strip():
        raise LabError(f"{name}: a value beside a comma or two dots is missing.")
    [field] = [field for field in dataclasses.fields(RunConfig) if field.name == name]
    return field.metadata["check"](name, word.strip())
