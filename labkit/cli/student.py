"""Write copies of the lessons for students: the same notebook without its solutions, outputs and asserts.

Marks are nbgrader's: lines `### BEGIN SOLUTION` and `### END SOLUTION` around a part of a cell. Cells tagged
`solution` are left out whole. So are those tagged `assert`, plain asserts for nbgrader or otter, since an assert that
fails shows a traceback, and those tagged `badges`, whose links lead to the solutions.
"""

import re

from labkit.cli.clean import clean, write
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.settings import given_path

SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n.*?^[ \t]*### END SOLUTION[ \t]*$",
                      re.DOTALL | re.MULTILINE)
MARK = re.compile(r"\b(BEGIN|END) SOLUTION", re.IGNORECASE)
STUB = {"code": "# Your turn", "markdown": "*Your turn.*", "raw": "Your turn."}
LEFT_OUT = {"solution", "assert", "badges"}
STUDENT = re.compile(r"^student *= *(''|\"\")", re.MULTILINE)


def verb(options):
    """Write a student's copy of each lesson; nothing is written over."""
    folder, name = given_path(options.to), options.student
    paths = notebooks.choose([] if "all" in options.names else options.names)
    if name is not None and not (name.strip() and name.isprintable()):
        raise LabError(f"--student {name!r} is not a name.")
    copies = {folder / path.name: copy(notebooks.read(path), path.stem) for path in paths}
    # Every copy is signed, hence a list: `any` of a generator would stop at the first.
    if name and not any([sign(notebook, name.strip()) for notebook in copies.values()]):
        lessons = ", ".join(path.stem for path in paths)
        raise LabError(f"{lessons}: there is no parameter `student` to write a name into; leave --student out.")
    for target in copies:
        if target.exists():
            raise LabError(f"{target} is there already, perhaps with somebody's work in it: move it away, "
                           "or give another folder with --to.")
    for target, notebook in copies.items():
        write(target, notebook, choose="--to")
    return Outcome(0, "\n".join(map(str, copies)), [str(target) for target in copies])


def copy(notebook, name):
    """Return a notebook without solutions and outputs; LabError where a mark stands alone: a solution would stay."""
    notebook["cells"] = [cell for cell in notebook["cells"] if not LEFT_OUT & set(cell["metadata"].get("tags", ()))]
    for number, cell in enumerate(notebook["cells"], 1):
        source = SOLUTION.sub(r"\1" + STUB[cell["cell_type"]], notebooks.source(cell))
        if MARK.search(source):
            raise LabError(f"{name}, cell {number}: ### BEGIN SOLUTION and ### END SOLUTION must come in pairs, "
                           "each alone on its line.")
        cell["source"] = source.splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook["metadata"].pop("labkit", None)                  # the seconds that the solved lesson took
    return clean(notebook)


def sign(notebook, student) -> bool:
    """Write a student's name into the parameters; tell whether there is one for it."""
    signed = False
    for cell in notebooks.tagged(notebook, "parameters"):
        source, count = STUDENT.subn(lambda _: f"student = {student!r}", notebooks.source(cell), count=1)
        cell["source"], signed = source.splitlines(keepends=True), signed or bool(count)
    return signed
