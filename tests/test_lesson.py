"""The first and the last cell of a lesson: mistyped parameters are refused, training is accounted for, errors are raised."""

import json
import time

import pytest

from labkit import lesson
from labkit.config import RunConfig
from labkit.errors import LabError
from labkit.events import Step, Stopped
from labkit.runs import Store, record

PARAMETERS = "# what can be set from outside\nseed = 0\nlearning_rate = 1e-3\ndesign = None"


def recorded(name, steps, reason, message="", batch=4):
    config = RunConfig(train_batch_size=batch).resolved(96)
    events = [Step(name, step, step * batch, 0.1, 1e-3, 1.0, 0.1) for step in range(1, steps + 1)]
    events.append(Stopped(name, steps, steps * batch, reason, message))
    list(record(Store(), iter(events), {name: config}))


def test_a_mistyped_injected_parameter_is_refused_with_the_right_name():
    with pytest.raises(LabError, match="learning_rat is not a parameter.*Did you mean learning_rate"):
        lesson.check_injected(["import os", PARAMETERS, "# Parameters\nseed = 1\nlearning_rat = 0.1\n"])


def test_an_injected_parameter_of_a_notebook_without_parameters_is_refused():
    with pytest.raises(LabError, match="seed is not a parameter"):
        lesson.check_injected(["# Parameters\nseed = 1\n", "import os"])


def test_declared_parameters_pass_in_any_number_of_executions():
    history = ["import os", PARAMETERS, "# Parameters\nseed = 1\nlearning_rate = 0.1\n", "x = 1", PARAMETERS, "y = 2"]
    lesson.check_injected(history)


def test_outside_ipython_begin_has_nothing_to_refuse():
    lesson.begin()


def test_only_what_was_trained_since_the_beginning_is_counted_at_batch_4(monkeypatch, tmp_path, capsys):
    recorded("a" * 16, 5, "finished")
    time.sleep(0.01)
    lesson.begin()
    recorded("b" * 16, 10, "finished")
    recorded("c" * 16, 8, "diverged", batch=1)
    monkeypatch.setenv("LABKIT_RESULTS", str(tmp_path / "results.json"))
    lesson.finish()
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "schema_version": 1, "run_steps_trained": 12, "runs": ["b" * 16, "c" * 16]}
    assert "2 runs, 12 run-steps" in capsys.readouterr().out


def test_a_run_that_ended_in_an_error_fails_the_lesson_and_is_named():
    lesson.begin()
    recorded("d" * 16, 3, "error", "RuntimeError: out of memory")
    with pytest.raises(LabError, match="d{16} ended in an error: RuntimeError: out of memory"):
        lesson.finish()


def test_a_run_that_is_still_going_on_fails_a_headless_lesson(monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    lesson.begin()
    config = RunConfig().resolved(96)
    events = record(Store(), iter([Step("e" * 16, 1, 4, 0.1, 1e-3, 1.0, 0.1)] * 2), {"e" * 16: config})
    next(events)
    with pytest.raises(LabError, match="still going on"):
        lesson.finish()
    events.close()
