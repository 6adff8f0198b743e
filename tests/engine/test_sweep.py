"""A sweep is cut into passes by its own values alone, trains what is missing, and goes on where it was interrupted."""

from contextlib import closing

import numpy as np
import pytest
import tiny
import torch
from tiny import sweep

from labkit.design.config import RunConfig
from labkit.engine.monitor import Monitor
from labkit.engine.sweep import grid, groups
from labkit.engine.train import check_pass
from labkit.errors import LabError
from labkit.store.events import Step, Stopped
from labkit.store.runs import Store

QUIET = Monitor(images=0)
RACE = grid(RunConfig(max_train_steps=6, rank=2), learning_rate=[1e-4, 1e-3, 1e-2])


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def resolved(configs):
    return [config.resolved(12) for config in configs]


def final(store):
    return {history.run_id: (history.status, history.steps["loss"].tolist()) for history in store.load_runs()}


def test_a_warm_up_longer_than_its_run_is_refused_before_anything_is_recorded(base, cache, tmp_path):
    with pytest.raises(LabError, match="lr_warmup_steps = 7 is more than the run's max_train_steps = 6"):
        list(sweep(base, cache, [RACE[0].replace(lr_warmup_steps=7)], Store(tmp_path), monitor=QUIET))
    assert not Store(tmp_path).runs()


def test_a_grid_is_all_combinations_with_the_last_field_changing_fastest():
    configs = grid(RunConfig(seed=7), rank=[2, 4], learning_rate=("1e-4", 1e-3), train_batch_size=2)
    assert [(c.rank, c.learning_rate, c.train_batch_size, c.seed) for c in configs] == [
        (2, 1e-4, 2, 7),
        (2, 1e-3, 2, 7),
        (4, 1e-4, 2, 7),
        (4, 1e-3, 2, 7),
    ]


@pytest.mark.parametrize("field, values", [
    ("train_batch_size", [2, 4]),
    ("gradient_accumulation_steps", [1, 2]),
    ("mixed_precision", ["no", "bf16"]),
    ("target_modules", [("to_q",), ("to_v",)]),
    ("optimizer", ["adamw", "sgd"]),
    ("max_train_steps", [5, 6]),
    ("adapter", ["lora", "full"]),
])
def test_what_a_pass_needs_in_common_makes_groups(field, values):
    configs = resolved(RunConfig(**{field: value, "seed": seed}) for seed in (0, 1) for value in values)
    assert [[getattr(c, field) for c in group] for group in groups(configs)] == [[values[0]] * 2, [values[1]] * 2]


def test_runs_that_differ_in_anything_else_share_a_pass():
    other = RunConfig(
        learning_rate=1e-2, seed=4, alpha=2, lr_scheduler="cosine", weight_decay=0, adam_beta1=0.8,
        max_grad_norm=0, snr_gamma=5, caption_dropout=0.1, n_train=8, lr_ratio_B=4)
    configs = resolved([RunConfig(), other])
    assert groups(configs) == [configs]


def test_every_group_can_share_a_pass_and_keeps_the_row_limit_and_holds_each_run_once():
    rates, ranks = [1e-4, 1e-3, 1e-2], [1, 2, 4, 8, 16, 32]
    configs = resolved(grid(learning_rate=rates, rank=ranks, seed=[0, 1, 2], train_batch_size=[1, 4]))
    made = groups(configs, max_rows=32)
    for group in made:
        check_pass(group)
        assert len(group) * group[0].train_batch_size <= 32
    assert sorted(map(configs.index, sum(made, []))) == list(range(len(configs)))
    assert made == groups(list(configs), max_rows=32)


def test_groups_of_one_kind_are_about_equally_large():
    configs = resolved(grid(seed=list(range(18))))
    assert [len(group) for group in groups(configs)] == [9, 9]
    assert [len(group) for group in groups(configs, max_rows=1)] == [1] * 18


def test_a_sweep_records_every_run_and_trains_no_run_twice(base, cache, tmp_path):
    store = Store(tmp_path)
    first = list(sweep(base, cache, RACE[:2] + RACE[:1], store, monitor=QUIET))
    assert len([event for event in first if isinstance(event, Stopped)]) == 2
    more = list(sweep(base, cache, RACE, store, monitor=QUIET))
    assert len({event.run_id for event in more}) == 1
    assert list(sweep(base, cache, RACE, store, monitor=QUIET)) == []
    assert [status for status, _ in final(store).values()] == ["finished"] * 3
    assert store.find(RACE[2].resolved(12), base.fingerprint, cache.fingerprint).config == RACE[2].resolved(12)


