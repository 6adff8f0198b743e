"""The panel trains, stops, goes on and fails: real training on a base of a few thousand weights, without a browser."""

import dataclasses
from types import SimpleNamespace

import pytest
import tiny
from panels import START, begin, press, shown, threads_that_train, turn_knob

from labkit.engine.room import Room
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.lessons.panel import LabPanel
from labkit.store.recorded import sets_by_run
from labkit.view import instead


def test_a_click_trains_in_one_thread_and_shows_race_verdict_and_shelf(panel):
    press(panel, "train")
    assert panel._view.state["mode"] == "training" and panel._view.stage and threads_that_train()
    run, view = panel.wait(), panel._view
    assert run.status == "finished" and run.steps["global_step"][-1] == 5
    assert view.stage == "finished after 5 updates" and view.state["mode"] == "idle"
    assert (view.widget.progress["done"], view.widget.progress["total"]) == (5, 5) and shown(panel) == ["1e-3"]
    [row] = view.widget.shelf
    assert (row["name"], row["label"], row["shown"]) == ("1e-3", panel.verdict.label, True)


def test_a_race_trains_in_one_pass_and_is_found_afterwards(racing, lab):
    racing.run()
    runs = racing.results
    assert [run.config.learning_rate for run in runs] == [1e-4, 1e-3, 1e-2] and racing.result is runs[1]
    assert all(lab.store.run(run.run_id).group == [run.run_id for run in runs] for run in runs)
    assert racing._view.stage == "3 finished" and racing._view.race.data.pieces[0]["field"] == "learning_rate"
    turn_knob(racing, "max_train_steps", "10")
    assert "Race 3 runs" in racing._view.state["train"]
    turn_knob(racing, "max_train_steps", "5")
    assert racing._view.state["train"] == "Show 3 runs" and racing._view.stage == "already trained: shown at once"
    turn_knob(racing, "learning_rate", "3e-2")
    assert racing._view.state["train"] == "Train 1 more" and shown(racing) == ["1e-4", "1e-3", "1e-2"]
    racing.run()
    assert shown(racing) == ["1e-4", "1e-3", "1e-2", "3e-2"]
    assert [run.origin for run in racing.results] == ["store", "store", "store", "live"]


def test_the_panel_python_and_the_store_hold_the_same_run(panel, lab):
    run = panel.run()
    again = Lab.train(lab, START, pictures=0)
    assert again.origin == "store" and again.run_id == run.run_id
    assert (again.steps["loss"] == run.steps["loss"]).all()


def test_a_finished_run_is_found_at_once_and_says_so_beside_another_seed(panel):
    first = panel.run()
    second = panel.run()
    assert panel.is_from_store and second.origin == "store" and second.run_id == first.run_id
    assert panel._view.stage == "already trained: shown as found" and panel._view.state["again"]
    third = panel.run(new_seed=True)
    assert third.origin == "live" and third.config.seed == 1 == panel.design.seed


def test_a_recorded_run_answers_a_knob_without_training_but_never_where_nobody_watches(panel, lab, monkeypatch):
    elsewhere = panel.run()
    [name] = lab.plan([panel.design.replace(max_train_steps=10)])
    monkeypatch.setattr("labkit.lessons.panel.sets_by_run", lambda: {name: "a set"})
    monkeypatch.setattr("labkit.lessons.panel.recorded_run", lambda run_id: dataclasses.replace(
        elsewhere, run_id=run_id, origin="recorded"))
    turn_knob(panel, "max_train_steps", "10")
    assert panel._view.race.sentence.startswith("One run, recorded.") and panel.result.run_id == name
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    assert not panel.is_known(name)


def test_every_recorded_run_is_known_by_its_name():
    sets = sets_by_run()
    assert len(sets) > 100 and {len(name) for name in sets} == {16}


def test_stop_ends_at_a_completed_step_and_a_second_click_goes_on_there(panel, lab):
    begin(panel, 40)
    press(panel, "stop")
    stopped = panel.wait()
    done = stopped.stopped.global_step
    assert stopped.status == "stopped" and 0 < done < 40
    assert done == lab.store.run(stopped.run_id).checkpoint().global_step == stopped.steps["global_step"][-1]
    assert "stopped after" in panel._view.stage
    whole = panel.run()
    assert whole.status == "finished" and whole.steps["global_step"].tolist() == list(range(1, 41))
    assert whole.steps["loss"][:done].tolist() == stopped.steps["loss"].tolist()


def test_a_second_click_while_training_starts_nothing(panel):
    begin(panel)
    run = panel._run
    press(panel, "train")
    assert panel._run is run
    press(panel, "stop")
    panel.wait()
    panel.change(max_train_steps=5)
    assert panel.run().status == "finished"


