"""Compute the next items in a thread while the current one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(make: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """Yield make(item) for each item, in order, each begun `ahead` items early; 0 makes them here, without a thread.

    What `make` raises is raised when its item is due. Closing the iterator ends the thread.
    """
    if not ahead:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="labkit-prefetch")
    begun: deque[Future[Made]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(make, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
