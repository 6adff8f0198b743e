"""JSON from outside: read to a bounded size and depth, of the kind that is expected. Standard library only.

Python's own reader ends deep nesting in a RecursionError, takes halves of characters that cannot be written again, and
answers a number of thousands of digits with advice to programmers.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.files.regular import require_regular

DEEPEST = 64                                                  # levels; what the kit reads has five
MOST_BYTES = 20_000_000
MOST_DIGITS = 300  # of a whole number: as many fit into a float, also in YAML's base 60 (1:30)
HALF = re.compile("[\ud800-\udfff]")    # one of the two halves in which UTF-16 writes a rare character


def parse(data: str | bytes, kind: type = dict, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
          most_bytes: int = MOST_BYTES) -> Any:
    """Return the value of a JSON text, str or UTF-8 bytes; `pairs` makes each object, as `object_pairs_hook` does.

    ValueError says in a few words what is wrong: not JSON, too deep, half a character, a whole number too long,
    or another kind than asked for.
    """
    if len(data) > most_bytes:
        raise ValueError(f"more than {most_bytes / 1e6:.0f} MB")
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > DEEPEST or "\\u" in text:
        _check(value)
    if not isinstance(value, kind):
        needed = "an object in braces" if kind is dict else kind.__name__
        raise ValueError(f"{needed} is needed, not {type(value).__name__}")
    return value


def read(path: Path, kind: type = dict, *, most_bytes: int = MOST_BYTES) -> Any:
    """Return what a JSON file holds.

    OSError where it cannot be read, ValueError as for `parse` and where it is a pipe or a device.
    """
    require_regular(path, or_absent=True)
    with open(path, "rb") as file:
        return parse(file.read(min(most_bytes, os.fstat(file.fileno()).st_size) + 1), kind, most_bytes=most_bytes)


def _whole(digits: str) -> int:
    """Return a whole number; ValueError when it has too many digits."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits, where at most {MOST_DIGITS} are read")
    return int(digits)


def _check(value: Any) -> None:
    """Refuse deep nesting and halves of characters, level by level."""
    level = [value]
    for _ in range(DEEPEST):
        objects = [item for item in level if isinstance(item, dict)]
        lists = [item for item in level if isinstance(item, list)]
        texts = [item for item in level if isinstance(item, str)] + [name for item in objects for name in item]
        if any(map(HALF.search, texts)):
            raise ValueError("a text with half a character (\\ud800 to \\udfff alone)")
        level = [part for item in objects for part in item.values()] + [part for item in lists for part in item]
        if not level:
            return
    raise ValueError("nested too deeply")
