"""The loss equals the field's formulas, row by row, and draws nothing."""

import pytest
import tiny
import torch
from diffusers.training_utils import compute_snr
from torch.nn import functional as F

from labkit.engine.loss import Denoiser, add_noise, per_sample_loss, snr_weights, target
from labkit.errors import LabError


@pytest.fixture
def rows():
    source = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, *tiny.LATENT, generator=source)
    words = torch.randn(6, tiny.WORDS, tiny.WIDTH, generator=source)
    return latents, noise, torch.tensor([0, 1, 50, 400, 998, 999]), {"encoder_hidden_states": words}


def test_noisy_latents_equal_diffusers(rows):
    latents, noise, timesteps, _ = rows
    schedule = tiny.base().noise_scheduler
    ours = add_noise(latents, noise, timesteps, schedule.alphas_cumprod)
    torch.testing.assert_close(ours, schedule.add_noise(latents, noise, timesteps))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_target_equals_diffusers_for_every_prediction_type(rows, prediction_type):
    latents, noise, timesteps, _ = rows
    base = tiny.base(prediction_type)
    velocity = base.noise_scheduler.get_velocity(latents, noise, timesteps)
    expected = {"epsilon": noise, "sample": latents, "v_prediction": velocity}
    torch.testing.assert_close(target(latents, noise, timesteps, base.denoiser), expected[prediction_type])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_loss_of_each_row_equals_diffusers_example_script(rows, prediction_type):
    latents, noise, timesteps, cond = rows
    base = tiny.base(prediction_type)
    losses = per_sample_loss(base.denoiser, latents, noise, timesteps, cond)
    noisy = base.noise_scheduler.add_noise(latents, noise, timesteps)
    predicted = base.unet(noisy, timesteps, cond["encoder_hidden_states"]).sample
    wanted = noise if prediction_type == "epsilon" else base.noise_scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(losses, F.mse_loss(predicted, wanted, reduction="none").mean((1, 2, 3)))
    assert losses.shape == (6,)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_weights_equal_diffusers_closed_form_where_a_row_has_a_gamma_and_are_one_elsewhere(
        rows, prediction_type):
    latents, noise, timesteps, cond = rows
    base = tiny.base(prediction_type)
    gamma = torch.tensor([5.0, 5.0, 1.0, float("nan"), 5.0, float("nan")])
    snr = compute_snr(base.noise_scheduler, timesteps)
    expected = torch.minimum(snr, gamma) / (snr if prediction_type == "epsilon" else snr + 1)
    expected[gamma.isnan()] = 1
    torch.testing.assert_close(snr_weights(timesteps, gamma, base.denoiser), expected)
    plain = per_sample_loss(base.denoiser, latents, noise, timesteps, cond)
    weighted = per_sample_loss(base.denoiser, latents, noise, timesteps, cond, gamma)
    torch.testing.assert_close(weighted, plain * expected)


def test_added_conditions_of_sdxl_reach_the_unet(rows):
    latents, noise, timesteps, cond = rows
    unet = tiny.unet(addition_embed_type="text_time", addition_time_embed_dim=4,
                     projection_class_embeddings_input_dim=6 * 4 + 8)
    denoiser = Denoiser(unet, tiny.base().noise_scheduler.alphas_cumprod, "epsilon")
    added = {"text_embeds": torch.ones(6, 8), "time_ids": torch.arange(36.0).view(6, 6)}
    expected = unet(latents, timesteps, cond["encoder_hidden_states"], added_cond_kwargs=added).sample
    torch.testing.assert_close(denoiser(latents, timesteps, cond | added), expected)


def test_an_unknown_prediction_type_is_refused_by_name():
    with pytest.raises(LabError, match="'flow'.*epsilon"):
        Denoiser(tiny.unet(), tiny.base().noise_scheduler.alphas_cumprod, "flow")
