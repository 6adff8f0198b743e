"""Headless lessons are strict: what fails is named and gives a non-zero exit, also under papermill alone."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

from labkit.cli import chapter, execute
from labkit.cli import parser as cli
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.settings import REPO

BEGIN, FINISH = "from labkit.lessons import session\nsession.begin()", "session.finish()"
TRAIN = """
import numpy as np
from labkit.design.config import RunConfig
from labkit.store.events import Step, Stopped, Validation
from labkit.store.runs import Store, record
def run(name, rate, reason, steps=120):
    config = RunConfig(learning_rate=rate, seed=seed).resolved(96)
    t, noise = np.full((32, 1), 500), np.random.default_rng(0).normal(0, 0.002, (32, 1))
    def events():
        for step in range(steps + 1):
            if step: yield Step(name * 16, step, 4 * step, 0.1, rate, 1.0, 0.1)
            if step % 30 == 0:
                for kind in ("validation", "probe"):
                    losses = (0.2 - 0.1 * step / (step + 20) + noise).astype("float32")
                    yield Validation(name * 16, step, 4 * step, kind, "monitor", losses, t)
        yield Stopped(name * 16, steps, 4 * steps, reason, "out of memory" if reason == "error" else "")
    list(record(Store(), events(), {name * 16: config}))
