"""The lessons as files: which there are, what each asks, its parameters, what a run left behind. Standard library."""

import ast
import difflib
import os
from pathlib import Path

from labkit.errors import LabError
from labkit.files import json_text
from labkit.settings import REPO, given_path

CELL_TYPES = ("code", "markdown", "raw")
QUESTIONS = {
    "00_start": "What happens when a model learns a place it has never seen?",
    "01_learning_rate": "How hard should each update push, and how do I find out?",
    "02_rank_and_alpha": "How much room does an adapter need, and how strongly should it act?",
    "03_epochs_and_batches": "How often and how many at a time should pictures be shown, and when is it enough?",
    "04_parameter_design": "How do I go from my pictures to the right parameters and a file that works elsewhere?",
}
BEGIN = "session.begin()"  # stands in the cell with which the code of a lesson begins
ALIKE = 0.6  # of the lines of such a cell: about half of them are the same in two lessons
MOST_BYTES = 100_000_000  # an executed notebook full of pictures takes a few megabytes


def folder():
    """Return the folder of the lessons."""
    return REPO / "notebooks"


def lessons():
    """Return the paths of all lessons, in their order."""
    return sorted(folder().glob("[0-9][0-9]_*.ipynb"))


def choose(names, *, files=False):
    """Return the notebooks that these names mean; all lessons for none.

    names    lessons by number, word or both (`01`, `learning_rate`, `01_learning_rate`), or paths
    files    take any notebook that is named by its path; without it, only the lessons may be named so
    """
    known = lessons()
    if not known:
        raise LabError(f"There are no notebooks in {folder()}: the checkout is incomplete; fetch it again.")
    return list(dict.fromkeys(_choose_one(name, known, files) for name in names)) or known


def is_path(name):
    """Tell whether a notebook is named by its path rather than as a lesson."""
    return name.endswith(".ipynb") or os.sep in name or "/" in name


def _choose_one(name, known, files):
    for path in known:
        if name in (path.stem, path.stem[:2], path.stem[3:]):
            return path
    if is_path(name):
        return _choose_file(name, known, files)
    close = difflib.get_close_matches(name, [form for path in known for form in (path.stem, path.stem[3:])], 1)
    hint = f"Did you mean {close[0]}?" if close else "There are: " + ", ".join(path.stem for path in known) + "."
    raise LabError(f"There is no lesson {name!r}. {hint}")


def _choose_file(name, known, files):
    """Return the very file that was named: a student's copy bears the name of the lesson it was made from."""
    path = given_path(name).absolute()
    if not path.is_file():
        lesson = Path(name).name.removesuffix(".ipynb")
        is_lesson = lesson in [path.stem for path in known]
        remedy = (f"The kit's own lesson is named without a path: {lesson}." if is_lesson else
                  "Give the path of one, or the name of a lesson.")
        raise LabError(f"There is no notebook {name}. {remedy}")
    same = [lesson for lesson in known if lesson.samefile(path)]
    if not same and not files:
        raise LabError(f"{name} is no lesson of the kit: name one of {', '.join(path.stem for path in known)}.")
    return same[0] if same else path


def read(path):
    """Return a notebook as a dict; LabError for a file that is not one."""
    try:
        notebook = json_text.read(Path(path), most_bytes=MOST_BYTES)
    except (OSError, ValueError):
        notebook = {}
    if not _is_notebook(notebook):
        raise LabError(f"{path} cannot be read as a notebook: "
                       "give one that JupyterLab opens and saves (.ipynb, format 4).")
    return notebook


def _is_notebook(notebook):
    """Tell whether the parts of a notebook that the kit looks at are there, each of its kind."""
    is_whole = isinstance(notebook.get("metadata"), dict) and _are(dict, notebook.get("cells"))
    return is_whole and all(map(_is_cell, notebook["cells"]))


def _is_cell(cell):
    kind, metadata, source, outputs = (cell.get(name) for name in ("cell_type", "metadata", "source", "outputs"))
    if kind not in CELL_TYPES or not isinstance(metadata, dict) or not _are(str, metadata.get("tags", [])):
        return False
    if not isinstance(source, str) and not _are(str, source):
        return False
    return outputs is None or _are(dict, outputs) and all(map(_is_output, outputs))


def _is_output(output):
    needed = ("output_type", "ename", "evalue") if output.get("output_type") == "error" else ("output_type",)
    return all(isinstance(output.get(name), str) for name in needed)


def _are(kind, values):
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def seconds(notebook):
    """Return {device: seconds} that a lesson took when it was published; {} where that is not told."""
    metadata = notebook["metadata"].get("labkit")
    seconds = metadata.get("seconds") if isinstance(metadata, dict) else None
    seconds = seconds if isinstance(seconds, dict) else {}
    return {device: value for device, value in seconds.items() if type(value) in (int, float)}


def source(cell):
    """Return the source of a cell as one string."""
    return "".join(cell["source"])


def tagged(notebook, tag):
    """Return the cells that bear a tag."""
    return [cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", ())]


def assigned(code):
    """Return {name: value} of plain top-level assignments, in order; a value that is no literal becomes ...."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return {}
    values = {}
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                try:
                    values[target.id] = ast.literal_eval(node.value)
                except ValueError:
                    values[target.id] = ...
    return values


def first_cells():
    """Return {lesson: lines of the cell with which its code begins}."""
    cells = {path.stem: [source(cell) for cell in read(path)["cells"] if BEGIN in source(cell)] for path in lessons()}
    return {name: found[0].splitlines() for name, found in cells.items() if found}


def lesson_of(code, among=None):
    """Return the name of the lesson whose first cell of code this is, if need be changed a little; "" for none.

    among    what `first_cells` returns; None reads the lessons
    """
    lines, among = set(code.splitlines()), first_cells() if among is None else among
    alike = {name: sum(line in lines for line in first) / len(first) for name, first in among.items()}
    name = max(alike, key=alike.get, default="")
    return name if alike.get(name, 0) > ALIKE else ""


def parameters(path):
    """Return {name: default} of a lesson's parameters."""
    values = {}
    for cell in tagged(read(path), "parameters"):
        values |= assigned(source(cell))
    return values


def failure(notebook):
    """Return (number as in In[], error message) of the first failed cell of an executed notebook, or None."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs") or ():
            if output["output_type"] == "error":
                return cell.get("execution_count"), f"{output['ename']}: {output['evalue']}"
    return None
