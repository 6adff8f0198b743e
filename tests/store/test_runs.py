"""What a run folder keeps of a run, and how runs are found, resumed, forked and named."""

import json
import time

import numpy as np
import pytest
from told_runs import CONFIG, ID, PICTURES, keep, some_events

from labkit.design.config import RunConfig, run_id
from labkit.errors import LabError
from labkit.store import journal, recorded, runs
from labkit.store.adapter_files import load_adapter
from labkit.store.events import Step, Stopped, Validation
from labkit.store.history import RunBuilder


def test_a_recorded_run_reads_back_as_it_was_told():
    store = runs.Store()
    events = keep(store, some_events(), meta={"base_fingerprint": "base"})
    run = store.run(ID).load()
    assert [type(event).__name__ for event in events].count("Step") == 4
    assert run.status == "finished" and run.config == CONFIG
    assert run.meta == {"base_fingerprint": "base"}
    np.testing.assert_array_equal(run.steps["global_step"], [1, 2, 3, 4])
    np.testing.assert_array_equal(run.steps["loss"], [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_array_equal(run.validations["validation"].steps, [0, 4])
    np.testing.assert_array_equal(run.validations["validation"].losses[1], np.full((3, 2), 0.1, np.float32))
    np.testing.assert_array_equal(run.timesteps["validation"], [[10, 500]] * 3)
    np.testing.assert_array_equal(run.samples[0].load(), PICTURES)


def test_events_as_they_come_and_the_store_give_the_same_run():
    store, builder = runs.Store(), RunBuilder(ID, CONFIG)
    for event in runs.record(store, some_events(), {ID: CONFIG}):
        builder.add(event)
    live, stored = builder.build(), store.run(ID).load()
    for name, column in live.steps.items():
        np.testing.assert_array_equal(column, stored.steps[name])
    np.testing.assert_array_equal(live.validations["validation"].losses, stored.validations["validation"].losses)
    np.testing.assert_array_equal(live.samples[0].load(), stored.samples[0].load())
    assert live.status == stored.status == "finished"


def test_numbers_that_are_not_finite_survive_and_the_journal_stays_strict_json():
    store = runs.Store()
    losses = np.array([[np.nan, 0.1], [np.inf, 0.3]], dtype=np.float32)
    keep(store, [
        Step(ID, 1, 4, float("nan"), 1e-3, float("inf"), 0.0),
        Validation(ID, 1, 4, "validation", "monitor", losses, np.zeros((2, 2), int)),
        Stopped(ID, 1, 4, "diverged"),
    ])

    def no_constant(word):
        raise AssertionError(word)

    for line in store.run(ID).events_path.read_text().splitlines():
        json.loads(line, parse_constant=no_constant)
    run = store.run(ID).load()
    np.testing.assert_array_equal(run.validations["validation"].losses[0], losses)
    assert np.isnan(run.steps["loss"][0]) and np.isinf(run.steps["grad_norm"][0])


def test_float32_losses_come_back_bit_for_bit():
    losses = np.random.default_rng(1).random((64, 8), dtype=np.float32)
    keep(runs.Store(), [Validation(ID, 1, 4, "validation", "verdict", losses, np.zeros((64, 8), int))])
    assert runs.Store().run(ID).load().final_validations["validation"].losses[0].tobytes() == losses.tobytes()


def test_a_run_is_found_by_its_content_and_says_when_it_was_trained():
    store = runs.Store()
    assert store.find(CONFIG, "base", "data") is None
    keep(store, some_events())
    run = store.find(CONFIG, "base", "data")
    assert run.run_id == ID
    assert str(time.localtime().tm_year) in run.provenance and "not trained again" in run.provenance
    assert store.find(CONFIG, "base", "other data") is None
    assert store.find(CONFIG.replace(seed=1), "base", "data") is None


@pytest.mark.parametrize("reason, is_found", [
    ("finished", True), ("diverged", True), ("stopped", False), ("error", False), (None, False),
])
def test_only_complete_runs_are_found(reason, is_found):
    keep(runs.Store(), some_events(reason=reason))
    assert (runs.Store().find(CONFIG, "base", "data") is not None) is is_found


def test_a_complete_run_is_not_overwritten():
    keep(runs.Store(), some_events())
    before = runs.Store().run(ID).events_path.read_bytes()
    with pytest.raises(LabError, match="already complete.*another seed"):
        keep(runs.Store(), some_events())
    assert runs.Store().run(ID).events_path.read_bytes() == before


def test_every_cut_of_the_journal_leaves_a_readable_run():
    keep(runs.Store(), some_events())
    folder = runs.Store().run(ID)
    data = folder.events_path.read_bytes()
    whole_lines = data.count(b"\n")
    for size in range(len(data)):
        folder.events_path.write_bytes(data[:size])
        lines, _ = journal.read(folder.events_path)
        assert len(lines) == data[:size].count(b"\n") < whole_lines
        if size % 97 == 0:
            assert folder.load().status == "interrupted"


def test_zeros_left_at_the_end_by_a_power_cut_are_ignored():
    keep(runs.Store(), some_events(reason=None))
    folder = runs.Store().run(ID)
    with open(folder.events_path, "ab") as file:
        file.write(b"\0" * 120)
    assert len(folder.load().steps["loss"]) == 4


def test_damage_in_the_middle_is_named_and_does_not_hide_other_runs():
    store = runs.Store()
    keep(store, some_events())
    other = CONFIG.replace(seed=1)
    keep(store, some_events(run="b" * 16), other, "b" * 16)
    path = store.run(ID).events_path
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b'{"event": "St', *lines[2:]]))
    with pytest.raises(LabError, match="Line 2 of .*events.jsonl is damaged"):
        store.run(ID).load()
    with pytest.warns(UserWarning, match="Line 2"):
        assert [run.run_id for run in store.load_runs()] == ["b" * 16]


