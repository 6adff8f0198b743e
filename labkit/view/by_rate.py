"""The chart of final losses over a logarithmic rate: a line an arm, its lowest point enlarged, seeds as rings."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from labkit.design.adapter_start import is_file
from labkit.judge.arms import broke
from labkit.judge.diagnose import DIVERGED
from labkit.judge.findings import DIVERGED_FACTOR
from labkit.judge.stats import by_picture, t_interval
from labkit.store.history import Run
from labkit.text import rate_text
from labkit.view.curves import FAR_ABOVE, LOSS_AXIS, loss_axis, mark_not_finite
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes, ordered_colors

RATE_AXIS = "learning rate (logarithmic)"
LEFT_OUT = f"{RATE_AXIS}; runs that broke are left out"
APART = 1.05  # times: points of neighbouring lines at one rate stand so far from each other


class RateLine(NamedTuple):
    """Hold one line's rates, its mean losses and those of single seeds, and its label."""

    rates: Sequence[float]  # (R,) rising
    means: np.ndarray  # (R,) of the seeds; infinite: marked with a cross at the top, not a number: left out
    seeds: Sequence[tuple[float, float]]  # (rate, loss) of each run; those that are no finite number are left out
    label: str

    @property
    def best(self) -> int | None:
        """Return the number of the lowest point; None where no point is finite."""
        finite = np.flatnonzero(np.isfinite(self.means))
        return int(min(finite, key=lambda i: self.means[i])) if len(finite) else None


