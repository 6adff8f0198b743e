"""Names of runs: one that a person gave, or the beginning of an id, and how short that may be.

A name lies in a file of its own in the run's folder. Neither the run's id nor any checksum is made of it, and it goes
where the folder goes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.files.regular import read_regular
from labkit.store.run_files import remove
from labkit.text import CONTROL, shown

if TYPE_CHECKING:
    from labkit.store.runs import RunFolder

FILE = "name.txt"
LONGEST = 40  # characters of a name: a table has room for it
SHORTEST = 6  # characters of an id


def name_of(folder: Path) -> str:
    """Return the name that a run was given, "" where it has none or one that cannot be read."""
    try:
        name = read_regular(folder / FILE, absent=b"").decode().strip()
    except (LabError, UnicodeDecodeError):
        return ""
    return "" if CONTROL.search(name) else name[:LONGEST]


def give_name(folder: "RunFolder", name: str, others: Iterable["RunFolder"]) -> None:
    """Give a run a name; "" takes its name away.

    others    all runs of its store

    LabError: the name cannot be one, is another run's or begins another run's id.
    """
    if not name:
        remove(folder.path / FILE)
        return
    if len(name) > LONGEST or CONTROL.search(name) or name != name.strip() or name[0] == "-" or {"/", "\\"} & {*name}:
        raise LabError(f"The name {shown(name)} cannot be given: take at most {LONGEST} letters, digits, spaces and "
                       "signs without slashes, and begin with no hyphen or space.")
    for other in others:
        if other.run_id.startswith(name) or (other.run_id != folder.run_id and name_of(other.path) == name):
            raise LabError(f"The name {shown(name)} already means the run {other.run_id}: give another one.")
    write_file(folder.path / FILE, f"{name}\n".encode(), choose="--store")


def run_named(text: str, folders: Sequence["RunFolder"], place: Path) -> "RunFolder":
    """Return the one run that a text names: by its whole id, its name, or the beginning of its id.

    LabError where it names none, or more than one. place: of the store, for that sentence.
    """
    whole = [folder for folder in folders if folder.run_id == text]
    named = [folder for folder in folders if text and name_of(folder.path) == text] if not whole else []
    begun = [folder for folder in folders if text and folder.run_id.startswith(text)]
    close = whole or named or begun
    if len(close) > 1:
        ids = ", ".join(folder.run_id for folder in close[:8]) + (" and others" if len(close) > 8 else "")
        what = f"the name of {len(close)} runs" if named else f"the beginning of {len(close)} run ids"
        raise LabError(f"{text} is {what}: {ids}.")
    if not close:
        raise LabError(f"There is no run {text} in the store {place}: `labkit runs` lists the {len(folders)} "
                       "that are there.")
    return close[0]


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return {id: its shortest beginning that begins no other}, all of one length of at least SHORTEST."""
    ids = list(ids)
    length = SHORTEST
    while len({name[:length] for name in ids}) < len(set(ids)):
        length += 1
    return {name: name[:length] for name in ids}
