"""A learner's own copies of the lessons: made by `labkit lab`, never written over once somebody has worked in them."""

import hashlib
import json

from labkit.cli import forms
from labkit.cli.clean import write
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.settings import own_dir


def folder():
    """Return the folder of the copies: my_lessons/ of the checkout, or in the user's data folder."""
    return own_dir("my_lessons")


def bring_all(to=None):
    """Write the copies that are missing and renew those that nobody touched; links lead from one to the next.

    to    their folder; None takes the usual one

    Returns {path of a lesson: (path of its copy, whether the lesson has changed since)}. A copy without solutions, as
    a class gets it, is somebody's and stays as it is.
    """
    return {lesson: _bring(lesson, (to or folder()) / lesson.name) for lesson in notebooks.lessons()}


def _bring(lesson, target):
    copy = forms.for_learner(notebooks.read(lesson), lesson.stem)
    now = fingerprint(copy)
    copy["metadata"]["labkit"] = {"made_from": now}
    made_from, is_untouched = _state(target) if target.exists() else (None, True)
    if is_untouched and made_from != now:
        write(target, copy)
    return target, not is_untouched and made_from not in (None, now)


def _state(target):
    """Return which form of its lesson a copy was made from, and whether it still is as it was made."""
    try:
        there = notebooks.read(target)
    except LabError:                                          # damaged, yet somebody's: JupyterLab says what it is
        return None, False
    about = there["metadata"].get("labkit")
    made_from = about.get("made_from") if isinstance(about, dict) else None
    return made_from, made_from == fingerprint(there)


def fingerprint(notebook):
    """Return a hash of what a person changes: cells, their texts, and which of them have run."""
    cells = [(cell["cell_type"], notebooks.source(cell), cell.get("execution_count")) for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]
