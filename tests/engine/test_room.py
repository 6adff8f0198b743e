"""Rows and gradient checkpointing follow from free memory, are told and recorded, and change no number on a CPU."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny import sweep, train

from labkit.design.config import RunConfig
from labkit.engine import room as module
from labkit.engine.memory import predict
from labkit.engine.monitor import Monitor
from labkit.engine.room import room
from labkit.errors import LabError, LabWarning
from labkit.store.events import Checkpoint, Step
from labkit.store.runs import Store

QUIET = Monitor(images=0)


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def bytes_of(base, cache, runs, checkpointing=False, **knobs):
    config = RunConfig(**knobs).resolved(12)
    memory = predict(base.unet, tiny.LATENT, cache.null_cond, [config] * runs, checkpointing=checkpointing)
    return memory.beside_weights


def test_on_a_cpu_rows_and_checkpointing_are_as_asked(base, cache):
    config = RunConfig().resolved(12)
    assert room(base, cache, config, 64) == (64, False, "")
    asked = room(base, cache, config, 8, True)
    assert asked[:2] == (8, True) and "as asked (gradient checkpointing)" in asked.said


def test_a_pass_takes_the_runs_that_fit_and_says_so(base, cache, monkeypatch):
    config = RunConfig().resolved(12)
    for runs in (1, 3):
        free = int(bytes_of(base, cache, runs) / 0.9) + 4096
        monkeypatch.setattr(module, "free_bytes", lambda device, free=free: free)
        found = room(base, cache, config, 64)
        assert (found.rows, found.gradient_checkpointing) == (4 * runs, False)
        assert f"A pass holds {4 * runs} pictures" in found.said
    monkeypatch.setattr(module, "free_bytes", lambda device: 2**40)
    assert room(base, cache, config, 64) == (64, False, "")


def test_activations_are_computed_again_where_one_run_does_not_fit_otherwise(base, cache, monkeypatch):
    config = RunConfig(train_batch_size=8).resolved(12)
    plain, again = (bytes_of(base, cache, 1, checkpointing, train_batch_size=8) for checkpointing in (False, True))
    assert again < plain
    monkeypatch.setattr(module, "free_bytes", lambda device: int((again + plain) / 2 / 0.9))
    found = room(base, cache, config, 64)
    assert found.gradient_checkpointing and "computed again" in found.said
    with pytest.raises(LabError, match=r"train_batch_size = 8 does not fit .* \(gradient checkpointing\)"):
        room(base, cache, config, 64, False)
    monkeypatch.setattr(module, "free_bytes", lambda device: again // 4)
    with pytest.raises(LabError, match="train_batch_size = 8 does not fit"):
        room(base, cache, config, 64)


def test_a_sweep_is_cut_to_what_fits_tells_it_and_records_how_it_was_computed(base, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "free_bytes", lambda device: int(bytes_of(base, cache, 2) / 0.9) + 4096)
    store, told = Store(tmp_path), []
    race = [RunConfig(seed=seed, max_train_steps=2) for seed in range(4)]
    events = sweep(base, cache, race, store, monitor=QUIET, tell=told.append)
    ids = list(dict.fromkeys(event.run_id for event in events))
    assert [store.run(name).group for name in ids] == [ids[:2], ids[:2], ids[2:], ids[2:]]
    assert len(told) == 1 and told[0].startswith("A pass holds 8 pictures")
    meta = store.run(ids[0]).load().meta
    assert (meta["dtype"], meta["tf32"]) == ("float32", False)
    assert (meta["max_rows"], meta["gradient_checkpointing"]) == (8, False)
    list(sweep(base, cache, race, store, monitor=QUIET, tell=told.append))
    assert len(told) == 1                                     # nothing is left to train, so nothing is predicted


def test_a_run_that_goes_on_in_another_precision_says_so(base, cache, tmp_path):
    store, run = Store(tmp_path), [RunConfig(max_train_steps=4)]
    asked = iter([False, False, True])                        # before the pass, then after each update
    list(sweep(base, cache, run, store, monitor=QUIET, stop=lambda: next(asked)))
    with pytest.warns(LabWarning, match="begun in float32 go on in bfloat16"):
        list(sweep(base.in_precision(torch.bfloat16), cache, run, store, monitor=QUIET))
    sessions = store.run(store.runs()[0].run_id)._about()["sessions"]
    assert [session["meta"]["dtype"] for session in sessions] == ["float32", "bfloat16"]


def test_computing_activations_again_changes_no_bit_and_no_id(base, cache, tmp_path):
    config = RunConfig(max_train_steps=4, target_modules=("to_q", "to_out.0", "conv1", "proj_in"))
    pair, watched = [config, config.replace(seed=1, rank=2, learning_rate=1e-2)], Monitor(images=4)
    kept, again = (list(train(base, cache, pair, monitor=watched, gradient_checkpointing=asked))
                   for asked in (False, True))
    assert [event.run_id for event in kept] == [event.run_id for event in again]
    losses, theirs = ([(event.loss, event.grad_norm) for event in events if isinstance(event, Step)]
                      for events in (kept, again))
    assert losses == theirs
    for a, b in zip(kept, again, strict=True):
        if isinstance(a, Checkpoint):
            assert all(np.array_equal(a.adapter[name], b.adapter[name]) for name in a.adapter)
            assert all(np.array_equal(a.optimizer[name], b.optimizer[name]) for name in a.optimizer)
    assert not any(getattr(part, "gradient_checkpointing", False) for part in base.unet.modules())


def test_blocks_really_are_computed_again(base, cache, monkeypatch):
    calls, forward = [], torch.nn.GroupNorm.forward
    monkeypatch.setattr(torch.nn.GroupNorm, "forward", lambda self, x: calls.append(1) or forward(self, x))
    counts = []
    for asked in (False, True):
        calls.clear()
        list(train(base, cache, [RunConfig(max_train_steps=1)], monitor=QUIET, gradient_checkpointing=asked))
        counts.append(len(calls))
    assert counts[1] > counts[0]


def test_on_a_device_of_limited_memory_no_measurement_takes_more_rows_than_the_pass(base, cache):
    from labkit.engine.train import _Pass

    on_device = replace(base, unet=torch.nn.Module.to(tiny.unet(), "meta"), device=torch.device("meta"))
    configs, ids = [RunConfig(train_batch_size=2).resolved(12)] * 3, ["a", "b", "c"]
    rows = [_Pass(one, cache, configs, ids, QUIET).measurements.rows for one in (base, on_device)]
    assert rows == [64, 6]