"""
WIDGET = """import ipywidgets as W
from IPython.display import display, HTML
display(W.Label('live'))
print('seed', seed)
HTML('<b>shown</b>')"""


def write(folder, name, *cells, parameters="seed = 0\nlearning_rate = 1e-3\ndesign = None"):
    tagged = [("# set-up", "setup"), (parameters, "parameters")] if parameters else []
    cells = [*tagged, *((source, None) for source in cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel},
                "cells": [{"cell_type": "code", "id": f"c{i}", "source": source,
                           "metadata": {"tags": [tag]} if tag else {},
                           "outputs": [], "execution_count": None} for i, (source, tag) in enumerate(cells)]}
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook))


def lab(folder, *arguments):
    """Run `labkit chapter` on the lessons of a folder; return its outcome."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "folder", lambda: folder)
        return chapter.verb(cli.parse(["chapter", "--out", str(folder / "out"), *arguments]))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run five lessons of which one is in order; give the folder and the outcome."""
    folder = tmp_path_factory.mktemp("lessons")
    runs = [f"run('{n}', {rate}, 'finished')" for n, rate in zip("abc", (1e-4, 1e-3, 1e-2), strict=True)]
    write(folder, "00_good", BEGIN, TRAIN, *runs, WIDGET, FINISH)
    write(folder, "01_little", BEGIN, TRAIN, "run('d', 1e-3, 'finished', steps=30)", FINISH)
    write(folder, "02_error", BEGIN, TRAIN, "run('e', 1e-3, 'error')", FINISH)
    write(folder, "03_broken", BEGIN, "x = 1", "1 / 0", FINISH)
    write(folder, "04_endless", BEGIN, "x = 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LABKIT_FAST", raising=False)
        return folder, lab(folder)


def results(ran):
    return {result["name"]: result for result in json.loads((ran[0] / "out/results.json").read_text())["notebooks"]}


def test_one_failure_fails_the_chapter_and_every_lesson_is_still_run(ran):
    folder, outcome = ran
    data = json.loads((folder / "out/results.json").read_text())
    assert outcome.code == 1 and data["ok"] is False and data["schema_version"] == 1
    assert [result["ok"] for result in data["notebooks"]] == [True, False, False, False, False]


def test_run_steps_are_reported_and_checked_against_the_quota(ran):
    assert results(ran)["00_good"]["run_steps_trained"] == 360 and results(ran)["00_good"]["run_steps_quota"] == 100
    assert results(ran)["01_little"]["error"] == "trained 30 run-steps, fewer than its 1200"


def test_a_failed_cell_a_failed_run_and_a_missing_end_are_named(ran):
    assert results(ran)["03_broken"]["error"] == "failed in cell [5]: ZeroDivisionError: division by zero"
    assert re.search(r"Run e{16} ended in an error: out of memory", results(ran)["02_error"]["error"])
    assert "session.finish()" in results(ran)["04_endless"]["error"]
    assert "FAILED" in ran[1].text and "03_broken" in ran[1].text


def test_verdicts_are_in_the_results_the_table_and_the_report(ran):
    folder, outcome = ran
    runs = json.loads((folder / "out/results.json").read_text())["runs"]
    assert [run["id"][0] for run in runs] == ["a", "b", "c", "d", "e"][: len(runs)] and len(runs) >= 4
    assert {"label", "since_step", "confidence", "evidence", "sentence", "config"} <= set(runs[0])
    page = (folder / "out/report.html").read_text()
    assert all(run["label"] in page and run["label"] in outcome.text for run in runs)
    assert page.count('role="img" aria-label="Loss on held-out pictures') >= 1 and "03_broken" in page


def test_the_report_needs_no_other_file_and_no_network(ran):
    page = (ran[0] / "out/report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|0\d_\w+\.html|#0\d_)[^"]*"', page)
    for name in ("00_good", "03_broken"):
        lesson = (ran[0] / f"out/{name}.html").read_text()
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)[^"]+"', lesson)
    assert "<b>shown</b>" in (ran[0] / "out/00_good.html").read_text()


def test_executed_lessons_are_kept_also_when_they_failed(ran):
    assert notebooks.failure(notebooks.read(ran[0] / "out/03_broken.ipynb"))[0] == 5
    assert not list((ran[0] / "out").glob("*.json.tmp"))
    assert sorted(path.name for path in (ran[0] / "out").glob("*.json")) == ["results.json"]


def test_a_store_among_the_results_is_refused_and_kept(tmp_path):
    write(tmp_path, "01_one", BEGIN, FINISH)
    store = tmp_path / "out/chapter-runs/01_one"
    store.mkdir(parents=True)
    with pytest.raises(LabError, match="lies among the results, which are replaced"):
        lab(tmp_path, "one", "--store", str(store))
    assert store.is_dir()


def test_a_parameter_reaches_the_lesson_and_frees_it_from_the_quota(tmp_path):
    write(tmp_path, "01_one", BEGIN, WIDGET, FINISH)
    outcome = lab(tmp_path, "one", "-p", "seed=7")
    assert outcome.code == 0 and outcome.data["notebooks"][0]["parameters"] == {"seed": 7}
    assert "seed 7" in (tmp_path / "out/01_one.ipynb").read_text()


@pytest.mark.parametrize("arguments, words", [
    (["-p", "sed=1"], "sed is not a parameter of 00_a.*Did you mean seed"),
    (["-p", "seed=often"], "seed = 'often' is not possible: it must be a whole number from 0"),
    (["-p", "max_train_steps=0"], "max_train_steps"),
    (["-p", "steps=often"], "steps = 'often' does not fit 00_a: it must be a whole number, such as 5"),
    (["-p", "seed=0.5"], "whole number"),
    (["-p", "learning_rate=True"], "it must be a number"),
    (["-p", "learning_rate=-1"], "learning_rate"),
    (["-p", "seed"], "key=value"),
    (["0_a"], "no lesson '0_a'. Did you mean 00_a"),
    (["--store", "s", "02"], "no lesson '02'")])
def test_bad_input_is_refused_before_anything_runs(tmp_path, arguments, words):
    parameters = "seed = 0\nlearning_rate = 1e-3\nmax_train_steps = None\nsteps = 5"
    write(tmp_path, "00_a", BEGIN, FINISH, parameters=parameters)
    with pytest.raises(LabError, match=words):
        lab(tmp_path, *arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_named_from_here_reaches_the_lesson_whole(tmp_path, monkeypatch):
    write(tmp_path, "00_a", BEGIN, FINISH, parameters="seed = 0\ndata = None")
    (tmp_path / "here" / "pictures").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    whole = str(tmp_path / "here" / "pictures") + "/kind=pool"
    assert lab(tmp_path, "-p", "data=pictures/kind=pool").data["notebooks"][0]["parameters"] == {"data": whole}
    assert lab(tmp_path, "-p", "data=liminal").data["notebooks"][0]["parameters"] == {"data": "liminal"}


def test_lessons_run_side_by_side_each_with_its_own_store_and_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(chapter, "side_by_side", lambda lessons: (lessons, 3))
    meet = """
