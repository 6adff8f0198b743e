"""What every notebook does first and last: refuse parameters it does not have, account for what it trained."""
import ast
import difflib
import json
import os
import threading
from pathlib import Path

from labkit.errors import LabError

fast = os.environ.get("LABKIT_FAST") == "1"  # the short form that tests run
RESULTS_VERSION = 1
REFERENCE_BATCH = 4  # run-steps are stated at this batch: samples seen / 4

_before = {}  # samples seen per run of the store when the lesson began


def pick(full, short):
    """Return the first value in a lesson, the second in its fast form (LABKIT_FAST=1)."""
    return short if fast else full


def begin():
    """Refuse injected names that are no parameters of this notebook, and note what the run store holds."""
    check_injected(_history())
    _before.clear()
    _before.update({run.run_id: samples for run, samples in _runs()})


def check_injected(history):
    """Raise LabError if a cell that papermill injected assigns a name which the cell before it does not.

    history: sources of the executed cells, oldest first. Papermill puts its cell, which begins with `# Parameters`,
    right after the notebook's parameters, or first where the notebook has none.
    """
    for before, cell in zip(["", *history], history):
        if not cell.startswith("# Parameters\n"):
            continue
        known = assigned(before)
        for name in assigned(cell):
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"Did you mean {close[0]}?" if close else f"The parameters are: {', '.join(known) or 'none'}."
                raise LabError(f"{name} is not a parameter of this notebook. {hint}")


def assigned(source):
    """Return the names that plain top-level assignments of a cell set, in order."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []
    targets = [node.targets for node in body if isinstance(node, ast.Assign)]
    targets += [[node.target] for node in body if isinstance(node, ast.AnnAssign)]
    return [target.id for group in targets for target in group if isinstance(target, ast.Name)]


def finish():
    """Account for this lesson's training; raise LabError if a run ended in error or is still going."""
    going = [thread.name for thread in threading.enumerate() if thread.name.startswith("labkit-train")]
    if going:
        raise LabError("Training is still going on: wait for it (panel.wait()) or stop it before the last cell.")
    touched = [(run, samples - _before.get(run.run_id, 0)) for run, samples in _runs() if samples > _before.get(run.run_id, 0)]
    steps = sum(samples for _, samples in touched) // REFERENCE_BATCH
    if os.environ.get("LABKIT_RESULTS"):
        result = {"schema_version": RESULTS_VERSION, "run_steps_trained": steps, "runs": [run.run_id for run, _ in touched]}
        Path(os.environ["LABKIT_RESULTS"]).write_text(json.dumps(result), encoding="utf-8")
    failed = [run for run, _ in touched if run.status == "error"]
    if failed:
        raise LabError("; ".join(f"run {run.run_id} ended in an error: {run.stopped.message}" for run in failed))
    print(f"This notebook trained {len(touched)} runs, {steps:,} run-steps at batch {REFERENCE_BATCH}; none ended in an error.")


def _history():
    """Return the sources of the cells executed so far, without this one; empty outside IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return list(shell.user_ns.get("In", [])[1:-1]) if shell else []
