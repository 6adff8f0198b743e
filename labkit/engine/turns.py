"""One trainer a kernel: whoever trains has the turn, the others wait for it and say for what.

Two trainings at once would share the cores, and each would take more than twice as long; on one base they cannot.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ASK_EVERY_S = 0.1

_lock = threading.RLock()                                     # reentrant: a training inside one does not wait
_holders: list[str] = []                                      # what each training that has the turn is called


@contextmanager
def turn(what: str, *, say: Callable[[str], object], stop: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold the kernel's turn to train; gives True, or False without it where `stop` came first.

    what    names this training to those who wait for it, such as "a race of 6 runs"
    say     hears for what is waited, once for each training that is
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
    """Name the training that has the turn, for whoever waits for the base that it trains on."""
    return next(iter(_holders[-1:]), "another training")
