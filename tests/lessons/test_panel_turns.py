"""One run at a time in a kernel: panels and cells wait for each other, say for what, and show what goes on."""

import threading

import pytest
from panels import START, begin, done, press, shown, threads_that_train, turn_knob, until

from labkit.errors import LabError
from labkit.lessons.panel import LabPanel

WAITING = "waiting for the run at learning rate 1e-3"


def test_what_trains_can_not_be_changed_until_it_ends(panel):
    begin(panel)
    design, view = panel.design, panel._view
    assert view.state["mode"] == "training"
    turn_knob(panel, "max_train_steps", "5")                          # a click that was on its way
    with pytest.raises(LabError, match="stop it or wait"):
        panel.change(learning_rate=1e-5)
    assert panel.design == design and "is training" in view.state["error"]["words"] and "error" not in view.stage
    press(panel, "stop")
    assert panel.wait().config.learning_rate == design.learning_rate and view.state["mode"] == "idle"


def test_a_panel_whose_cell_is_run_again_shows_and_stops_the_run_that_goes_on(panel, lab):
    begin(panel)
    again = LabPanel(lab=lab, design={"learning_rate": 1e-5}, pictures=0)
    again._ipython_display_()
    assert again.is_training and again.designs == panel.designs and again.predictions is panel.predictions
    assert again._view.state["mode"] == "training"
    until(lambda: done(again) >= 1 and shown(again) == ["1e-3"])
    assert "panel that was opened last" in panel._view.stage
    press(again, "stop")
    run = again.wait()
    assert run.status == "stopped" and panel.wait() is run and len(threads_that_train()) == 0
    assert again._view.state["mode"] == panel._view.state["mode"] == "idle" and run in again.shelf.runs
    assert again.verdict == panel.verdict


def test_a_panel_of_another_territory_shows_the_run_that_goes_on_and_then_its_own_design(panel, lab):
    begin(panel)
    other = LabPanel("near", design={"learning_rate": 1e-5}, pictures=0)
    other._ipython_display_()
    assert other.is_training and other.design.learning_rate == 1e-5
    press(other, "stop")
    panel.wait()
    until(lambda: not other.is_training)
    assert other.result is None and shown(other) == [] and other._view.state["mode"] == "idle"


def test_a_run_that_waits_for_its_turn_says_for_what_and_can_be_stopped(panel, lab):
    waiting = LabPanel(lab=lab, design=START | {"learning_rate": 1e-2}, pictures=0)
    _ = waiting.widget
    begin(panel)
    press(waiting, "train")
    until(lambda: WAITING in waiting._view.stage)
    press(waiting, "stop")
    assert waiting.wait() is None and waiting._view.stage == "stopped before it began" and panel.is_training
    press(waiting, "train")
    until(lambda: "waiting for" in waiting._view.stage)
    press(panel, "stop")
    assert waiting.wait().status == "finished" and panel.wait().status == "stopped"


def test_the_same_design_waits_for_the_panel_that_trains_it_and_goes_on_from_there(panel, lab):
    same = LabPanel(lab=lab, pictures=0, design=START)
    _ = same.widget
    begin(panel)
    same.change(max_train_steps=100_000)
    press(same, "train")
    until(lambda: "waiting for" in same._view.stage)
    press(panel, "stop")
    before = panel.wait().stopped.global_step
    until(lambda: done(same) > before)
    press(same, "stop")
    assert same.wait().steps["global_step"][-1] > before and same.error is None


def test_a_cell_that_trains_waits_for_the_panel_and_says_so(panel, lab, capsys, monkeypatch):
    begin(panel)
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    runs = []
    cell = threading.Thread(target=lambda: runs.extend(lab.race("learning_rate", [1e-3, 1e-2], START, pictures=0)))
    cell.start()
    printed = []
    until(lambda: printed.append(capsys.readouterr().out) or WAITING in "".join(printed))
    press(panel, "stop")
    cell.join(60)
    assert [run.status for run in runs] == ["finished"] * 2


def test_a_cell_that_draws_while_a_panel_trains_says_for_what_it_waits(panel, lab, capsys, monkeypatch):
    begin(panel)
    monkeypatch.setattr("labkit.lab.cut_texts", lambda *_: "")        # this base has no tokenizer
    monkeypatch.setattr("labkit.engine.base.Base.generate",
                        lambda base, *_, **__: base.lock.acquire() and base.lock.release())
    cell = threading.Thread(target=lambda: lab.generate("a pool"))
    cell.start()
    printed = []
    until(lambda: printed.append(capsys.readouterr().out) or WAITING in "".join(printed))
    press(panel, "stop")
    cell.join(60)
    assert not cell.is_alive() and panel.wait().status == "stopped"
