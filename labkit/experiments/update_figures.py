"""Figures of the small experiments in `measure`, each with its finding as one sentence in `figure.summary`."""

import numpy as np

from labkit.text import rate_text
from labkit.view.curves import loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

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
    if (gain := start - after[best]) > 0:                     # on a scale that holds the highest rates nobody could see it
        top = start + 2 * gain
        ax.set_ylim(after[best] - 0.5 * gain, top)
        for rate, loss in zip(tried, after):
            if not loss <= top:
                ax.annotate(f"↑ {loss:.2g}" if np.isfinite(loss) else "↑", (rate, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center",
                            fontsize=STYLE["small"], color=BLUE)
    else:
        top = np.inf
    name_axes(ax, "learning rate of this one update (logarithmic)", "held-out loss after it")
    direct_labels(ax, [(start, "before the update", STYLE["faint"]), (min(top, after[-1]), "after it", BLUE)])
    does = "lowers the held-out loss most" if gain > 0 else "raises the held-out loss least"
    ax.figure.summary = (f"One update at rate {rate_text(tried[best])} {does}, from {start:.3f} to {after[best]:.3f}; "
                         f"at {rate_text(tried[-1])} it ends at {after[-1]:.3f}.")
    return ax


def plot_random_directions(found, ax=None):
    """Draw the share of random changes that lower the loss, at each length, with its interval."""
    ax = new_axes(ax, height=3.0, top=0.2)
    shares, intervals = 100 * np.array(found.shares), 100 * np.array(found.intervals)
    ax.axhline(50, color=STYLE["faint"], linestyle="--", linewidth=1.2)
    ax.errorbar(found.factors, shares, np.abs(intervals.T - shares), color=BLUE, marker="o", markersize=STYLE["marker"],
                linewidth=STYLE["line"], capsize=4)
    ax.set_xscale("log")
    ax.set_xticks(found.factors, [f"{factor:g}×" for factor in found.factors])
    ax.minorticks_off()
    ax.set_ylim(0, 100)
    name_axes(ax, "length of the change, in lengths of a real first update", "random changes that\nlower the loss (%)")
    direct_labels(ax, [(50, "a coin", STYLE["faint"]), (shares[-1], f"{found.count} random changes\neach, 95 % interval", BLUE)])
    ax.figure.summary = "; ".join(f"{factor:g} × a real update: {share:.0f} % of {found.count} random changes lower the loss, the real one changes it by {along:+.4f}"
                                  for factor, share, along in zip(found.factors, shares, found.along_gradient))
    return ax


def plot_gradient_by_batch(found, ax=None):
    """Draw the mean norm of the gradient and the mean of its part along the true direction, against the batch size."""
    ax = new_axes(ax, height=3.4, top=0.2)
    along, interval = np.array(found.along), np.array(found.along_interval)
    ax.plot(found.batch_sizes, found.norm, color=ORANGE, marker=MARKERS[0], markersize=STYLE["marker"], linewidth=STYLE["line"])
    ax.errorbar(found.batch_sizes, along, np.abs(interval.T - along), color=BLUE, marker=MARKERS[1], markersize=STYLE["marker"],
                linewidth=STYLE["line"], linestyle="--", capsize=4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(found.batch_sizes, [str(size) for size in found.batch_sizes])
    ax.set_ylim(0, None)
    name_axes(ax, "batch size (pictures)", "size of the gradient\n(no unit)")
    direct_labels(ax, [(found.norm[-1], "its length: signal and noise", ORANGE), (along[-1], "its part along the\ntrue direction: signal", BLUE)])
    ax.figure.summary = (f"From batch {found.batch_sizes[0]} to {found.batch_sizes[-1]} the mean length of the gradient falls to "
                         f"{found.norm[-1] / found.norm[0]:.2f} of itself, the part along the true direction is {along[-1] / along[0]:.2f} of itself.")
    return ax


def plot_noise_scale(found, ax=None):
    """Draw the mean squared length of the gradient against the batch, in those of single pictures: signal, noise, and where they are equal."""
    ax = new_axes(ax, height=3.8)
    batch, sizes = found.noise.batch, np.array(found.batch_sizes, dtype=float)
    single = found.noise.signal + found.noise.noise
    signal, noise, squared = max(found.noise.signal, 0) / single, found.noise.noise / single, np.array(found.squared) / single
    edges = [size for size in batch if size < 64 * sizes[-1]]         # farther out nothing was measured
    at = np.geomspace(min(sizes[0], *edges), max(sizes[-1], *edges) * 1.2, 100) if edges else sizes
    ax.plot(at, signal + noise / at, color=STYLE["text"], linewidth=STYLE["line"])
    ax.plot(sizes, squared, linestyle="none", color=STYLE["text"], marker=MARKERS[0], markersize=STYLE["marker"] + 1)
    ax.plot(at, noise / at, color=ORANGE, linestyle=LINES[2], linewidth=STYLE["line"])
    if signal:
        ax.plot(at, np.full(len(at), signal), color=BLUE, linestyle=LINES[1], linewidth=STYLE["line"])
        ax.axvspan(batch.low, min(batch.high, at[-1]), color=STYLE["faint"], alpha=STYLE["band"], linewidth=0)
        ax.plot(batch.mean, signal, "X", color=STYLE["text"], markersize=9, zorder=4)
    ax.set_xscale("log", base=2)
    powers = range(int(np.log2(at[0])), int(np.log2(at[-1])) + 1)
    ax.set_xticks([2.0**i for i in powers[:: 1 + len(powers) // 10]], [f"{2.0**i:g}" for i in powers[:: 1 + len(powers) // 10]])
    ax.set_xlim(at[0] / 1.2, at[-1] * 1.2)
    loss_axis(ax, [signal + noise / at, noise / at, squared])
    labels = [(signal + noise / at[-1], "● all of it", STYLE["text"]), (noise / at[-1], "noise, as 1 / batch", ORANGE)]
    high = f"to {batch.high:.3g}" if np.isfinite(batch.high) else "and up"
    words = f"at a batch of {batch.mean:.3g} (95 % interval {batch.low:.3g} {high})" if signal else "at a batch too large to be measured here"
    name_axes(ax, "batch size (pictures, logarithmic)", "mean squared length of the\ngradient (1: of one picture's)", f"✖ Noise equals signal {words}")
    direct_labels(ax, labels + [(signal, "signal: the gradient\nof all pictures", BLUE)] * bool(signal))
    ax.figure.summary = f"Noise and signal of the gradient are equally large {words}."
    return ax


def plot_width(full, lora, ax=None):
    """Draw how far one update of equal rate moves each layer's output, against the layer's width."""
    ax = new_axes(ax, height=3.6, top=0.2)
    labels = []
    for found, color, marker, words in ((full, ORANGE, MARKERS[0], "whole matrix"), (lora, BLUE, MARKERS[1], "LoRA")):
        d_in, change = np.array(found.d_in, dtype=float), np.array(found.change)
        widths = np.array(sorted(set(found.d_in)), dtype=float)
        level = np.exp(np.log(change).mean() - found.slope * np.log(d_in).mean())
        shift = 0.97 if found is full else 1.03
        ax.plot(d_in * shift, change, marker, color=color, markersize=4, alpha=0.55, linestyle="none")
        ax.plot(widths, level * widths**found.slope, color=color, linewidth=STYLE["line"], linestyle="-" if found is full else "--")
        labels.append((level * widths[-1] ** found.slope, f"{words}: width to\nthe power {found.slope:+.2f}", color))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(widths, [f"{width:.0f}" for width in widths])
    ax.minorticks_off()
    name_axes(ax, "width of the layer (inputs)", "change of its output by one update\n(per unit of rate and input)")
    direct_labels(ax, labels)
    said = [f"{words} {found.slope:+.2f} (95 % interval over layers {found.interval[0]:+.2f} to {found.interval[1]:+.2f})"
            for found, words in ((full, "whole matrices"), (lora, "LoRA"))]
    ax.figure.summary = "Power of the width by which one update of equal rate changes a layer's output: " + ", ".join(said) + "."
    return ax


def plot_change_by_rank(found, ax=None):
    """Draw how far one update of equal rate moves the model's output, against the rank, under each rule for alpha."""
    ax, labels = new_axes(ax, height=3.4, top=0.15), []
    for i, ((rule, change), color) in enumerate(zip(found.change.items(), (ORANGE, BLUE, STYLE["text"]))):
        ax.plot(found.ranks, change, color=color, marker=MARKERS[i], linestyle=LINES[i], markersize=STYLE["marker"], linewidth=STYLE["line"])
        labels.append((change[-1], f"{rule}: rank to\nthe power {found.power[rule]:+.2f}", color))
    ax.set_xscale("log", base=2)
    loss_axis(ax, [np.array(change) for change in found.change.values()])
    ax.set_xticks(found.ranks, [str(rank) for rank in found.ranks])
    name_axes(ax, "rank (logarithmic)", "change of the model's output\nby one update of equal rate")
    direct_labels(ax, labels)
    ax.figure.summary = "Power of the rank by which one update of equal rate moves the model's output: " + ", ".join(
        f"{power:+.2f} with {rule}" for rule, power in found.power.items()) + "."
    return ax
