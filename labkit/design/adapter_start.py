"""How an adapter begins: drawn in one of two ways, or read from a file that is named by its place and its content.

A run's field says `place.safetensors`, and once it is resolved `/whole/place.safetensors@0123456789abcdef`: the run is
named by these digits of the file's hash, so that a file that moved is the same start and one that changed is another.
"""

import re
from pathlib import Path
from typing import Any

from labkit.design.fields import refuse
from labkit.errors import LabError
from labkit.files.content import sha256
from labkit.files.regular import PICKLES, require_regular
from labkit.settings import given_path
from labkit.text import CONTROL

DRAWN = ("default", "gaussian")
FILE = re.compile(r"(.+\.safetensors)(?:@([0-9a-f]{16}))?", re.IGNORECASE)


def init_weights(name: str, value: Any) -> str:
    """Check `default`, `gaussian` or the name of an adapter's file."""
    value = value.__fspath__() if hasattr(value, "__fspath__") else value
    if isinstance(value, str) and value.lower().endswith(PICKLES):
        raise LabError(f"{name} = {value[:200]!r} is a pickle, which can run any program when it is opened: convert "
                       "it to .safetensors where you trust it.")
    if not isinstance(value, str) or CONTROL.search(value) or value not in DRAWN and not FILE.fullmatch(value):
        refuse(name, value, "default, gaussian, or the .safetensors file of an adapter to go on from")
    return value


def is_file(value: Any) -> bool:
    """Tell whether a value of `init_lora_weights` or `parent` names a file, also one of a kind that is refused."""
    value = value.__fspath__() if hasattr(value, "__fspath__") else value
    return isinstance(value, str) and (FILE.fullmatch(value) is not None or value.lower().endswith(PICKLES))


def start_file(value: str) -> Path | None:
    """Return the file that an adapter begins from; None where it is drawn.

    LabError: it is not there, or its content is not what the run was named by.
    """
    if (match := FILE.fullmatch(value)) is None:
        return None
    path = given_path(match[1])
    require_regular(path)
    if match[2] and _digits(path) != match[2]:
        raise LabError(f"{path} has changed since this run was begun from it: give back the file with the hash "
                       f"{match[2]}, or begin another run from this one.")
    return path


def pinned(value: str) -> str:
    """Return the value with a file's whole path and hash; LabError where the file is not there."""
    match = FILE.fullmatch(value)
    if match is None or match[2]:
        return value
    path = given_path(match[1]).resolve()
    require_regular(path)
    return f"{path}@{_digits(path)}"


def beginning(*values: str) -> str:
    """Say where runs with these values begin: "the untouched base", or "the file place.safetensors".

    Of runs that begin in several places: "the start of each run".
    """
    files = (FILE.fullmatch(value) for value in values)
    places = {"the untouched base" if file is None else f"the file {Path(file[1]).name}" for file in files}
    return places.pop() if len(places) == 1 else "the start of each run"


def is_pinned(value: str) -> bool:
    """Tell whether an adapter's first numbers are fixed: they are drawn, or the hash of their file is known."""
    match = FILE.fullmatch(value)
    return match is None or match[2] is not None


def named(value: str) -> str:
    """Return the form that the value has in a run's id: of a file its hash, without its place."""
    match = FILE.fullmatch(value)
    return value if match is None else f"file {match[2]}"


def _digits(path: Path) -> str:
    return sha256(path)[:16]
