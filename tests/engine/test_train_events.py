"""A pass is watched, stopped, resumed, left by a diverging run or ended by an error, and no other number changes."""

from contextlib import closing

import numpy as np
import pytest
import tiny
import torch
from six_runs import QUIET, SIX, equal_states, losses, of
from tiny import train

from labkit.design.config import RunConfig
from labkit.engine import train as engine
from labkit.engine.adapters import attached_to, bare
from labkit.engine.monitor import Monitor, log_spaced
from labkit.engine.validation import ValidationSet
from labkit.errors import LabError
from labkit.store.events import Checkpoint, Sample, Step, Stopped, Validation

WILD = RunConfig(
    learning_rate=10, rank=2, max_grad_norm=0, weight_decay=0, optimizer="sgd", max_train_steps=20, alpha=1e6)


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def test_two_runs_are_bitwise_equal_and_validation_and_pictures_change_no_bit(base, cache, monkeypatch):
    configs = [config.replace(max_train_steps=8) for config in SIX[:3]]
    drawn = []

    def generate(self, prompts, seeds, *, adapters=None, **settings):
        drawn.append(adapters)
        torch.randn(7)                                        # a careless consumer of the global state
        shape = (len(prompts), 8, 8, 3) if adapters is None else (adapters.K, len(prompts), 8, 8, 3)
        return np.zeros(shape, np.uint8)

    monkeypatch.setattr(type(base), "generate", generate)
    quiet = list(train(base, cache, configs, monitor=QUIET))
    monitor = Monitor(images=6, sample_at=(0, 7), prompts=("a",), verdict=True)
    watched = list(train(base, cache, configs, monitor=monitor))
    assert np.array_equal(losses(quiet, 3), losses(watched, 3))
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, quiet), of(Checkpoint, watched), strict=True))
    samples = of(Sample, watched)
    assert [event.global_step for event in samples] == [0, 0, 0, 7, 7, 7]
    assert [event.images.shape for event in samples] == 6 * [(1, 8, 8, 3)]
    assert drawn[0] is None and drawn[1].K == 3


def test_validation_of_runs_side_by_side_equals_each_alone_and_starts_from_one_measurement_of_the_base(base, cache):
    monitor, configs = Monitor(images=6, validate_at=(5,)), [config.replace(max_train_steps=8) for config in SIX[:3]]
    together = of(Validation, train(base, cache, configs, monitor=monitor))
    wanted = {(name, step) for name in ("validation", "probe", "ordinary") for step in (0, 5, 8)}
    assert {(event.name, event.global_step) for event in together} == wanted
    of_the_base = {event.losses.tobytes() for event in together if event.global_step == 0}
    assert len(of_the_base) == 3                              # one of each set, for all runs
    for config in configs:
        alone = of(Validation, train(base, cache, [config], monitor=monitor))
        mine = [event for event in together if event.run_id == alone[0].run_id]
        for a, b in zip(mine, alone, strict=True):
            assert (a.name, a.global_step, a.losses.shape) == (b.name, b.global_step, b.losses.shape)
            assert np.array_equal(a.timesteps, b.timesteps)
            np.testing.assert_allclose(a.losses, b.losses, atol=2e-4)


def test_training_lowers_the_held_out_loss(base, cache):
    config = RunConfig(learning_rate=1e-2, max_train_steps=30)
    events = of(Validation, train(base, cache, [config], monitor=Monitor(images=8)))
    held_out = [event.losses.mean() for event in events if event.name == "validation"]
    assert held_out[-1] < 0.9 * held_out[0]


def test_a_probe_is_of_the_runs_own_pictures(base, cache):
    configs = [RunConfig(n_train=4, max_train_steps=1), RunConfig(n_train=12, max_train_steps=1)]
    events = of(Validation, train(base, cache, configs, monitor=Monitor(images=8)))
    probes = [event for event in events if event.name == "probe"]
    assert [event.losses.shape for event in probes] == 2 * [(4, 2), (8, 1)]


def test_break_and_resume_equals_the_straight_run_bit_for_bit(base, cache):
    configs = [config.replace(lr_scheduler="cosine", lr_warmup_steps=3, max_train_steps=12) for config in SIX[:3]]
    straight = list(train(base, cache, configs, monitor=QUIET))
    kept = []
    with closing(train(base, cache, configs, monitor=QUIET, checkpoint_at=(5,))) as events:
        for event in events:
            kept.append(event)
            if event.global_step == 7:
                break
    assert attached_to(base.unet) is None
    checkpoints = of(Checkpoint, kept)
    assert [checkpoint.global_step for checkpoint in checkpoints] == [5, 5, 5]
    resumed = list(train(base, cache, configs, monitor=Monitor(images=4), resume=checkpoints))
    assert np.array_equal(losses(resumed, 3), losses(straight, 3)[:, 5:])
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, resumed), of(Checkpoint, straight), strict=True))
    assert min(event.global_step for event in resumed) == 6