def test_resuming_drops_what_followed_the_checkpoint_and_goes_on():
    store = runs.Store()
    keep(store, some_events(last=3, reason=None))
    point = store.run(ID).checkpoint(2)
    assert point.global_step == 2 and store.run(ID).checkpoints() == [2, 3]
    np.testing.assert_array_equal(point.adapter["down.to_q.lora_A.weight"], np.full((8, 4), 2))
    assert point.optimizer["step"] == 2 and point.optimizer["step"].shape == ()
    keep(store, some_events(first=2), resume_at=2)
    run = store.run(ID).load()
    np.testing.assert_array_equal(run.steps["global_step"], [1, 2, 3, 4])
    np.testing.assert_array_equal(run.validations["validation"].steps, [0, 4])
    assert run.status == "finished" and store.run(ID).checkpoints() == [2, 4]


def test_resuming_where_there_is_no_checkpoint_is_refused():
    keep(runs.Store(), some_events(reason="stopped"))
    with pytest.raises(LabError, match="no checkpoint at step 3"):
        keep(runs.Store(), some_events(first=3), resume_at=3)
    with pytest.raises(LabError, match="no checkpoint at step 3: it has \\[2, 4\\]"):
        runs.Store().run(ID).checkpoint(3)


def test_a_complete_member_of_a_resumed_group_stays_as_it_is():
    store = runs.Store()
    keep(store, some_events(last=2, reason="diverged"))
    before = store.run(ID).events_path.read_bytes()
    assert not keep(store, [Step(ID, 3, 12, 0.1, 1e-3, 0.1, 0.1)], resume_at=2)
    assert store.run(ID).events_path.read_bytes() == before


def test_a_fork_begins_with_its_parents_events_and_leaves_the_parent_alone():
    store = runs.Store()
    keep(store, some_events())
    before = store.run(ID).events_path.read_bytes()
    config = CONFIG.replace(parent=ID, lr_edits=((2, 1e-4),))
    child = run_id(config, "base", "data")
    keep(store, some_events(first=2, run=child), config, child, resume_at=2)
    run = store.run(child).load()
    np.testing.assert_array_equal(run.steps["global_step"], [1, 2, 3, 4])
    assert run.config == config and run.samples[0].paths[0].is_relative_to(store.run(child).path)
    np.testing.assert_array_equal(run.samples[0].load(), PICTURES)
    assert store.run(child).checkpoint(2).global_step == 2
    assert store.run(ID).events_path.read_bytes() == before


def test_a_newer_store_is_refused():
    keep(runs.Store(), some_events())
    path = runs.Store().run(ID).path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"store_version": runs.STORE_VERSION + 1}))
    with pytest.raises(LabError, match="newer labkit"):
        runs.Store().run(ID).load()


@pytest.mark.parametrize("text", [
    '{"_class_name": "UNet2DConditionModel"}', "[]", '{"store_version": 1, "config": {}}',
])
def test_a_folder_of_something_else_is_named(text):
    folder = runs.Store().run("unet")
    folder.path.mkdir(parents=True)
    (folder.path / "config.json").write_text(text)
    with pytest.raises(LabError, match="is not that of a run"):
        folder.load()
    with pytest.warns(UserWarning, match="is not that of a run"):
        assert runs.Store().load_runs() == []


def test_recorded_runs_are_opened_by_name_only_and_say_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    keep(runs.Store(tmp_path / "race"), some_events())
    recorded.pack(tmp_path / "race", tmp_path / "data/runs/race.zip")
    (run,) = recorded.recorded("race")
    assert run.origin == "recorded" and "ships with the kit" in run.provenance
    assert runs.Store().find(CONFIG, "base", "data") is None
    with pytest.raises(LabError, match="there are race"):
        recorded.recorded("rase")


def test_the_adapter_of_the_last_checkpoint_lies_in_the_folder():
    keep(runs.Store(), some_events())
    tensors, fields = load_adapter(runs.Store().run(ID).adapter_path)
    np.testing.assert_array_equal(tensors["down.to_q.lora_A.weight"], np.full((8, 4), 4))
    assert fields["alpha"] == 8 and fields["rank"] == 8


def test_a_run_gone_on_with_other_held_out_pictures_keeps_one_curve():
    builder = RunBuilder(ID, RunConfig(max_train_steps=4).resolved(8))
    for step, n in ((0, 8), (2, 8), (3, 16), (4, 16)):
        losses, timesteps = np.ones((n, 1), np.float32), np.zeros((n, 1), int)
        builder.add(Validation(ID, step, step * 4, "validation", "monitor", losses, timesteps))
    assert builder.build().validations["validation"].steps.tolist() == [3, 4]


def test_a_run_is_named_by_the_first_characters_of_its_id(tmp_path):
    store = runs.Store(tmp_path)
    for name in ("ab" * 8, "ac" * 8):
        keep(store, iter([Stopped(name, 0, 0, "finished", "")]), run=name)
    assert store.named("ab").run_id == store.named("ab" * 8).run_id == "ab" * 8
    with pytest.raises(LabError, match="a is the beginning of 2 run ids: a"):
        store.named("a")
    for name in ("", "b", "../x"):
        with pytest.raises(LabError, match="There is no run .* lists the 2 that are there"):
            store.named(name)


def test_a_run_that_ended_in_a_long_error_in_any_script_keeps_its_status(tmp_path):
    store = runs.Store(tmp_path)
    keep(store, iter([Stopped(ID, 0, 0, "error", "路" * 2000)]))
    assert store.run(ID).status == "error" and store.run(ID).load().stopped.message == "路" * 2000