import os, pathlib, time
here, until = pathlib.Path(os.environ["LABKIT_STORE"]).parent, time.monotonic() + 300
(here / f"mark {seed}").write_text(os.environ["LABKIT_THREADS"] + os.environ["LABKIT_STORE"])
while len(list(here.glob("mark *"))) < 2:
    assert time.monotonic() < until, "the other lesson did not begin"
    time.sleep(0.1)"""
    make = ("here = __import__('pathlib').Path(__import__('os').environ['LABKIT_STORE']).parent; "
            "here.mkdir(exist_ok=True)")
    for i, name in enumerate(("00_a", "01_b")):
        write(tmp_path, name, BEGIN, make, meet, FINISH, parameters=f"seed = {i}")
    monkeypatch.setenv("LABKIT_FAST", "1")
    outcome = lab(tmp_path)
    assert outcome.code == 0, outcome.text
    marks = {path.name: path.read_text() for path in (tmp_path / "out" / chapter.STORES).glob("mark *")}
    assert marks["mark 0"].startswith("3") and marks["mark 0"].endswith("00_a") and marks["mark 1"].endswith("01_b")


@pytest.mark.parametrize("device, cores, gib, expected", [
    ("cpu", 2, 16, (2, 1)),
    ("cpu", 16, 64, (5, 3)),
    ("cpu", 2, 3, (1, 2)),
    ("cpu", 1, 16, (1, 1)),
    ("cpu", 2, None, (1, 2)),
    ("gpu", 16, 64, (1, 16))])
def test_as_many_lessons_run_at_once_as_cores_and_memory_allow(monkeypatch, device, cores, gib, expected):
    monkeypatch.setattr(execute, "device", lambda: device)
    monkeypatch.setattr(execute, "quota", lambda: (cores, "a test"))
    monkeypatch.setattr(execute, "free_memory", lambda: gib and gib * 2**30)
    assert execute.side_by_side(5) == expected


def test_the_file_that_is_named_is_run_and_not_the_lesson_of_its_name(tmp_path, monkeypatch):
    """A student's copy bears the lesson's name; no quota of training is asked of it."""
    write(tmp_path, "00_a", BEGIN, "print('sol' + 'ved')", FINISH)
    (tmp_path / "ada").mkdir()
    write(tmp_path / "ada", "00_a", BEGIN, "print('by ' + 'Ada')", FINISH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABKIT_FAST", raising=False)
    for name in ("ada/00_a.ipynb", str(tmp_path / "ada/00_a.ipynb")):
        outcome = lab(tmp_path, name)
        assert outcome.code == 0 and outcome.data["notebooks"][0]["run_steps_quota"] is None
        text = (tmp_path / "out/00_a.ipynb").read_text()
        assert "by Ada" in text and "solved" not in text


@pytest.mark.parametrize("arguments, words", [
    (["ada/00_b.ipynb"], "There is no notebook ada/00_b.ipynb. Give the path"),
    (["00_a.ipynb"], "The kit's own lesson is named without a path: 00_a"),
    (["ada/00_a"], "There is no notebook ada/00_a"),
    (["ada/00_a.ipynb", "bob/00_a.ipynb"], "Two of the notebooks are called 00_a.ipynb"),
    (["ada/results.ipynb"], "has the name of a file with results"),
    (["ada/no.ipynb"], "ada/no.ipynb cannot be read as a notebook"),
    (["ada/00_a.ipynb", "--out", "ada"], "lies among the results")])
def test_files_that_cannot_be_run_are_refused_before_anything_is_written(tmp_path, monkeypatch, arguments, words):
    (tmp_path / "lessons").mkdir()
    write(tmp_path / "lessons", "00_a", BEGIN, FINISH)
    for name in ("ada", "bob"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "00_a", BEGIN, FINISH)
    write(tmp_path / "ada", "results", BEGIN, FINISH)
    (tmp_path / "ada/no.ipynb").write_text('{"cells": [1]}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match=words):
        lab(tmp_path / "lessons", *arguments)
    assert not (tmp_path / "lessons/out").exists() and len(list((tmp_path / "ada").iterdir())) == 3


@pytest.mark.parametrize("verb", [["student", "ada/00_a.ipynb", "--to", "x"], ["publish", "ada/00_a.ipynb"]])
def test_verbs_that_write_lessons_take_no_other_file(tmp_path, monkeypatch, verb):
    write(tmp_path, "00_a", BEGIN, FINISH)
    (tmp_path / "ada").mkdir()
    write(tmp_path / "ada", "00_a", BEGIN, FINISH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebooks, "folder", lambda: tmp_path)
    with pytest.raises(LabError, match="ada/00_a.ipynb is no lesson of the kit"):
        cli.function(verb[0])(cli.parse(verb))


def test_jupyterlab_opens_the_file_that_is_named(tmp_path):
    from labkit.cli import jupyterlab

    inside = jupyterlab.command(REPO / "notebooks/00_start.ipynb", port=1, browser=False)
    assert f"--ServerApp.root_dir={REPO}" in inside
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb" in inside
    outside = jupyterlab.command(tmp_path / "my copy.ipynb", port=1, browser=False)
    assert f"--ServerApp.root_dir={tmp_path}" in outside
    assert "--LabApp.default_url=/lab/tree/my%20copy.ipynb" in outside


def test_values_are_read_as_papermill_reads_them():
    assert [chapter.value(text) for text in ("1", "1e-3", "True", "None", "a b")] == [1, 1e-3, True, None, "a b"]


def test_a_lesson_is_named_by_number_word_or_file(tmp_path, monkeypatch):
    write(tmp_path, "01_learning_rate", BEGIN)
    monkeypatch.setattr(notebooks, "folder", lambda: tmp_path)
    for name in ("01", "learning_rate", "01_learning_rate", str(tmp_path / "01_learning_rate.ipynb")):
        assert [path.stem for path in notebooks.choose([name])] == ["01_learning_rate"]


@pytest.mark.parametrize("cells, arguments, words", [
    ((BEGIN, FINISH), ["-p", "sed", "1"], "sed is not a parameter of this notebook. Did you mean seed?"),
    ((BEGIN, FINISH), ["-r", "learning_rate", "often"], "learning_rate = 'often' is not possible"),
    ((BEGIN, FINISH), ["-y", "{seed: -1}"], "seed = -1 is not possible"),
    ((BEGIN, TRAIN, "run('f', 1e-3, 'error')", FINISH), ["-p", "seed", "1"], "ended in an error: out of memory")])
def test_papermill_alone_cannot_report_false_success(tmp_path, cells, arguments, words):
    write(tmp_path, "00_raw", *cells)
    command = [sys.executable, "-m", "papermill", "--no-progress-bar",
               tmp_path / "00_raw.ipynb", tmp_path / "out.ipynb", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "JUPYTER_PREFER_ENV_PATH": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 1 and words in result.stderr


def test_papermill_may_name_its_own_paths_give_text_for_numbers_and_is_headless_below_a_server(tmp_path):
    """A terminal or a cell of JupyterLab hands its kernels' variables down to papermill and its kernel."""
    told = ("from labkit.view.frontend import frontend\n"
            "print(frontend(), repr(seed), repr(learning_rate), repr(student))")
    write(tmp_path, "00_raw", BEGIN, told, FINISH, parameters="seed = 0\nlearning_rate = 1e-3\nstudent = ''")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar",
               tmp_path / "00_raw.ipynb", tmp_path / "out.ipynb", "--inject-paths",
               "-r", "seed", "5", "-r", "learning_rate", "3e-3", "-p", "student", "12345"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "JUPYTER_PREFER_ENV_PATH": "1",
                   "JPY_SESSION_NAME": "/notebooks/00_start.ipynb"}
    environment.pop("LABKIT_FRONTEND", None)
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    assert "headless 5 0.003 '12345'" in (tmp_path / "out.ipynb").read_text()


