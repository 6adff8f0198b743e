"""A learner's own copies: solutions folded and not run, made once, and never written over what somebody did."""

import json
import os
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.cli import forms, jupyterlab, my_lessons, parser, student
from labkit.errors import LabError
from labkit.lessons import notebooks

ANSWER = """for _ in range(1):
    my_rate = None
    ### BEGIN SOLUTION
    # the valley's floor
    my_rate = 3e-3
    ### END SOLUTION"""
CHECK = "print('passed' if my_rate else 'not yet')"
WHY = "**Why so.** It is the lowest."


def cell(source, *tags, kind="code"):
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"tags": list(tags)} if tags else {})
    if kind == "code":
        made |= {"outputs": [nbformat.v4.new_output("stream", text="passed")], "execution_count": 1}
    return made


def write_lesson(folder, name, answer=ANSWER):
    cells = [cell("badges", "badges", kind="markdown"), cell("# Set-up", "setup"), cell(answer), cell(CHECK, "check"),
             cell("assert my_rate", "assert"), cell(WHY, "solution", kind="markdown"),
             cell("[next](01_b.ipynb)", kind="markdown")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"labkit": {"seconds": {"cpu": 9}}})
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Give the folder of copies of two made lessons."""
    lessons, own = tmp_path / "notebooks", tmp_path / "my_lessons"
    lessons.mkdir()
    for name in ("00_a", "01_b"):
        write_lesson(lessons, name)
    monkeypatch.setattr(notebooks, "folder", lambda: lessons)
    monkeypatch.setattr(my_lessons, "folder", lambda: own)
    return own


def opened(monkeypatch, name, *options):
    """Return the file that `labkit lab NAME` hands to JupyterLab."""
    paths = []
    monkeypatch.setattr(jupyterlab, "command", lambda lesson, **_: paths.append(lesson))
    monkeypatch.setattr(jupyterlab.subprocess, "Popen", lambda command: SimpleNamespace(wait=lambda: 0))
    assert jupyterlab.lab(parser.parse(["lab", name, *options])).code == 0
    return paths[0]


def printed_by_the_check(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    [check] = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", ())]
    return check.outputs[0]["text"].strip()


def texts(path):
    return [notebooks.source(cell) for cell in notebooks.read(path)["cells"]]


def test_run_all_leaves_the_check_of_a_copy_at_not_yet_and_the_source_passes(own, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    assert printed_by_the_check(opened(monkeypatch, "00")) == "not yet"
    assert printed_by_the_check(notebooks.folder() / "00_a.ipynb") == "passed"


def test_each_solution_is_a_folded_text_right_below_its_cell(own, monkeypatch):
    path = opened(monkeypatch, "a")
    assert path == own / "00_a.ipynb"
    assert texts(path) == [
        "# Set-up", "for _ in range(1):\n    my_rate = None\n    # Your turn",
        "<details><summary>Solution</summary>\n\n```python\n# the valley's floor\nmy_rate = 3e-3\n```\n\n</details>",
        CHECK, f"<details><summary>Explanation</summary>\n\n{WHY}\n\n</details>", "[next](01_b.ipynb)"]
    copy = nbformat.read(path, as_version=4)
    nbformat.validate(copy)
    assert not any(cell.outputs or cell.execution_count for cell in copy.cells if cell.cell_type == "code")
    assert copy.cells[0].metadata.jupyter.source_hidden and "seconds" not in copy.metadata.labkit


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_a_learners_copy_runs_the_code_of_a_students_copy(path):
    learner, student = (make(notebooks.read(path), path.stem) for make in (forms.for_learner, forms.for_student))
    codes = [[notebooks.source(cell) for cell in copy["cells"] if cell["cell_type"] == "code"]
             for copy in (learner, student)]
    assert codes[0] == codes[1] and len(learner["cells"]) > len(student["cells"])


def test_a_solution_without_its_other_mark_is_refused():
    answer = cell(ANSWER.replace("### END SOLUTION", ""))
    with pytest.raises(LabError, match="00_a, cell 1: .* must come in pairs"):
        forms.for_learner(nbformat.v4.new_notebook(cells=[answer]), "00_a")


def test_all_lessons_are_copied_so_that_links_lead_from_one_to_the_next(own, monkeypatch):
    opened(monkeypatch, "00_a")
    assert sorted(os.listdir(own)) == ["00_a.ipynb", "01_b.ipynb"]


def test_a_path_opens_that_very_file_and_makes_no_copies(own, monkeypatch):
    source = notebooks.folder() / "00_a.ipynb"
    assert opened(monkeypatch, str(source)) == source and not own.exists()


@pytest.mark.parametrize("work", ["an answer", "a run cell"])
def test_a_copy_that_somebody_worked_in_is_opened_as_it_is_and_a_newer_lesson_told(own, monkeypatch, work, capsys):
    path = opened(monkeypatch, "00")
    copy = json.loads(path.read_text())
    copy["cells"][1] |= {"source": "my_rate = 1"} if work == "an answer" else {"execution_count": 2}
    path.write_text(json.dumps(copy))
    opened(monkeypatch, "00")
    assert "has changed" not in capsys.readouterr().err
    write_lesson(notebooks.folder(), "00_a", ANSWER + "\nmore = 1")
    assert opened(monkeypatch, "00") == path and json.loads(path.read_text()) == copy
    told = capsys.readouterr().err
    assert "The lesson has changed since: rename or move your copy, and the same command makes a new one." in told
    path.rename(own / "mine.ipynb")
    assert "more = 1" in texts(opened(monkeypatch, "00"))[1]


def test_a_copy_that_nobody_touched_is_renewed_when_its_lesson_changes(own, monkeypatch, capsys):
    opened(monkeypatch, "00")
    write_lesson(notebooks.folder(), "00_a", ANSWER + "\nmore = 1")
    assert "more = 1" in texts(opened(monkeypatch, "00"))[1]
    assert "has changed" not in capsys.readouterr().err


def test_new_outputs_of_the_same_lesson_are_no_newer_lesson(own, monkeypatch):
    path = opened(monkeypatch, "00")
    before = path.read_bytes()
    source = json.loads((notebooks.folder() / "00_a.ipynb").read_text())
    source["cells"][2]["outputs"], source["metadata"]["labkit"] = [], {"seconds": {"gpu": 1}}
    (notebooks.folder() / "00_a.ipynb").write_text(json.dumps(source))
    opened(monkeypatch, "00")
    assert path.read_bytes() == before


@pytest.mark.parametrize("there", ["no notebook", '{"metadata": {"labkit": 5}, "cells": []}'])
def test_a_file_of_that_name_that_is_no_copy_is_left_alone(own, monkeypatch, there, capsys):
    own.mkdir()
    (own / "00_a.ipynb").write_text(there)
    assert opened(monkeypatch, "00").read_text() == there
    assert "has changed" not in capsys.readouterr().err


def test_another_folder_of_copies_is_filled_and_a_copy_without_solutions_in_it_is_opened_as_it_is(
        own, monkeypatch, tmp_path):
    handed_out = tmp_path / "class" / "01_b.ipynb"
    student.verb(parser.parse(["student", "01", "--to", str(handed_out.parent)]))
    before = handed_out.read_bytes()
    assert opened(monkeypatch, "01", "--notebooks", str(handed_out.parent)) == handed_out
    assert handed_out.read_bytes() == before and b"Solution" not in before
    assert "00_a.ipynb" in os.listdir(handed_out.parent) and not own.exists()


def test_a_notebook_in_a_folder_of_its_own_is_served_from_there(own, tmp_path):
    copy = tmp_path / "class" / "01_b.ipynb"
    assert f"--ServerApp.root_dir={tmp_path / 'class'}" in jupyterlab.command(copy, port=8888, browser=False)
