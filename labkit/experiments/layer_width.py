"""How far does one update of equal rate move the output of layers of different width?"""

from dataclasses import dataclass

import numpy as np
import torch

from labkit.engine.adapters import LoRAStack
from labkit.experiments.gradients import fixed_draws, gradients_of
from labkit.view.style import MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

LINEAR_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
BLUE, ORANGE = VERDICTS["stagnating"][1], VERDICTS["diverged"][1]


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

    def keeper(name):
        def keep(_, args):
            inputs[name] = args[0].detach().flatten(0, -2).float()

        return keep

    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        with stack.attached():
            hooks = [layer.module.register_forward_pre_hook(keeper(layer.name)) for layer in stack.layers]
            try:
                grad = gradients_of(base, stack, draws, torch.arange(n))[0]
            finally:
                for hook in hooks:
                    hook.remove()
    names, d_in, change = [], [], []
    for layer in stack.layers:
        x = inputs[layer.name]                                # (rows, d_in)
        size = x.square().mean().sqrt()
        names.append(layer.name)
        d_in.append(x.shape[1])
        step = _part(stack, grad, layer.name, "delta" if config.adapter == "full" else "B").sign()
        if config.adapter == "lora":
            x, step = x @ _part(stack, stack.theta[0], layer.name, "A").T, config.scaling * step
        change.append(float((x @ step.T).square().mean().sqrt() / size))
    slope, interval = _slope(np.log(d_in), np.log(change), config.seed)
    return Width(tuple(names), tuple(d_in), tuple(change), slope, interval)


def _slope(x, y, seed):
    """Return the least-squares slope of y on x, with its 95 % bootstrap interval over points."""
    rng = np.random.default_rng(seed)
    resampled = [rng.integers(0, len(x), len(x)) for _ in range(1000)]
    slopes = [np.polyfit(x[points], y[points], 1)[0] for points in resampled if np.ptp(x[points]) > 0]
    return float(np.polyfit(x, y, 1)[0]), tuple(float(q) for q in np.quantile(slopes, [0.025, 0.975]))


def _part(stack, values, name, part) -> torch.Tensor:
    """Return one layer's part of one run's (P,) numbers, in its own shape."""
    columns, shape = stack.slots[name, part]
    return values[columns].view(shape)


def plot_width(full, lora, ax=None):
    """Draw how far one update of equal rate moves each layer's output, against the layer's width.

    full, lora        what `change_by_width` gave for updates of the matrices themselves and of a fresh adapter
    """
    ax = new_axes(ax, height=3.6, top=0.2)
    labels, powers = [], []
    for measured, color, marker, line, shift, words, plural in (
            (full, ORANGE, MARKERS[0], "-", 0.97, "whole matrix", "whole matrices"),
            (lora, BLUE, MARKERS[1], "--", 1.03, "LoRA", "LoRA")):
        slope, (low, high) = measured.slope, measured.interval
        d_in, change = np.array(measured.d_in, dtype=float), np.array(measured.change)
        widths = np.array(sorted(set(measured.d_in)), dtype=float)
        level = np.exp(np.log(change).mean() - slope * np.log(d_in).mean())
        ax.plot(d_in * shift, change, marker, color=color, markersize=4, alpha=0.55, linestyle="none")
        ax.plot(widths, level * widths**slope, color=color, linewidth=STYLE["line"], linestyle=line)
        labels.append((level * widths[-1] ** slope, f"{words}: width to\nthe power {slope:+.2f}", color))
        powers.append(f"{plural} {slope:+.2f} (95 % interval over layers {low:+.2f} to {high:+.2f})")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(widths, [f"{width:.0f}" for width in widths])
    ax.minorticks_off()
    name_axes(ax, "width of the layer (inputs)", "change of its output by one update\n(per unit of rate and input)")
    direct_labels(ax, labels)
    ax.figure.summary = ("Power of the width by which one update of equal rate changes a layer's output: "
                         + ", ".join(powers) + ".")
    return ax
