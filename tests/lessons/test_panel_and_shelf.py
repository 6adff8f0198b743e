"""The panel and the shelf without a browser: construct, act, assert state; real training on a base of a few thousand weights."""

import html
import re
import threading
import time
from types import SimpleNamespace

import pytest
import tiny
from made_runs import made_race, made_run

from labkit.design.config import RunConfig
from labkit.design.ladders import LADDERS, rungs
from labkit.design.presets import EPOCHS_AND_BATCHES, PRESETS, RANK_AND_ALPHA, variations
from labkit.engine.room import Room
from labkit.errors import LabError
from labkit.judge.diagnose import LABELS, diagnose
from labkit.lab import Lab
from labkit.lessons import panel_view
from labkit.lessons.panel import FAST_STEPS, LabPanel, Silent
from labkit.lessons.shelf import RunShelf
from labkit.store.events import Step
from labkit.store.history import RunBuilder
from labkit.store.runs import Store, record
from labkit.text import LINE
from labkit.view import cards
from labkit.view.frontend import frontend

START = {"max_train_steps": 5, "train_batch_size": 2}


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture
def lab(monkeypatch, base):
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    monkeypatch.setattr("labkit.settings.fast", False)                # these runs are short by themselves; labkit test asks for the fast form
    lab = Lab()
    lab.__dict__ |= {"base": base, "cache": tiny.cache(), "territory": SimpleNamespace(train=range(12), prompts=())}
    return lab


@pytest.fixture
def panel(lab):
    panel = LabPanel(lab=lab, design=START, pictures=0)
    panel.widget
    return panel


def controls(panel):
    return {name: control for name, (_, control) in panel._view.knobs.items()}


def shown(image):
    return bytes(image.value)[:4] == b"\x89PNG"


def threads_that_train():
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit-train")]


def begun(panel):
    """Press Train on a run too long to end by itself, and wait for its first update."""
    panel.change(max_train_steps=100_000)
    panel._view.train.click()
    until(lambda: panel._view.progress_bar.value >= 1)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.01)


# -- knobs and presets

def test_moving_a_knob_changes_the_design_and_nothing_else(panel):
    before, knob = panel.design, controls(panel)["learning_rate"]
    knob.index = list(knob.options).index("1e-2")
    assert panel.design == before.replace(learning_rate=1e-2)


def test_the_knobs_follow_the_design_also_between_the_rungs_of_their_ladder(panel):
    panel.change(learning_rate=2e-3, lr_scheduler="three_phase")
    knob = controls(panel)["learning_rate"]
    assert knob.options[knob.index] == "2e-3" and controls(panel)["lr_scheduler"].index == 4
    assert panel.design.learning_rate == 2e-3


@pytest.mark.parametrize("knobs, nearest", [(("lora_alpha",), "Did you mean alpha?"), (("learning_rat",), "Did you mean learning_rate?"),
                                            ("lr", "Did you mean learning_rate?"), (("dataset",), "The knobs are learning_rate")])
def test_a_knob_that_there_is_not_is_answered_with_the_nearest(lab, knobs, nearest):
    with pytest.raises(LabError, match=nearest.replace("?", "[?]")):
        LabPanel(lab=lab, knobs=knobs)


def test_a_preset_that_there_is_not_is_answered_with_the_nearest(panel):
    with pytest.raises(LabError, match="Did you mean 'overshooting'[?]"):
        panel.choose("overshoting")


def test_a_new_preset_takes_away_the_verdict_of_the_last_run_which_can_still_be_pinned(panel):
    run, view = panel.run(), panel._view
    assert view.verdict.value and view.curve.layout.display == ""
    view.presets[1].click()
    assert view.verdict.value == "" and view.curve.layout.display == view.samples.layout.display == "none"
    view.pin.click()
    assert panel.shelf.pinned is run and view.verdict.value == "" and view.curve.layout.display == "none"
    panel.change(max_train_steps=5, train_batch_size=2)
    panel.run()
    assert panel.verdict.label in view.verdict.value and view.curve.layout.display == ""


def test_what_to_look_at_is_said_of_the_preset_once_a_knob_was_moved(panel):
    panel.choose("overshooting")
    assert "moved" not in panel._view.look.value
    knob = controls(panel)["learning_rate"]
    knob.index = list(knob.options).index("1e-3")
    assert "in the preset, before learning rate moved" in panel._view.look.value


def test_only_the_knobs_that_are_asked_for_appear(lab):
    panel = LabPanel(lab=lab, knobs=("rank", "alpha"), presets=())
    assert panel.widget.children and set(controls(panel)) == {"rank", "alpha"} and panel._view.presets == []