def test_stop_gives_a_checkpoint_then_stopped_and_the_rest_can_follow(base, cache):
    pair, asked = [config.replace(max_train_steps=6) for config in SIX[:2]], iter([False] * 2 + [True] * 9)
    events = list(train(base, cache, pair, monitor=QUIET, stop=lambda: next(asked)))
    assert [(type(event), event.global_step) for event in events[-4:]] == 2 * [(Checkpoint, 3), (Stopped, 3)]
    assert {event.reason for event in of(Stopped, events)} == {"stopped"}
    rest = list(train(base, cache, pair, monitor=QUIET, resume=of(Checkpoint, events)))
    straight = losses(train(base, cache, pair, monitor=QUIET), 2)
    assert np.array_equal(np.concatenate([losses(events, 2), losses(rest, 2)], axis=1), straight)


@pytest.mark.parametrize("block", [1, 10])
def test_a_diverging_run_freezes_at_its_first_non_finite_number_and_the_others_go_on_unchanged(
        base, cache, monkeypatch, block):
    calm = [RunConfig(learning_rate=rate, rank=2, optimizer="sgd", max_train_steps=20) for rate in (1e-2, 0.3)]
    monkeypatch.setattr(engine, "CPU_BLOCK", block)           # what a GPU does, whose numbers come in blocks
    group = [calm[0], WILD, calm[1]]
    events = list(train(base, cache, group, monitor=QUIET))
    stopped = {event.run_id: event for event in of(Stopped, events)}
    assert sorted(event.reason for event in stopped.values()) == ["diverged", "finished", "finished"]
    (name,) = [name for name, event in stopped.items() if event.reason == "diverged"]
    steps = [event for event in of(Step, events) if event.run_id == name]
    finite = [np.isfinite([event.loss, event.grad_norm]).all() for event in steps]
    assert 1 < len(steps) < 20 and all(finite[:-1]) and not finite[-1]
    (checkpoint,) = [event for event in of(Checkpoint, events) if event.run_id == name]
    assert checkpoint.global_step == stopped[name].global_step == len(steps) - 1 == checkpoint.optimizer["step"]
    before = train(base, cache, group, monitor=QUIET, checkpoint_at=(len(steps) - 1,))
    frozen = next(event for event in before if isinstance(event, Checkpoint) and event.run_id == name)
    before.close()
    assert equal_states(frozen, checkpoint)
    tamed = WILD.replace(learning_rate=1e-3, alpha=1)
    with_calm_company = losses(train(base, cache, [calm[0], tamed, calm[1]], monitor=QUIET), 3)
    others = losses([event for event in events if event.run_id != name], 2)
    assert np.array_equal(np.sort(others, axis=0), np.sort(with_calm_company[[0, 2]], axis=0))


def test_a_group_with_a_diverged_member_resumes_bit_for_bit(base, cache):
    group = [RunConfig(learning_rate=0.3, rank=2, optimizer="sgd", max_train_steps=20), WILD]
    straight = list(train(base, cache, group, monitor=QUIET, checkpoint_at=(15,)))
    calm = straight[0].run_id
    at_15 = next(event for event in of(Checkpoint, straight) if event.global_step == 15)
    (dead,) = [event for event in of(Checkpoint, straight) if event.run_id != calm]
    resumed = list(train(base, cache, group, monitor=QUIET, resume=[at_15, dead]))
    assert {event.run_id for event in resumed} == {calm}
    theirs = [event.loss for event in of(Step, straight) if event.run_id == calm]
    assert np.array_equal(losses(resumed)[0], theirs[15:])


def test_numbers_in_blocks_are_the_same_numbers_with_the_same_steps(base, cache, monkeypatch):
    def told():
        events = train(base, cache, SIX[:2], monitor=Monitor(images=4, validate_at=(3,)), checkpoint_at=(13,))
        return sorted((event.run_id, event.global_step, event.loss, event.learning_rate, event.grad_norm)
                      for event in of(Step, events))

    one_by_one = told()
    monkeypatch.setattr(engine, "CPU_BLOCK", 10)
    assert told() == one_by_one


def test_updates_drawn_ahead_in_a_thread_change_no_bit(base, cache, monkeypatch):
    pair = [config.replace(max_train_steps=8, caption_dropout=0.3) for config in SIX[:2]]
    straight = list(train(base, cache, pair, monitor=QUIET))
    monkeypatch.setattr(engine._Pass, "_ahead", lambda self: engine.GPU_AHEAD)
    ahead = list(train(base, cache, pair, monitor=QUIET))
    assert np.array_equal(losses(ahead, 2), losses(straight, 2))
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, ahead), of(Checkpoint, straight), strict=True))


