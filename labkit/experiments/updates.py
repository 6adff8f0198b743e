"""What does one update do: to the loss by its rate, to outputs by width, in 16 bits, and what does it cost?"""

import contextlib
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from labkit.design.schedules import rates
from labkit.engine.adapters import LoRAStack
from labkit.errors import LabError
from labkit.experiments.gradients import fixed_draws, gradients_of
from labkit.text import rate_text
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

LINEAR_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
PARTS = {"lora_A": "A", "lora_B": "B"}
FACTORS = {"A": "the factor that starts\nat random (A)", "B": "the factor that starts\nat zero (B)"}
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


# -- what is left of it where numbers are stored in bfloat16

class Lost(NamedTuple):
    """Hold, for each learning rate, the share of numbers in A and in B that an update would leave as they were."""

    rates: tuple[float, ...]
    shares: dict[str, tuple[float, ...]]                      # "A", "B" -> share at each rate


def bfloat16(values) -> np.ndarray:
    """Round float32 numbers to the nearest bfloat16, ties to even, and return them as float32; finite numbers only."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def update_of(checkpoint, config, rate: float | None = None) -> dict[str, np.ndarray]:
    """Return the update of AdamW at the end of a run, from its moments: Loshchilov & Hutter 2019, algorithm 2.

    rate      of the update; None: what the schedule had there

    Returns arrays by the names of the adapter's. LabError: the run is not LoRA with AdamW.
    """
    if config.optimizer != "adamw" or config.adapter != "lora":
        raise LabError("What rounding costs is measured for LoRA with AdamW alone; "
                       f"here it is {config.adapter} with {config.optimizer}.")
    step, update = int(checkpoint.optimizer["step"]), {}
    rate = rates(config)[step - 1] if rate is None else rate
    for name, theta in checkpoint.adapter.items():
        first = checkpoint.optimizer[f"exp_avg.{name}"] / (1 - config.adam_beta1**step)
        second = checkpoint.optimizer[f"exp_avg_sq.{name}"] / (1 - config.adam_beta2**step)
        of_factor = rate * (config.lr_ratio_B if ".lora_B." in name else 1.0)
        update[name] = -of_factor * (first / (np.sqrt(second) + config.adam_epsilon) + config.weight_decay * theta)
    return update


def lost_in_bfloat16(lab, runs) -> Lost:
    """Measure the share of numbers that an update would not change at the end of each run, if stored in bfloat16.

    It is an update at the run's full rate: where a schedule lets the rate fall to nothing, the last one of all says
    nothing about the rate.

    runs      of the lab's store; those that diverged are left out
    LabError: none is left.
    """
    rates, shares = [], {part: [] for part in FACTORS}
    for run in sorted(runs, key=lambda run: run.config.learning_rate):
        checkpoint = None if run.status == "diverged" else lab.store.run(run.run_id).checkpoint()
        if checkpoint is None or not all(np.isfinite(values).all() for values in checkpoint.adapter.values()):
            continue
        rates.append(run.config.learning_rate)
        update = update_of(checkpoint, run.config, run.config.learning_rate)
        for part, of in PARTS.items():
            kept = []
            for name in (name for name in update if f".{part}." in name):
                moved = update[name] != 0
                stored = bfloat16(checkpoint.adapter[name])
                kept.append((bfloat16(stored + update[name]) == stored)[moved])
            shares[of].append(float(np.concatenate(kept).mean()))
    if not rates:
        raise LabError("Every run diverged: no update is left to be rounded. Give runs at lower rates.")
    return Lost(tuple(rates), {part: tuple(values) for part, values in shares.items()})


def plot_lost(result: Lost, ax=None):
    """Draw the share of numbers that an update leaves as they were, against the learning rate."""
    ax, labels = new_axes(ax, height=3.2, top=0.2), []
    for i, (part, color) in enumerate((("A", ORANGE), ("B", BLUE))):
        shares = 100 * np.array(result.shares[part])
        ax.plot(result.rates, shares, color=color, linestyle=LINES[i], marker=MARKERS[i], markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        labels.append((shares[-1], FACTORS[part], color))
    ax.set_xscale("log")
    ax.set_xticks(result.rates, [rate_text(rate) for rate in result.rates])
    ax.minorticks_off()
    ax.set_ylim(-4, 104)
    name_axes(ax, "learning rate (logarithmic)", "numbers that an\nupdate does not change (%)")
    direct_labels(ax, labels)
    kept = "; ".join(f"at {rate_text(rate)} {a:.0%} of A and {b:.0%} of B"
                     for rate, a, b in zip(result.rates, result.shares["A"], result.shares["B"], strict=True))
    ax.figure.summary = f"Stored in bfloat16, an update at the end would not change {kept}."
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
