"""Runs side by side train as PEFT and torch train each alone; nothing that watches them changes a bit."""

import copy
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import reference_loop
import tiny
import torch
from diffusers.optimization import get_scheduler
from tiny import train

from labkit.design.config import RunConfig
from labkit.engine import train as engine
from labkit.engine.adapters import LoRAStack, attached_to, bare
from labkit.engine.batches import Batches, pictures
from labkit.engine.loss import per_sample_loss
from labkit.engine.monitor import Monitor, log_spaced
from labkit.engine.validation import ValidationSet
from labkit.errors import LabError
from labkit.store.events import Checkpoint, Sample, Step, Stopped, Validation

QUIET = Monitor(images=0)
CPU = torch.device("cpu")
# Rates over two decades and ranks 1 to 8 (in two passes, padding being limited to four times): runs that are equal or
# unscaled by mistake can't pass.
SIX = [RunConfig(learning_rate=rate, rank=rank, alpha=alpha, seed=seed, max_train_steps=20, snr_gamma=gamma, max_grad_norm=clip)
       for rate, rank, alpha, seed, gamma, clip in (
           (1e-4, 1, 4, 0, None, 1), (1e-3, 2, 2, 1, 5.0, 0), (1e-2, 4, 1, 2, None, 0.01),
           (1e-2, 2, 8, 3, None, 0), (3e-3, 8, 8, 4, 1.0, 0.02), (3e-3, 8, 2, 5, None, 1))]


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def losses(events, K=1):
    """Return the step losses (K, steps) in the order of the runs."""
    by_run = {}
    for event in events:
        if isinstance(event, Step):
            by_run.setdefault(event.run_id, []).append(event.loss)
    assert len(by_run) == K
    return np.array(list(by_run.values()))


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def equal_states(a, b):
    return all(np.array_equal(x[name], y[name]) for x, y in ((a.adapter, b.adapter), (a.optimizer, b.optimizer)) for name in x)


@pytest.mark.parametrize("changes", [
    {},
    {"prediction_type": "v_prediction", "optimizer": "sgd", "learning_rate": 2, "weight_decay": 0.01, "alpha": 8},
    {"alpha": 12, "max_grad_norm": 0.005, "gradient_accumulation_steps": 2, "train_batch_size": 2},
    {"lr_scheduler": "cosine", "lr_warmup_steps": 5, "adam_beta1": 0.5, "weight_decay": 1.0, "learning_rate": 1e-2,
     "target_modules": ("to_k", "conv2", "proj_out")},
    {"prior_loss_weight": 0.3, "gradient_accumulation_steps": 2, "train_batch_size": 3, "max_grad_norm": 0.005},
])
def test_one_run_equals_the_reference_loop_for_20_steps(cache, changes):
    base = tiny.base(changes.get("prediction_type", "epsilon"))
    changes = {name: value for name, value in changes.items() if name != "prediction_type"}
    config = RunConfig(**{"learning_rate": 3e-3, "rank": 4, "max_train_steps": 20} | changes).resolved(12)
    ours = losses(train(base, cache, [config], monitor=QUIET))[0]
    theirs = copy.deepcopy(base.unet)
    trained = reference_loop.add_adapter(theirs, config, LoRAStack(base.unet, [config]).initialize().tensors(0))
    batches = Batches(cache.train, cache.null_cond, [config], CPU, prior=cache.prior() if config.prior_loss_weight else None)
    drawn = [list(batches(update)) for update in range(20)]
    schedule = partial(get_scheduler, "cosine", num_warmup_steps=5, num_training_steps=20) if config.lr_scheduler == "cosine" else None
    rows = ((batch.latents, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"]) for update in drawn for batch in update)
    expected = np.array(list(reference_loop.steps(theirs, base.noise_scheduler, trained, config, rows, schedule)))
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    if config.prior_loss_weight:
        return
    with torch.no_grad():                                     # learning moved the losses by far more than the tolerance
        untrained = [np.mean([per_sample_loss(base.denoiser, *list(vars(batch).values())[:4]).mean() for batch in update]) for update in drawn]
    assert np.abs(ours - untrained).max() > 1e-2


def test_six_runs_side_by_side_equal_each_alone_and_differ_from_each_other(base, cache):
    passes = [SIX[:4], SIX[3:]]
    together = np.concatenate([losses(train(base, cache, passes[0], monitor=QUIET), 4), losses(train(base, cache, passes[1], monitor=QUIET), 3)[1:]])
    alone = np.concatenate([losses(train(base, cache, [config], monitor=QUIET)) for config in SIX])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    for k in range(6):
        for other in range(k):
            assert np.abs(together[k] - together[other]).max() > 1e-2


def test_a_race_over_rates_with_one_seed_equals_each_run_alone_and_its_runs_differ(base, cache):
    race = [RunConfig(learning_rate=rate, max_train_steps=12) for rate in (1e-4, 3e-3, 1e-2)]
    together = losses(train(base, cache, race, monitor=QUIET), 3)
    np.testing.assert_allclose(together, np.concatenate([losses(train(base, cache, [config], monitor=QUIET)) for config in race]), atol=1e-4)
    assert np.ptp(together[:, 0]) == 0                        # the same pictures, noise and A: only the rate differs
    assert np.abs(together[0] - together[1]).max() > 1e-2 and np.abs(together[1] - together[2]).max() > 1e-2


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
    watched = list(train(base, cache, configs, monitor=Monitor(images=6, sample_at=(0, 7), prompts=("a",), verdict=True)))
    assert np.array_equal(losses(quiet, 3), losses(watched, 3))
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, quiet), of(Checkpoint, watched)))
    assert [(event.global_step, event.images.shape) for event in of(Sample, watched)] == 3 * [(0, (1, 8, 8, 3))] + 3 * [(7, (1, 8, 8, 3))]
    assert drawn[0] is None and drawn[1].K == 3


