"""Lessons as nbgrader and otter take them: from the committed lesson, with its solutions, checks that give points.

A check of the kit never raises, since a lesson goes on after 'not yet'. Graders count exceptions: a point is given by
a cell that asks the same check again and asserts that it passed. For nbgrader these cells are locked and stand at the
end, where one that fails keeps nobody from reading on; for otter they are the tests of a question.
"""

import ast
import copy
import re

from labkit.cli import forms
from labkit.cli.clean import clean
from labkit.errors import LabError
from labkit.lessons import notebooks

POINTS = 1  # of each exercise
SCHEMA = 3  # of nbgrader's metadata
LEFT_OUT = {"assert", "badges", "solution"}
COURSE = f'''"""How nbgrader makes and grades the assignments of this course."""

c = get_config()
c.CourseDirectory.course_id = "parameter-design-lab"
# Of a student's runs the records and pictures are handed in, adapters and checkpoints are not.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache", "*.safetensors"]
c.ClearSolutions.code_stub = {{"python": "{forms.STUB['code']}"}}
c.Execute.timeout = 120
# A cell of points that a student tags skip-execution would not run, and so raise nothing: full points.
c.Execute.skip_cells_with_tag = ""
'''
LAST_WORDS = """## Points

Leave the cells below as they are. Each asks one of the checks above once more, and gives its point where that has
passed."""
OTTER = """# ASSIGNMENT CONFIG
name: {name}
init_cell: true
check_all_cell: false
export_cell: false
generate: false
run_tests: false"""


def for_nbgrader(notebook, name):
    """Return a lesson as the source of an nbgrader assignment, without outputs.

    LabError: a mark stands alone, or a check cell is not of the form `name = a check`.
    """
    cells, points = _source_cells(notebook, name), []
    for cell in cells:
        tags = set(cell["metadata"].get("tags", ()))
        if _is_answer(cell):
            cell["metadata"]["nbgrader"] = _about(cell["id"], solution=True)
        elif tags & {"setup", "check"} or cell["cell_type"] == "code" and notebooks.BEGIN in notebooks.source(cell):
            cell["metadata"]["nbgrader"] = _about(cell["id"], locked=True)
        if "check" in tags:
            about = _about(f"{cell['id']}-points", grade=True, locked=True, points=POINTS)
            points.append(_cell("code", about["grade_id"], _asserted(cell, name), nbgrader=about))
    if points:
        points.insert(0, _cell("markdown", "points", LAST_WORDS, nbgrader=_about("points", locked=True)))
    return notebook | {"cells": cells + points}


def for_otter(notebook, name):
    """Return a lesson as a notebook for `otter assign`, without outputs; LabError as above."""
    made, answer = [_cell("raw", "otter-config", OTTER.format(name=name))], None
    for cell in _source_cells(notebook, name):
        if _is_answer(cell):
            answer = cell
        elif answer is not None and "check" in cell["metadata"].get("tags", ()):
            made += [*_question(answer, cell, name), cell]
            answer = None
        else:
            made.append(cell)
    return notebook | {"cells": made}


def _question(answer, check, name):
    """Return the cells of one of otter's questions: raw ones with its marks around answer and test."""
    question = re.sub(r"\W", "_", check["id"])
    source = notebooks.source(answer)
    for ours, otters in (("### BEGIN", f"{forms.STUB['code']}\n# BEGIN"), ("### END", "# END")):
        source = re.sub(rf"^([ \t]*){ours} SOLUTION", lambda mark, otters=otters:
                        "\n".join(mark[1] + line for line in otters.split("\n")) + " SOLUTION", source, flags=re.M)
    test = _cell("code", f"{check['id']}-points", _asserted(check, name))
    marks = [f"BEGIN QUESTION\nname: {question}\npoints: {POINTS}", "BEGIN SOLUTION", "END SOLUTION", "BEGIN TESTS",
             "END TESTS", "END QUESTION"]
    begin, solution, solved, tests, tested, end = (
        _cell("raw", f"{check['id']}-{number}", f"# {mark}") for number, mark in enumerate(marks))
    return [begin, solution, answer | {"source": source.splitlines(keepends=True)}, solved, tests, test, tested, end]


def _source_cells(notebook, name):
    """Return the cells of a lesson, with the solutions that a program takes out; LabError as for any copy."""
    forms.for_student(copy.deepcopy(notebook), name)
    notebook["metadata"].pop("labkit", None)
    cells = [cell for cell in clean(notebook)["cells"] if not LEFT_OUT & set(cell["metadata"].get("tags", ()))]
    for number, cell in enumerate(cells):
        cell.setdefault("id", f"cell-{number}")
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        else:                                                 # programs take solutions out of code alone
            source = forms.SOLUTION.sub(r"\1" + forms.STUB[cell["cell_type"]], notebooks.source(cell))
            cell["source"] = source.splitlines(keepends=True)
    return cells


def _is_answer(cell):
    """Tell whether a learner writes an answer into a cell."""
    return cell["cell_type"] == "code" and forms.SOLUTION.search(notebooks.source(cell)) is not None


def _asserted(check, name):
    """Return the source that asks a check and raises what it says unless it passed."""
    source = notebooks.source(check)
    try:
        asked = ast.parse(source).body[0]
        [result] = [target.id for target in asked.targets]
        call = ast.get_source_segment(source, asked.value)
    except (SyntaxError, IndexError, AttributeError, ValueError):
        raise LabError(f"{name}, cell {check['id']}: a cell tagged `check` must begin with `name = a check`, "
                       "so that its points can be given.") from None
    return f"{result} = {call}\nassert {result}.passed, {result}.sentence"


def _cell(kind, id_, source, **metadata):
    """Return a new cell."""
    outputs = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "id": id_, "metadata": metadata, "source": source.splitlines(keepends=True)} | outputs


def _about(grade_id, *, grade=False, solution=False, locked=False, **points):
    """Return nbgrader's metadata of a cell."""
    return {"schema_version": SCHEMA, "grade_id": re.sub(r"[^\w-]", "_", grade_id, flags=re.ASCII), "grade": grade,
            "solution": solution, "locked": locked, "task": False} | points
