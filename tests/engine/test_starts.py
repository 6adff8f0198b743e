"""Runs that begin from an adapter's file, and finished runs that get more updates."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file
from tiny import sweep

from labkit.design.config import RunConfig, load_design, run_id
from labkit.engine.monitor import Monitor
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.store.adapter_files import save_adapter
from labkit.store.adapter_forms import kohya_bytes
from labkit.store.events import Step, Validation
from labkit.store.runs import Store

CONFIG = RunConfig(max_train_steps=4, train_batch_size=2, rank=2, alpha=4, target_modules="all", learning_rate=1e-2)
MONITOR = Monitor(images=8)


@pytest.fixture(scope="module")
def world():
    return tiny.base(), tiny.cache()


@pytest.fixture(scope="module")
def first(world, tmp_path_factory):
    """Give the folder of a finished run."""
    store = Store(tmp_path_factory.mktemp("first"))
    list(sweep(*world, [CONFIG], store, monitor=MONITOR))
    return store.runs()[0]


def name(config, world):
    return run_id(config.resolved(len(world[1].train)), world[0].fingerprint, world[1].fingerprint)


def held_out(events, run=None):
    return {event.global_step: event.losses for event in events if isinstance(event, Validation)
            and event.name == "validation" and run in (None, event.run_id)}


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_a_run_begins_where_the_file_ends(world, first, tmp_path, form):
    file = first.adapter_path
    if form == "kohya":
        file = tmp_path / "kohya.safetensors"
        file.write_bytes(kohya_bytes(first.adapter(), first.load().config))
    config = CONFIG.replace(parent=file, seed=5)              # a parent that is a file is how the adapter begins
    assert config.init_lora_weights == str(file) and config.parent is None
    losses = held_out(sweep(*world, [config], Store(tmp_path / "store"), monitor=MONITOR))
    before = first.load().validations["validation"]
    assert np.array_equal(losses[0], before.losses[-1]) and not np.array_equal(losses[0], before.losses[0])
    assert not np.array_equal(losses[4], losses[0])           # it trains on


def test_a_run_that_begins_from_a_file_leaves_a_fresh_one_beside_it_as_it_is_alone(world, first, tmp_path):
    started, fresh = CONFIG.replace(init_lora_weights=first.adapter_path, seed=5), CONFIG.replace(seed=6)
    both = list(sweep(*world, [started, fresh], Store(tmp_path / "both"), monitor=MONITOR))
    alone = held_out(sweep(*world, [fresh], Store(tmp_path / "alone"), monitor=MONITOR))
    beside = held_out(both, name(fresh, world))
    for step, losses in alone.items():
        np.testing.assert_allclose(beside[step], losses, rtol=1e-5)
    assert np.abs(held_out(both, name(started, world))[0] - alone[0]).max() > 1e-3


def test_a_run_is_named_by_the_content_of_its_file_and_not_by_its_place(world, first, tmp_path):
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(first.adapter_path.read_bytes())
    started = [CONFIG.replace(init_lora_weights=path) for path in (first.adapter_path, copy)]
    assert len({name(config, world) for config in started}) == 1 != name(CONFIG, world)
    arrays = {key.removeprefix("unet."): 2 * array for key, array in load_file(copy).items()}
    save_adapter(copy, arrays, CONFIG)
    assert name(started[0], world) != name(started[1], world)
    resolved = started[1].resolved(12)
    assert load_design(resolved.share()) == resolved


def test_a_file_that_changed_before_a_run_began_is_named(world, first, tmp_path):
    copy = tmp_path / "a.safetensors"
    copy.write_bytes(first.adapter_path.read_bytes())
    config = CONFIG.replace(init_lora_weights=copy).resolved(12)
    save_adapter(copy, first.adapter(), CONFIG.replace(alpha=1))
    with pytest.raises(LabError, match="a.safetensors has changed since this run was begun from it"):
        list(sweep(*world, [config], Store(tmp_path / "store"), monitor=MONITOR))


def test_a_run_that_was_stopped_goes_on_without_the_file_it_began_from(world, first, tmp_path):
    copy, store = tmp_path / "a.safetensors", Store(tmp_path / "store")
    copy.write_bytes(first.adapter_path.read_bytes())
    config = CONFIG.replace(init_lora_weights=copy).resolved(12)
    answers = iter([False, True])
    list(sweep(*world, [config], store, monitor=MONITOR, stop=lambda: next(answers)))
    copy.unlink()
    events = sweep(*world, [store.runs()[0].load().config], store, monitor=MONITOR)
    assert [event.global_step for event in events if isinstance(event, Step)] == [2, 3, 4]


def test_a_file_that_does_not_fit_is_refused_before_a_base_is_loaded(first, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.lab.load_base", lambda *_, **__: pytest.fail("a base was loaded"))
    lab = Lab(data=tiny.territory(), store=tmp_path)
    for settings, words in [({"rank": 8}, "set rank=2, alpha=4"),
                            ({}, "it was made for another base"),
                            ({"init_lora_weights": tmp_path / "none.safetensors"}, "none.safetensors cannot be read"),
                            ({"init_lora_weights": "a.ckpt"}, "is a pickle")]:
        with pytest.raises(LabError, match=words):
            lab.config(CONFIG, **{"init_lora_weights": first.adapter_path} | settings)


def test_an_adapter_begins_in_one_way(first):
    with pytest.raises(LabError, match="parent and init_lora_weights both say"):
        CONFIG.replace(parent=first.adapter_path, init_lora_weights="gaussian")
    with pytest.raises(LabError, match="begins a run with adapter = 'lora' alone"):
        CONFIG.replace(parent=first.adapter_path, adapter="full")


def test_more_updates_of_a_finished_run_equal_a_run_that_was_longer_from_the_beginning(world, first, tmp_path):
    longer = CONFIG.replace(max_train_steps=7)
    events = list(sweep(*world, [longer.replace(parent=first.run_id)], Store(first.path.parent), monitor=MONITOR))
    assert [event.global_step for event in events if isinstance(event, Step)] == [5, 6, 7]
    straight = Store(tmp_path)
    list(sweep(*world, [longer], straight, monitor=MONITOR))
    one, other = (Store(root).run(name(longer, world)).load() for root in (first.path.parent, tmp_path))
    for column in ("global_step", "loss", "update_norm"):
        np.testing.assert_array_equal(one.steps[column], other.steps[column])
    assert all(np.array_equal(one_, other_) for one_, other_ in zip(
        Store(first.path.parent).run(one.run_id).adapter().values(), straight.run(one.run_id).adapter().values(),
        strict=True))


def test_a_fork_that_is_shorter_than_its_parent_is_refused(world, first):
    shorter = CONFIG.replace(max_train_steps=2, parent=first.run_id)
    with pytest.raises(LabError, match="differs from this run in more than lr_edits"):
        list(sweep(*world, [shorter], Store(first.path.parent), monitor=MONITOR))


def test_a_run_that_began_from_a_file_is_never_taken_for_one_that_was_drawn(world, first, tmp_path):
    store = Store(tmp_path / "store")
    started = CONFIG.replace(init_lora_weights=first.adapter_path).resolved(12)
    list(sweep(*world, [started], store, monitor=MONITOR))
    more = store.runs()[0].load().config.replace(max_train_steps=6, parent=store.runs()[0].run_id)
    assert name(more, world) != name(replace(more, init_lora_weights="default"), world)
    losses = held_out(sweep(*world, [more], store, monitor=MONITOR))
    assert sorted(losses) and store.run(name(more, world)).load().steps["global_step"].tolist() == [1, 2, 3, 4, 5, 6]
