"""Alpha in training as a rate: where runs of several scalings end, over the learning rate.

Losses are held-out ones on fixed noise, compared picture by picture. m seeds, n pictures.
"""

import numpy as np

from labkit.errors import LabError
from labkit.experiments.rank import end_of
from labkit.judge.arms import noise_among
from labkit.judge.stats import by_picture, seeds_difference
from labkit.text import rate_text
from labkit.view.curves import LOSS_AXIS, loss_axis, mark_not_finite
from labkit.view.style import LINES, MARKERS, STYLE, direct_labels, name_axes, new_axes, ordered_colors


def by_scaling(runs) -> dict:
    """Return {scaling: {rate: final losses (m, n)}}, the smallest scaling first."""
    found = {}
    for run in runs:
        found.setdefault(run.config.scaling, {}).setdefault(run.config.learning_rate, []).append(end_of(run))
    if len(found) < 2:
        raise LabError(f"histories: runs of {len(found)} scaling; give those of two at least.")
    return {scaling: {rate: np.stack(ends) for rate, ends in sorted(found[scaling].items())} for scaling in sorted(found)}


def plot_scalings(runs, ax=None):
    """Draw the final held-out loss over the rate, one valley for each scaling that runs were trained with."""
    ax, runs = new_axes(ax, top=0.15), list(runs)
    found, labels, seen = by_scaling(runs), [], []
    rates = sorted({rate for valley in found.values() for rate in valley})
    for i, ((scaling, valley), color) in enumerate(zip(found.items(), ordered_colors(len(found)))):
        means = np.array([ends.mean() for ends in valley.values()])
        ax.plot(list(valley), np.where(np.isfinite(means), means, np.nan), color=color, marker=MARKERS[i], linestyle=LINES[i % len(LINES)], markersize=STYLE["marker"] + 1, linewidth=STYLE["line"])
        mark_not_finite(ax, list(valley), means, color)
        best = best_rate(valley)
        ax.plot(best, valley[best].mean(), MARKERS[i], color=color, markersize=13, markerfacecolor="none", markeredgewidth=1.4)
        labels.append((means[np.isfinite(means)][-1] if np.isfinite(means).any() else 1e30, f"scaling {scaling:g}\nbest at {rate_text(best)}", color))
        seen.append(means)
    start = float(np.mean([by_picture(run.validations["validation"].losses[0]).mean() for run in runs]))
    ax.axhline(start, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
    ax.set_xscale("log")
    ax.set_xticks(rates, [rate_text(rate) for rate in rates])
    ax.minorticks_off()
    loss_axis(ax, [*seen, np.array([start])])
    name_axes(ax, "learning rate (logarithmic)", LOSS_AXIS)
    direct_labels(ax, [*labels, (start, "untouched base", STYLE["faint"])])
    ax.figure.summary = sentence(found, start)
    return ax


def best_rate(valley) -> float:
    """Return the rate at which runs end lowest."""
    return min(valley, key=lambda rate: valley[rate].mean())


def sentence(found, start) -> str:
    """Compare every scaling with the one nearest to 1: at its best rate, and each at its own; start: the untouched base's mean loss."""
    ends = [held for valley in found.values() for held in valley.values()]
    noise, seeds = noise_among(ends, [start] * len(ends)), min(map(len, ends))
    one = min(found, key=lambda scaling: abs(np.log(scaling)))
    rate = best_rate(found[one])
    words = []
    for scaling, valley in found.items():
        if scaling != one:
            at_one = _change(valley.get(rate), found[one][rate], noise)
            own = _change(valley[best_rate(valley)], found[one][rate], noise)
            words.append(f"scaling {scaling:g} ends {at_one} at rate {rate_text(rate)}, and {own} at its own best, {rate_text(best_rate(valley))}")
    return f"Against scaling {one:g} at its best rate {rate_text(rate)}: " + "; ".join(words) + (
        f" ({'one seed' if seeds == 1 else f'{seeds} seeds'}; 95 % intervals over pictures{' and seeds' if seeds > 1 else ''}).")


def _change(ends, others, noise) -> str:
    if ends is None:
        return "at no run"
    change = seeds_difference(ends, others, noise)
    return f"{change.mean:+.3f} ({change.low:+.3f} to {change.high:+.3f})" if np.isfinite(ends).all() else "broken"
