"""What every notebook does first and last: refuse parameters it does not have, account for what it trained."""

import difflib
import json
import os
import sys
import time
import warnings

from labkit import settings
from labkit.design.parameters import PAPERMILL, checked
from labkit.errors import LabError, LabWarning
from labkit.files.atomic import write_file
from labkit.lessons.notebooks import assigned, lesson_of
from labkit.store import recorded as recorded_sets
from labkit.store.runs import written_here
from labkit.text import counted, in_lines, one_sentence
from labkit.view.frontend import say

fast = settings.fast
RESULTS_VERSION = 1
SHORT_MONITOR = {"images": 8, "num_inference_steps": 2}  # of a run that shows that it works, not what it learns
REFERENCE_BATCH = 4  # run-steps are stated at this batch: pictures seen / 4

_begun_s = 0.0
_as_python_shows = warnings.showwarning


def pick(full, short):
    """Return the first value in a lesson, the second in its fast form (LABKIT_FAST=1)."""
    return short if settings.fast else full


def monitor() -> dict:
    """Return what a lab of the lessons measures otherwise than usual: nothing, or less where LABKIT_FAST=1."""
    return pick({}, SHORT_MONITOR)


def begin():
    """Check this notebook's parameters, and note lesson and time: what trains from here on is its own."""
    global _begun_s
    shell = _shell()
    cells = list(shell.user_ns.get("In", [])[1:-1]) if shell else []  # without the cell that runs
    check_injected(cells)
    check_parameters(cells, shell.user_ns if shell else {})
    if shell:
        os.environ["LABKIT_LESSON"] = lesson_of((shell.user_ns.get("In") or [""])[-1])  # the cell that runs
        shell.set_custom_exc((KeyboardInterrupt,), _say_interrupted)
        warnings.showwarning = _say_warning
    _begun_s = time.time()


def check_injected(cells):
    """Raise LabError if a cell that papermill injected assigns a name which the cell before it does not.

    cells: sources of the executed cells, oldest first. Papermill puts its cell, which begins with `# Parameters`,
    right after the notebook's parameters, or first where the notebook has none.
    """
    for before, cell in zip(["", *cells], cells, strict=False):
        if not cell.startswith("# Parameters\n"):
            continue
        known = list(assigned(before))
        for name in assigned(cell):
            if name not in known and name not in PAPERMILL:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"Did you mean {close[0]}?" if close else f"The parameters are: {', '.join(known) or 'none'}."
                raise LabError(f"{name} is not a parameter of this notebook. {hint}")


def check_parameters(cells, namespace):
    """Put the checked value of every parameter into the notebook's namespace; LabError names one that is not possible.

    cells: sources of the executed cells, oldest first; the last two are the parameters and what papermill injected.
    """
    for cell in cells[-2:]:
        declared = {} if cell.startswith("# Parameters\n") else assigned(cell)
        namespace |= {name: checked(name, namespace[name], default)
                      for name, default in declared.items() if name in namespace}


def recorded(*names) -> list:
    """Return the runs of recorded sets; none, and one sentence on how to make them, where a set is not there."""
    try:
        return [run for name in names for run in recorded_sets.recorded(name)]
    except LabError:
        command = f"python -m recipes.ship.recorded {' '.join(names)}"
        say(f"Recorded runs are missing here: in the folder data, `{command}` makes them.")
        return []


def trained(since_s):
    """Return [(run folder, pictures seen since then)] of this kernel's runs that made steps or stopped since then.

    A run whose folder is damaged is left out, with a LabWarning that names it.
    """
    counts = []
    for run in written_here():
        try:
            lines = [line for line in run.read()[0] if line["time"] >= since_s]
            if lines:
                run.load()  # the whole folder: `finish` asks for more than its journal
                # a fork begins with its parent's updates, told at the parent's time
                steps = [line for line in lines if line["event"] == "Step" and line["time"] >= run.began_s - 0.001]
                counts.append((run, sum(line["samples_seen"] // line["global_step"] for line in steps)))
        except LabError as error:
            warnings.warn(f"{error} This lesson does not count the run.", LabWarning, stacklevel=3)
    return counts


def finish():
    """Account for this lesson's training; raise LabError if a run ended in error or is still going."""
    runs = trained(_begun_s)
    steps = sum(pictures for _, pictures in runs) // REFERENCE_BATCH
    if account := settings.switch("LABKIT_RESULTS"):
        names = [run.run_id for run, _ in runs]
        result = {"schema_version": RESULTS_VERSION, "run_steps_trained": steps, "runs": names}
        write_file(account, json.dumps(result).encode(), choose="LABKIT_RESULTS")
    for run, _ in runs:
        if run.status == "error":
            raise LabError(f"Run {run.run_id} ended in an error: {run.load().stopped.message}")
        if run.status == "running":
            raise LabError(f"Run {run.run_id} is still going on: wait for it before the last cell.")
    say(f"This lesson trained {counted(len(runs), 'run')}, {steps:,} run-steps at batch {REFERENCE_BATCH}; "
        "none ended in an error.")


def _shell():
    """Return IPython's shell, None outside it."""
    try:
        from IPython import get_ipython  # a notebook has it, plain Python need not
    except ImportError:
        return None
    return get_ipython()


def _say_interrupted(_shell, _kind, error, _trace, tb_offset=None):
    """Show one sentence where IPython shows a screenful: who interrupts a cell knows where it was."""
    sentence = str(error) or "Interrupted. What was finished is kept: run this cell again to go on."
    print(in_lines(sentence), file=sys.stderr)
    return [sentence]


def _say_warning(message, category, filename, lineno, file=None, line=None):
    """Show a warning of ours as the sentence that it is; others as Python shows them, with the line of code."""
    if issubclass(category, LabWarning):
        print(in_lines(one_sentence(message)), file=file or sys.stderr)
    else:
        _as_python_shows(message, category, filename, lineno, file, line)
