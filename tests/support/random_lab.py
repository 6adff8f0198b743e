"""What experiments on a frozen base need of a lab, made of random weights."""

import threading
from types import SimpleNamespace

import torch
from diffusers import UNet2DConditionModel

from labkit.engine.loss import Denoiser


def lab():
    """Return a base and its cache: a small U-Net of random weights and 8 pictures that are noise."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4,
                                block_out_channels=(32, 64), layers_per_block=1,
                                cross_attention_dim=16, attention_head_dim=4, norm_num_groups=8,
                                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).requires_grad_(False).eval()
    levels = torch.linspace(0.999, 0.01, 1000)
    base = SimpleNamespace(unet=unet, denoiser=Denoiser(unet, levels, "epsilon"), device=torch.device("cpu"),
                           lock=threading.RLock())
    train = SimpleNamespace(mean=torch.randn(8, 4, 8, 8), cond={"encoder_hidden_states": torch.randn(8, 5, 16)})
    return SimpleNamespace(base=base, cache=SimpleNamespace(train=train))