def test_validation_steps_are_log_spaced_and_always_hold_the_first_and_the_last():
    assert Monitor().steps(200) == (0, 4, 8, 15, 28, 54, 104, 150, 200)
    assert len(Monitor().steps(1000)) == 14
    assert Monitor().steps(100) == (0, 4, 9, 20, 45, 75, 100)
    assert Monitor().steps(50) == (0, 4, 14, 37, 50)
    assert Monitor(validate_at=(50, 900)).steps(200) == (0, 50, 200)
    assert Monitor().steps(1) == (0, 1) and log_spaced(3)[-1] == 3
    assert QUIET.steps(200) == ()


def test_an_error_ends_every_run_with_its_message_and_is_raised_and_frees_the_base(base, cache, monkeypatch):
    monkeypatch.setattr(engine.Batches, "draw", lambda self, update: 1 / 0)
    told = []
    with pytest.raises(ZeroDivisionError):
        for event in train(base, cache, SIX[:2], monitor=QUIET):
            told.append(event)
    assert [(event.reason, event.message) for event in told] == 2 * [("error", "ZeroDivisionError: division by zero")]
    assert attached_to(base.unet) is None


def test_between_two_events_the_base_can_be_used_bare_and_no_mode_leaks_out(base, cache):
    rows = torch.ones(2, *tiny.LATENT), torch.tensor([5, 6]), torch.ones(2, tiny.WORDS, tiny.WIDTH)
    before = base.unet(*rows).sample
    config = RunConfig(max_train_steps=3, mixed_precision="bf16")
    with torch.no_grad(), closing(train(base, cache, [config], monitor=Monitor(images=4))) as events:
        for _ in events:
            assert not torch.is_autocast_enabled("cpu")
            with bare(base.unet):
                assert torch.equal(base.unet(*rows).sample, before)


def test_runs_that_cannot_share_a_pass_are_refused_with_the_field(base, cache):
    with pytest.raises(LabError, match="train_batch_size: 4 and 2 cannot share"):
        train(base, cache, [RunConfig(), RunConfig(train_batch_size=2)])
    with pytest.raises(LabError, match="prior_loss_weight: 0.0 and 1.0 cannot share"):
        train(base, cache, [RunConfig(), RunConfig(prior_loss_weight=1.0)])
    with pytest.raises(LabError, match="rank: 1 and 8"):
        train(base, cache, [RunConfig(rank=1), RunConfig(rank=8)])
    with pytest.raises(LabError, match="nothing to train"):
        train(base, cache, [])
    with pytest.raises(LabError, match="train_batch_size"):
        train(base, cache, [RunConfig(train_batch_size=16)])
    with pytest.raises(LabError, match="without prompts"):
        Monitor(sample_at=(0,))


def test_a_checkpoint_of_another_run_is_refused(base, cache):
    checkpoint = of(Checkpoint, train(base, cache, [RunConfig(max_train_steps=1)], monitor=QUIET))[0]
    with pytest.raises(LabError, match="the configuration, base or data changed"):
        train(base, cache, [RunConfig(max_train_steps=2)], resume=[checkpoint])
    with pytest.raises(LabError, match="1 checkpoints for 2 runs"):
        train(base, cache, [RunConfig(), RunConfig(seed=1)], resume=[checkpoint])


def test_the_untouched_base_is_measured_once_and_anew_when_its_weights_have_changed(base, cache, monkeypatch):
    def first(events):
        return [event.losses for event in of(Validation, events) if event.global_step == 0]

    config = RunConfig(max_train_steps=1).resolved(len(cache.train))
    once = first(engine.train(base, cache, [config], monitor=Monitor(images=4)))
    with monkeypatch.context() as patch:
        patch.setattr(ValidationSet, "losses", lambda *_, **__: pytest.fail("measured again"))
        with closing(engine.train(base, cache, [config], monitor=Monitor(images=4))) as events:
            assert np.array_equal(next(event for event in events if isinstance(event, Validation)).losses, once[0])
    weight = base.unet.conv_out.weight
    before = weight.clone()
    try:
        with torch.no_grad():
            weight.data.mul_(1.1)                             # as PEFT merges
        assert not np.allclose(first(engine.train(base, cache, [config], monitor=Monitor(images=4)))[0], once[0])
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_a_configuration_that_is_not_resolved_for_these_pictures_is_refused_with_the_remedy(base, cache):
    for config in (RunConfig(), RunConfig().resolved(13)):
        with pytest.raises(LabError, match=r"not resolved for these 12 pictures: give config.resolved\(12\)"):
            engine.train(base, cache, [config])
