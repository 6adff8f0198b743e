"""Boards are given what runs tell: TensorBoard each event once, Trackio each complete run once."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from event_messages import fields, records
from told_runs import CONFIG, ID, keep, some_events

from labkit.errors import LabError
from labkit.store.foreign_logs import read_logs
from labkit.store.runs import Store
from labkit.store.tracking import FILE, TensorBoard, Trackio, label, recorded, tracked

VERDICT = {"label": "healthy", "sentence": "Healthy: it learns.", "since_step": 0}


def written(folder):
    """Give [(tag, step)] of what an event file holds."""
    events = [fields(record) for record in records((folder / label(ID, CONFIG) / FILE).read_bytes())[1:]]
    return [(fields(fields(event[5][0])[1][0])[1][0].decode(), event[2][0]) for event in events]


def scalars_of(steps):
    names = ("loss", "learning_rate", "grad_norm", "update_norm")
    return [(f"train/{name}", step) for step in steps for name in names]


def test_a_run_that_trains_is_in_its_event_file_as_it_goes(tmp_path):
    board = TensorBoard(tmp_path / "board")
    board.begin(ID, CONFIG, [])
    events = tracked((event for event in some_events()), [board])
    for event in events:
        if event.global_step == 2 and type(event).__name__ == "Checkpoint":
            break
    assert ("train/loss", 2) in written(tmp_path / "board")   # before the run has ended
    events.close()
    board.end(ID, VERDICT)
    told = written(tmp_path / "board")
    assert told[:2] == [("settings", 0), ("validation/loss", 0)] and told[-1][0] == "verdict"
    assert [pair for pair in told if pair[0].startswith("train/")] == scalars_of([1, 2])
    assert ("pictures/0 a pool", 2) in told and ("pictures/1 a maze", 2) in told


@pytest.mark.parametrize("reason, steps", [("finished", [1, 2, 3, 4]), (None, [1, 2])])
def test_what_was_recorded_before_is_told_once_up_to_where_the_run_goes_on(tmp_path, reason, steps):
    store = Store()
    keep(store, [event for event in some_events(reason=reason) if reason or event.global_step < 4])
    for _ in range(2):                                        # a second session writes the file anew
        board = TensorBoard(tmp_path)
        board.begin(ID, CONFIG, recorded(store.run(ID)))
        board.end(ID, VERDICT)
    told = written(tmp_path)
    assert [pair for pair in told if pair[0].startswith("train/")] == scalars_of(steps)
    assert ("pictures/1 a maze", 2) in told and told[-1] == ("verdict", 4 if reason else 2)


def test_a_file_in_the_place_of_the_folder_is_bad_input(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="--tensorboard .*it is a file"):
        TensorBoard(str(tmp_path / "file"))


class FakeTrackio(SimpleNamespace):
    """Stand for the module: what is called is noted."""

    def __init__(self):
        self.calls = []
        self.AlertLevel = SimpleNamespace(INFO="info", WARN="warn", ERROR="error")

    def __getattr__(self, name):
        if name not in ("init", "log", "alert", "finish"):
            raise AttributeError(name)
        return lambda *values, **options: self.calls.append((name, values, options))


def trackio_of(reason):
    module = FakeTrackio()
    board = Trackio("rooms", load=lambda name: module)
    board.begin(ID, CONFIG, [])
    for _ in tracked((event for event in some_events(reason=reason)), [board]):
        pass
    board.end(ID, VERDICT | {"label": "diverged"})
    return module.calls


def test_trackio_is_given_a_complete_run_and_its_verdict_as_an_alert():
    calls = trackio_of("finished")
    assert [name for name, *_ in calls] == ["init", *["log"] * 5, "alert", "finish"]
    assert calls[0][2]["project"] == "rooms" and calls[0][2]["config"]["rank"] == CONFIG.rank
    assert [options["step"] for name, _, options in calls if name == "log"] == [0, 1, 2, 3, 4]
    assert calls[5][1][0]["validation/loss"] == pytest.approx(0.1) and calls[5][1][0]["train/loss"] == 0.25
    assert calls[6][2]["level"] == "error" and calls[6][2]["text"] == VERDICT["sentence"]


def test_trackio_is_not_given_a_run_that_was_stopped_nor_one_that_was_complete_before():
    assert trackio_of("stopped") == []
    store, module = Store(), FakeTrackio()
    keep(store, some_events())
    board = Trackio("rooms", load=lambda name: module)
    board.begin(ID, CONFIG, recorded(store.run(ID)))
    board.end(ID, VERDICT)
    assert module.calls == []


def test_where_trackio_is_not_installed_that_is_said_before_anything_is_trained():
    def absent(name):
        raise ImportError(name)

    with pytest.raises(LabError, match="pip install trackio"):
        Trackio("rooms", load=absent)
    with pytest.raises(LabError, match="a project's name"):
        Trackio("../x", load=lambda name: FakeTrackio())


SEND = """
import sys
sys.path[:0] = sys.argv[1].split("|")
from told_runs import CONFIG, ID, some_events
from labkit.store.tracking import Trackio, tracked

for loss in range(2):                                         # trained twice, as where a run was deleted
    board = Trackio("my rooms")
    board.begin(ID, CONFIG, [])
    for _ in tracked((event for event in some_events()), [board]):
        pass
    board.end(ID, {"label": "overshooting", "sentence": "Too fast.", "since_step": 2})
"""


def test_trackio_itself_keeps_what_it_is_given_and_its_file_is_read_back_as_the_kits(tmp_path):
    pytest.importorskip("trackio", reason="Trackio is not installed: pip install trackio")
    env = os.environ | {"TRACKIO_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", SEND, "|".join(sys.path)], env=env, check=True, timeout=300)
    logs, _ = read_logs(tmp_path)
    assert [log.run for log in logs] != [logs[0].run] * 2 and len(logs) == 2     # of one name, and apart
    for log in logs:
        assert log.run.startswith(label(ID, CONFIG)) and log.trainer == "labkit" and log.form == "Trackio"
        assert log.train.values.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
        assert log.validation.steps.tolist() == [0, 4] and log.rate.values.tolist() == [1e-3] * 4
    with closing(sqlite3.connect(next(tmp_path.glob("*.db")))) as base:
        told = base.execute("SELECT level, text, title FROM alerts").fetchall()
        assert told == [("warn", "Too fast.", f"{label(ID, CONFIG)}: overshooting")] * 2
        assert base.execute("SELECT COUNT(*) FROM system_metrics").fetchone() == (0,)
