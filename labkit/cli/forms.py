"""The forms of a lesson. The committed notebook, solved and executed, is the source of all of them.

Marks are nbgrader's: lines `### BEGIN SOLUTION` and `### END SOLUTION` around a part of a cell; a cell tagged
`solution` is one as a whole. No copy holds cells tagged `assert`, plain asserts for nbgrader or otter, since an assert
that fails shows a traceback, nor those tagged `badges`, whose links lead to the solutions.
"""

import re
import textwrap

from labkit.cli.clean import clean
from labkit.errors import LabError
from labkit.lessons import notebooks

SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n(.*?)^[ \t]*### END SOLUTION[ \t]*$",
                      re.DOTALL | re.MULTILINE)
MARK = re.compile(r"\b(BEGIN|END) SOLUTION", re.IGNORECASE)
STUB = {"code": "# Your turn", "markdown": "*Your turn.*", "raw": "Your turn."}


def for_student(notebook, name):
    """Return a lesson without solutions and outputs; LabError where a mark stands alone: a solution would stay."""
    return _unsolved(notebook, name, {"assert", "badges", "solution"}, lambda cell: [])


def for_learner(notebook, name):
    """Return a lesson without outputs whose solutions are folded texts below their cells; LabError as above."""
    return _unsolved(notebook, name, {"assert", "badges"}, _folded_solutions)


def _unsolved(notebook, name, left_out, below):
    """Return a notebook without outputs and with a stub for each solution; `below(cell)` gives what follows a cell."""
    kept = [cell for cell in notebook["cells"] if not left_out & set(cell["metadata"].get("tags", ()))]
    notebook["cells"] = []
    for number, cell in enumerate(kept, 1):
        more = below(cell)
        source = SOLUTION.sub(r"\1" + STUB[cell["cell_type"]], notebooks.source(cell))
        if MARK.search(source):
            raise LabError(f"{name}, cell {number}: ### BEGIN SOLUTION and ### END SOLUTION must come in pairs, "
                           "each alone on its line.")
        cell["source"] = source.splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        is_solution = "solution" in cell["metadata"].get("tags", ())
        notebook["cells"] += more if is_solution else [cell, *more]
    notebook["metadata"].pop("labkit", None)                  # the seconds that the solved lesson took
    return clean(notebook)


def _folded_solutions(cell):
    """Return a Markdown cell that opens at a click for the solutions of a cell, or for a cell that is one."""
    text = notebooks.source(cell)
    parts = [text] if "solution" in cell["metadata"].get("tags", ()) else [part for _, part in SOLUTION.findall(text)]
    if not parts:
        return []
    words = "\n\n".join(textwrap.dedent(part).strip("\n") for part in parts)
    is_code = cell["cell_type"] == "code"
    if is_code:
        words = f"```python\n{words}\n```"
    summary = "Solution" if is_code or parts != [text] else "Explanation"
    source = f"<details><summary>{summary}</summary>\n\n{words}\n\n</details>"
    name = {"id": f"{cell['id'][:50]}-solution"} if "id" in cell else {}
    return [{"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)} | name]
