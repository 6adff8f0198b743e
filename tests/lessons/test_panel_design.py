"""The panel before it trains: knobs, presets, what is said of a design; without a browser."""

from types import SimpleNamespace

import pytest
from panels import START, chosen, knobs, press, shown, turn_knob

from labkit.design.config import RunConfig
from labkit.design.ladders import LADDERS, rungs
from labkit.design.presets import EPOCHS_AND_BATCHES, PRESETS, RANK_AND_ALPHA, variations
from labkit.errors import LabError
from labkit.judge.diagnose import LABELS
from labkit.lessons import panel_state
from labkit.lessons.panel import LabPanel
from labkit.lessons.panel_choice import FAST_STEPS


def test_moving_a_knob_changes_the_design_and_nothing_else(panel):
    before = panel.design
    turn_knob(panel, "max_train_steps", "10")
    assert panel.design == before.replace(max_train_steps=10) and chosen(panel, "max_train_steps") == ["10"]


def test_the_knobs_follow_the_design_also_between_the_rungs_of_their_ladder(panel):
    panel.change(learning_rate=2e-3, lr_scheduler="three_phase")
    assert chosen(panel, "learning_rate") == ["2e-3"] and chosen(panel, "lr_scheduler") == ["three phase"]
    rates = list(knobs(panel)["learning_rate"])
    assert rates.index("1e-3") + 1 == rates.index("2e-3") == rates.index("3e-3") - 1


def test_a_panel_opens_with_a_race_over_its_first_knob(racing):
    assert chosen(racing, "learning_rate") == ["1e-4", "1e-3", "1e-2"]
    assert racing._view.state["train"] == "Race 3 runs" and "3 runs of 5 updates" in racing._view.state["cost"]
    assert [design.learning_rate for design in racing.designs] == [1e-4, 1e-3, 1e-2]


def test_rungs_of_the_raced_knob_go_in_and_out_down_to_one_and_up_to_eight(racing):
    turn_knob(racing, "learning_rate", "3e-2")
    turn_knob(racing, "learning_rate", "1e-3")
    assert chosen(racing, "learning_rate") == ["1e-4", "1e-2", "3e-2"] and racing.design.learning_rate == 1e-4
    for text in ("1e-4", "1e-2", "3e-2"):
        turn_knob(racing, "learning_rate", text)
    assert chosen(racing, "learning_rate") == ["3e-2"]                # the last one stays
    for text in ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2"):
        turn_knob(racing, "learning_rate", text)
    turn_knob(racing, "learning_rate", "1e-1")
    assert len(racing.values) == 8 and "1 to 8 values" in racing._view.state["error"]["words"]


def test_another_knob_can_be_raced_and_the_first_keeps_the_designs_value(racing):
    press(racing, "race", knob="max_train_steps")
    assert chosen(racing, "max_train_steps") == ["5", "20"] and chosen(racing, "learning_rate") == ["1e-3"]


def test_a_value_of_a_race_keeps_to_what_its_field_takes(racing):
    with pytest.raises(LabError, match="1 to 8 values"):
        racing.race("learning_rate", [])
    with pytest.raises(LabError, match="learning_rate"):
        racing.race("learning_rate", [-1])
    assert len(racing.values) == 3


@pytest.mark.parametrize("names, nearest", [
    (("lora_alpha",), "Did you mean alpha?"), (("learning_rat",), "Did you mean learning_rate?"),
    ("lr", "Did you mean learning_rate?"), (("dataset",), "The knobs are learning_rate"),
])
def test_a_knob_that_there_is_not_is_answered_with_the_nearest(lab, names, nearest):
    with pytest.raises(LabError, match=nearest.replace("?", "[?]")):
        LabPanel(lab=lab, knobs=names)


def test_a_preset_leaves_pictures_as_they_are_read_before_the_lab_is_there():
    own = RunConfig(data="photos", crop="top", captions="names", resolution=256, seed=3)
    early = LabPanel("photos", design=own)
    early.choose("stagnating")
    assert {field: getattr(early.design, field) for field in ("crop", "captions", "resolution", "seed")} == {
        "crop": "top", "captions": "names", "resolution": 256, "seed": 3}
    assert early.design.learning_rate == PRESETS["stagnating"].changes["learning_rate"]


def test_a_preset_that_there_is_not_is_answered_with_the_nearest(panel):
    with pytest.raises(LabError, match="Did you mean 'overshooting'[?]"):
        panel.choose("overshoting")


def test_a_new_preset_takes_away_what_is_shown_unless_it_is_pinned(panel):
    panel.run()
    assert shown(panel) == ["1e-3"]
    press(panel, "choose", name="stagnating")
    assert shown(panel) == [] and panel._view.widget.name == ""
    [row] = panel._view.widget.shelf
    press(panel, "restore", run=row["id"])
    press(panel, "pin", run=row["id"])
    turn_knob(panel, "max_train_steps", "10")
    panel.run()
    assert shown(panel) == ["1e-3", "1e-3, 5 updates"] and len(panel.results) == 1