def test_validation_of_runs_side_by_side_equals_each_alone_and_starts_from_one_measurement_of_the_base(base, cache):
    monitor, configs = Monitor(images=6, validate_at=(5,)), [config.replace(max_train_steps=8) for config in SIX[:3]]
    together = of(Validation, train(base, cache, configs, monitor=monitor))
    assert {(event.name, event.global_step) for event in together} == {(name, step) for name in ("validation", "probe", "ordinary") for step in (0, 5, 8)}
    assert len({event.losses.tobytes() for event in together if event.global_step == 0}) == 3       # one of each set, for all runs
    for config in configs:
        alone = of(Validation, train(base, cache, [config], monitor=monitor))
        mine = [event for event in together if event.run_id == alone[0].run_id]
        for a, b in zip(mine, alone, strict=True):
            assert (a.name, a.global_step, a.losses.shape) == (b.name, b.global_step, b.losses.shape)
            assert np.array_equal(a.timesteps, b.timesteps)
            np.testing.assert_allclose(a.losses, b.losses, atol=2e-4)


def test_training_lowers_the_held_out_loss(base, cache):
    events = of(Validation, train(base, cache, [RunConfig(learning_rate=1e-2, max_train_steps=30)], monitor=Monitor(images=8)))
    held_out = [event.losses.mean() for event in events if event.name == "validation"]
    assert held_out[-1] < 0.9 * held_out[0]


