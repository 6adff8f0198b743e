"""The panel before it trains: knobs, presets, what is said of a design; without a browser."""

import html
from types import SimpleNamespace

import pytest
from panels import START, controls, shown_as_png

from labkit.design.config import RunConfig
from labkit.design.ladders import LADDERS, rungs
from labkit.design.presets import EPOCHS_AND_BATCHES, PRESETS, RANK_AND_ALPHA, variations
from labkit.errors import LabError
from labkit.judge.diagnose import LABELS
from labkit.lessons import panel_view
from labkit.lessons.panel import FAST_STEPS, LabPanel


def test_moving_a_knob_changes_the_design_and_nothing_else(panel):
    before, knob = panel.design, controls(panel)["learning_rate"]
    knob.index = list(knob.options).index("1e-2")
    assert panel.design == before.replace(learning_rate=1e-2)


def test_the_knobs_follow_the_design_also_between_the_rungs_of_their_ladder(panel):
    panel.change(learning_rate=2e-3, lr_scheduler="three_phase")
    knob = controls(panel)["learning_rate"]
    assert knob.options[knob.index] == "2e-3" and controls(panel)["lr_scheduler"].index == 4
    assert panel.design.learning_rate == 2e-3


@pytest.mark.parametrize("knobs, nearest", [
    (("lora_alpha",), "Did you mean alpha?"), (("learning_rat",), "Did you mean learning_rate?"),
    ("lr", "Did you mean learning_rate?"), (("dataset",), "The knobs are learning_rate"),
])
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
    assert shown_as_png(panel._view.schedule) and panel._view.schedule.value != old
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
    changes = {"half as long": "max_train_steps", "ten times the rate": "learning_rate", "no decay": "lr_scheduler"}
    for name, changed in changes.items():
        panel.choose(name)
        fields = panel.design.to_dict()
        assert [field for field, value in design.to_dict().items() if fields[field] != value] == [changed], name
    panel.choose("rank 1")
    assert panel.design.scaling == 0.5 and panel.design.lr_scheduler == "cosine"


def test_a_lesson_brings_presets_of_its_own_also_such_as_are_told_in_epochs(lab):
    knobs = ("n_train", "train_batch_size", "num_train_epochs")
    panel = LabPanel(lab=lab, knobs=knobs, presets=EPOCHS_AND_BATCHES, design=START, pictures=0)
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
    for name in LADDERS:
        for value in [value for _, value in rungs(name, getattr(RunConfig(), name))]:
            if value is not None:
                assert getattr(RunConfig().replace(**{name: value}), name) == value


def test_an_impossible_design_is_explained_in_the_panel_and_mended_by_the_next_move(lab):
    panel = LabPanel(lab=lab, knobs=("n_train", "train_batch_size"))
    _ = panel.widget
    panel.change(n_train=4, train_batch_size=8)
    assert "train_batch_size" in panel._view.errors.value
    panel.change(train_batch_size=4)
    assert panel._view.errors.value == ""


def test_presets_are_chosen_by_the_name_of_their_set(lab):
    assert LabPanel(lab=lab).presets == PRESETS == LabPanel(lab=lab, presets=PRESETS).presets
    panel = LabPanel(lab=lab, design=START, presets="variations")
    assert panel.presets == variations(panel.design)
    with pytest.raises(LabError, match="'rank' is no set of presets: there are verdicts, rank and alpha"):
        LabPanel(lab=lab, presets="rank")


def test_a_lesson_brings_its_own_presets(lab):
    panel = LabPanel(lab=lab, knobs=("rank", "alpha"), presets="rank and alpha")
    for name, preset in RANK_AND_ALPHA.items():
        panel.choose(name)
        assert all(getattr(panel.design, field) == value for field, value in preset.changes.items())
    assert panel.widget.children and len(panel._view.presets) == len(RANK_AND_ALPHA) and panel.design.scaling == 128


def test_the_short_form_of_tests_takes_few_updates(lab, monkeypatch):
    monkeypatch.setattr("labkit.settings.fast", True)
    panel = LabPanel(lab=lab)
    panel.choose("overfitting")
    assert panel.design.max_train_steps == FAST_STEPS


def test_costs_and_endings_are_told_in_numbers_that_a_person_would_write():
    pace = SimpleNamespace(is_measured=True, guess=lambda config: 60.0)
    config = RunConfig(max_train_steps=1000, train_batch_size=2).resolved(4)
    assert "2,000 pictures in 1,000 updates: each of 4 about 500 times." in panel_view.cost_text(config, pace)
    once = panel_view.cost_text(config.replace(max_train_steps=1), pace)
    assert "2 pictures in 1 update: each of 4 about 0.5 times." in once