def test_rank_alpha_and_scaling_are_shown_together_whatever_knobs_there_are(panel):
    panel.change(rank=16, alpha=4)
    words = panel._view.scaling.value
    assert "rank 16" in words and "alpha 4" in words and "alpha / rank = 0.25" in words


def test_the_schedule_and_the_cost_are_shown_before_the_run(panel):
    old = panel._view.schedule.value
    panel.change(lr_scheduler="cosine", max_train_steps=300)
    assert shown(panel._view.schedule) and panel._view.schedule.value != old
    assert "300 updates" in panel._view.cost.value and "a guess" in panel._view.cost.value


def test_every_preset_is_one_verdict_and_says_what_to_look_at(panel):
    assert set(PRESETS) == set(LABELS)
    for name, preset in PRESETS.items():
        panel.choose(name)
        assert all(getattr(panel.design, field) == value for field, value in preset.changes.items())
        assert html.escape(preset.look) in panel._view.look.value


def test_the_presets_around_a_design_keep_the_rest_of_it(lab):
    design = RunConfig(**START, rank=4, alpha=2, lr_scheduler="cosine", learning_rate=2e-3)
    panel = LabPanel(lab=lab, presets=variations(design), design=design, pictures=0)
    for name, changed in {"half as long": "max_train_steps", "ten times the rate": "learning_rate", "no decay": "lr_scheduler"}.items():
        panel.choose(name)
        assert [field for field, value in design.to_dict().items() if panel.design.to_dict()[field] != value] == [changed], name
    panel.choose("rank 1")
    assert panel.design.scaling == 0.5 and panel.design.lr_scheduler == "cosine"


def test_a_lesson_brings_presets_of_its_own_also_such_as_are_told_in_epochs(lab):
    panel = LabPanel(lab=lab, knobs=("n_train", "train_batch_size", "num_train_epochs"), presets=EPOCHS_AND_BATCHES, design=START, pictures=0)
    assert panel.widget.children and len(panel._view.presets) == len(EPOCHS_AND_BATCHES)
    for name, preset in EPOCHS_AND_BATCHES.items():
        panel.choose(name)
        assert all(getattr(panel.design, field) == value for field, value in preset.changes.items())
        assert panel.design.max_train_steps is None


def test_the_fast_form_cuts_a_design_that_is_told_in_epochs(lab, monkeypatch):
    monkeypatch.setattr("labkit.settings.fast", True)
    assert LabPanel(lab=lab, design={"num_train_epochs": 50}, pictures=0).design.max_train_steps == FAST_STEPS


def test_a_preset_leaves_nothing_of_the_one_before(panel):
    panel.choose("overfitting")
    panel.choose("healthy")
    assert panel.design.rank == 8 and panel.design.n_train is None


def test_every_ladder_holds_its_fields_default_or_takes_it_in():
    from labkit.design.config import RunConfig

    for name in LADDERS:
        for value in [value for _, value in rungs(name, getattr(RunConfig(), name))]:
            if value is not None:
                assert getattr(RunConfig().replace(**{name: value}), name) == value


def test_an_impossible_design_is_explained_in_the_panel_and_mended_by_the_next_move(lab):
    panel = LabPanel(lab=lab, knobs=("n_train", "train_batch_size"))
    panel.widget
    panel.change(n_train=4, train_batch_size=8)
    assert "train_batch_size" in panel._view.errors.value
    panel.change(train_batch_size=4)
    assert panel._view.errors.value == ""


# -- training

def test_a_click_trains_in_one_thread_and_shows_curve_verdict_and_shelf(panel):
    panel._view.train.click()
    assert panel._view.train.disabled and not panel._view.stop.disabled and panel._view.stage_text.value
    assert threads_that_train()
    history = panel.wait()
    assert history.status == "finished" and history.steps["global_step"][-1] == 5
    view = panel._view
    assert shown(view.curve) and view.curve.layout.display == "" and panel.verdict.label in view.verdict.value
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
    assert panel.found and second.origin == "store" and second.run_id == first.run_id
    assert panel._view.stage_text.value.startswith("found, from ") and panel._view.again.layout.display == ""
    third = panel.run(new_seed=True)
    assert third.origin == "live" and third.config.seed == 1 and panel._view.again.layout.display == "none"


def test_stop_ends_at_a_completed_step_and_keeps_what_was_trained(panel, lab):
    panel.change(max_train_steps=5000)
    panel.train()
    while panel.is_training and panel._view.progress_bar.value < 1:
        time.sleep(0.01)
    panel._view.stop.click()
    history = panel.wait()
    assert history.status == "stopped" and 0 < history.stopped.global_step < 5000
    assert lab.store.run(history.run_id).checkpoint().global_step == history.stopped.global_step == history.steps["global_step"][-1]
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


