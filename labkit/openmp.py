"""Let torch's threads sleep while they wait, instead of spinning. This file must parse in every Python, however old.

Torch's wheels compute with GNU's OpenMP on Linux and with LLVM's on macOS. Both let a thread that has nothing to do
spin for a while, which costs nothing on a quiet machine. On a busy one it takes the core from the thread that all
others wait for. Sources: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html,
https://openmp.llvm.org/design/Runtimes.html (KMP_BLOCKTIME).
"""
import os

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE",  # GNU: a spin count of 0
           "KMP_BLOCKTIME": "0"}          # LLVM and Intel, in milliseconds
CHOSEN_BY = tuple(PASSIVE) + ("GOMP_SPINCOUNT", "KMP_LIBRARY")


def wait_passively(environ=os.environ):
    """Set the variables that the runtime reads as torch loads, unless the user has set one of CHOSEN_BY."""
    if not any(environ.get(name) for name in CHOSEN_BY):
        environ.update(PASSIVE)
