"""What one pass over the pictures shows, counted in the folders that settings or a person names."""

import os
import re
from pathlib import Path

from labkit.datasets.concepts import census
from labkit.design.trainers.passes import Pass, Shown, Source, sources
from labkit.errors import LabError
from labkit.settings import given_path
from labkit.text import counted, printable


def pass_of(trainer, settings, file, given):
    """Return the number of pictures that a person gave, or a Pass counted in folders; None where neither is known.

    file     the settings' file, beside which its folders are looked for, or a command line
    given    --pictures: a number, repeats not counted, or a folder
    """
    if given is not None and re.fullmatch(r"[+-]?\d+", given):
        if int(given) < 1:
            raise LabError(f"--pictures {given} is not possible: it must be a whole number above 0, or a folder.")
        return int(given)
    beside = given_path(file).parent if os.path.isfile(file) else Path()    # a command line is longer than any name
    named = sources(trainer.name, settings, beside)
    if given is None:
        places = [_there(source.place, beside) for source in named]
        return _pass(zip(named, places, strict=True), trainer) if named and all(places) else None
    folder = given_path(given)
    if not os.path.isdir(folder):
        raise LabError(f"--pictures {given}: there is no such folder; give one, or a whole number above 0.")
    if len(named) > 1:
        raise LabError(f"--pictures {given}: the settings name {counted(len(named), 'folder')} with repeats of their "
                       "own, so that one does not tell a pass: give the number that is shown in a pass.")
    reads_names = trainer.names_repeat or trainer.form == "design"
    one = _pass([(named[0] if named else Source("", in_names=reads_names), folder)], trainer)
    if one is None:
        raise LabError(f"--pictures {given}: there are no pictures in it: give the folder of the pictures"
                       f"{', or the one that holds 10_NAME' if trainer.names_repeat else ''}.")
    return one


def _there(place, beside):
    """Return the folder that settings name, as seen from here or from beside them; None where it is not there."""
    return next((path for path in (given_path(place), beside / place) if os.path.isdir(path)), None)


def _pass(places, trainer):
    """Count the pictures of sources in their folders; None where there are none."""
    parts = []
    for source, folder in places:
        for concept, pictures in census(folder, takes_names=source.in_names):
            name = printable(concept.place.name)
            if source.samples is not None:
                parts.append(Shown(name, pictures, source.samples / max(1, pictures)))
            else:
                repeats = concept.repeats if source.in_names and trainer.names_repeat else source.repeats
                parts.append(Shown(name, pictures, repeats, concept.repeats))
    parts = [part for part in parts if part.pictures]
    return Pass(parts) if parts else None
