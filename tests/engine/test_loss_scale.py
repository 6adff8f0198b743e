"""Every run's loss scale moves as torch's GradScaler alone would move it, and an overflow ends nobody."""

import numpy as np
import pytest
import tiny
import torch
from tiny import train

from labkit.design.config import RunConfig
from labkit.engine import loss_scale
from labkit.engine.loss_scale import LossScale
from labkit.engine.monitor import Monitor
from labkit.store.events import Checkpoint, Step, Stopped

QUIET = Monitor(images=0)


@pytest.fixture(scope="module")
def half():
    return tiny.base(dtype=torch.float16)


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def test_each_runs_scale_equals_that_of_a_grad_scaler_of_its_own(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_INTERVAL", 3)
    finite = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) > torch.tensor([0.0, 0.2, 0.6])
    ours, seen = LossScale(3, "cpu"), []
    for row in finite:
        ours.update(row)
        seen.append(ours.loss_scale.clone())
    for k in range(3):
        scaler, theirs = torch.amp.GradScaler("cpu", growth_interval=3), []
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.0)
        for row in finite:
            scaler.scale(weight.sum()).backward()
            weight.grad.fill_(1.0 if row[k] else torch.inf)
            scaler.step(optimizer)
            scaler.update()
            theirs.append(scaler.get_scale())
            optimizer.zero_grad()
        assert [step[k].item() for step in seen] == theirs
    assert len({step.tolist()[2] for step in seen}) > 3 < len({step.tolist()[0] for step in seen})


def checkpoints(events):
    return [event for event in events if isinstance(event, Checkpoint)]


def steps(events, name=None):
    return [event for event in events if isinstance(event, Step) and name in (None, event.run_id)]


def test_float16_runs_are_near_float32_ones_from_a_scale_that_fits_at_once(half, cache, monkeypatch):
    monkeypatch.setattr(loss_scale, "INITIAL", 2.0**10)
    config = RunConfig(learning_rate=3e-3, max_train_steps=5)
    exact = [event.loss for event in steps(train(tiny.base(), cache, [config], monitor=QUIET))]
    ours = [event.loss for event in steps(train(half, cache, [config], monitor=QUIET))]
    np.testing.assert_allclose(ours, exact, rtol=0.01)


def test_an_overflow_skips_the_update_of_its_run_alone_and_is_no_divergence(half, cache):
    calm = RunConfig(learning_rate=3e-3, max_train_steps=6, target_modules="attention")
    wide = calm.replace(seed=1, alpha=8000.0, learning_rate=1e-6)
    events = list(train(half, cache, [calm, wide], monitor=QUIET))
    reasons = {event.run_id: event.reason for event in events if isinstance(event, Stopped)}
    assert list(reasons.values()) == ["finished", "finished"]
    one, other = (steps(events, name) for name in reasons)
    skipped = [not np.isfinite(event.grad_norm) for event in other]
    assert skipped[0] and not skipped[-1]
    assert [event.update_norm == 0 for event in other] == skipped and all(event.update_norm > 0 for event in one)
    ends = {event.run_id: event for event in events if isinstance(event, Checkpoint)}
    made = {name: int(end.optimizer["step"]) for name, end in ends.items()}
    assert list(made.values()) == [6, 6 - sum(skipped)] and {end.global_step for end in ends.values()} == {6}
    assert [float(end.optimizer["loss_scale"]) for end in ends.values()] == [2.0**16, 2.0 ** (16 - sum(skipped))]
    alone = steps(train(half, cache, [calm], monitor=QUIET))
    np.testing.assert_allclose([event.loss for event in one], [event.loss for event in alone], rtol=2e-3)


def test_a_skipped_update_of_whole_matrices_that_have_not_changed_yet_moves_nothing(half, cache, monkeypatch):
    monkeypatch.setattr(loss_scale, "INITIAL", 2.0**40)
    config = RunConfig(adapter="full", learning_rate=1e-5, max_train_steps=40)
    told = steps(train(half, cache, [config], monitor=QUIET))
    skipped = [not np.isfinite(event.grad_norm) for event in told]
    assert skipped[0] and not skipped[-1] and [event.update_norm == 0 for event in told] == skipped


def test_a_float16_pass_resumes_bit_for_bit_with_its_scales(half, cache, monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_INTERVAL", 2)
    pair = [RunConfig(learning_rate=1e-3, max_train_steps=8),
            RunConfig(seed=1, alpha=8000.0, learning_rate=1e-6, max_train_steps=8)]
    straight = list(train(half, cache, pair, monitor=QUIET, checkpoint_at=(3,)))
    at_3 = [event for event in checkpoints(straight) if event.global_step == 3]
    resumed = list(train(half, cache, pair, monitor=QUIET, resume=at_3))
    rest = [event for event in steps(straight) if event.global_step > 3]
    assert [(event.loss, event.grad_norm) for event in steps(resumed)] == [(e.loss, e.grad_norm) for e in rest]
    for a, b in zip(checkpoints(resumed), checkpoints(straight)[2:], strict=True):
        assert a.optimizer.keys() == b.optimizer.keys()
        assert all(np.array_equal(a.optimizer[name], b.optimizer[name]) for name in a.optimizer)


def test_a_run_begun_in_another_precision_goes_on_in_float16_from_the_first_scale(half, cache):
    config = RunConfig(max_train_steps=4)
    begun = checkpoints(train(tiny.base(), cache, [config], monitor=QUIET, checkpoint_at=(2,)))
    rest = list(train(half, cache, [config], monitor=QUIET, resume=begun[:1]))
    assert [event.global_step for event in steps(rest)] == [3, 4]
    assert rest[-2].optimizer["loss_scale"] == loss_scale.INITIAL


def test_what_overflows_at_every_scale_is_a_run_that_diverged(half, cache, monkeypatch):
    monkeypatch.setattr(loss_scale, "INITIAL", 4.0)
    wild = RunConfig(learning_rate=10, max_grad_norm=0, weight_decay=0, optimizer="sgd", alpha=1e6, max_train_steps=12)
    calm = RunConfig(learning_rate=1e-2, optimizer="sgd", max_train_steps=12)
    events = list(train(half, cache, [calm, wild], monitor=QUIET))
    reasons = [event.reason for event in events if isinstance(event, Stopped)]
    assert sorted(reasons) == ["diverged", "finished"]
