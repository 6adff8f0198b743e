"""How far one update of equal rate moves the output of layers of different width."""

from dataclasses import dataclass

import numpy as np
import torch

from labkit.engine.adapters import LoRAStack
from labkit.experiments.updates import fixed_draws, gradients_of

LINEAR_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")


@dataclass(frozen=True)
class Width:
    """Hold, for each layer, how far one update of the same rate moves its output, for inputs of unit size."""

    names: tuple[str, ...]
    d_in: tuple[int, ...]
    change: tuple[float, ...]                                 # RMS of the output's change / (rate x RMS of the input)
    slope: float                                              # of log change on log d_in
    interval: tuple[float, float]                             # 95 %, bootstrap over layers


def change_by_width(base, cache, config, *, n=16) -> Width:
    """Make one Adam update of equal rate in every linear layer and measure how far each output moves.

    config            adapter "full" changes the matrices themselves, "lora" a fresh adapter
    """
    config = config.replace(target_modules=list(LINEAR_LAYERS))
    draws = fixed_draws(base, cache.train, n, config.seed, "change_by_width")
    inputs = {}
    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        modules = {layer.name: layer.module for layer in stack.layers}
        with stack.attached():
            hooks = [module.register_forward_pre_hook(lambda _, args, name=name: inputs.__setitem__(name, args[0].detach().flatten(0, -2).float()))
                     for name, module in modules.items()]
            try:
                grad = gradients_of(base, stack, draws, torch.arange(n))[0]
            finally:
                for hook in hooks:
                    hook.remove()
    rows = []
    for layer in stack.layers:
        x, step = inputs[layer.name], _part(stack, grad, layer.name, "delta" if config.adapter == "full" else "B").sign()
        if config.adapter == "lora":
            x, step = x @ _part(stack, stack.theta[0], layer.name, "A").T, config.scaling * step
        change = x @ step.T
        size = inputs[layer.name].square().mean().sqrt()
        rows.append((layer.name, inputs[layer.name].shape[1], float(change.square().mean().sqrt() / size)))
    names, d_in, change = zip(*rows)
    slope, interval = _slope(np.log(d_in), np.log(change), config.seed)
    return Width(names, d_in, change, slope, interval)


def _slope(x, y, seed):
    """Return the least-squares slope of y on x, with its 95 % bootstrap interval over points."""
    rng = np.random.default_rng(seed)
    picks = [rng.integers(0, len(x), len(x)) for _ in range(1000)]
    slopes = [np.polyfit(x[i], y[i], 1)[0] for i in picks if np.ptp(x[i]) > 0]
    return float(np.polyfit(x, y, 1)[0]), tuple(float(q) for q in np.quantile(slopes, [0.025, 0.975]))


def _part(stack, values, name, part) -> torch.Tensor:
    """Return one layer's part of one run's (P,) numbers, in its own shape."""
    columns, shape = stack.slots[name, part]
    return values[columns].view(shape)
