"""Translate settings of other trainers into a design, and look up what was noted on the way."""

from labkit.design.config import RunConfig
from labkit.design.trainers.files import flat
from labkit.design.trainers.known import TRAINERS
from labkit.design.trainers.translate import translate


def notes(translation, kind):
    return {note.name: note.text for note in translation.notes if note.kind == kind}


def from_theirs(name, settings, pictures=None):
    return translate(TRAINERS[name], flat(settings), TRAINERS["labkit"], pictures)


def design(name, settings, pictures=None):
    return RunConfig.from_dict(from_theirs(name, settings, pictures).settings)
