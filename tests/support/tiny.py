"""A U-Net of a few thousand weights with its noise schedule and cached inputs: what tests train, in milliseconds."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from labkit.datasets.folders import PictureFolder
from labkit.engine import sweep as sweeping
from labkit.engine import train as training
from labkit.engine.base import Base
from labkit.engine.cache import Cache, Encoded
from labkit.lab import Lab

WORDS, WIDTH, LATENT = 5, 16, (4, 8, 8)


def unet(seed=0, **changes):
    """Build a random U-Net of SD's blocks: attention on the way down, in the middle and on the way up."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = {"sample_size": LATENT[1], "block_out_channels": (32,), "layers_per_block": 1, "norm_num_groups": 8,
                    "down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",),
                    "cross_attention_dim": WIDTH, "attention_head_dim": 2}
        return UNet2DConditionModel(**settings | changes).requires_grad_(False).eval()


def base(prediction_type="epsilon", dtype=torch.float32, **changes):
    """Build a Base around the tiny U-Net, without autoencoder and text encoder: training needs neither."""
    model = unet(**changes)
    if dtype != torch.float32:
        model = torch.nn.Module.to(model, dtype)      # diffusers' own `to` warns of what this model does not have
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                             prediction_type=prediction_type)
    return Base(name="tiny", fingerprint="tiny", unet=model, vae=None, text_encoder=None, tokenizer=None,
                noise_scheduler=schedule, device=torch.device("cpu"), dtype=dtype, resolution=64)


def encoded(n, seed=0):
    """Draw n pictures that share a pattern, so that there is something to learn."""
    source = torch.Generator().manual_seed(seed)
    pattern = torch.randn(LATENT, generator=torch.Generator().manual_seed(9))
    return Encoded(mean=pattern + 0.3 * torch.randn(n, *LATENT, generator=source), std=torch.full((n, *LATENT), 0.1),
                   cond={"encoder_hidden_states": torch.randn(n, WORDS, WIDTH, generator=source)},
                   captions=tuple(map(str, range(n))), paths=())


def cache(n=12):
    """Build a cache of n training pictures, 8 for validation and 8 ordinary ones."""
    return Cache(train=encoded(n, 1), validation=encoded(8, 2), ordinary=encoded(8, 3), prior=lambda: encoded(5, 4),
                 prompts=("1",), fingerprint="random", base_fingerprint="tiny",
                 null_cond={"encoder_hidden_states": torch.zeros(1, WORDS, WIDTH)})


def territory(n=12, prompts=(), name="liminal"):
    """Stand in for a territory of n training pictures that nobody opens, and of none that are held out."""
    none = PictureFolder(Path("none"), (), (), (), ())
    return SimpleNamespace(name=name, train=range(n), validation=none, ordinary=none, prompts=prompts, crop="center",
                           captions=None, is_held_out=True)


def lab(**options):
    """Open a lab on all of this, under the names of what ships; options are those of Lab."""
    return Lab(**{"base": replace(base(), name="embedded"), "data": territory(), "cache": cache()} | options)


def train(base, cache, configs, **options):
    """Train configurations in one pass, each resolved for the pictures of the cache."""
    return training.train(base, cache, [config.resolved(len(cache.train)) for config in configs], **options)


def sweep(base, cache, configs, store, **options):
    """Plan configurations and train them into a store."""
    return sweeping.sweep(base, cache, sweeping.plan(base, cache, configs), store, **options)