def test_a_probe_is_of_the_runs_own_pictures(base, cache):
    configs = [RunConfig(n_train=4, max_train_steps=1), RunConfig(n_train=12, max_train_steps=1)]
    probes = [event for event in train(base, cache, configs, monitor=Monitor(images=8)) if isinstance(event, Validation) and event.name == "probe"]
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
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, resumed), of(Checkpoint, straight)))
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
def test_a_diverging_run_freezes_at_its_first_non_finite_number_and_the_others_go_on_unchanged(base, cache, monkeypatch, block):
    wild = RunConfig(learning_rate=10, rank=2, max_grad_norm=0, weight_decay=0, optimizer="sgd", max_train_steps=20, alpha=1e6)
    calm = [RunConfig(learning_rate=rate, rank=2, optimizer="sgd", max_train_steps=20) for rate in (1e-2, 0.3)]
    monkeypatch.setattr(engine, "CPU_BLOCK", block)           # what a GPU does, whose numbers come in blocks
    events = list(train(base, cache, [calm[0], wild, calm[1]], monitor=QUIET))
    stopped = {event.run_id: event for event in of(Stopped, events)}
    assert sorted(event.reason for event in stopped.values()) == ["diverged", "finished", "finished"]
    (name,) = [name for name, event in stopped.items() if event.reason == "diverged"]
    steps = [event for event in of(Step, events) if event.run_id == name]
    finite = [np.isfinite([event.loss, event.grad_norm]).all() for event in steps]
    assert 1 < len(steps) < 20 and all(finite[:-1]) and not finite[-1]
    (checkpoint,) = [event for event in of(Checkpoint, events) if event.run_id == name]
    assert checkpoint.global_step == stopped[name].global_step == len(steps) - 1 == checkpoint.optimizer["step"]
    before = train(base, cache, [calm[0], wild, calm[1]], monitor=QUIET, checkpoint_at=(len(steps) - 1,))
    frozen = next(event for event in before if isinstance(event, Checkpoint) and event.run_id == name)
    before.close()
    assert equal_states(frozen, checkpoint)
    with_calm_company = losses(train(base, cache, [calm[0], wild.replace(learning_rate=1e-3, alpha=1), calm[1]], monitor=QUIET), 3)
    others = np.array([[event.loss for event in of(Step, events) if event.run_id == other] for other in stopped if other != name])
    assert np.array_equal(np.sort(others, axis=0), np.sort(with_calm_company[[0, 2]], axis=0))


def test_a_group_with_a_diverged_member_resumes_bit_for_bit(base, cache):
    wild = RunConfig(learning_rate=10, rank=2, max_grad_norm=0, weight_decay=0, optimizer="sgd", max_train_steps=20, alpha=1e6)
    group = [RunConfig(learning_rate=0.3, rank=2, optimizer="sgd", max_train_steps=20), wild]
    straight = list(train(base, cache, group, monitor=QUIET, checkpoint_at=(15,)))
    calm = straight[0].run_id
    at_15 = next(event for event in of(Checkpoint, straight) if event.global_step == 15)
    (dead,) = [event for event in of(Checkpoint, straight) if event.run_id != calm]
    resumed = list(train(base, cache, group, monitor=QUIET, resume=[at_15, dead]))
    assert {event.run_id for event in resumed} == {calm}
    assert np.array_equal(losses(resumed)[0], [event.loss for event in of(Step, straight) if event.run_id == calm][15:])


def test_numbers_in_blocks_are_the_same_numbers_with_the_same_steps(base, cache, monkeypatch):
    def told(events):
        return sorted((event.run_id, event.global_step, event.loss, event.learning_rate, event.grad_norm) for event in of(Step, events))

    one_by_one = told(train(base, cache, SIX[:2], monitor=Monitor(images=4, validate_at=(3,)), checkpoint_at=(13,)))
    monkeypatch.setattr(engine, "CPU_BLOCK", 10)
    assert told(train(base, cache, SIX[:2], monitor=Monitor(images=4, validate_at=(3,)), checkpoint_at=(13,))) == one_by_one


def test_updates_drawn_ahead_in_a_thread_change_no_bit(base, cache, monkeypatch):
    pair = [config.replace(max_train_steps=8, caption_dropout=0.3) for config in SIX[:2]]
    straight = list(train(base, cache, pair, monitor=QUIET))
    monkeypatch.setattr(engine._Pass, "_ahead", lambda self: engine.GPU_AHEAD)
    ahead = list(train(base, cache, pair, monitor=QUIET))
    assert np.array_equal(losses(ahead, 2), losses(straight, 2))
    assert all(equal_states(a, b) for a, b in zip(of(Checkpoint, ahead), of(Checkpoint, straight), strict=True))


