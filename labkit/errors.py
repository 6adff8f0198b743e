"""The one error whose message is meant for the person at the keyboard."""

from labkit.text import in_lines, one_sentence


class LabError(ValueError):
    """Say what is wrong with an input and what to do about it; shown as it is, without a traceback."""

    def __init__(self, message: object) -> None:
        """Take the sentence; what it quotes from outside is made fit for a terminal here, for all messages."""
        super().__init__(one_sentence(message))

    def _render_traceback_(self) -> list[str]:
        """Give the lines that a notebook shows: IPython asks an error for them before it writes a traceback."""
        return in_lines(f"LabError: {self}").split("\n")


class LabWarning(UserWarning):
    """Warn in one sentence that an input was left out, or handled otherwise than requested."""


def first_cause(error: BaseException) -> str:
    """Return the error that began a chain of them, in one line: `ModuleNotFoundError: No module named 'regex'`."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
