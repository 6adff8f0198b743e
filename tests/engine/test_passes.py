"""What was trained is gone on with from the last checkpoint that is whole, whoever else is in the sweep.

Inputs are blamed before rates.
"""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import tiny
from old_store import without_checksums
from tiny import sweep, train

from labkit.design.config import RunConfig, run_id
from labkit.engine.monitor import Monitor
from labkit.errors import LabError, LabWarning
from labkit.store.adapter_files import load_adapter
from labkit.store.events import Step, Stopped
from labkit.store.runs import Store

QUIET = Monitor(images=0)
OLD = RunConfig(max_train_steps=6, rank=2, learning_rate=1e-3)
NEW = OLD.replace(learning_rate=1e-2)


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


@pytest.fixture
def folder(tmp_path, base, cache):
    """Give the folder of OLD, broken off after update 5 with checkpoints at 2 and 4."""
    with closing(sweep(base, cache, [OLD], Store(tmp_path), monitor=QUIET, checkpoint_at=(2, 4))) as events:
        for event in events:
            if isinstance(event, Step) and event.global_step == 5:
                break
    return Store(tmp_path).run(name(OLD, base, cache))


def name(config, base, cache):
    return run_id(config.resolved(len(cache.train)), base.fingerprint, cache.fingerprint)


def steps(events, run):
    return [event.global_step for event in events if isinstance(event, Step) and event.run_id == run]


def straight(base, cache, tmp_path, configs=(OLD,)):
    store = Store(tmp_path / "straight")
    list(sweep(base, cache, configs, store, monitor=QUIET))
    return [store.run(name(config, base, cache)).load().steps["loss"] for config in configs]


def spoil(path, data=b"\xff" * 50):
    path.write_bytes(path.read_bytes()[: -len(data)] + data)


def test_a_run_with_checkpoints_goes_on_although_another_of_the_sweep_has_none(base, cache, tmp_path, folder):
    store, new = Store(tmp_path), name(NEW, base, cache)
    with closing(sweep(base, cache, [NEW, OLD], store, monitor=QUIET)) as events:
        first = [next(event for event in events if isinstance(event, Step)) for _ in range(1)]
    assert (first[0].run_id, first[0].global_step) == (folder.run_id, 5)
    assert folder.checkpoints() == [2, 4] and len(folder.load().steps["loss"]) == 5
    rest = list(sweep(base, cache, [NEW, OLD], store, monitor=QUIET))
    assert steps(rest, folder.run_id) == [5, 6] and steps(rest, new) == [1, 2, 3, 4, 5, 6]
    for run, losses in zip((folder, store.run(new)), straight(base, cache, tmp_path), strict=False):
        np.testing.assert_array_equal(run.load().steps["loss"], losses)


def test_runs_of_two_passes_go_on_each_from_its_own_last_checkpoint(base, cache, tmp_path, folder):
    store = Store(tmp_path)
    with closing(sweep(base, cache, [NEW], store, monitor=QUIET, checkpoint_at=(1, 3))) as events:
        next(event for event in events if isinstance(event, Step) and event.global_step == 4)
    rest = list(sweep(base, cache, [OLD, NEW], store, monitor=QUIET))
    assert steps(rest, folder.run_id) == [5, 6] and steps(rest, name(NEW, base, cache)) == [4, 5, 6]


@pytest.mark.parametrize("is_old", [False, True])
def test_a_rotten_checkpoint_is_named_and_the_one_before_it_is_taken(base, cache, tmp_path, folder, is_old):
    if is_old:
        without_checksums(folder.path)
    spoil(folder.path / "checkpoints" / "000004.safetensors")
    with pytest.warns(LabWarning, match="000004.safetensors is damaged.*goes on from step 2"):
        rest = list(sweep(base, cache, [OLD], Store(tmp_path), monitor=QUIET))
    assert steps(rest, folder.run_id) == [3, 4, 5, 6] and folder.status == "finished"
    np.testing.assert_array_equal(folder.load().steps["loss"], straight(base, cache, tmp_path)[0])