def test_gradient_accumulation_equals_the_big_batch(base, cache):
    big = RunConfig(learning_rate=3e-3, train_batch_size=6, max_train_steps=10, caption_dropout=0.3, snr_gamma=5)
    accumulated = big.replace(train_batch_size=2, gradient_accumulation_steps=3)
    np.testing.assert_allclose(losses(train(base, cache, [big], monitor=QUIET)), losses(train(base, cache, [accumulated], monitor=QUIET)), atol=1e-5)


def test_a_run_ends_at_exactly_its_steps_with_rates_of_its_schedule_and_pictures_counted(base, cache):
    config = RunConfig(num_train_epochs=2, train_batch_size=5, lr_scheduler="linear", learning_rate=1e-3)     # ceil(24 / 5)
    steps = of(Step, train(base, cache, [config], monitor=QUIET))
    assert [event.global_step for event in steps] == [1, 2, 3, 4, 5]
    assert [event.samples_seen for event in steps] == [5, 10, 15, 20, 25]
    np.testing.assert_allclose([event.learning_rate for event in steps], [1e-3, 8e-4, 6e-4, 4e-4, 2e-4])


def test_the_first_update_of_a_warm_up_from_zero_moves_nothing(base, cache):
    config = RunConfig(lr_warmup_steps=2, max_train_steps=3)
    moved = [event.update_norm for event in of(Step, train(base, cache, [config], monitor=QUIET))]
    assert moved[0] == 0 and moved[1] > 0 and moved[2] > 1.5 * moved[1]


def test_B_can_have_a_rate_of_its_own(base, cache):
    config = RunConfig(learning_rate=1e-3, max_train_steps=1, weight_decay=0)
    one, sixteen = (of(Checkpoint, train(base, cache, [config.replace(lr_ratio_B=ratio)], monitor=QUIET))[0].adapter for ratio in (1, 16))
    for name in one:
        np.testing.assert_allclose(sixteen[name], one[name] * (16 if "lora_B" in name else 1), rtol=1e-5, atol=1e-9, err_msg=name)


def test_full_adapters_train_side_by_side(base, cache):
    configs = [RunConfig(adapter="full", learning_rate=rate, max_train_steps=10, seed=seed) for rate, seed in ((1e-3, 0), (1e-4, 1))]
    together = losses(train(base, cache, configs, monitor=QUIET), 2)
    np.testing.assert_allclose(together, np.concatenate([losses(train(base, cache, [config], monitor=QUIET)) for config in configs]), atol=1e-4)


def test_bf16_runs_are_near_float32_ones_and_keep_float32_weights(base, cache):
    config = RunConfig(learning_rate=3e-3, max_train_steps=5)
    exact = losses(train(base, cache, [config], monitor=QUIET))
    for half in (base, tiny.base(dtype=torch.bfloat16)):      # weights cast for the pass, and weights kept in bfloat16
        events = list(train(half, cache, [config.replace(mixed_precision="bf16")], monitor=QUIET))
        np.testing.assert_allclose(losses(events), exact, rtol=0.05)
        assert not np.array_equal(losses(events), exact)
        assert {array.dtype for array in of(Checkpoint, events)[0].adapter.values()} == {np.dtype(np.float32)}


def test_each_epoch_shows_every_picture_once_and_batches_cross_its_border():
    seen = pictures(seed=3, n=7, first=0, count=21)
    assert [sorted(seen[i:i + 7]) for i in (0, 7, 14)] == 3 * [list(range(7))]
    assert seen[:7] != seen[7:14]
    assert pictures(seed=3, n=7, first=5, count=4) == seen[5:9]
    assert pictures(seed=4, n=7, first=0, count=21) != seen