# -- one run at a time in a kernel

def test_what_trains_can_not_be_changed_until_it_ends(panel):
    begun(panel)
    design, moved = panel.design, [*controls(panel).values(), *panel._view.presets]
    assert all(control.disabled for control in moved)
    panel._view.presets[0].click()                                    # a click that was on its way
    with pytest.raises(LabError, match="stop it or wait"):
        panel.change(learning_rate=1e-5)
    assert panel.design == design and "is training" in panel._view.errors.value and "error" not in panel._view.stage_text.value
    panel._view.stop.click()
    assert panel.wait().config.learning_rate == design.learning_rate
    assert not any(control.disabled for control in moved)


def test_a_panel_whose_cell_is_run_again_shows_and_stops_the_run_that_goes_on(panel, lab):
    begun(panel)
    again = LabPanel(lab=lab, design={"learning_rate": 1e-5}, pictures=0)
    again._ipython_display_()
    assert again.is_training and again.design == panel.design and again._view.train.disabled and not again._view.stop.disabled
    until(lambda: again._view.progress_bar.value >= 1)
    assert "panel that was opened last" in panel._view.stage_text.value
    again._view.stop.click()
    history = again.wait()
    assert history.status == "stopped" and panel.wait() is history and len(threads_that_train()) == 0
    assert not again._view.train.disabled and not panel._view.train.disabled and history in again.shelf.runs
    assert again.verdict is panel.verdict


def test_a_panel_of_another_territory_shows_the_run_that_goes_on_and_then_its_own_design(panel, lab):
    begun(panel)
    other = LabPanel("near", design={"learning_rate": 1e-5}, pictures=0)
    other._ipython_display_()
    assert other.is_training and other.design.learning_rate == 1e-5
    other._view.stop.click()
    panel.wait()
    until(lambda: not other.is_training)
    assert other.history is None and other._view.curve.layout.display == "none" and not other._view.train.disabled


def test_a_run_that_waits_for_its_turn_says_for_what_and_can_be_stopped(panel, lab):
    waiting = LabPanel(lab=lab, design=START | {"learning_rate": 1e-2}, pictures=0)
    waiting.widget
    begun(panel)
    waiting._view.train.click()
    until(lambda: "waiting for the run at learning rate 1e-3" in waiting._view.stage_text.value)
    waiting._view.stop.click()
    assert waiting.wait() is None and waiting._view.stage_text.value == "stopped before it began" and panel.is_training
    waiting._view.train.click()
    until(lambda: "waiting for" in waiting._view.stage_text.value)
    panel._view.stop.click()
    assert waiting.wait().status == "finished" and panel.wait().status == "stopped"


def test_the_same_design_waits_for_the_panel_that_trains_it_and_goes_on_from_there(panel, lab):
    same = LabPanel(lab=lab, pictures=0, design=START)
    same.widget
    begun(panel)
    same.change(max_train_steps=100_000)
    same._view.train.click()
    until(lambda: "waiting for" in same._view.stage_text.value)
    panel._view.stop.click()
    done = panel.wait().stopped.global_step
    until(lambda: same._view.progress_bar.value > done)
    same._view.stop.click()
    assert same.wait().steps["global_step"][-1] > done and same.error is None


def test_a_cell_that_trains_waits_for_the_panel_and_says_so(panel, lab, capsys, monkeypatch):
    begun(panel)
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    found = []
    cell = threading.Thread(target=lambda: found.extend(Lab.race(lab, "learning_rate", [1e-3, 1e-2], START, pictures=0)))
    cell.start()
    said = []
    until(lambda: said.append(capsys.readouterr().out) or "waiting for the run at learning rate 1e-3" in "".join(said))
    panel._view.stop.click()
    cell.join(60)
    assert [run.status for run in found] == ["finished"] * 2


def test_a_cell_that_draws_while_a_panel_trains_says_for_what_it_waits(panel, lab, capsys, monkeypatch):
    begun(panel)
    monkeypatch.setattr("labkit.lab.cut_texts", lambda *_: "")        # this base has no tokenizer
    monkeypatch.setattr("labkit.engine.base.Base.generate", lambda base, *_, **__: base.lock.acquire() and base.lock.release())
    cell = threading.Thread(target=lambda: Lab.generate(lab, "a pool"))
    cell.start()
    said = []
    until(lambda: said.append(capsys.readouterr().out) or "waiting for the run at learning rate 1e-3" in "".join(said))
    panel._view.stop.click()
    cell.join(60)
    assert not cell.is_alive() and panel.wait().status == "stopped"


