"""Recorded runs that ship with the kit: one zip file a set, opened by its name and never found by a run id.

A set is hundreds of small files, which as such take eight times their bytes on a disk.
"""

import contextlib
import lzma
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

from labkit import settings
from labkit.errors import LabError
from labkit.files.atomic import cannot_write, write_file
from labkit.files.content import sha256
from labkit.store.history import Run
from labkit.store.runs import Store
from labkit.text import shown

EPOCH = (1980, 1, 1, 0, 0, 0)                                 # the earliest time that a zip file can tell: of every file, so that equal sets are equal files
MOST_BYTES, MOST_FILES = 50_000_000, 10_000                 # the largest set has 1 MB in 500 files
NAME = r"(?!\.)[\w.+-]{1,100}(/(?!\.)[\w.+-]{1,100}){0,5}"     # of a file in a set: no absolute one, none above the folder
# What zipfile raises on damaged files: LookupError, RuntimeError and ValueError where bytes, passwords or names are not what it takes.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, LookupError, RuntimeError, ValueError, OverflowError)


def recorded(name: str) -> list[Run]:
    """Return the recorded runs that ship under a name, marked as such.

    LabError: there is no such set, its file is damaged, or it cannot be unpacked into the cache folder.
    """
    file = settings.data_dir() / "runs" / f"{name}.zip"
    if not file.is_file():
        there = sorted(path.stem for path in file.parent.glob("*.zip"))
        raise LabError(f"{name!r} is not a recorded set of runs: there are {', '.join(there) or 'none'}.")
    return Store(unpacked(file), origin="recorded").load_runs()


def pack(folder: Path, file: Path):
    """Write all files below a folder into one zip file, the same bytes from the same files."""
    with tempfile.TemporaryFile() as aside:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                packed.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
        aside.seek(0)
        write_file(file, aside.read())


def unpacked(file: Path) -> Path:
    """Return a folder of the cache with what a zip file holds, unpacked at first use and again where something is missing or changed."""
    folder = settings.cache_dir() / "recorded" / f"{file.stem}-{sha256(file)[:16]}"
    try:
        with zipfile.ZipFile(file) as packed:
            _check(packed)

            def is_whole():
                return all(_is_as_packed(folder / member.filename, member) for member in packed.infolist())

            if is_whole():
                return folder
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = tempfile.mkdtemp(dir=folder.parent)
            try:
                packed.extractall(aside)
                if not is_whole():                            # else another process was first, and may be reading it
                    shutil.rmtree(folder, ignore_errors=True)
                    with contextlib.suppress(OSError):        # another process was first by a moment
                        os.replace(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return folder
    except OSError as error:
        raise cannot_write(folder, error) from None
    except DAMAGED as error:
        raise LabError(f"{file} is damaged ({error or type(error).__name__}): get it back from the repository, or make it in the "
                       f"folder data with `python -m recipes.ship.recorded {file.stem}`.") from None


def _check(packed: zipfile.ZipFile) -> None:
    """Refuse, by a ValueError, what no set holds; more than a file's announced size is never unpacked of it."""
    inside = packed.infolist()
    if (size := sum(item.file_size for item in inside)) > MOST_BYTES or len(inside) > MOST_FILES:
        raise ValueError(f"it would unpack to {len(inside):,} files of {size / 1e6:,.0f} MB, more than any set")
    if odd := next((item.filename for item in inside if not re.fullmatch(NAME, item.filename)), None):
        raise ValueError(f"it names a file {shown(odd)}")


def _is_as_packed(path: Path, member) -> bool:
    try:
        return path.stat().st_size == member.file_size and zlib.crc32(path.read_bytes()) == member.CRC
    except OSError:
        return False


def recorded_or_none(name) -> list | None:
    """Return the recorded runs of a set, or None where it does not ship."""
    try:
        return recorded(name) or None
    except LabError:
        return None


def missing(name) -> str:
    """Say what makes a recorded set."""
    command = f"python -m recipes.ship.recorded {name}"
    return f"The recorded runs {name!r} are not here: in the folder data, `{command}` makes them."
