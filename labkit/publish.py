"""Execute the lessons in full and write them back clean: generated cells fresh, no widget state, no machine's paths."""
import json
import re
import sys
import tempfile
from pathlib import Path

from labkit import badges, readme
from labkit.cli.execute import execute
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import notebooks
from labkit.settings import REPO

LIMIT_BYTES = 1_000_000
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def verb(options):
    """Refresh generated cells, and unless --badges was given execute each lesson and write it back."""
    from labkit.cli.chapter import timeout

    paths = notebooks.choose(options.names)
    if not badges.is_set():
        print("labkit: badges and the Colab cell lead nowhere until pyproject.toml names the repository's address.", file=sys.stderr)
    lines = []
    for path in paths:
        notebook = refresh(notebooks.read(path), path.stem)
        if not options.badges:
            write(path, notebook)
            notebook = executed(path, timeout())
        write(path, clean(notebook))
        lines.append(f"{path.stem}: {path.stat().st_size / 1000:.0f} kB")
    page = REPO / "README.md"
    write_file(page, readme.filled(page.read_text(encoding="utf-8")).encode(), choose="the checkout")
    return Outcome(0, "\n".join(lines))


def refresh(notebook, name):
    """Fill the generated cells, those tagged badges and setup; LabError if the lesson has not exactly one of each."""
    for tag, text in (("badges", badges.badges(name)), ("setup", badges.setup_cell())):
        cells = notebooks.tagged(notebook, tag)
        if len(cells) != 1:
            raise LabError(f"{name}.ipynb has {len(cells)} cells tagged {tag!r}; it must have one.")
        cells[0]["source"] = text.splitlines(keepends=True)
    return notebook


def executed(path, timeout):
    """Return the lesson executed in full from an empty store, with its time; LabError if it fails, which changes no file."""
    with tempfile.TemporaryDirectory() as own:
        target = Path(own) / path.name
        environment = {"LABKIT_STORE": own, "LABKIT_FAST": ""}
        seconds, error = execute(path, target, parameters={}, environment=environment, log=Path(own) / "log", timeout=timeout)
        if error:
            raise LabError(f"{path.name} {error}")
        notebook = notebooks.read(target)
    known = notebooks.seconds(notebooks.read(path))
    notebook["metadata"]["labkit"] = {"seconds": known | {device(): round(seconds)}}
    return notebook


def device():
    """Return what the lessons train on here: cpu or gpu."""
    import torch

    return "gpu" if torch.cuda.is_available() or torch.backends.mps.is_available() else "cpu"


def clean(notebook):
    """Take out what is of this machine or this run only: widget state, papermill's notes, timings, paths, versions."""
    timed = {"labkit": notebook["metadata"]["labkit"]} if "labkit" in notebook["metadata"] else {}
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}} | timed
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
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
    return json.loads(without_paths(json.dumps(output)))


def without_paths(text):
    """Replace the folders of this machine: the checkout by `.`, the interpreter's by `python`, the user's by `~`."""
    for place, name in ((str(REPO), "."), (sys.prefix, "python"), (tempfile.gettempdir(), "tmp"), (str(Path.home()), "~")):
        text = re.sub(re.escape(json.dumps(place)[1:-1]) + r"(?=[/\\\\\s\"',:;)]|$)", lambda _: name, text)
    return text


def write(path, notebook, choose="the checkout"):
    """Write a notebook; LabError if it is too large to commit."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if len(text.encode()) > LIMIT_BYTES:
        raise LabError(f"{path.name} would be {len(text.encode()) / 1e6:.1f} MB; at most {LIMIT_BYTES / 1e6:g}: draw fewer or smaller pictures.")
    write_file(path, text.encode(), choose=choose)