def test_draws_depend_on_seed_and_update_and_on_no_other_knob(cache):
    def draw(update=3, **changes):
        config = RunConfig(**changes).resolved(12)
        return vars(next(Batches(cache.train, cache.null_cond, [RunConfig(seed=9).resolved(12), config], CPU)(update)))

    plain, other_knobs, other_seed, other_update = draw(), draw(rank=4, learning_rate=1, caption_dropout=0.5), draw(seed=1), draw(update=4)
    for name in ("latents", "noise", "timesteps"):
        assert torch.equal(plain[name][4:], other_knobs[name][4:])
        assert not torch.equal(plain[name][4:], other_seed[name][4:])
        assert not torch.equal(plain[name][4:], other_update[name][4:])
        assert not torch.equal(plain[name][4:], plain[name][:4])


def test_the_bases_own_pictures_follow_each_runs_own_and_leave_their_draws_as_they_are(cache):
    configs = [RunConfig(seed=seed, prior_loss_weight=1.0).resolved(12) for seed in (0, 1)]
    plain = next(Batches(cache.train, cache.null_cond, configs, CPU)(3))
    beside = next(Batches(cache.train, cache.null_cond, configs, CPU, prior=cache.prior())(3))
    own = [0, 1, 2, 3, 8, 9, 10, 11]
    for name in ("latents", "noise", "timesteps"):
        assert torch.equal(vars(beside)[name][own], vars(plain)[name])
        assert not torch.equal(vars(beside)[name][4:8], vars(beside)[name][:4])
    words = cache.prior().cond["encoder_hidden_states"]
    for row in (4, 5, 6, 7, 12, 13, 14, 15):
        assert any(torch.equal(beside.cond["encoder_hidden_states"][row], one) for one in words)


def test_runs_with_the_bases_own_pictures_side_by_side_equal_each_alone_and_differ_from_runs_without(base, cache):
    race = [RunConfig(learning_rate=rate, seed=seed, prior_loss_weight=0.5, snr_gamma=gamma, max_train_steps=12)
            for rate, seed, gamma in ((1e-3, 0, None), (1e-2, 1, 5.0))]
    together = losses(train(base, cache, race, monitor=QUIET), 2)
    np.testing.assert_allclose(together, np.concatenate([losses(train(base, cache, [config], monitor=QUIET)) for config in race]), atol=1e-4)
    without = of(Checkpoint, train(base, cache, [race[1].replace(prior_loss_weight=0.0)], monitor=QUIET))[0].adapter
    kept = of(Checkpoint, train(base, cache, [race[1]], monitor=QUIET))[0].adapter
    assert max(np.abs(kept[name] - without[name]).max() for name in kept) > 1e-2


def test_caption_dropout_replaces_its_share_of_captions_and_nothing_else(cache):
    config = RunConfig(caption_dropout=0.25, train_batch_size=8).resolved(12)
    batches, kept = (Batches(cache.train, cache.null_cond, [c], CPU) for c in (config, config.replace(caption_dropout=0)))
    dropped = []
    for update in range(60):
        words, original = (next(b(update)).cond["encoder_hidden_states"] for b in (batches, kept))
        empty = (words == 0).flatten(1).all(1)
        dropped += empty.tolist()
        assert torch.equal(words[~empty], original[~empty])
    assert 0.18 < np.mean(dropped) < 0.32
    assert not (cache.train.cond["encoder_hidden_states"] == 0).any()


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
    latents, timesteps, words = torch.ones(2, *tiny.LATENT), torch.tensor([5, 6]), torch.ones(2, tiny.WORDS, tiny.WIDTH)
    before = base.unet(latents, timesteps, words).sample
    with torch.no_grad(), closing(train(base, cache, [RunConfig(max_train_steps=3, mixed_precision="bf16")], monitor=Monitor(images=4))) as events:
        for event in events:
            assert not torch.is_autocast_enabled("cpu")
            with bare(base.unet):
                assert torch.equal(base.unet(latents, timesteps, words).sample, before)


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
        return [event.losses for event in events if isinstance(event, Validation) and event.global_step == 0]

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
