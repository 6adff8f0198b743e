"""Let one training at a time run in a kernel; others wait, and say what they wait for.

Two trainings at once would share the cores, and each would take more than twice as long. On one base they cannot run
side by side at all.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ASK_EVERY_S = 0.1

_lock = threading.RLock()                                     # reentrant: a training inside one does not wait
_holders: list[str] = []                                      # what each training that has the turn is called


@contextmanager
def turn(what: str, *, say: Callable[[str], object], stop: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Wait for the kernel's turn to train and hold it; give True, or False without the turn where `stop` came first.

    what    names this training to those who wait for it, such as "a race of 6 runs"
    say     is called with a sentence that names the training that is waited for, once for each
    """
    mine = _wait(say, stop)
    if not mine:
        yield False
        return
    _holders.append(what)
    try:
        yield True
    finally:
        _holders.pop()
        _lock.release()


def _wait(say: Callable[[str], object], stop: Callable[[], bool]) -> bool:
    awaited = None
    while not stop():
        if _lock.acquire(timeout=ASK_EVERY_S if awaited else 0):
            return True
        if awaited != holder():
            awaited = holder()
            say(f"waiting for {awaited} to end")
    return False


def holder() -> str:
    """Return the name of the training that has the turn, for messages to whoever waits for it or for its base."""
    return next(iter(_holders[-1:]), "another training")
