"""The panel trains, stops, goes on and fails: real training on a base of a few thousand weights, without a browser."""

import time
from types import SimpleNamespace

import pytest
import tiny
from made_runs import made_run
from panels import START, shown_as_png, threads_that_train

from labkit.engine.room import Room
from labkit.errors import LabError
from labkit.judge.diagnose import diagnose
from labkit.lab import Lab
from labkit.lessons import panel_view


def test_a_click_trains_in_one_thread_and_shows_curve_verdict_and_shelf(panel):
    panel._view.train.click()
    assert panel._view.train.disabled and not panel._view.stop.disabled and panel._view.stage_text.value
    assert threads_that_train()
    run = panel.wait()
    assert run.status == "finished" and run.steps["global_step"][-1] == 5
    view = panel._view
    assert shown_as_png(view.curve) and view.curve.layout.display == "" and panel.verdict.label in view.verdict.value
    assert view.stage_text.value == "finished after 5 updates" and not view.train.disabled and view.stop.disabled
    assert "1e-3" in view.widget.children[-1].value and view.progress_bar.value == view.progress_bar.max == 5


def test_the_panel_python_and_the_store_hold_the_same_run(panel, lab):
    run = panel.run()
    again = Lab.train(lab, START, pictures=0)
    assert again.origin == "store" and again.run_id == run.run_id
    assert (again.steps["loss"] == run.steps["loss"]).all()


def test_a_finished_run_is_found_at_once_and_says_so_beside_another_seed(panel):
    first = panel.run()
    second = panel.run()
    assert panel.is_from_store and second.origin == "store" and second.run_id == first.run_id
    assert panel._view.stage_text.value.startswith("found, from ") and panel._view.again.layout.display == ""
    third = panel.run(new_seed=True)
    assert third.origin == "live" and third.config.seed == 1 and panel._view.again.layout.display == "none"


def test_stop_ends_at_a_completed_step_and_keeps_what_was_trained(panel, lab):
    panel.change(max_train_steps=5000)
    panel.train()
    while panel.is_training and panel._view.progress_bar.value < 1:
        time.sleep(0.01)
    panel._view.stop.click()
    run = panel.wait()
    assert run.status == "stopped" and 0 < run.stopped.global_step < 5000
    kept = lab.store.run(run.run_id).checkpoint().global_step
    assert kept == run.stopped.global_step == run.steps["global_step"][-1]
    assert "stopped after" in panel._view.stage_text.value


def test_after_a_stop_another_design_can_be_trained(panel):
    panel.change(max_train_steps=3000)
    panel.train()
    panel.stop()
    panel.wait()
    panel.change(max_train_steps=5)
    assert panel.run().status == "finished"


def test_a_stopped_run_goes_on_where_it_was_stopped(panel, lab):
    panel.change(max_train_steps=400)
    panel.train()
    while panel.is_training and panel._view.progress_bar.value < 1:
        time.sleep(0.01)
    panel.stop()
    stopped = panel.wait()
    assert 0 < stopped.stopped.global_step < 400
    whole = panel.run()
    assert whole.status == "finished" and whole.steps["global_step"].tolist() == list(range(1, 401))
    assert whole.validations["validation"].steps[0] == 0
    assert whole.steps["loss"][:stopped.stopped.global_step].tolist() == stopped.steps["loss"].tolist()
    assert lab.store.run(whole.run_id).load().steps["loss"].tolist() == whole.steps["loss"].tolist()


def test_a_second_click_while_training_starts_nothing(panel):
    panel.change(max_train_steps=2000)
    panel.train()
    run = panel._run
    panel.train()
    assert panel._run is run
    panel.stop()
    panel.wait()


def test_what_memory_decided_is_said_below_the_panel(panel, monkeypatch, capsys):
    monkeypatch.setattr("labkit.engine.sweep.room", lambda *_: Room(64, True, "Activations are computed again."))
    panel.run()
    assert capsys.readouterr().out == "Activations are computed again.\n"


def test_an_error_in_training_is_shown_kept_and_raised(panel, lab):
    lab.cache, lab.territory = tiny.cache(n=1), tiny.territory(1)
    panel.train()
    with pytest.raises(LabError, match="train_batch_size"):
        panel.wait()
    assert "train_batch_size" in panel._view.errors.value and not panel._view.train.disabled
    assert panel._view.stage_text.value == "stopped by an error"


def test_an_error_nobody_foresaw_comes_with_its_traceback(panel, lab):
    lab.base = SimpleNamespace()
    panel.train()
    with pytest.raises(AttributeError):
        panel.wait()
    assert "where it happened" in panel._view.errors.value and "Traceback" in panel._view.errors.value


def test_what_a_callback_raises_is_shown_since_jupyter_would_swallow_it(panel, monkeypatch):
    monkeypatch.setattr(panel, "pin", lambda: 1 / 0)
    panel._view._safely(panel.pin)
    assert "ZeroDivisionError" in panel._view.errors.value


def test_a_run_that_blows_up_is_a_result_not_an_error(panel):
    panel.change(learning_rate=1000, rank=2, alpha=1e6, max_grad_norm=0, weight_decay=0, optimizer="sgd",
                 max_train_steps=20)
    panel.run()
    assert panel.error is None and panel.verdict.label == panel.result.status == "diverged"


def test_a_pinned_run_stays_beside_the_next_as_its_baseline(panel):
    pinned = panel.run()
    panel._view.pin.click()
    panel.change(learning_rate=1e-2)
    panel.run()
    assert panel.beside is pinned and "★" in panel.shelf.table() and "≠ 1e-2" in panel.shelf.table()
    assert any("pinned" in text.get_text() for text in panel.figures()[0].axes[0].texts)


def test_frames_come_four_times_a_second_at_most(panel, monkeypatch):
    drawn, now = [], SimpleNamespace(value=0.0)
    monkeypatch.setattr(panel_view.time, "monotonic", lambda: now.value)
    run = made_run(upto=30, pictures=False)
    for now.value in (step / 100 for step in range(101)):
        if panel._view.is_due():
            panel._view.show_run(run, diagnose(run))
            drawn.append(now.value)
    assert 3 <= len(drawn) <= 5


def test_what_is_left_of_a_resumed_run_is_told_by_what_was_seen_of_it(panel):
    panel._view.begin()
    for update, seconds in ((31, 1.0), (32, 2.0), (34, 4.0)):
        panel._view._next_text = 0.0
        panel._view.show_progress(update, 500, seconds)
    # 466 updates of a second each; 34 updates in 4 s would give 55 s
    assert panel._view.stage_text.value == "update 34 of 500, about 8 min left"
