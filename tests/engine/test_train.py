"""Runs side by side train as PEFT and torch train each alone, each on draws of its own."""

import copy
from functools import partial

import numpy as np
import pytest
import reference_loop
import tiny
import torch
from diffusers.optimization import get_scheduler
from six_runs import QUIET, SIX, losses, of
from tiny import train

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.batches import Batches, pictures
from labkit.engine.loss import per_sample_loss
from labkit.store.events import Checkpoint, Step

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def cache():
    return tiny.cache()


def each_alone(base, cache, configs):
    """Return the step losses (K, steps) of runs that each train in a pass of their own."""
    return np.concatenate([losses(train(base, cache, [config], monitor=QUIET)) for config in configs])


@pytest.mark.parametrize("changes", [
    {},
    {"prediction_type": "v_prediction", "optimizer": "sgd", "learning_rate": 1, "weight_decay": 0.01, "alpha": 8},
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
    prior = cache.prior() if config.prior_loss_weight else None
    batches = Batches(cache.train, cache.null_cond, [config], CPU, prior=prior)
    drawn = [list(batches(update)) for update in range(20)]
    cosine = partial(get_scheduler, "cosine", num_warmup_steps=5, num_training_steps=20)
    schedule = cosine if config.lr_scheduler == "cosine" else None
    rows = ((batch.latents, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"])
            for update in drawn for batch in update)
    expected = np.array(list(reference_loop.steps(theirs, base.noise_scheduler, trained, config, rows, schedule)))
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    if config.prior_loss_weight:
        return

    def loss(batch):
        return per_sample_loss(base.denoiser, *list(vars(batch).values())[:4]).mean()

    with torch.no_grad():
        untrained = [np.mean([loss(batch) for batch in update]) for update in drawn]
    assert np.abs(ours - untrained).max() > 1e-2              # learning moved them by far more than the tolerance


def test_six_runs_side_by_side_equal_each_alone_and_differ_from_each_other(base, cache):
    first = losses(train(base, cache, SIX[:4], monitor=QUIET), 4)
    second = losses(train(base, cache, SIX[3:], monitor=QUIET), 3)
    together = np.concatenate([first, second[1:]])
    np.testing.assert_allclose(together, each_alone(base, cache, SIX), atol=1e-4)
    for k in range(6):
        for other in range(k):
            assert np.abs(together[k] - together[other]).max() > 1e-2


def test_a_race_over_rates_with_one_seed_equals_each_run_alone_and_its_runs_differ(base, cache):
    race = [RunConfig(learning_rate=rate, max_train_steps=12) for rate in (1e-4, 3e-3, 1e-2)]
    together = losses(train(base, cache, race, monitor=QUIET), 3)
    np.testing.assert_allclose(together, each_alone(base, cache, race), atol=1e-4)
    assert np.ptp(together[:, 0]) == 0                        # the same pictures, noise and A: only the rate differs
    assert np.abs(together[0] - together[1]).max() > 1e-2
    assert np.abs(together[1] - together[2]).max() > 1e-2


def test_gradient_accumulation_equals_the_big_batch(base, cache):
    big = RunConfig(learning_rate=3e-3, train_batch_size=6, max_train_steps=10, caption_dropout=0.3, snr_gamma=5)
    accumulated = big.replace(train_batch_size=2, gradient_accumulation_steps=3)
    whole, in_parts = (losses(train(base, cache, [config], monitor=QUIET)) for config in (big, accumulated))
    np.testing.assert_allclose(whole, in_parts, atol=1e-5)


def test_a_run_ends_at_exactly_its_steps_with_rates_of_its_schedule_and_pictures_counted(base, cache):
    config = RunConfig(num_train_epochs=2, train_batch_size=5, lr_scheduler="linear", learning_rate=1e-3)
    steps = of(Step, train(base, cache, [config], monitor=QUIET))
    assert [event.global_step for event in steps] == [1, 2, 3, 4, 5]      # ceil(24 / 5)
    assert [event.samples_seen for event in steps] == [5, 10, 15, 20, 25]
    np.testing.assert_allclose([event.learning_rate for event in steps], [1e-3, 8e-4, 6e-4, 4e-4, 2e-4])


def test_the_first_update_of_a_warm_up_from_zero_moves_nothing(base, cache):
    config = RunConfig(lr_warmup_steps=2, max_train_steps=3)
    moved = [event.update_norm for event in of(Step, train(base, cache, [config], monitor=QUIET))]
    assert moved[0] == 0 and moved[1] > 0 and moved[2] > 1.5 * moved[1]


def test_B_can_have_a_rate_of_its_own(base, cache):
    config = RunConfig(learning_rate=1e-3, max_train_steps=1, weight_decay=0)
    pair = (config.replace(lr_ratio_B=ratio) for ratio in (1, 16))
    one, sixteen = (of(Checkpoint, train(base, cache, [each], monitor=QUIET))[0].adapter for each in pair)
    for name in one:
        wanted = one[name] * (16 if "lora_B" in name else 1)
        np.testing.assert_allclose(sixteen[name], wanted, rtol=1e-5, atol=1e-9, err_msg=name)


def test_whole_matrices_have_no_B_with_a_rate_of_its_own(base, cache):
    config = RunConfig(adapter="full", learning_rate=1e-4, max_train_steps=1)
    one, other = (of(Checkpoint, train(base, cache, [config.replace(lr_ratio_B=ratio)], monitor=QUIET))[0].adapter
                  for ratio in (1, 16))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_full_adapters_train_side_by_side(base, cache):
    configs = [RunConfig(adapter="full", learning_rate=rate, max_train_steps=10, seed=seed)
               for rate, seed in ((1e-3, 0), (1e-4, 1))]
    together = losses(train(base, cache, configs, monitor=QUIET), 2)
    np.testing.assert_allclose(together, each_alone(base, cache, configs), atol=1e-4)


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
        configs = [RunConfig(seed=9).resolved(12), RunConfig(**changes).resolved(12)]
        return vars(next(Batches(cache.train, cache.null_cond, configs, CPU)(update)))

    plain, other_knobs = draw(), draw(rank=4, learning_rate=1, caption_dropout=0.5)
    other_seed, other_update = draw(seed=1), draw(update=4)
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
    np.testing.assert_allclose(together, each_alone(base, cache, race), atol=1e-4)
    without = of(Checkpoint, train(base, cache, [race[1].replace(prior_loss_weight=0.0)], monitor=QUIET))[0].adapter
    kept = of(Checkpoint, train(base, cache, [race[1]], monitor=QUIET))[0].adapter
    assert max(np.abs(kept[name] - without[name]).max() for name in kept) > 1e-2


def test_caption_dropout_replaces_its_share_of_captions_and_nothing_else(cache):
    config = RunConfig(caption_dropout=0.25, train_batch_size=8).resolved(12)
    pair = (config, config.replace(caption_dropout=0))
    batches, kept = (Batches(cache.train, cache.null_cond, [each], CPU) for each in pair)
    dropped = []
    for update in range(60):
        words, original = (next(b(update)).cond["encoder_hidden_states"] for b in (batches, kept))
        empty = (words == 0).flatten(1).all(1)
        dropped += empty.tolist()
        assert torch.equal(words[~empty], original[~empty])
    assert 0.18 < np.mean(dropped) < 0.32
    assert not (cache.train.cond["encoder_hidden_states"] == 0).any()