def plot_by_rate(lines: Sequence[RateLine], ax, *, base=None, bars=(), limit=math.inf):
    """Draw the lines on `ax`, scale and mark both axes and write the labels; names of the axes are the caller's.

    base     (loss, words) where the runs begin, drawn as a faint line across; without words it has no label
    bars     arrays of further losses that the axis has room for
    limit    means above it leave the axis at the top, so that they do not flatten the valley
    """
    labels, middle = [], (len(lines) - 1) / 2
    colors = ordered_colors(len(lines)) if len(lines) > 1 else [STYLE["text"]]
    for i, (line, color) in enumerate(zip(lines, colors, strict=True)):
        marker, size = MARKERS[i % len(MARKERS)], STYLE["marker"]
        rates, means = np.array(line.rates) * APART ** (i - middle), np.array(line.means, dtype=float)
        ax.plot(rates, np.where(np.isfinite(means), means, np.nan), color=color, linestyle=LINES[i % len(LINES)],
                marker=marker, markersize=size, linewidth=STYLE["line"])
        mark_not_finite(ax, rates[~np.isnan(means)], means[~np.isnan(means)], color)
        rings = np.array([(rate * APART ** (i - middle), loss) for rate, loss in line.seeds if math.isfinite(loss)])
        if len(rings):
            ax.plot(*rings.T, marker, color=color, markerfacecolor="none", markersize=size - 1, alpha=0.6)
        if line.best is not None:
            ax.plot(rates[line.best], means[line.best], marker, color=color, markersize=size + 5,
                    markeredgecolor="black", zorder=5)
        if line.label:
            finite = means[np.isfinite(means)]
            labels.append((finite[-1] if len(finite) else FAR_ABOVE, line.label, color))
    tried = sorted({rate for line in lines for rate in line.rates})
    ax.set_xscale("log")
    ax.set_xticks(tried, [rate_text(rate) for rate in tried])
    ax.minorticks_off()
    if base is not None:
        level, words = base
        ax.axhline(level, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
        labels += [(level, words, STYLE["faint"])] * bool(words)
    within = [np.where(np.array(line.means) <= limit, line.means, np.nan) for line in lines]
    loss_axis(ax, [*within, [] if base is None else [base[0]]], bars)
    direct_labels(ax, labels)
    return ax


def plot_u_curve(runs: Sequence[Run], ax=None):
    """Draw the final held-out loss against the learning rate, the mean of the seeds with its 95 % interval.

    The second scale counts in multiples of the best rate here, which is what carries over to other bases. Rates at
    which the runs diverged stand at the top edge with the loss they came to, so that they do not flatten the valley;
    a cross marks those at which a run broke, so that it came to none.
    """
    ax, curves, groups = new_axes(ax, top=0.95), _held_out(runs), {}
    for run, held in zip(runs, curves, strict=True):
        end = math.inf if broke(run) else by_picture(held.losses[-1]).mean()  # its last came before
        groups.setdefault(run.config.learning_rate, []).append(end)
    ends = {rate: np.array(groups[rate]) for rate in sorted(groups)}
    means = {rate: float(values.mean()) if np.isfinite(values).all() else math.inf for rate, values in ends.items()}
    starts = [by_picture(held.losses[0]).mean() for held in curves if held.steps[0] == 0]
    is_base = not any(is_file(run.config.init_lora_weights) for run in runs)
    base = (float(np.mean(starts)), "untouched\nbase" if is_base else "where they\nbegan") if starts else None
    limit = DIVERGED_FACTOR * base[0] if base else math.inf
    if min(means.values()) >= limit:                          # all diverged: there is no valley to keep in sight
        limit = math.inf
    inside = [rate for rate in ends if means[rate] <= limit and math.isfinite(means[rate])]
    bars = {rate: half for rate in inside if math.isfinite(half := t_interval(ends[rate]).high - means[rate])}
    reach = [[means[rate] - half, means[rate] + half] for rate, half in bars.items()]
    seeds = [(rate, value) for rate, values in ends.items() for value in values]
    line = RateLine(list(ends), np.array(list(means.values())), seeds, "")
    plot_by_rate([line], ax, base=base, bars=[*reach, *(ends[rate] for rate in inside)], limit=limit)
    for rate, half in bars.items():
        ax.errorbar(rate, means[rate], half, color=STYLE["text"], capsize=4, linewidth=1.2, zorder=2)
    _mark_diverged(ax, {rate: mean for rate, mean in means.items() if limit < mean < math.inf})
    ax.set_xlim(min(ends) / 1.8, max(ends) * 1.8)
    name_axes(ax, RATE_AXIS, LOSS_AXIS, f"Final loss by learning rate, {_seeds(ends)}", height=1.15)
    if line.best is not None:
        best = line.rates[line.best]
        _second_scale(ax, best, ends)
        ax.figure.summary = f"lowest final loss {means[best]:.3f} at learning rate {rate_text(best)}"
    return ax


def _held_out(runs) -> list:
    """Return the held-out curve of every run, all in the finer grade or all as monitored: the two do not compare."""
    fine = all("validation" in run.final_validations for run in runs)
    return [(run.final_validations if fine else run.validations)["validation"] for run in runs]


def _seeds(ends) -> str:
    """Say how many seeds each rate has."""
    fewest, most = min(map(len, ends.values())), max(map(len, ends.values()))
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f"{count} seeds each, 95 % intervals" if most > 1 else "one seed: no interval"


def _mark_diverged(ax, means) -> None:
    """Mark rates at the top edge with the loss that their runs came to."""
    top, color = ax.get_xaxis_transform(), VERDICTS[DIVERGED][1]
    for rate, mean in means.items():
        ax.plot(rate, 1, "^", color=color, markersize=9, transform=top, clip_on=False)
        ax.annotate(f"{mean:.2f}", (rate, 0.95), xycoords=top, ha="center", va="top", fontsize=STYLE["small"],
                    color=color, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def _second_scale(ax, best: float, tried) -> None:
    """Add a top axis that counts the tried rates in multiples of the best one."""
    top = ax.secondary_xaxis("top", functions=(lambda rate: rate / best, lambda times: times * best))
    times = [rate / best for rate in tried]
    words = [f"{t:.2g}×" if t < 100 else f"{t:.0f}×" for t in times]
    top.set_xticks(times, words, fontsize=STYLE["small"], color=STYLE["text"])
    top.minorticks_off()
    top.spines["top"].set_color(STYLE["faint"])
    top.set_xlabel("times the best rate here", fontsize=STYLE["label"], color=STYLE["text"])
