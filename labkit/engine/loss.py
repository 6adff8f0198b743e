"""The training loss of a diffusion model, one value per picture: no random draws, no averaging.

rows are pictures of all runs of a pass; C H W latent, L tokens, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.engine.text_encoders import sent
from labkit.errors import LabError


@dataclass(frozen=True)
class Denoiser:
    """Hold what turns noisy latents into a prediction: U-Net, noise levels, and what is predicted."""

    unet: torch.nn.Module
    alphas_cumprod: Tensor                                    # (T,) float32, on the U-Net's device
    prediction_type: str                                      # "epsilon", "v_prediction" or "sample"

    def __post_init__(self) -> None:
        """Refuse a prediction type that is not known."""
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise LabError(f"prediction_type = {self.prediction_type!r} of this base is not known: "
                           "it must be epsilon, v_prediction or sample.")

    def __call__(self, noisy_latents: Tensor, timesteps: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Predict, in float32, from (rows, C, H, W) at (rows,) timesteps under conditions (rows, ...)."""
        dtype = self.unet.dtype
        cond = sent(cond, None, dtype)
        prompt = cond.pop("encoder_hidden_states")            # (rows, L, D)
        added = {"added_cond_kwargs": cond} if cond else {}   # SDXL: text_embeds, time_ids
        return self.unet(noisy_latents.to(dtype), timesteps, prompt, return_dict=False, **added)[0].float()


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Return the latents noised to the level of their timesteps: Ho et al. 2020, eq. 4."""
    signal, spread = _levels(timesteps, alphas_cumprod, latents)
    return signal * latents + spread * noise


def target(latents: Tensor, noise: Tensor, timesteps: Tensor, denoiser: Denoiser) -> Tensor:
    """Return what the U-Net should predict; the velocity is that of Salimans & Ho 2022, appendix D."""
    if denoiser.prediction_type == "epsilon":
        return noise
    if denoiser.prediction_type == "sample":
        return latents
    signal, spread = _levels(timesteps, denoiser.alphas_cumprod, latents)
    return signal * noise - spread * latents


def per_sample_loss(denoiser: Denoiser, latents: Tensor, noise: Tensor, timesteps: Tensor,
                    cond: Mapping[str, Tensor], snr_gamma: Tensor | None = None) -> Tensor:
    """Return the mean squared error of each row, (rows,) float32.

    latents, noise    (rows, C, H, W)
    timesteps         (rows,) int
    cond              encoder_hidden_states (rows, L, D); for SDXL the added conditions too
    snr_gamma         (rows,), NaN where a row has no weighting; None where none has
    """
    prediction = denoiser(add_noise(latents, noise, timesteps, denoiser.alphas_cumprod), timesteps, cond)
    error = (prediction - target(latents, noise, timesteps, denoiser)).square().flatten(1).mean(1)
    return error if snr_gamma is None else error * snr_weights(timesteps, snr_gamma, denoiser)


def snr_weights(timesteps: Tensor, snr_gamma: Tensor, denoiser: Denoiser) -> Tensor:
    """Return the Min-SNR weight of each row, 1 where snr_gamma is NaN: Hang et al. 2023, section 3.4.

    min(SNR, gamma) over SNR for noise, over SNR + 1 for velocity, over 1 for the sample.
    """
    level = denoiser.alphas_cumprod[timesteps]
    snr = level / (1 - level)
    over = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[denoiser.prediction_type]
    return torch.where(snr_gamma.isnan(), 1.0, torch.minimum(snr, snr_gamma) / over)


def _levels(timesteps: Tensor, alphas_cumprod: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors of signal and noise, each (rows, 1, 1, 1)."""
    level = alphas_cumprod[timesteps].view(-1, *[1] * (latents.dim() - 1))
    return level.sqrt(), (1 - level).sqrt()