def test_what_memory_decided_is_said_below_the_panel(panel, monkeypatch, capsys):
    monkeypatch.setattr("labkit.engine.sweep.room", lambda *_: Room(64, True, "Activations are computed again."))
    panel.run()
    assert capsys.readouterr().out == "Activations are computed again.\n"


def test_an_error_in_training_is_shown_kept_and_raised(panel, lab):
    lab.__dict__["cache"] = tiny.cache(n=1)
    lab.__dict__["territory"] = SimpleNamespace(train=range(1), prompts=())
    panel.train()
    with pytest.raises(LabError, match="train_batch_size"):
        panel.wait()
    assert "train_batch_size" in panel._view.errors.value and not panel._view.train.disabled
    assert panel._view.stage_text.value == "stopped by an error"


def test_an_error_nobody_foresaw_comes_with_its_traceback(panel, lab):
    lab.__dict__["base"] = SimpleNamespace()
    panel.train()
    with pytest.raises(AttributeError):
        panel.wait()
    assert "where it happened" in panel._view.errors.value and "Traceback" in panel._view.errors.value


def test_what_a_callback_raises_is_shown_since_jupyter_would_swallow_it(panel, monkeypatch):
    monkeypatch.setattr(panel, "pin", lambda: 1 / 0)
    panel._view._safely(panel.pin)
    assert "ZeroDivisionError" in panel._view.errors.value


def test_a_run_that_blows_up_is_a_result_not_an_error(panel):
    panel.change(learning_rate=1000, rank=2, alpha=1e6, max_grad_norm=0, weight_decay=0, optimizer="sgd", max_train_steps=20)
    panel.run()
    assert panel.error is None and panel.verdict.label == panel.history.status == "diverged"


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
            panel._view.history(run, diagnose(run))
            drawn.append(now.value)
    assert 3 <= len(drawn) <= 5


def test_what_is_left_of_a_resumed_run_is_told_by_what_was_seen_of_it(panel):
    panel._view.begin()
    for update, seconds in ((31, 1.0), (32, 2.0), (34, 4.0)):
        panel._view._next_text = 0.0
        panel._view.progress(update, 500, seconds)
    assert panel._view.stage_text.value == "update 34 of 500, about 8 min left"      # 466 updates of a second each; 55 s by 34 updates in 4 s


def test_costs_and_endings_are_told_in_numbers_that_a_person_would_write():
    pace = SimpleNamespace(is_measured=True, guess=lambda config: 60.0)
    config = RunConfig(max_train_steps=1000, train_batch_size=2).resolved(4)
    assert "2,000 pictures in 1,000 updates: each of 4 about 500 times." in panel_view.cost_text(config, pace)
    assert "2 pictures in 1 update: each of 4 about 0.5 times." in panel_view.cost_text(config.replace(max_train_steps=1), pace)


def test_when_a_run_was_trained_is_told_by_the_clock(lab):
    builder = RunBuilder("a" * 16)
    builder.add(Step("a" * 16, 1, 4, 0.1, 1e-3, 1.0, 0.1))
    history = builder.build()
    assert cards.trained_at(history) == time.strftime("%H:%M", time.localtime(history.time_s)) and abs(history.time_s - time.time()) < 60
    assert re.fullmatch(r"Trained \d+ \w+ \d{4} at \d\d:\d\d\.", history.provenance)


# -- where nobody can press a button

