"""What does one update do: to the loss by its rate, to outputs by rank and by width, and what does it cost?"""

import contextlib
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import add_noise
from labkit.experiments.gradients import fixed_draws, gradients_of
from labkit.text import rate_text
from labkit.view.curves import loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

LINEAR_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
BLUE, ORANGE = VERDICTS["stagnating"][1], VERDICTS["diverged"][1]


def plot_one_update(runs, ax=None):
    """Draw how the held-out loss changes by one update, against the learning rate; each run is a run of one update."""
    ax = new_axes(ax, top=0.15)
    runs = sorted(runs, key=lambda run: run.config.learning_rate)
    tried = np.array([run.config.learning_rate for run in runs])
    curves = [run.validations["validation"].means for run in runs]
    start, after = curves[0][0], np.array([curve[-1] for curve in curves])
    ax.axhline(start, color=STYLE["faint"], linestyle="--", linewidth=1.2)
    ax.plot(tried, after, color=BLUE, marker="o", markersize=STYLE["marker"], linewidth=STYLE["line"])
    ax.set_xscale("log")
    ax.set_xticks(tried, [rate_text(rate) for rate in tried])
    ax.minorticks_off()
    best = int(np.nanargmin(after))
    if (gain := start - after[best]) > 0:                     # the highest rates, on the same scale, would hide it
        top = start + 2 * gain
        ax.set_ylim(after[best] - 0.5 * gain, top)
        for rate, loss in zip(tried, after, strict=True):
            if not loss <= top:
                words = f"↑ {loss:.2g}" if np.isfinite(loss) else "↑"
                ax.annotate(words, (rate, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                            ha="center", fontsize=STYLE["small"], color=BLUE)
    else:
        top = np.inf
    name_axes(ax, "learning rate of this one update (logarithmic)", "held-out loss after it")
    direct_labels(ax, [(start, "before the update", STYLE["faint"]), (min(top, after[-1]), "after it", BLUE)])
    does = "lowers the held-out loss most" if gain > 0 else "raises the held-out loss least"
    ax.figure.summary = (f"One update at rate {rate_text(tried[best])} {does}, from {start:.3f} to {after[best]:.3f}; "
                         f"at {rate_text(tried[-1])} it ends at {after[-1]:.3f}.")
    return ax


# -- how far it moves the output, by rank

@dataclass(frozen=True)
class StepByRank:
    """Hold how far one update of the same rate moves the model's output at each rank, under each rule for alpha."""

    ranks: tuple[int, ...]
    change: dict[str, tuple[float, ...]]                      # rule -> RMS change of the output at each rank
    power: dict[str, float]                                   # rule -> slope of log change on log rank


def change_by_rank(base, cache, config, *, ranks=(1, 2, 4, 8, 16, 32, 64), n=16) -> StepByRank:
    """Make one Adam update of equal rate at each rank and measure how far the output moves, with alpha by three rules.

    The rules agree at rank 8. The first update moves B alone, by the rate in the gradient's direction, whatever the
    scaling.
    """
    scalings = {"alpha = rank": lambda rank: 1.0,
                "alpha = 8": lambda rank: 8 / rank,
                "alpha / √rank": lambda rank: math.sqrt(8 / rank)}
    draws = fixed_draws(base, cache.train, n, config.seed, "change_by_rank")
    noisy = add_noise(draws.latents, draws.noise, draws.timesteps, base.denoiser.alphas_cumprod)
    change = {rule: [] for rule in scalings}
    with base.lock:
        for rank in ranks:
            stack = LoRAStack(base.unet, [config.replace(rank=rank, alpha=rank, use_rslora=False)]).initialize()
            with stack.attached():
                B = stack.theta[:, stack.first_B :]
                gradient = gradients_of(base, stack, draws, torch.arange(n))[:, stack.first_B :]
                with torch.no_grad():
                    before = base.denoiser(noisy, draws.timesteps, draws.cond)
                    B.copy_(-config.learning_rate * gradient.sign())
                    for rule, scaling in scalings.items():
                        stack.strength = scaling(rank)
                        moved = base.denoiser(noisy, draws.timesteps, draws.cond) - before
                        change[rule].append(float(moved.square().mean().sqrt()))
    power = {rule: float(np.polyfit(np.log(ranks), np.log(values), 1)[0]) for rule, values in change.items()}
    return StepByRank(tuple(ranks), {rule: tuple(values) for rule, values in change.items()}, power)


def plot_change_by_rank(step, ax=None):
    """Draw how far one update of equal rate moves the model's output, against the rank, under each rule for alpha."""
    ax, labels = new_axes(ax, height=3.4, top=0.15), []
    for i, ((rule, change), color) in enumerate(zip(step.change.items(), (ORANGE, BLUE, STYLE["text"]), strict=True)):
        ax.plot(step.ranks, change, color=color, marker=MARKERS[i], linestyle=LINES[i], markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        labels.append((change[-1], f"{rule}: rank to\nthe power {step.power[rule]:+.2f}", color))
    ax.set_xscale("log", base=2)
    loss_axis(ax, [np.array(change) for change in step.change.values()])
    ax.set_xticks(step.ranks, [str(rank) for rank in step.ranks])
    name_axes(ax, "rank (logarithmic)", "change of the model's output\nby one update of equal rate")
    direct_labels(ax, labels)
    powers = ", ".join(f"{power:+.2f} with {rule}" for rule, power in step.power.items())
    ax.figure.summary = f"Power of the rank by which one update of equal rate moves the model's output: {powers}."
    return ax


# -- how far it moves a layer's output, by the layer's width

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


# -- what it costs, by batch size

class CostByBatch(NamedTuple):
    """Hold what one update costs at each batch size."""

    batch_sizes: tuple[int, ...]
    kept_bytes: tuple[int, ...]                               # what the forward pass keeps until the gradient is made
    seconds: tuple[float, ...]                                # forward and backward, the quickest of three


def cost_by_batch(base, cache, config, *, batch_sizes=(1, 2, 4, 8, 16), repeats=3) -> CostByBatch:
    """Count the bytes that autograd keeps for one update and time it, at each batch size; weights are not counted."""
    fixed = fixed_draws(base, cache.train, max(batch_sizes), config.seed, "cost_by_batch")
    kept_bytes, seconds = [], []
    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        with stack.attached():
            weights = {_place(weight) for weight in (*base.unet.parameters(), stack.theta)}
            for batch in batch_sizes:
                taken, sizes = [], {}
                for repeat in range(repeats + 1):             # the first also counts
                    started = time.perf_counter()
                    with _counting(sizes) if repeat == 0 else contextlib.nullcontext():
                        gradient = gradients_of(base, stack, fixed, torch.arange(batch))
                        float(gradient.sum())                 # read, so that a GPU has finished
                    taken.append(time.perf_counter() - started)
                kept_bytes.append(sum(size for place, size in sizes.items() if place not in weights))
                seconds.append(min(taken[1:]))
    return CostByBatch(tuple(batch_sizes), tuple(kept_bytes), tuple(seconds))


def _place(tensor) -> int:
    """Return the address of a tensor's memory, which views of it share."""
    return tensor.untyped_storage().data_ptr()


def _counting(sizes: dict):
    """Return a context in which autograd enters what it keeps into `sizes`: address -> bytes."""
    def keep(tensor):
        sizes[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
