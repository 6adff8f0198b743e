"""Large architectures on torch's meta device: shapes without memory."""

import torch
from diffusers import UNet2DConditionModel

from labkit.design.config import RunConfig

GiB = 2**30


def config(batch=1, **fields):
    fields = {"target_modules": "attention"} | fields         # what bases of this size adapt where nothing is said
    return RunConfig(rank=8, train_batch_size=batch, max_train_steps=10, **fields).resolved(12)


def weightless(settings):
    with torch.device("meta"):
        return UNet2DConditionModel(**settings)


def conditions(shapes):
    return {name: torch.empty(1, *shape, device="meta") for name, shape in shapes.items()}
