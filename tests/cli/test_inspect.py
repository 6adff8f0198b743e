"""`labkit inspect`: runs by what they are called, and verdicts on what broke."""

import json
import math

import pytest
from command_line import labkit
from told_runs import CONFIG, ID, keep, some_events, validation

from labkit.store.events import Stopped
from labkit.store.names import give_name
from labkit.store.runs import Store

BROKEN = "b" + ID[1:]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "elsewhere")
    keep(store, some_events())
    keep(store, (*(validation(step, 0.2 if step < 2 else math.nan, run=BROKEN) for step in range(5)),
                 Stopped(BROKEN, 4, 16, "diverged")), CONFIG, BROKEN)
    return store


def states(out):
    """Return {name: state} of the findings that are printed as JSON."""
    return {finding["name"]: finding["state"] for finding in json.loads(out)}


def test_a_run_is_meant_by_its_id_the_beginning_of_it_its_name_and_its_folder(capsys, store):
    give_name(store.run(ID), "bright rooms", store.runs())
    for name in (ID, ID[:6], "bright rooms", store.run(ID).path):
        code, out, _ = labkit(capsys, "inspect", name, "--store", store.root, "--json")
        assert code == 0 and json.loads(out)[0]["found"].startswith(f"{ID} on liminal")


def test_what_is_neither_there_nor_a_run_is_refused_with_what_can_be_given(capsys, store):
    code, _, err = labkit(capsys, "inspect", "photos", "--store", store.root)
    assert code == 2 and "photos is not there: give a folder" in err and "There is no run photos" in err


def test_the_verdict_on_what_broke_is_bad_and_one_that_leaves_something_to_do_is_noted(capsys, store, tmp_path):
    code, out, _ = labkit(capsys, "inspect", BROKEN, "--store", store.root, "--json")
    assert code == 2 and states(out)["verdict"] == "bad" and states(out)["run"] == "good"
    code, out, _ = labkit(capsys, "inspect", ID, "--store", store.root, "--json")
    assert code == 0 and states(out)["verdict"] == "note"
    for name, loss, expected in (("broken", "nan", (2, "bad")), ("training", 0.5, (0, "note"))):
        path = tmp_path / f"{name}.csv"
        path.write_text("step,loss\n" + "\n".join(f"{step},{loss}" for step in range(9)))
        code, out, _ = labkit(capsys, "inspect", path, "--json")
        assert (code, states(out)["verdict"]) == expected
