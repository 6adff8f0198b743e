"""Show recorded runs where a set ships, and say in one sentence what makes it where it does not."""

import html

from labkit.errors import LabError
from labkit.store.recorded import missing, recorded_or_none
from labkit.view.cards import CARD
from labkit.view.frontend import say
from labkit.view.style import STYLE


class Note:
    """Hold one sentence that stands where a figure or a table cannot.

    A notebook shows it as a card, anything else as a line.
    """

    summary = ""  # where a figure would have one

    def __init__(self, sentence: str):
        """Hold `sentence`."""
        self.sentence = sentence

    def __repr__(self):
        """Return the sentence."""
        return self.sentence

    def _repr_html_(self):
        return f"<div role='note' style='{CARD.format(color=STYLE['faint'])}'>{html.escape(self.sentence)}</div>"


def or_note(show, *arguments):
    """Return what `show` makes of its arguments, or a Note with the sentence of its LabError.

    A Note among the arguments is returned as it is.
    """
    for argument in arguments:
        if isinstance(argument, Note):
            return argument
    try:
        return show(*arguments)
    except LabError as error:
        return Note(str(error))


def evidence(name, show, *more):
    """Print where a recorded set comes from and return show(runs, ...).

    Where there is no such set, return a Note that says what makes it.
    """
    runs = recorded_or_none(name)
    if runs is None:
        return Note(missing(name))
    made_by = runs[0].meta.get("made_by", "an unknown command")
    say(runs[0].provenance, f"Made by `{made_by}`: {len(runs)} runs.")
    return or_note(show, runs, *more)
