"""Locks that the operating system keeps on open files: they go when the process goes, however it ends."""

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# What a system answers where another process holds the lock. Anything else comes from a file system without locks.
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
FAR = 1 << 40                               # bytes: behind the end of any file that is locked here


def try_lock(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; return whether it is now locked, or lies on a file system without locks.

    handle    file descriptor; closing it releases the lock
    shared    only ask whether nobody holds it: others may ask at the same time
    """
    try:
        _lock(handle, shared)
    except OSError as error:
        return error.errno not in HELD
    return True


if sys.platform == "win32":
    def _lock(handle: int, shared: bool) -> None:
        """Lock one byte far behind the end, since locked bytes cannot be read on Windows, which has no shared lock."""
        position = os.lseek(handle, 0, os.SEEK_CUR)
        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            if shared:
                msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        finally:
            os.lseek(handle, position, os.SEEK_SET)
else:
    def _lock(handle: int, shared: bool) -> None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
