"""A U-Net of a few thousand weights with its noise schedule and cached inputs: what engine tests train, in milliseconds."""

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from labkit.base import Base

WORDS, WIDTH, LATENT = 5, 16, (4, 8, 8)


def unet(seed=0, **changes):
    """Build a random U-Net with SD's blocks: attention at two resolutions and in the middle."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = {"sample_size": LATENT[1], "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8,
                    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                    "cross_attention_dim": WIDTH, "attention_head_dim": 2}
        return UNet2DConditionModel(**settings | changes).requires_grad_(False).eval()


def base(prediction_type="epsilon", dtype=torch.float32, **changes):
    """Build a Base around the tiny U-Net, without autoencoder and text encoder: training needs neither."""
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction_type)
    return Base(name="tiny", fingerprint="tiny", unet=unet(**changes).to(dtype), vae=None, text_encoder=None, tokenizer=None,
                noise_scheduler=schedule, device=torch.device("cpu"), dtype=dtype, resolution=64)


@dataclass(frozen=True)
class Encoded:
    """Hold random latents and conditions in the form of cache.Encoded."""

    mean: torch.Tensor
    std: torch.Tensor
    cond: dict

    def __len__(self):
        return len(self.mean)

    def take(self, n):
        return self.part(slice(n))

    def drop(self, n):
        return self.part(slice(n, None))

    def part(self, rows):
        return Encoded(self.mean[rows], self.std[rows], {name: value[rows] for name, value in self.cond.items()})


@dataclass(frozen=True)
class Cache:
    """Hold the three sets in the form of cache.Cache."""

    train: Encoded
    validation: Encoded
    ordinary: Encoded
    null_cond: dict
    fingerprint: str = "random"


def encoded(n, seed=0):
    """Draw n pictures that share a pattern, so that there is something to learn."""
    source = torch.Generator().manual_seed(seed)
    pattern = torch.randn(LATENT, generator=torch.Generator().manual_seed(9))
    return Encoded(pattern + 0.3 * torch.randn(n, *LATENT, generator=source), torch.full((n, *LATENT), 0.1),
                   {"encoder_hidden_states": torch.randn(n, WORDS, WIDTH, generator=source)})


def cache(n=12):
    """Build a cache of n training pictures, 8 for validation and 8 ordinary ones."""
    return Cache(encoded(n, 1), encoded(8, 2), encoded(8, 3), {"encoder_hidden_states": torch.zeros(1, WORDS, WIDTH)})
