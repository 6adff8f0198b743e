"""Write a file whole or not at all: aside, flushed to the disk, then renamed."""

import errno
import os
import stat
import tempfile
from pathlib import Path

from labkit.errors import LabError

RUNS = "LABKIT_STORE or --store for runs"
# What systems answer that cannot flush a folder, or will not open one: some network and FUSE file systems.
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)


def write_file(path: Path | str, data: bytes, choose: str = RUNS, *, durable: bool = True) -> None:
    """Put data at path, replacing what is there; LabError when the disk is full or may not be written.

    choose    what sets the place, for the remedy
    durable   it survives a power cut; else it may be lost or damaged then, which suits what can be made again
    """
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(aside, _mode(path))
        os.replace(aside, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        if aside and os.path.exists(aside):
            os.unlink(aside)
        raise cannot_write(path, error, choose) from None


def _mode(path: Path) -> int:
    """Return the mode of the file that is replaced, else that of any new file: one made aside is its owner's alone."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def cannot_write(path: Path | str, error: Exception, choose: str = RUNS) -> LabError:
    """Turn an error of a full disk or a closed folder into a sentence with a remedy; choose: what sets the place."""
    reason = getattr(error, "strerror", None) or error        # some libraries have errors of their own for it
    return LabError(
        f"{path} cannot be written ({reason}): free some space, or choose a folder you may write to "
        f"({choose}). What was acknowledged before is safe.")


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name survive a power cut, where the file system can.

    Windows keeps names by itself and cannot open folders.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
