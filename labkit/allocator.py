"""Let the process keep the memory it frees while a pass runs, instead of handing large tensors back after every use.

On Linux each large tensor is otherwise mapped anew and every page of it faults once: on the machines we measured (LOG.md)
a tenth to a fifth of a step of eight runs. Other systems are left alone.
"""

import ctypes
import sys

# names and numbers of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE = 1 << 30                                               # bytes; a larger tensor may well be mapped


def keep_freed_memory() -> bool:
    """Ask glibc to; return whether it agreed. False on other systems and other C libraries.

    One arena serves all threads, since those of their own would hold at most 64 MiB and map the rest:
    mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:                                       # musl
        return False
    asked = ((M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE), (M_ARENA_MAX, 1))
    return all([mallopt(name, value) for name, value in asked])


def give_back() -> None:
    """Hand the freed memory back to the system: at the end of a pass, so that a notebook's passes do not add up."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
