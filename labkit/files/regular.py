"""Read regular files alone: a pipe or a device in the place of one would be waited for without end."""

import stat
from pathlib import Path

from labkit.errors import LabError

# Endings of files that torch pickled: reading one can run any program, so none is ever opened.
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


def require_regular(path: Path, *, or_absent: bool = False) -> None:
    """Raise LabError unless path is a file, through links too, or is not there and need not be."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if or_absent:
            return
        raise _unreadable(path, error) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        raise LabError(f"{path} is not a file but a folder, pipe or device: remove it, or put the file back.")


def read_regular(path: Path, *, absent: bytes | None = None) -> bytes:
    """Return a file's bytes, or `absent` where there is none and that is given.

    LabError names a file that cannot be read.
    """
    require_regular(path, or_absent=absent is not None)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if absent is not None:
            return absent
        raise _unreadable(path, error) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> LabError:
    return LabError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).")