def test_what_memory_decided_is_said_below_the_panel(panel, monkeypatch, capsys):
    monkeypatch.setattr("labkit.engine.sweep.room", lambda *_: Room(64, True, "Activations are computed again."))
    panel.run()
    assert capsys.readouterr().out == "Activations are computed again.\n"


def test_an_error_in_training_is_shown_kept_and_raised(panel, lab):
    lab.cache, lab.territory = tiny.cache(n=1), tiny.territory(1)
    press(panel, "train")
    with pytest.raises(LabError, match="train_batch_size"):
        panel.wait()
    assert "train_batch_size" in panel._view.state["error"]["words"] and panel._view.state["mode"] == "idle"
    assert panel._view.stage == "stopped by an error"


def test_an_error_nobody_foresaw_comes_with_its_traceback(panel, lab):
    lab.base = SimpleNamespace()
    press(panel, "train")
    with pytest.raises(AttributeError):
        panel.wait()
    assert "Traceback" in panel._view.state["error"]["trace"]


def test_what_a_callback_raises_is_shown_since_jupyter_would_swallow_it(panel, monkeypatch):
    monkeypatch.setattr(panel, "pause", lambda: 1 / 0)
    press(panel, "pause")
    assert "ZeroDivisionError" in panel._view.state["error"]["words"]


def test_a_run_that_blows_up_is_a_result_not_an_error(panel):
    panel.change(learning_rate=1000, rank=2, alpha=1e6, max_grad_norm=0, weight_decay=0, optimizer="sgd",
                 max_train_steps=20)
    panel.run()
    assert panel.error is None and panel.verdict.label == panel.result.status == "diverged"


def test_a_pinned_run_stays_beside_the_next_as_its_baseline(panel):
    pinned = panel.run()
    press(panel, "pin", run=pinned.run_id)
    panel.change(learning_rate=1e-2)
    panel.run()
    assert panel.beside is pinned and "★" in panel.shelf.table() and "≠ 1e-2" in panel.shelf.table()
    assert shown(panel) == ["1e-2", "1e-3"]
    assert any("pinned" in text.get_text() for text in panel.figures()[0].axes[0].texts)


def test_a_prediction_is_asked_once_and_told_beside_what_came_of_it(racing):
    asked = racing._view.state["question"]
    assert asked == {"words": "Before it trains: which ends lowest?", "answers": ["1e-4", "1e-3", "1e-2"]}
    press(racing, "train", predicted="1e-4")
    racing.wait()
    assert racing._view.state["reveal"].startswith("You said 1e-4, but 1e-2 ends lowest")
    turn_knob(racing, "max_train_steps", "10")
    assert racing._view.state["question"] is None
    racing.restore(racing.result.run_id)
    assert racing._view.state["reveal"] == ""                         # another scenario than the one that was asked
    racing.choose("healthy")
    racing.change(max_train_steps=5)
    assert racing._view.state["question"]["answers"] and "verdict" in racing._view.state["question"]["words"]
    press(racing, "train", predicted="")                              # skipped
    racing.wait()
    assert racing._view.state["reveal"] == "" and racing._view.state["question"] is None


def test_what_is_left_of_a_resumed_run_is_told_by_what_was_seen_of_it(panel):
    for update, seconds in ((31, 1.0), (32, 2.0), (34, 4.0)):
        panel._view._next_text = 0.0
        panel._view.show_progress(update, 500, seconds)
    # 466 updates of a second each; 34 updates in 4 s would give 55 s
    assert panel._view.stage == "update 34 of 500, about 8 min left"


def test_a_saved_notebook_keeps_the_race_in_the_panels_place(panel, monkeypatch):
    kept = []
    monkeypatch.setattr("labkit.lessons.panel_view.show", lambda *_: None)
    monkeypatch.setattr("labkit.lessons.panel_view.show_anew", lambda saved: kept.append(saved) or kept.append)
    panel._view.show()
    panel.run()
    (empty, _), (data, _) = (saved._repr_mimebundle_() for saved in (kept[0], kept[-1]))
    name = f'id="lab-saved-{panel._view.widget.panel}"'
    assert name in empty["text/html"] and name in data["text/html"] and "One run, trained here." in data["text/html"]
    assert all(instead.PANEL in saved[kind] for saved in (empty, data) for kind in ("text/html", "text/plain"))
    assert {"text/html", "text/plain", "image/png"} == set(data)


def test_without_anywidget_a_panel_says_what_to_do(lab, monkeypatch):
    import sys

    from labkit.lessons import panel_view

    monkeypatch.setitem(sys.modules, "anywidget", None)
    panel_view._widget_class.cache_clear()
    try:
        with pytest.raises(LabError, match="pip install anywidget"):
            _ = LabPanel(lab=lab, design=START).widget
    finally:
        panel_view._widget_class.cache_clear()
