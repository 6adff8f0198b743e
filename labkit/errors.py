"""The one error whose message is meant for the person at the keyboard."""


class LabError(ValueError):
    """Say what is wrong with an input and what to do about it; shown as it is, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Give the lines that a notebook shows: IPython asks an error for them before it writes a traceback."""
        return [f"LabError: {self}"]


class LabWarning(UserWarning):
    """Something went on otherwise than was asked, or was left out: one sentence that says so."""
