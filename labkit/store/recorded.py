"""Recorded runs that ship with the kit: one zip file a set, opened by its name.

No training finds them by a run id; the panel does, to answer a knob at once, and says that they are recorded. A set is
hundreds of small files, which as such take eight times their bytes on a disk.
"""

import contextlib
import functools
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

# The time of every file, the earliest that a zip file can tell: so equal sets are equal files.
EPOCH = (1980, 1, 1, 0, 0, 0)
MOST_BYTES, MOST_FILES = 50_000_000, 10_000  # the largest set has 1 MB in 500 files
NAME = r"(?!\.)[\w.+-]{1,100}(/(?!\.)[\w.+-]{1,100}){0,5}"  # of a file in a set: relative and not above it
# What zipfile raises on damaged files; the last four where bytes, passwords or names are not what it takes.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    LookupError, RuntimeError, ValueError, OverflowError,
)


def recorded(name: str) -> list[Run]:
    """Return the recorded runs that ship under a name, marked as such.

    LabError: there is no such set, its file is damaged, or it cannot be unpacked into the cache folder.
    """
    file = settings.data_dir() / "runs" / f"{name}.zip"
    if not file.is_file():
        names = sorted(path.stem for path in file.parent.glob("*.zip"))
        raise LabError(f"{name!r} is not a recorded set of runs: there are {', '.join(names) or 'none'}.")
    return Store(unpacked(file), origin="recorded").load_runs()


def recorded_run(run_id: str) -> Run | None:
    """Return the recorded run of this id, marked as such, or None where no set that ships has it.

    Whoever shows it says that it was not trained here. A set is unpacked where its run is asked for.
    LabError: the set is damaged.
    """
    file = sets_by_run().get(run_id)
    return Store(unpacked(file), origin="recorded").run(run_id).load() if file else None


@functools.cache
def sets_by_run() -> dict[str, Path]:
    """Return the file of the set that has a run, by run id: read from the names in the files, without their content.

    A file that cannot be read has no runs here; whoever opens it by its name is told.
    """
    files: dict[str, Path] = {}
    for file in sorted((settings.data_dir() / "runs").glob("*.zip")):
        with contextlib.suppress(OSError, *DAMAGED), zipfile.ZipFile(file) as packed:
            files |= {Path(name).parent.name: file for name in packed.namelist() if name.endswith("/config.json")}
    return files


def pack(folder: Path, file: Path) -> None:
    """Write all files below a folder into one zip file, the same bytes from the same files."""
    with tempfile.TemporaryFile() as aside:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
                packed.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED)
        aside.seek(0)
        write_file(file, aside.read())


def unpacked(file: Path) -> Path:
    """Return a folder of the cache with what a zip file holds, unpacked at first use.

    It is unpacked again where a file is missing or changed.
    """
    folder = settings.cache_dir() / "recorded" / f"{file.stem}-{sha256(file)[:16]}"
    try:
        with zipfile.ZipFile(file) as packed:
            _check(packed)

            def is_whole() -> bool:
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
        fault = error or type(error).__name__
        raise LabError(f"{file} is damaged ({fault}): get it back from the repository, or make it in the folder data "
                       f"with `python -m recipes.ship.recorded {file.stem}`.") from None


def _check(packed: zipfile.ZipFile) -> None:
    """Raise ValueError for members that no set holds. zipfile never unpacks more of a file than its stated size."""
    members = packed.infolist()
    if (size := sum(member.file_size for member in members)) > MOST_BYTES or len(members) > MOST_FILES:
        raise ValueError(f"it would unpack to {len(members):,} files of {size / 1e6:,.0f} MB, more than any set")
    if odd := next((member.filename for member in members if not re.fullmatch(NAME, member.filename)), None):
        raise ValueError(f"it names a file {shown(odd)}")


def _is_as_packed(path: Path, member: zipfile.ZipInfo) -> bool:
    try:
        return path.stat().st_size == member.file_size and zlib.crc32(path.read_bytes()) == member.CRC
    except OSError:
        return False


def recorded_or_none(name: str) -> list[Run] | None:
    """Return the recorded runs of a set, or None where it does not ship."""
    try:
        return recorded(name) or None
    except LabError:
        return None


def missing(name: str) -> str:
    """Return the sentence for a recorded set that is not there, with the command that makes it."""
    command = f"python -m recipes.ship.recorded {name}"
    return f"The recorded runs {name!r} are not here: in the folder data, `{command}` makes them."
