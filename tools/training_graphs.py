"""The three computations of training as ONNX: an update's loss and gradient, a prediction, and a decoded picture.

The adapter is one flat vector, laid out as `LoRAStack.theta`; its gradient is another. P numbers of the adapter, rows
pictures at once, C H W latent, L tokens, D width.
"""

import contextlib
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from labkit.cli.tools import load
from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import per_sample_loss

WEIGHTS = "weights"                                           # how the models call the file of frozen weights
PROMPT = "encoder_hidden_states"

onnx_graph, table = load("onnx_graph"), load("onnx_decompositions").table


class Graphs(NamedTuple):
    """Hold what a page computes with: models as bytes, and the weights that they share."""

    update: bytes                 # adapter (P,), latents, noise, timesteps, text -> loss, gradient (P,)
    prediction: bytes             # adapter, latents (rows, C, H, W), timesteps, text (rows, L, D) -> prediction
    picture: bytes                # latents (pictures, C, H, W) -> pixels (pictures, height, width, 3), 0 to 255
    weights: bytes                # float16


def graphs(base, config, text, pictures):
    """Trace the computations of a run on a base of its own, which is used up.

    text        encoded captions (rows, L, D), as many as go through the U-Net at once: the batch
    pictures    that are decoded at once
    """
    from diffusers.models.attention_processor import AttnProcessor  # loads slowly

    for module in (base.unet, base.vae):
        module.set_attn_processor(AttnProcessor())            # attention written out
    stack = LoRAStack(base.unet, [config])
    weights = onnx_graph.FrozenWeights(WEIGHTS)
    weights.add((f"unet.{name}", tensor) for name, tensor in base.unet.named_parameters())
    decoder = {"decoder": base.vae.decoder, "post_quant_conv": base.vae.post_quant_conv}
    weights.add((f"vae.{part}.{name}", tensor) for part, module in decoder.items() if module is not None
                for name, tensor in module.named_parameters())
    latents, timesteps = torch.zeros(len(text), *base.latent_shape), torch.zeros(len(text), dtype=torch.long)
    theta, seen = stack.theta[0].clone(), ("adapter", "latents", "timesteps", "text")
    traced = {
        "update": (partial(update, base, stack), (theta, latents, latents.clone(), timesteps, text),
                   ("adapter", "latents", "noise", "timesteps", "text"), ("loss", "gradient")),
        "prediction": (partial(prediction, base, stack), (theta, latents, timesteps, text), seen, ("prediction",)),
        "picture": (partial(picture, base), (torch.zeros(pictures, *base.latent_shape),), ("latents",), ("pixels",)),
    }
    models = {name: onnx_graph.onnx_model(make_fx(function, table())(*given), inputs, outputs, weights)
              for name, (function, given, inputs, outputs) in traced.items()}
    return Graphs(**{name: model.SerializeToString() for name, model in models.items()}, weights=weights.bytes())


def update(base, stack, theta, latents, noise, timesteps, text):
    """Return the loss of a batch and its gradient (P,) for the adapter: the engine's own loss."""
    parts = [part.requires_grad_() for part in split(stack, theta)]
    with written_out(stack, parts):
        loss = per_sample_loss(base.denoiser, latents, noise, timesteps, {PROMPT: text}).mean()
    return loss.detach(), torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, parts)])


@torch.no_grad()
def prediction(base, stack, theta, latents, timesteps, text):
    """Return what the U-Net predicts with the adapter, (rows, C, H, W)."""
    with written_out(stack, split(stack, theta)):
        return base.denoiser(latents, timesteps, {PROMPT: text})


@torch.no_grad()
def picture(base, latents):
    """Return decoded pictures as `Base.decode` does, but as float32."""
    decoded = base.vae.decode(latents / base.vae.config.scaling_factor + base._shift).sample
    return ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1)


def split(stack, theta):
    """Return an adapter (P,) as the parts of all layers, in the order in which they lie there."""
    sizes = [columns.stop - columns.start for columns, _ in stack.slots.values()]
    shapes = [shape for _, shape in stack.slots.values()]
    return [part.view(shape) for part, shape in zip(theta.split(sizes), shapes, strict=True)]


@contextlib.contextmanager
def written_out(stack, parts):
    """Let the U-Net's layers add an adapter in plain operators, where the engine's own are fused for its K runs."""
    known = dict(zip(stack.slots, parts, strict=True))
    scaling = stack.configs[0].scaling
    try:
        for layer in stack.layers:
            layer.module.forward = partial(_forward, layer, known[layer.name, "A"], known[layer.name, "B"], scaling)
        yield
    finally:
        for layer in stack.layers:
            vars(layer.module).pop("forward", None)


def _forward(layer, A, B, scaling, x, *ignored):
    module = layer.module
    if isinstance(module, nn.Linear):
        return layer.plain(x) + scaling * F.linear(F.linear(x, A), B)
    kernel = A.permute(2, 3, 0, 1)                            # (R, in, h, w)
    inner = F.conv2d(x, kernel, None, module.stride, module.padding, module.dilation)
    return layer.plain(x) + scaling * F.conv2d(inner, B)
