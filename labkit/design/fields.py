"""Check and convert one value of a configuration; every check raises LabError with field, value and range.

A check takes the name of a field and whatever was given for it: a text, a number, or what YAML made of it.
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn

from labkit.errors import LabError
from labkit.reading import SOURCES, is_source
from labkit.text import CONTROL, shown

NOTHING = ("", "none", "null")
Check = Callable[[str, Any], Any]           # what it returns has the type of its field


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise LabError naming the field, what was given and what is allowed."""
    raise LabError(f"{name} = {shown(value)} is not possible: it must be {allowed}.")


def number(kind: type[int] | type[float], low: float, high: float, *, above: bool = False,
           optional: bool = False) -> Check:
    """Return a check for an int or float from low to high, or strictly above low; text such as "1e-4" is read."""
    noun = "a whole number" if kind is int else "a number"
    allowed = f"{noun} above {low:g} and at most {high:g}" if above else f"{noun} from {low:g} to {high:g}"
    allowed += " or None" if optional else ""

    def check(name: str, value: Any) -> float | None:
        if optional and is_nothing(value):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float) and not hasattr(value, "item"):
            refuse(name, value, allowed)
        result = _read(kind, value)
        if result is None or not low <= result <= high or (above and result == low):  # NaN is not within either
            refuse(name, value, allowed)
        return result

    return check


def is_nothing(value: Any) -> bool:
    """Tell whether a value stands for None: None itself, an empty text, "none" or "null"."""
    return value is None or isinstance(value, str) and value.strip().lower() in NOTHING


def _read(kind: type[int] | type[float], value: Any) -> float | None:
    """Read a float, or a whole number also from 8.0, "8.0" or "1e3"; None if it cannot be read."""
    try:
        if kind is int and isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
            return int(value)
        result = kind(float(value)) if isinstance(value, str) else kind(value)
        return result if kind is float or float(value) == result else None
    except (TypeError, ValueError, OverflowError):
        return None


def source_of_captions(name: str, value: Any) -> str | None:
    """Check where captions come from; None where the folder says it."""
    if is_nothing(value):
        return None
    if not isinstance(value, str) or CONTROL.search(value) or not is_source(value.strip()):
        refuse(name, value, f"{SOURCES}, or None")
    return value.strip()


def choice(*options: str) -> Check:
    """Return a check for one of a few words; False stands for "no", since YAML reads it so."""

    def check(name: str, value: Any) -> str:
        value = "no" if value is False and "no" in options else value
        if value not in options:
            refuse(name, value, "one of " + ", ".join(options))
        return str(value)

    return check


def flag(name: str, value: Any) -> bool:
    """Check a yes-or-no value."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    value = words.get(value.strip().lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        refuse(name, value, "true or false")
    return value


def text(*, optional: bool = False, pattern: str = r".*\S.*", allowed: str = "a non-empty text on one line") -> Check:
    """Return a check for a text that matches a pattern; paths are read as text."""

    def check(name: str, value: Any) -> str | None:
        if optional and (value is None or value == ""):
            return None
        value = value.__fspath__() if hasattr(value, "__fspath__") else value
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or CONTROL.search(value):
            refuse(name, value, allowed)
        return value

    return check


def edits(name: str, value: Any) -> tuple[tuple[int, float], ...]:
    """Check ((step, rate), ...) in rising order of steps; the text form is "100:1e-4,150:3e-5"."""
    allowed = "pairs (step from 1 on, rate above 0 and at most 1000) in rising order of steps"
    if isinstance(value, str):
        value = [] if is_nothing(value) else [pair.split(":") for pair in value.split(",")]
    value = () if value is None else value
    is_list = isinstance(value, list | tuple)
    if not is_list or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        refuse(name, value, allowed)
    step, rate = number(int, 1, 10**7), number(float, 0, 1000, above=True)
    pairs = tuple((step(f"step in {name}", a), rate(f"rate in {name}", b)) for a, b in value)
    if [a for a, _ in pairs] != sorted({a for a, _ in pairs}):
        refuse(name, value, allowed)
    return pairs