def test_without_a_browser_the_same_cell_trains_and_says_what_came_of_it(lab, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    panel = LabPanel(lab=lab, design=START, pictures=0)
    panel._ipython_display_()
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert panel.history.status == "finished" and panel.verdict.sentence in said and re.search(r"Trained \d+ \w+ 2\d{3} at \d\d:\d\d\.", said)
    assert max(map(len, printed.splitlines())) <= LINE
    assert isinstance(panel._view, Silent)                            # no widget was built


def test_without_a_browser_an_error_fails_the_cell(lab, monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    panel = LabPanel(lab=lab, design={"n_train": 2, "train_batch_size": 4}, pictures=0)
    with pytest.raises(LabError, match="train_batch_size"):
        panel._ipython_display_()


def test_on_colab_a_click_trains_in_the_callback_since_threads_cannot_update_widgets_there(panel, monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "colab")
    panel._view.train.click()
    assert panel.history.status == "finished" and not threads_that_train()


def test_a_plain_interpreter_is_headless(monkeypatch):
    monkeypatch.delenv("LABKIT_FRONTEND", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "somebody's notebook")
    assert frontend() == "headless"


def test_the_short_form_of_tests_takes_few_updates(lab, monkeypatch):
    monkeypatch.setattr("labkit.settings.fast", True)
    panel = LabPanel(lab=lab)
    panel.choose("overfitting")
    assert panel.design.max_train_steps == FAST_STEPS


# -- the shelf and the cards

def test_the_shelf_reads_the_store_and_marks_what_differs(tmp_path):
    store, runs = Store(tmp_path), made_race(pictures=False)
    shelf = RunShelf(store)
    assert "No runs yet" in shelf.table()
    for run in runs[:3]:
        shelf.add(run)
    table = shelf.table()
    assert table.count("<tr") == 4 and "≠ 1e-2" in table and "≠ 3e-5" not in table and "overshooting" in table


def test_the_shelf_shows_runs_of_its_own_base_and_territory_only(tmp_path, lab):
    panel = LabPanel(lab=lab, design=START, pictures=0)
    run = panel.run()
    assert [history.run_id for history in RunShelf(lab.store).runs] == [run.run_id]
    assert RunShelf(lab.store, data="elsewhere").runs == []


def test_the_outcome_of_a_run_stands_left_of_its_settings_which_scroll_where_a_page_is_narrow():
    table = cards.shelf_table(made_race(pictures=False), [diagnose(run) for run in made_race(pictures=False)])
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", table)
    assert heads.index("verdict") < heads.index("held-out loss") < heads.index("learning rate") and "overflow-x:auto" in table


def test_pinning_twice_takes_the_pin_off():
    shelf, run = RunShelf(), made_run(pictures=False)
    shelf.add(run)
    shelf.pin(run)
    assert shelf.pinned is run
    shelf.pin(run)
    assert shelf.pinned is None


def test_only_fields_that_differ_get_a_column():
    runs = [made_run(learning_rate=1e-3, rank=4), made_run(learning_rate=1e-3, rank=8)]
    assert set(cards.differing(runs)) == {"rank", "alpha", "learning_rate"}


def test_a_verdict_comes_with_its_numbers_its_step_and_its_source():
    run = made_run("overshooting", pictures=False)
    card = cards.verdict_card(diagnose(run), run)
    for words in ("▲ overshooting", "conceptual overshoot", "since step 30", "rise", "95 %", "Trained "):
        assert words in card
    assert "conceptual" not in cards.verdict_card(diagnose(run), run, "field")


def test_words_from_outside_cannot_become_markup():
    assert "<script>" not in cards.error_card(LabError("<script>alert(1)</script>"))


def test_a_loss_beyond_the_finite_does_not_break_the_shelf():
    shelf = RunShelf()
    shelf.add(made_run("blown up"))
    assert "not finite" in shelf.table()


def test_a_run_recorded_by_another_door_appears_on_the_shelf(tmp_path):
    run = made_run(pictures=False)
    from labkit.store.events import Stopped, Validation

    events = [Validation(run.run_id, 0, 0, "validation", "monitor", run.validations["validation"].losses[0], run.timesteps["validation"]),
              Stopped(run.run_id, 5, 20, "finished")]
    list(record(Store(tmp_path), events, {run.run_id: run.config}))
    assert [history.run_id for history in RunShelf(Store(tmp_path)).runs] == [run.run_id]


def test_a_prompt_box_does_not_wait_for_a_training_that_holds_the_base(monkeypatch):
    from labkit.lessons.prompt_box import PromptBox

    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    held, drawn = threading.RLock(), []
    lab = SimpleNamespace(base=SimpleNamespace(lock=held), base_name="other")
    box = PromptBox(lab)
    box.draw = lambda: drawn.append(1)
    box.widget
    release, taken = threading.Event(), threading.Event()
    training = threading.Thread(target=lambda: (held.acquire(), taken.set(), release.wait(30), held.release()))
    training.start()
    taken.wait(30)
    box._clicked(SimpleNamespace(disabled=False))
    release.set()
    training.join()
    assert drawn == [] and "training" in box._words.value


def test_a_lesson_brings_its_own_presets(lab):
    panel = LabPanel(lab=lab, knobs=("rank", "alpha"), presets=RANK_AND_ALPHA)
    for name, preset in RANK_AND_ALPHA.items():
        panel.choose(name)
        assert all(getattr(panel.design, field) == value for field, value in preset.changes.items())
    assert panel.widget.children and len(panel._view.presets) == len(RANK_AND_ALPHA) and panel.design.scaling == 128
