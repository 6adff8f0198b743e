"""The measure is the same for every run, step and batch of the measuring, and covers all noise levels evenly."""

import numpy as np
import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import per_sample_loss
from labkit.engine.validation import BINS, ValidationSet
from labkit.errors import LabError


@pytest.fixture(scope="module")
def base():
    return tiny.base()


def lively(base, K):
    """Attachable adapters of K runs, all different."""
    stack = LoRAStack(base.unet, [RunConfig(seed=k, rank=2).resolved(8) for k in range(K)]).initialize()
    with torch.no_grad():
        stack.theta += 0.1 * torch.randn(stack.theta.shape, generator=torch.Generator().manual_seed(0))
    return stack


def test_measuring_twice_gives_the_same_numbers(base):
    encoded = tiny.encoded(40)
    first = ValidationSet(encoded, 32, 1).losses(base.denoiser)
    assert first.shape == (1, 32, 1) and first.dtype == np.float32
    assert (ValidationSet(encoded, 32, 1).losses(base.denoiser) == first).all()


def test_the_state_of_the_global_generators_changes_nothing_and_is_not_changed(base):
    encoded = tiny.encoded(8)
    first = ValidationSet(encoded, 8, 2).losses(base.denoiser)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert (ValidationSet(encoded, 8, 2).losses(base.denoiser) == first).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_size_of_the_batch_that_measures_does_not_matter(base):
    chosen = ValidationSet(tiny.encoded(11), 11, 3)
    whole = chosen.losses(base.denoiser, rows=64)
    for rows in (1, 5, 33):
        np.testing.assert_allclose(chosen.losses(base.denoiser, rows=rows), whole, rtol=1e-5)


def test_each_run_of_a_pass_is_measured_as_if_alone(base):
    chosen, stack = ValidationSet(tiny.encoded(10), 10, 2), lively(base, 3)
    with stack.attached():
        together = chosen.losses(base.denoiser, 3, rows=7)
    assert together.shape == (3, 10, 2)
    for k in range(3):
        alone = LoRAStack(base.unet, [stack.configs[k]])
        alone.load(0, stack.tensors(k))
        with alone.attached():
            np.testing.assert_allclose(chosen.losses(base.denoiser)[0], together[k], rtol=1e-4)
        assert np.abs(together[k] - together[k - 1]).max() > 1e-3


def test_a_run_that_diverged_shows_it_and_leaves_the_others_alone(base):
    chosen, stack = ValidationSet(tiny.encoded(4), 4, 1), lively(base, 2)
    with stack.attached():
        before = chosen.losses(base.denoiser, 2)
        with torch.no_grad():
            stack.theta[1] = float("nan")
        after = chosen.losses(base.denoiser, 2)
    assert not np.isfinite(after[1]).any()
    np.testing.assert_array_equal(after[0], before[0])


def test_a_loss_is_that_of_its_own_picture_noise_and_timestep(base):
    encoded = tiny.encoded(6)
    chosen = ValidationSet(encoded, 4, 3)
    losses = chosen.losses(base.denoiser)
    i, j = 2, 1
    picture = int(chosen.chosen[i])
    latents = chosen.latents[i, j][None]
    # the stored latents are draws from the encoder's distribution of that picture
    assert ((latents - encoded.mean[picture]).abs() < 6 * encoded.std[picture]).all()
    assert not torch.equal(latents[0], encoded.mean[picture])
    cond = {name: value[picture][None] for name, value in encoded.cond.items()}
    noise, timesteps = chosen.noise[i, j][None], torch.tensor([chosen.timesteps[i, j]])
    alone = per_sample_loss(base.denoiser, latents, noise, timesteps, cond)
    assert losses[0, i, j] == pytest.approx(alone.item(), rel=1e-5)


def eighths(timesteps):
    return timesteps * BINS // 1000


def test_the_monitor_meets_every_eighth_of_the_noise_levels_four_times_once_a_picture():
    timesteps = ValidationSet(tiny.encoded(128), 32, 1).timesteps
    assert timesteps.shape == (32, 1)
    assert (np.bincount(eighths(timesteps).ravel(), minlength=BINS) == 4).all()
    assert len(np.unique(timesteps)) > 28


def test_the_final_score_takes_one_timestep_from_each_eighth_for_every_picture():
    timesteps = ValidationSet(tiny.encoded(128), 64, 8).timesteps
    assert (eighths(timesteps) == np.arange(8)).all()
    assert len(np.unique(timesteps[:, 0])) > 30


@pytest.mark.parametrize("images, strata", [(4, 8), (12, 3), (32, 2), (3, 11), (1, 32), (20, 5), (5, 1)])
def test_odd_sizes_are_spread_as_evenly_as_they_can_be(images, strata):
    timesteps = ValidationSet(tiny.encoded(images), images, strata).timesteps
    counts = np.bincount(eighths(timesteps).ravel(), minlength=BINS)
    assert timesteps.min() >= 0 and timesteps.max() < 1000
    assert counts.max() - counts.min() <= max(strata, -(-images * strata // BINS) - images * strata // BINS)
    if strata <= BINS:
        assert all(len(set(row)) == strata for row in eighths(timesteps))


def test_pictures_are_chosen_across_the_set_and_none_twice():
    chosen = ValidationSet(tiny.encoded(128), 32, 1).chosen
    assert len(set(chosen.tolist())) == 32 and chosen.max() > 96
    assert len(set((chosen % 4).tolist())) == 4               # a stride would meet one kind only: kinds alternate
    assert len(ValidationSet(tiny.encoded(5), 32, 1).chosen) == 5


def test_every_noise_is_its_own():
    noise = ValidationSet(tiny.encoded(8), 8, 8).noise.flatten(2).flatten(0, 1)              # (64, n)
    assert len({tuple(row[:4].tolist()) for row in noise}) == 64
    assert abs(noise.mean().item()) < 0.03 and abs(noise.std().item() - 1) < 0.03


def test_an_empty_set_is_refused():
    with pytest.raises(LabError, match="needs pictures"):
        ValidationSet(tiny.encoded(8).take(0), 8, 1)