@pytest.mark.parametrize("where", ["behind the diverged run's end", "at the diverged run's end"])
def test_an_interrupted_sweep_goes_on_and_equals_one_that_was_not(base, cache, tmp_path, where):
    wild = RunConfig(
        rank=2, learning_rate=10, alpha=1e6, max_grad_norm=0, weight_decay=0, optimizer="sgd", max_train_steps=20)
    configs = [wild.replace(learning_rate=0.3, alpha=2), wild, wild.replace(learning_rate=0.1, alpha=2)]
    straight, broken = Store(tmp_path / "a"), Store(tmp_path / "b")
    list(sweep(base, cache, configs, straight, monitor=QUIET, checkpoint_at=(15,)))
    (end,) = (len(losses) - 1 for status, losses in final(straight).values() if status == "diverged")
    at = 15 if where.startswith("behind") else end
    assert 0 < end < 15
    with closing(sweep(base, cache, configs, broken, monitor=QUIET, checkpoint_at=(at,))) as events:
        for event in events:
            if isinstance(event, Step) and event.global_step == at + 2:
                break
    assert sorted(status for status, _ in final(broken).values()) == ["diverged", "interrupted", "interrupted"]
    rest = list(sweep(base, cache, configs, broken, monitor=QUIET, checkpoint_at=(at,)))
    assert min(event.global_step for event in rest if isinstance(event, Step)) == at + 1
    expected, got = final(straight), final(broken)
    statuses, theirs = ({name: status for name, (status, _) in runs.items()} for runs in (expected, got))
    assert statuses == theirs
    for name, (_, losses) in expected.items():
        np.testing.assert_array_equal(got[name][1], losses)


def test_a_stopped_sweep_begins_no_further_group(base, cache, tmp_path):
    asked = iter([False] * 3 + [True] * 99)
    configs = RACE + [RACE[0].replace(train_batch_size=2)]
    events = list(sweep(base, cache, configs, Store(tmp_path), monitor=QUIET, stop=lambda: next(asked)))
    assert [event.reason for event in events if isinstance(event, Stopped)] == ["stopped"] * 3
    assert {event.samples_seen // event.global_step for event in events} == {4}


def test_shorter_runs_of_a_sweep_are_drawn_at_their_own_end():
    from labkit.engine.monitor import Monitor

    monitor = Monitor(prompts=("a pool",))
    assert monitor.sample_steps(50) == (0, 17, 50) and monitor.sample_steps(200) == (0, 20, 67, 200)
    assert Monitor().sample_steps(50) == () and Monitor(prompts=("a",), sample_at=()).sample_steps(50) == ()


def cpu_memory_error():
    """Give the error of a tensor that no machine can hold."""
    try:
        torch.empty(2**60)
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), cpu_memory_error(), MemoryError(),
                                   RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GiB)")])
def test_a_pass_too_large_for_the_device_is_told_with_what_needs_less(base, cache, tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error
        yield

    monkeypatch.setattr("labkit.engine.sweep.train", full)
    with pytest.raises(LabError, match="3 runs with 12 pictures in all does not fit.*--rows 6"):
        list(sweep(base, cache, RACE, Store(tmp_path), monitor=QUIET))
    less = "A pass of 1 run with 4 pictures.*smaller train_batch_size.*gradient_checkpointing=True"
    with pytest.raises(LabError, match=less) as told:
        list(sweep(base, cache, RACE[:1], Store(tmp_path), monitor=QUIET))
    assert told.value.__cause__ is error
    with pytest.raises(LabError, match="mixed_precision='bf16'[.]$"):
        list(sweep(base, cache, RACE[:1], Store(tmp_path), monitor=QUIET, gradient_checkpointing=True))


def test_a_pass_too_large_to_begin_is_told_alike(base, cache, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("labkit.engine.train.LoRAStack", full)
    with pytest.raises(LabError, match="3 runs with 12 pictures in all does not fit"):
        list(sweep(base, cache, RACE, Store(tmp_path), monitor=QUIET))
