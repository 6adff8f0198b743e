"""The runs of the lessons, as their own cells train them: no number of a lesson is written anywhere else."""

import ast
from typing import NamedTuple

from labkit.design.presets import PRESETS
from labkit.files import json_text
from labkit.lessons import notebooks

POOLS = "liminal/kind=pool"                                   # where the panel's designs were tried
BROKEN = ("stagnating", "overshooting", "diverged")           # those that stand beside the healthy run of lesson 00


class Lesson(NamedTuple):
    """Say in which cells of a lesson its runs are trained, and what they are called there."""

    notebook: str
    cells: tuple[str, ...]             # ids; what a cell only shows at its end is left out
    lab: str
    runs: str                          # names of a run or of a list of them, with commas between


LESSONS = {
    "00, pools": Lesson("00", ("00-03", "00-04", "00-06"), "lab", "first"),
    "01, storybook style": Lesson("01", ("01-03", "01-04", "01-08", "01-12"), "lab", "race"),
    "01, pools and mazes": Lesson("01", ("01-03", "01-04", "01-second-race"), "places", "new_places"),
    "04, pools and mazes": Lesson("04", ("c03", "c04", "c06", "c08", "c10", "c12", "c14", "c15", "c17", "c24", "c46"),
                                  "lab", "run, my_broken_run"),
}


def executed(lesson):
    """Execute the cells of a lesson without what they show; -> its names."""
    cells = json_text.read(notebooks.choose([lesson.notebook])[0])["cells"]
    sources = {cell["id"]: "".join(cell["source"]) for cell in cells}
    names = {}
    for cell in lesson.cells:
        tree = ast.parse(sources[cell])
        if isinstance(tree.body[-1], ast.Expr):
            tree.body.pop()
        exec(compile(tree, f"{lesson.notebook}:{cell}", "exec"), names)  # noqa: S102  # a lesson of this repository
    return names


def trained(name):
    """Train a lesson's runs, or find them in the store; -> lab, runs."""
    lesson = LESSONS[name]
    names = executed(lesson)
    lab, runs = names[lesson.lab], []
    for each in lesson.runs.split(", "):
        runs += names[each] if isinstance(names[each], list) else [names[each]]
    if name.startswith("00"):
        seed = runs[0].config.seed
        runs += lab.train_all([lab.config(PRESETS[one].changes, seed=seed) for one in BROKEN], pictures=0)
    return lab, runs
