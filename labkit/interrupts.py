"""Ctrl-C, `kill` and a terminal that closes mean the same: stop, and keep what there is. Standard library only."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """End what is going on; `code` is the exit code that shells give a program which a signal ended."""

    def __init__(self, number: int = signal.SIGINT, sentence: str = "") -> None:
        """Take the signal, and what a person is told."""
        super().__init__(sentence)
        self.code = 128 + number

    def _render_traceback_(self) -> list[str]:
        """Give the lines that a notebook shows: IPython asks an error for them before it writes a traceback."""
        return [str(self) or "Interrupted."]


class Stop:
    """Tell, when called, whether to stop; `number` is the signal that asked for it, or None."""

    number: int | None = None

    def __call__(self) -> bool:
        """Return whether a signal has come."""
        return self.number is not None

    @property
    def code(self) -> int:
        """Return the exit code of a program that stopped early because it was asked to; 0 where nobody asked."""
        return 128 + self.number if self.number is not None else 0


def raise_interrupted(number: int, _frame: FrameType | None) -> None:
    """Raise Interrupted: the answer to a signal that is not to wait."""
    raise Interrupted(number)


@contextlib.contextmanager
def answered_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let handler(number, frame) answer SIGNALS meanwhile; in other threads than the main one nothing changes.

    Signals that are ignored, as under nohup, stay so.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: answer for number, answer in before.items() if answer not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)


@contextlib.contextmanager
def stop_on_interrupt(say: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Give a Stop that the first signal sets, after which `say` is called; a second signal interrupts at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop():
            raise_interrupted(number, frame)
        stop.number = number
        say()

    with answered_by(note):
        yield stop
