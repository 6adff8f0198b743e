"""Notebooks as files to keep: without what belongs to one machine or one run, and small enough to commit."""

import json
import re
import sys
import tempfile
from pathlib import Path

from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.settings import REPO

LIMIT_BYTES = 1_000_000
WIDGET = "application/vnd.jupyter.widget-view+json"
# What the cell of a tag is shown as, for JupyterLab and for Colab: its title, and its code at a click.
SHOWN = {"setup": {"jupyter": {"source_hidden": True}, "cellView": "form"}}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def clean(notebook):
    """Take out what is of this machine or this run only: widget state, papermill's notes, timings, paths, versions."""
    timed = {"labkit": notebook["metadata"]["labkit"]} if "labkit" in notebook["metadata"] else {}
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}} | timed
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        for tag in tags or ():
            cell["metadata"] |= SHOWN.get(tag, {})
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in map(clean_output, cell["outputs"]) if output]
    return notebook


def clean_output(output):
    """Return an output without widget and paths, or None if nothing is left that a reader could see."""
    if "data" in output:
        is_widget = output["data"].pop(WIDGET, None) is not None
        if is_widget and set(output["data"]) <= {"text/plain"}:
            return None
        output["metadata"] = {kind: about for kind, about in output["metadata"].items() if kind in output["data"]}
    return json.loads(_without_paths(json.dumps(output)))


def _without_paths(text):
    """Replace this machine's folders: the checkout by `.`, the interpreter's by `python`, the user's by `~`."""
    names = {str(REPO): ".", sys.prefix: "python", tempfile.gettempdir(): "tmp", str(Path.home()): "~"}
    for folder, name in names.items():
        as_json = re.escape(json.dumps(folder)[1:-1])
        text = re.sub(as_json + r"(?=[/\\\\\s\"',:;)]|$)", lambda _, name=name: name, text)
    return text


def write(path, notebook, choose="the checkout"):
    """Write a notebook; LabError if it is too large to commit. `choose` says how another place is chosen."""
    data = (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
    if len(data) > LIMIT_BYTES:
        raise LabError(f"{path.name} would be {len(data) / 1e6:.1f} MB; at most {LIMIT_BYTES / 1e6:g}: "
                       "draw fewer or smaller pictures.")
    write_file(path, data, choose=choose)
