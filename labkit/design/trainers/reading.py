"""Functions that read and write single values whose form a trainer has otherwise than the kit."""

from collections.abc import Callable, Mapping
from typing import Any

from labkit.design.target_modules import SETS, expanded
from labkit.design.trainers.table import Tell
from labkit.errors import LabError


def plain(value: Any) -> Any:
    """Turn a text into the number, True or False that it states; an empty text and "None" become None."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == "" or text.lower() in ("none", "null"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if kind is int or number == number and abs(number) != float("inf") else value
    return value


def side(value: Any, tell: Tell) -> Any:
    """Read the side of a training picture: 512, "512", "512,512", [512, 512] or the sides of several data sets."""
    parts = value.replace("x", ",").split(",") if isinstance(value, str) else value
    parts = [plain(str(part)) for part in parts] if isinstance(parts, list | tuple) else [parts]
    if len(set(parts)) > 1:
        tell(f"pictures are squares of one side here, so {parts[0]} is taken of {', '.join(map(str, parts))}")
    return parts[0]


def positive(value: Any, tell: Tell) -> Any:
    """Read 0 as None, for a setting that 0 switches off."""
    return value or None


def share(value: Any, tell: Tell) -> Any:
    """Read a share of pictures that is held out; LabError where none are left."""
    if not 0 <= value < 1:
        raise LabError(f"{value:g} of the pictures cannot be held out: give a share from 0 to below 1, such as 0.1.")
    return value


def whole(value: Any, tell: Tell) -> Any:
    """Read 8.0 as 8: forms with sliders save whole numbers so."""
    return int(value) if isinstance(value, float) and value == int(value) else value


def or_zero(value: Any, tell: Tell) -> Any:
    """Turn None into 0, for a setting that 0 switches off."""
    return 0 if value is None else value


def text(value: Any, tell: Tell) -> Any:
    """Write a value as a text."""
    return str(value)


def words(table: Mapping[str, Any]) -> tuple[Callable[[Any, Tell], Any], Callable[[Any, Tell], Any]]:
    """Return the functions that read and write a value which has other words there. table: {theirs: ours}."""
    back = {ours: theirs for theirs, ours in reversed(list(table.items()))}

    def read(value: Any, tell: Tell) -> Any:
        known = {theirs.lower(): ours for theirs, ours in table.items()}
        return known.get(str(value).lower(), value)

    def write(value: Any, tell: Tell) -> Any:
        return back.get(value, value)

    return read, write


def near_optimizer(value: Any) -> str:
    """Return the kit's optimizer that is nearest to another trainer's: "sgd" for a kind of SGD, else "adamw"."""
    return "sgd" if "sgd" in str(value) else "adamw"


def near_targets(value: Any) -> tuple[str, ...] | None:
    """Return the set that has most layers in common with those that are named; None for a text of patterns."""
    if not isinstance(value, tuple):
        return None
    layers = set(expanded(value))
    return (max(SETS, key=lambda name: len(layers & set(SETS[name])) / len(layers | set(SETS[name]))),)
