"""The first and the last cell of a lesson: wrong parameters are refused, training is counted, errors are raised."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from labkit.design.config import RunConfig
from labkit.errors import LabError, LabWarning
from labkit.lessons import session
from labkit.settings import REPO
from labkit.store.events import Checkpoint, Step, Stopped
from labkit.store.runs import Store, record

PARAMETERS = "# what can be set from outside\nseed = 0\nlearning_rate = 1e-3\ndesign = None"


def recorded(name, steps, reason, message="", batch=4):
    config = RunConfig(train_batch_size=batch).resolved(96)
    events = [Step(name, step, step * batch, 0.1, 1e-3, 1.0, 0.1) for step in range(1, steps + 1)]
    events.append(Stopped(name, steps, steps * batch, reason, message))
    list(record(Store(), iter(events), {name: config}))


def test_a_mistyped_injected_parameter_is_refused_with_the_right_name():
    with pytest.raises(LabError, match="learning_rat is not a parameter.*Did you mean learning_rate"):
        session.check_injected(["import os", PARAMETERS, "# Parameters\nseed = 1\nlearning_rat = 0.1\n"])


def test_an_injected_parameter_of_a_notebook_without_parameters_is_refused():
    with pytest.raises(LabError, match="seed is not a parameter"):
        session.check_injected(["# Parameters\nseed = 1\n", "import os"])


def test_declared_parameters_pass_in_any_number_of_executions():
    history = ["import os", PARAMETERS, "# Parameters\nseed = 1\nlearning_rate = 0.1\n", "x = 1", PARAMETERS, "y = 2"]
    session.check_injected(history)


def test_the_paths_that_papermill_adds_pass():
    injected = "# Parameters\nseed = 1\nPAPERMILL_INPUT_PATH = 'a'\nPAPERMILL_OUTPUT_PATH = 'b'\n"
    session.check_injected([PARAMETERS, injected])


LESSON = "rank = None\nlearning_rate = 0.003\nmax_train_steps = None\ndata = None\nstudent = ''\nmine = 1"


@pytest.mark.parametrize("name, given, expected", [
    ("rank", "8", 8), ("rank", "", None), ("rank", "None", None), ("learning_rate", "3e-3", 0.003),
    ("learning_rate", 1, 1.0), ("data", 2024, "2024"), ("max_train_steps", 1e2, 100), ("student", 12345, "12345"),
    ("student", None, ""), ("student", "Ada", "Ada"), ("mine", "x", "x")])
def test_parameters_are_read_from_whatever_papermill_gives(name, given, expected):
    namespace = {"rank": None, "learning_rate": 0.003, "max_train_steps": None, "data": None, "student": "", "mine": 1}
    namespace[name] = given
    session.check_parameters(["import os", LESSON, f"# Parameters\n{name} = 0\n"], namespace)
    assert namespace[name] == expected and type(namespace[name]) is type(expected)


@pytest.mark.parametrize("name, given, words", [
    ("max_train_steps", 0, "max_train_steps = 0 is not possible"), ("rank", "often", "rank = 'often'"),
    ("rank", 0.5, "whole number"),
    ("learning_rate", None, "learning_rate = None is not possible"), ("learning_rate", True, "learning_rate = True"),
    ("data", ["a"], "data"), ("student", 1.5, "neither a name nor a student number"),
    ("student", True, "neither a name")])
def test_a_parameter_that_is_not_possible_is_refused_in_the_first_cell_and_never_replaced(name, given, words):
    with pytest.raises(LabError, match=words):
        session.check_parameters(["import os", LESSON], {name: given})


def test_outside_ipython_begin_has_nothing_to_refuse():
    session.begin()


def test_only_what_was_trained_since_the_beginning_is_counted_at_batch_4(monkeypatch, tmp_path, capsys):
    recorded("a" * 16, 5, "finished")
    time.sleep(0.01)
    session.begin()
    recorded("b" * 16, 10, "finished")
    recorded("c" * 16, 8, "diverged", batch=1)
    monkeypatch.setenv("LABKIT_RESULTS", str(tmp_path / "results.json"))
    session.finish()
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "schema_version": 1, "run_steps_trained": 12, "runs": ["b" * 16, "c" * 16]}
    assert "2 runs, 12 run-steps" in capsys.readouterr().out


def test_what_a_fork_has_from_its_parent_was_not_trained_again(capsys):
    session.begin()
    parent, child = "a" * 16, "b" * 16
    config = RunConfig().resolved(96)
    events = [Step(parent, step, 4 * step, 0.1, 1e-3, 1.0, 0.1) for step in range(1, 6)]
    adapter = {f"layer.lora_{end}.weight": np.zeros(shape, np.float32)
               for end, shape in (("A", (8, 2)), ("B", (2, 8)))}
    list(record(Store(), iter([*events, Checkpoint(parent, 5, 20, adapter, {}), Stopped(parent, 5, 20, "stopped")]),
                {parent: config}))
    time.sleep(0.01)
    forked = config.replace(parent=parent, lr_edits=((5, 1e-4),))
    more = [Step(child, step, 4 * step, 0.1, 1e-4, 1.0, 0.1) for step in range(6, 8)]
    list(record(Store(), iter([*more, Stopped(child, 7, 28, "finished")]), {child: forked}, resume_at=5))
    session.finish()
    assert "trained 2 runs, 7 run-steps" in capsys.readouterr().out


def test_a_run_that_ended_in_an_error_fails_the_lesson_and_is_named():
    session.begin()
    recorded("d" * 16, 3, "error", "RuntimeError: out of memory")
    with pytest.raises(LabError, match="d{16} ended in an error: RuntimeError: out of memory"):
        session.finish()


@pytest.mark.parametrize("name", ["events.jsonl", "config.json"])
def test_a_run_whose_folder_is_damaged_is_named_and_does_not_stop_the_last_cell(capsys, name):
    session.begin()
    recorded("a" * 16, 5, "finished")
    recorded("b" * 16, 10, "finished")
    file = Store().run("a" * 16).path / name
    file.write_bytes(file.read_bytes().replace(b"1", b"7", 1))
    with pytest.warns(LabWarning, match=f"a{{16}}.{name} is damaged.*remove its folder.*does not count the run"):
        session.finish()
    assert "trained 1 run, 10 run-steps" in capsys.readouterr().out


def test_a_damaged_run_does_not_hide_one_that_ended_in_an_error():
    session.begin()
    recorded("a" * 16, 5, "finished")
    recorded("d" * 16, 3, "error", "RuntimeError: out of memory")
    Store().run("a" * 16).events_path.write_bytes(b"{}\n")
    with pytest.warns(LabWarning, match="a{16}"), pytest.raises(LabError, match="d{16} ended in an error"):
        session.finish()


def test_a_run_of_this_kernel_that_is_still_going_on_fails_the_lesson():
    session.begin()
    config = RunConfig().resolved(96)
    events = record(Store(), iter([Step("e" * 16, 1, 4, 0.1, 1e-3, 1.0, 0.1)] * 2), {"e" * 16: config})
    next(events)
    with pytest.raises(LabError, match="still going on"):
        session.finish()
    events.close()


ELSEWHERE = """
import sys
sys.path[:0] = ["tests/support", "tests/lessons"]
from test_session import *
recorded("f" * 16, 3, "error", "RuntimeError: out of memory")
config = RunConfig().resolved(96)
events = record(Store(), iter([Step("9" * 16, 1, 4, 0.1, 1e-3, 1.0, 0.1)] * 2), {"9" * 16: config})
next(events)
print("training", flush=True)
sys.stdin.read()
"""


def test_what_another_notebook_trains_into_the_store_is_its_own(capsys):
    session.begin()
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    other = subprocess.Popen([sys.executable, "-c", ELSEWHERE], cwd=REPO, env=environment, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "training\n"
    try:
        recorded("b" * 16, 4, "finished")
        session.finish()
    finally:
        other.communicate("")
    assert {run.status for run in Store().runs()} >= {"error", "finished"}
    assert "trained 1 run, 4 run-steps" in capsys.readouterr().out


def test_what_is_said_is_broken_between_words_only(capsys):
    from labkit.lessons.session import say
    from labkit.text import LINE

    word, path = "well-measured", "/a/path/" + "x" * 120
    say(f"{word} " * 30, path + "\n", 7)
    printed = capsys.readouterr().out
    assert printed.split() == [word] * 30 + [path, "7"]
    assert all(len(line) <= LINE or line == path for line in printed.split("\n"))