def test_a_run_without_a_whole_checkpoint_begins_again_and_says_so_and_leaves_nothing_stale(
        base, cache, tmp_path, folder):
    (folder.path / "checkpoints" / "000002.safetensors").unlink()
    spoil(folder.path / "checkpoints" / "000004.safetensors", b"?")
    (folder.path / ".adapter.safetensors.left by a kill").touch()
    with pytest.warns(LabWarning) as told:
        with closing(sweep(base, cache, [OLD], Store(tmp_path), monitor=QUIET)) as events:
            assert next(event for event in events if isinstance(event, Step)).global_step == 1
    words = [
        "000004.safetensors is damaged",
        "begins again from step 0",
        "interrupted at update 5 and has no checkpoint",
    ]
    assert all(word in str(warning.message) for word, warning in zip(words, told, strict=True))
    assert sorted(path.name for path in folder.path.rglob("*") if path.is_file()) == ["config.json", "events.jsonl"]


def test_what_is_behind_the_checkpoint_that_a_run_goes_on_from_is_removed(base, cache, tmp_path, folder):
    spoil(folder.path / "checkpoints" / "000004.safetensors")
    with pytest.warns(LabWarning), closing(sweep(base, cache, [OLD], Store(tmp_path), monitor=QUIET)) as events:
        next(event for event in events if isinstance(event, Step))
    assert [path.name for path in (folder.path / "checkpoints").iterdir()] == ["000002.safetensors"]
    tensors, _ = load_adapter(folder.adapter_path)
    assert all(np.array_equal(tensors[key], array) for key, array in folder.checkpoint(2).adapter.items())


def test_a_fork_leaves_its_parent_although_another_of_the_sweep_begins(base, cache, tmp_path, folder):
    list(sweep(base, cache, [OLD], Store(tmp_path), monitor=QUIET))
    fork = OLD.replace(lr_edits=((3, 1e-4),), parent=folder.run_id)
    events = list(sweep(base, cache, [NEW, fork], Store(tmp_path), monitor=QUIET))
    assert steps(events, name(fork, base, cache)) == [3, 4, 5, 6]
    assert steps(events, name(NEW, base, cache)) == [1, 2, 3, 4, 5, 6]


def test_a_damaged_member_of_the_pass_that_a_run_was_begun_in_does_not_hold_it_up(base, cache, tmp_path):
    store = Store(tmp_path)
    list(sweep(base, cache, [OLD.replace(max_train_steps=6)], store, monitor=QUIET))
    other = store.run(name(OLD, base, cache))
    meta = {"group": [other.run_id, name(NEW, base, cache)]}
    with closing(sweep(base, cache, [NEW], store, monitor=QUIET, checkpoint_at=(2,), meta=meta)) as events:
        next(event for event in events if isinstance(event, Step) and event.global_step == 3)
    other.events_path.write_bytes(b"[1]\n")
    with pytest.warns(LabWarning, match="events.jsonl is damaged.*left out of the pass"):
        assert steps(sweep(base, cache, [NEW], store, monitor=QUIET), name(NEW, base, cache)) == [3, 4, 5, 6]


def test_weights_and_pictures_that_are_no_numbers_are_named_and_no_rate_is_blamed(cache, tmp_path):
    base, store = tiny.base(), Store(tmp_path)
    mean = cache.train.mean.clone()
    mean[3] = float("nan")
    broken = replace(cache, train=replace(cache.train, mean=mean))
    with pytest.raises(LabError, match="training picture number 4 .*not finite, whatever the learning rate"):
        list(sweep(base, broken, [OLD], store, monitor=QUIET))
    assert store.run(name(OLD, base, cache)).status == "error"
    base.unet.conv_out.weight[0, 0, 0, 0] = float("inf")
    ended = []
    with pytest.raises(LabError, match="base tiny is damaged: conv_out.weight"):
        for event in train(base, cache, [OLD], monitor=QUIET):
            ended += [event.reason] * isinstance(event, Stopped)
    assert ended == ["error"]
