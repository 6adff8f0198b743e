"""Student copies: one source, solutions taken out; the copy runs to 'not yet', the source to 'passed'."""

import ast
import json
import os

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.cli import forms, parser, student
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.lessons.exercises import own_seed
from labkit.settings import REPO

# The lab of the made lesson: a U-Net of a few thousand weights on drawn latents.
SETUP = f"""import sys
sys.path[:0] = [{str(REPO)!r}, {str(REPO / "tests" / "support")!r}]
import tiny
from labkit.lessons.exercises import Checks, own_seed
lab = tiny.lab()
checks = Checks(lab, own_seed(student))
design = {{"max_train_steps": 30, "train_batch_size": 4, "target_modules": "attention"}}"""
ANSWER = """my_rate = None  # a rate of the ladder
### BEGIN SOLUTION
for own in checks.seeds[:2]:
    lab.race("learning_rate", [1e-2, 3e-2, 1e-1], design, pictures=0, seed=own)
my_rate = 3e-2
### END SOLUTION"""
CHECK = "best = checks.best(my_rate, design)\nbest"


def cell(source, *tags, kind="code", **more):
    if kind == "code":
        printed = {"output_type": "stream", "name": "stdout", "text": ["solved"]}
        more |= {"outputs": [printed], "execution_count": 3}
    return {"cell_type": kind, "id": f"c{abs(hash(source)) % 10**8}", "source": source,
            "metadata": {"tags": list(tags)} if tags else {}} | more


def lesson(folder, name="01_made", parameters="seed = 0\nstudent = ''  # your name", answer=ANSWER):
    """Write a lesson with one solved exercise."""
    question = "### Predict\nWhich rate ends lowest?\n\n<details><summary>Hint</summary>Three runs.</details>"
    cells = [
        cell("badges", "badges", kind="markdown"),
        cell(parameters, "parameters"),
        cell(SETUP),
        cell(question, kind="markdown"),
        cell(answer),
        cell(CHECK, "check"),
        cell("assert best.passed, best.sentence", "assert"),
        cell("A higher rate goes further.", "solution", kind="markdown")]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"labkit": {"seconds": 9}}, "cells": cells}
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Give a folder with a made lesson, where the verb looks for lessons."""
    lesson(tmp_path)
    monkeypatch.setattr(notebooks, "folder", lambda: tmp_path)
    return tmp_path


def labkit(*arguments):
    return student.verb(parser.parse(["student", *map(str, arguments)]))


def executed(path):
    """Run a notebook headless; return the text of the check's result."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    [checked] = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", ())]
    return checked.outputs[-1]["data"]["text/plain"]


def test_the_copy_runs_to_not_yet_and_the_source_to_passed(source, monkeypatch):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("IPYTHONDIR", str(source / "ipython"))
    labkit("01", "--to", source / "class", "--student", "Ada")
    assert executed(source / "class/01_made.ipynb") == (
        "not yet: There is no answer yet. It is a rung of the ladder: "
        "1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1.")
    assert not os.path.exists(os.environ["LABKIT_STORE"]) or not os.listdir(os.environ["LABKIT_STORE"])
    assert executed(source / "01_made.ipynb").startswith(
        "passed: No neighbour of 3e-2 is lower beyond noise of pictures and seeds")


def test_nothing_of_the_solution_is_left_in_a_copy(source):
    labkit("all", "--to", source / "class")
    text = (source / "class/01_made.ipynb").read_text()
    copy = json.loads(text)
    removed = ("SOLUTION", "lab.race", "my_rate = 3e-2", "goes further", "badges", "solved", "assert best", "seconds")
    assert not any(word in text for word in removed)
    assert [notebooks.source(cell) for cell in copy["cells"]][-2:] == [
        "my_rate = None  # a rate of the ladder\n# Your turn", CHECK]
    nbformat.validate(copy)


def test_the_students_name_stands_in_the_parameters_and_sets_the_seed(source):
    labkit("01_made", "--to", source / "ada", "--student", 'Ada "Countess" O\'Hara')
    [parameters] = notebooks.tagged(notebooks.read(source / "ada/01_made.ipynb"), "parameters")
    found = notebooks.assigned(notebooks.source(parameters))
    assert found == {"seed": 0, "student": 'Ada "Countess" O\'Hara'}
    assert notebooks.source(parameters).endswith("# your name")
    assert own_seed(found["student"]) != own_seed("")


def test_a_student_number_is_a_name_too():
    """Papermill reads 00123 as 123, and a name in quotation marks as it stands."""
    assert own_seed(123) == own_seed("123") == own_seed("00123") != own_seed("124")
    for wrong in (1.5, True, -1, ["Ada"]):
        with pytest.raises(LabError, match="neither a name nor a student number"):
            own_seed(wrong)


def test_a_copy_is_never_written_over_and_then_no_other_is_written_either(source):
    lesson(source, "02_made")
    labkit("02", "--to", source / "class")
    with pytest.raises(LabError, match="02_made.ipynb is there already, perhaps with somebody's work"):
        labkit("all", "--to", source / "class")
    with pytest.raises(LabError, match="is there already"):
        labkit("01", "--to", source)
    assert [path.name for path in (source / "class").iterdir()] == ["02_made.ipynb"]


@pytest.mark.parametrize("answer", [
    ANSWER.replace("### END SOLUTION", ""),
    ANSWER.replace("### BEGIN", "# BEGIN"),
    ANSWER + "\n### END SOLUTION",
    ANSWER.replace("### END SOLUTION", "### end solution")])
def test_a_mark_that_stands_alone_is_refused_before_a_solution_could_leak(source, answer):
    lesson(source, "02_leaky", answer=answer)
    with pytest.raises(LabError, match="02_leaky, cell 4.*must come in pairs"):
        labkit("all", "--to", source / "class")
    assert not (source / "class").exists()


def test_a_raw_cell_is_copied_without_its_solution():
    raw = cell("To print.\n### BEGIN SOLUTION\nthe answer\n### END SOLUTION\nMore.", kind="raw")
    copied = forms.for_student({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [raw]}, "own")
    assert "".join(copied["cells"][0]["source"]) == "To print.\nYour turn.\nMore."


def test_an_indented_solution_leaves_a_cell_that_compiles(source):
    answer = "for rate in (1, 2):\n    rate\n    ### BEGIN SOLUTION\n    print(rate)\n    ### END SOLUTION"
    lesson(source, "02_loop", answer=answer)
    labkit("02", "--to", source / "class")
    for cell_ in notebooks.read(source / "class/02_loop.ipynb")["cells"]:
        if cell_["cell_type"] == "code":
            ast.parse(notebooks.source(cell_))
    assert "    rate\\n\",\n    \"    # Your turn" in (source / "class/02_loop.ipynb").read_text()


@pytest.mark.parametrize("name", ["", "  ", "a\nb"])
def test_a_student_needs_a_name_and_a_lesson_that_takes_one(source, name):
    with pytest.raises(LabError, match="is not a name"):
        labkit("01", "--to", source / "class", "--student", name)
    lesson(source, "02_nameless", parameters="seed = 0")
    with pytest.raises(LabError, match="02_nameless: there is no parameter `student`"):
        labkit("02", "--to", source / "class", "--student", "Ada")
    labkit("all", "--to", source / "class", "--student", "Ada")              # the lessons that take a name get it