def test_what_to_look_at_is_said_of_the_preset_once_a_knob_was_moved(panel):
    panel.choose("overshooting")
    assert panel._view.state["moved"] == ""
    turn_knob(panel, "max_train_steps", "10")
    assert panel._view.state["moved"] == "in the preset, before max train steps moved"


def test_only_the_knobs_that_are_asked_for_appear(lab):
    panel = LabPanel(lab=lab, knobs=("rank", "alpha"), presets=())
    assert panel.widget and set(knobs(panel)) == {"rank", "alpha"} and panel._view.state["presets"] == []


def test_rank_alpha_and_scaling_are_shown_together_whatever_knobs_there_are(panel):
    panel.change(rank=16, alpha=4)
    words = panel._view.state["scaling"]
    assert "rank 16" in words and "alpha 4" in words and "alpha / rank = 0.25" in words


def test_the_schedule_and_the_cost_are_shown_before_the_run(panel):
    panel.change(lr_scheduler="cosine", max_train_steps=300)
    schedule = panel._view.state["schedule"]
    [line] = schedule["lines"]
    assert (line[0], line[-1][0], schedule["last"]) == ([0, 1e-3], 299, 300) and line[-1][1] < 1e-5
    assert "cosine, at most 1e-3, over 300 updates" in schedule["words"]
    assert "300 updates" in panel._view.state["cost"] and "a guess" in panel._view.state["cost"]


def test_every_preset_is_one_verdict_and_says_what_to_look_at(panel):
    assert set(PRESETS) == set(LABELS)
    for name, preset in PRESETS.items():
        panel.choose(name)
        assert all(getattr(panel.design, field) == value for field, value in preset.changes.items())
        assert panel._view.state["look"] == preset.look and len(panel.designs) == 1


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
    names = ("n_train", "train_batch_size", "num_train_epochs")
    panel = LabPanel(lab=lab, knobs=names, presets=EPOCHS_AND_BATCHES, design=START, pictures=0)
    assert panel.widget and len(panel._view.state["presets"]) == len(EPOCHS_AND_BATCHES)
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
    assert "train_batch_size" in panel._view.state["error"]["words"] and not panel._view.state["cost"]
    panel.change(train_batch_size=4)
    assert panel._view.state["error"] is None


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
    assert panel.widget and len(panel._view.state["presets"]) == len(RANK_AND_ALPHA) and panel.design.scaling == 128


def test_the_short_form_of_tests_takes_few_updates(lab, monkeypatch):
    monkeypatch.setattr("labkit.settings.fast", True)
    panel = LabPanel(lab=lab)
    panel.choose("overfitting")
    assert panel.design.max_train_steps == FAST_STEPS


def test_costs_are_told_in_numbers_that_a_person_would_write():
    pace = SimpleNamespace(is_measured=True, guess=lambda configs: 60.0)
    config = RunConfig(max_train_steps=1000, train_batch_size=2).resolved(4)
    words = panel_state.cost([config], 0, pace)
    assert words == "1 run of 1,000 updates, each of 4 pictures seen about 500 times: about 60 s (as measured here)."
    once = panel_state.cost([config.replace(max_train_steps=1)], 2, pace)
    assert "1 run of 1 update, each of 4 pictures seen about 0.5 times" in once and "2 runs already trained." in once


def test_a_share_string_brings_a_design_and_a_newer_one_says_so(panel):
    other = RunConfig(learning_rate=2e-3, rank=4, data="near", max_train_steps=7)
    press(panel, "design", text=f" {other.share()} ")
    assert panel.design == other.replace(data=panel.design.data) and panel._view.state["share"] == panel.design.share()
    for text, words in (("lab9~rank~4~abc123", "newer version"), ("rank 4", "starts with lab2~"),
                        (other.share()[:-1], "damaged")):
        press(panel, "design", text=text)
        assert words in panel._view.state["error"]["words"] and panel.design.rank == 4


def test_a_teacher_hides_parts_of_the_panel_by_their_names(lab):
    panel = LabPanel(lab=lab, design=START, pictures=0, hide=("shelf", "prediction"))
    _ = panel.widget
    panel.run()
    assert panel._view.state["hide"] == ["shelf", "prediction"] and panel._view.widget.shelf == []
    assert panel._view.state["question"] is None
    with pytest.raises(LabError, match="'knob' is no part of the panel: the parts are presets, knobs"):
        LabPanel(lab=lab, hide="knob")


def test_what_a_widget_sends_and_nobody_knows_does_nothing(panel):
    before = panel._view.state
    press(panel, "explode")
    turn_knob(panel, "max_train_steps", "11")
    assert "no rung" in panel._view.state["error"]["words"]
    assert panel._view.state | {"error": None} == before
