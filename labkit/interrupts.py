"""Ctrl-C, `kill` and a terminal that closes mean the same: stop, and keep what there is. Standard library only."""
import contextlib
import signal
import threading

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """End what is going on; `code` is the exit code that shells give a program which a signal ended."""

    def __init__(self, number=signal.SIGINT, sentence=""):
        super().__init__(sentence)
        self.code = 128 + number

    def _render_traceback_(self):
        """Give the lines that a notebook shows: IPython asks an error for them before it writes a traceback."""
        return [str(self) or "Interrupted."]


class Stop:
    """Say, when called, whether to stop; `number` is the signal that asked for it, or None."""

    number = None

    def __call__(self):
        return self.number is not None

    @property
    def code(self):
        """Return the exit code of a program that stopped early because it was asked to."""
        return 128 + self.number


def raise_interrupted(number, _frame):
    """Answer a signal at once."""
    raise Interrupted(number)


@contextlib.contextmanager
def answered_by(handler):
    """Have handler(number, frame) answer the signals that nobody told to be ignored, as nohup does; main thread only."""
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
def stop_on_interrupt(say=lambda: None):
    """Give a Stop that the first signal sets, after which `say` is called; a second signal interrupts at once."""
    stop = Stop()

    def note(number, frame):
        if stop():
            raise_interrupted(number, frame)
        stop.number = number
        say()

    with answered_by(note):
        yield stop
