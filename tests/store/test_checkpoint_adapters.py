"""Checkpoints of a run, read as adapters: the same numbers as an export, alpha included, or one sentence."""

import shutil

import numpy as np
import pytest
import tiny

from labkit.design.config import RunConfig, run_id
from labkit.engine.adapters import weight_shapes
from labkit.engine.train import Monitor
from labkit.errors import LabError
from labkit.experiments.adapter_inspection import inspect_adapter
from labkit.store.adapter_files import save_adapter
from labkit.store.adapter_starts import plain_lora, start
from labkit.store.checkpoint_adapters import read_kept
from labkit.store.runs import Store, record


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train a run of four updates with a checkpoint after two of them; give its folder."""
    base, cache = tiny.base(), tiny.cache()
    config = RunConfig(max_train_steps=4, train_batch_size=2, rank=4, alpha=8.0, use_rslora=True,
                       target_modules="attention")
    whole = config.resolved(len(cache.train))
    name, store = run_id(whole, base.fingerprint, cache.fingerprint), Store(tmp_path_factory.mktemp("store"))
    events = tiny.train(base, cache, [config], monitor=Monitor(images=0), checkpoint_at=(2,))
    list(record(store, events, {name: whole}))
    return store.run(name)


def test_a_checkpoint_is_the_adapter_that_an_export_of_it_is(run, tmp_path):
    ours = read_kept(run.path / "checkpoints" / "000002.safetensors")
    save_adapter(tmp_path / "exported.safetensors", run.adapter(2), run.load().config)
    theirs = read_kept(tmp_path / "exported.safetensors")
    by_name = {layer.name: layer for layer in theirs.layers}
    assert {layer.name for layer in ours.layers} == set(by_name) and not ours.unknown
    for layer in ours.layers:
        other = by_name[layer.name]
        assert (layer.part, layer.kind, layer.rank, layer.scaling) == ("unet", "LoRA", 4, 4.0) == (
            other.part, other.kind, other.rank, other.scaling)
        assert all(np.array_equal(layer.arrays[role], other.arrays[role]) for role in "AB")


def test_inspection_of_a_checkpoint_tells_the_adapter_without_the_optimizer(run):
    findings = inspect_adapter(run.path / "checkpoints" / "000002.safetensors")
    told = {finding.name: finding.found for finding in findings}
    assert "written by labkit" in told["adapter"] and "layers of unet;" in told["adapter"] and "keys" not in told
    assert told["size"] == "rank 4, alpha 8, scaling 4"


def test_a_run_begins_from_a_checkpoint_and_a_base_is_merged_with_it(run):
    config, path = run.load().config, run.path / "checkpoints" / "000002.safetensors"
    arrays, kept = start(path, config, weight_shapes(tiny.base().unet)), run.adapter(2)
    assert arrays.keys() == kept.keys() and all(np.array_equal(arrays[name], kept[name]) for name in kept)
    assert len(plain_lora(path).layers) == len(kept) // 2


def test_a_checkpoint_apart_from_its_run_is_refused_since_nothing_tells_its_alpha(run, tmp_path):
    shutil.copy(run.path / "checkpoints" / "000002.safetensors", tmp_path / "mine.safetensors")
    with pytest.raises(LabError, match="lies apart from it.*labkit export RUN --step N"):
        read_kept(tmp_path / "mine.safetensors")
