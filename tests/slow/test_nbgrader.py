"""nbgrader itself makes and grades an assignment: full points to the solution, none to an empty copy, no training.

It runs where the command `nbgrader` is found, which may lie in an environment of its own: kernels are this one's.
"""

import copy
import csv
import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from command_line import labkit
from nbclient import NotebookClient

from labkit.cli.clean import KERNEL
from labkit.lessons import notebooks
from labkit.settings import REPO
from labkit.store.runs import Store

pytestmark = pytest.mark.skipif(shutil.which("nbgrader") is None, reason="the command nbgrader is not there")

BEGIN = """from labkit.lessons import session
session.begin()
import tiny
from labkit.lessons.exercises import Checks, own_seed
lab = tiny.lab()
checks = Checks(lab, own_seed(student))
design = {"max_train_steps": 30, "train_batch_size": 4, "target_modules": "attention"}"""
ANSWER = """my_rate = None
### BEGIN SOLUTION
for own in checks.seeds[:2]:
    lab.race("learning_rate", [1e-2, 3e-2, 1e-1], design, pictures=0, seed=own)
my_rate = 3e-2
### END SOLUTION"""
SECOND = """my_second_rate = None
### BEGIN SOLUTION
my_second_rate = 3e-2
### END SOLUTION"""


def cell(source, *tags):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Give a course with a released lesson of two exercises, and what a student and three others handed in."""
    root = tmp_path_factory.mktemp("course")
    (root / "lessons").mkdir()
    cells = [cell("student = 'Ada'  # your name", "parameters"), cell(BEGIN), cell(ANSWER),
             cell("best = checks.best(my_rate, design)\nbest", "check"), cell(SECOND),
             cell("again = checks.best(my_second_rate, design)\nagain", "check"), cell("session.finish()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}),
                   root / "lessons/01_made.ipynb")
    kernel = root / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(about))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "folder", lambda: root / "lessons")
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(REPO), str(REPO / "tests/support")]))
        patch.setenv("LABKIT_CACHE", str(root / "cache"))
        patch.delenv("LABKIT_FAST", raising=False)
        yield root


def nbgrader(course, *arguments, **environment):
    done = subprocess.run(["nbgrader", *arguments], cwd=course, capture_output=True, text=True, timeout=900,
                          env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def hand_in(course, student, notebook, runs=None):
    folder = course / "submitted" / student / "01_made"
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / "01_made.ipynb")
    if runs:
        for run in Store(runs).runs():
            for name in ("config.json", "events.jsonl"):
                target = folder / "runs" / run.run_id / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(run.path / name, target)


def test_the_solution_gets_all_points_an_empty_copy_none_and_the_grader_trains_nothing(course, capsys, monkeypatch):
    assert labkit(capsys, "student", "01", "--form", "nbgrader", "--to", course)[0] == 0
    nbgrader(course, "generate_assignment", "01_made")
    solved = nbformat.read(course / "source/01_made/01_made.ipynb", as_version=4)
    released = nbformat.read(course / "release/01_made/01_made.ipynb", as_version=4)
    assert "race" not in str(released) and sum("points" in str(each) for each in released.cells) >= 2

    monkeypatch.setenv("LABKIT_STORE", str(course / "runs"))
    NotebookClient(copy.deepcopy(solved), timeout=600, kernel_name="python3",
                   resources={"metadata": {"path": str(course)}}).execute()  # what a student did at home
    half = copy.deepcopy(solved)
    half.cells[4].source = "my_second_rate = 1e-5"
    half.cells[-1].source = "assert True"                     # which nbgrader puts right
    half.cells[-1].metadata["tags"] = ["skip-execution"]      # and this its configuration
    hand_in(course, "solution", solved, course / "runs")
    hand_in(course, "half", half, course / "runs")
    hand_in(course, "empty", released)
    hand_in(course, "without_runs", solved)

    nbgrader(course, "autograde", "01_made", "--create", LABKIT_STORE="runs", LABKIT_GRADING="1")
    nbgrader(course, "export", "--to", "grades.csv")
    with open(course / "grades.csv", encoding="utf-8") as file:
        scores = {row["student_id"]: (float(row["score"] or 0), float(row["max_score"]))
                  for row in csv.DictReader(file)}
    assert scores == {"solution": (2, 2), "half": (1, 2), "empty": (0, 2), "without_runs": (0, 2)}
    for student, trained in (("solution", 6), ("empty", 0), ("without_runs", 0)):
        store = Store(course / "autograded" / student / "01_made/runs")
        assert len(store.runs()) == trained
    graded = (course / "autograded/without_runs/01_made/01_made.ipynb").read_text(encoding="utf-8")
    assert "none is trained while answers are graded" in graded