def test_a_lesson_that_hangs_is_stopped_and_its_kernel_with_it(tmp_path):
    mark = tmp_path / "alive"
    write(tmp_path, "00_hang", f"""import time, pathlib
while True:
    pathlib.Path({str(mark)!r}).write_text(str(time.time()))
    time.sleep(0.1)""")
    for timeout in (10, 40, 160):  # on a busy machine the kernel may not have begun within the first
        _, error = execute.execute(tmp_path / "00_hang.ipynb", tmp_path / "out.ipynb", parameters={}, environment={},
                                   log=tmp_path / "log", timeout=timeout)
        assert f"still running after {timeout} s" in error
        if mark.exists():
            break
    time.sleep(3)
    seen = mark.read_text()
    time.sleep(1)
    assert mark.read_text() == seen


def test_an_output_folder_of_other_files_is_left_alone(tmp_path):
    write(tmp_path, "00_a", BEGIN, WIDGET, FINISH)
    for name in ("out/mine.html", "out/runs/abc/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    with pytest.raises(LabError, match="holds other files"):
        lab(tmp_path)
    assert (tmp_path / "out/mine.html").read_text() == (tmp_path / "out/runs/abc/config.json").read_text() == "mine"


def test_a_relative_output_folder_is_meant_from_here_and_used_again(tmp_path, monkeypatch):
    write(tmp_path, "00_a", BEGIN, WIDGET, FINISH)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert lab(tmp_path, "--out", "here", "-p", "seed=1").code == 0
        (tmp_path / "here/notes.txt").write_text("mine")
    assert (tmp_path / "here/report.html").exists() and (tmp_path / "here/notes.txt").exists()


def test_an_output_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    write(tmp_path, "00_a", BEGIN, WIDGET, FINISH)
    with pytest.raises(LabError, match=r"out cannot be written .* \(--out\)"):
        lab(tmp_path)
