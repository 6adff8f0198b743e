"""Write a file whole or not at all: aside, flushed to the disk, then renamed."""

import os
import stat
import tempfile
from pathlib import Path

from labkit.errors import LabError

REMEDY = "free some space, or choose a folder you may write to (LABKIT_STORE or --store for runs). What was acknowledged before is safe."


def write_file(path, data: bytes):
    """Put data at path, replacing what is there; LabError when the disk is full or may not be written."""
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, _mode(path))
        os.replace(aside, path)
        sync_folder(path.parent)
    except OSError as error:
        if aside and os.path.exists(aside):
            os.unlink(aside)
        raise cannot_write(path, error) from None


def _mode(path) -> int:
    """Return the mode of the file that is replaced, else what a new file gets here: a file made aside is its owner's alone."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def cannot_write(path, error) -> LabError:
    """Turn an OSError into a sentence with a remedy."""
    return LabError(f"{path} cannot be written ({error.strerror or error}): {REMEDY}")


def sync_folder(folder):
    """Make a rename or a new name survive a power cut; Windows keeps names by itself and cannot open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
