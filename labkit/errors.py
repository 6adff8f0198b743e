"""The one error whose message is meant for the person at the keyboard."""


class LabError(ValueError):
    """Say what is wrong with an input and what to do about it; shown as it is, without a traceback."""
