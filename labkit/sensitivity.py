"""What each knob explains: the variance of a grid of runs, divided exactly among knobs, pairs of knobs and the rest."""

import itertools
from dataclasses import dataclass

import numpy as np

from labkit.errors import LabError
from labkit.ladders import rung_text
from labkit.stats import Interval, by_picture, resampled_means, spread
from labkit.style import LINES, MARKERS, STYLE, LabFigure, name_axes, new_axes

KNOBS = ("learning_rate", "max_train_steps", "train_batch_size", "alpha", "rank", "lr_scheduler")


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Hold the share of variance of each knob alone and of each pair beyond its knobs, and the mean gain at each level of a knob."""

    levels: dict[str, tuple]                                  # of each knob, in their order
    alone: dict[str, Interval]
    pairs: dict[tuple[str, str], Interval]
    rest: Interval                                            # what three knobs and more do together; also what chance does
    effects: dict[str, list[Interval]]                        # mean gain at each level, over all other knobs
    runs: int

    @property
    def together(self) -> float:
        """Return the share of all pairs."""
        return sum(share.mean for share in self.pairs.values())

    @property
    def sentence(self) -> str:
        """Say what explains most, and whether that is sure."""
        (first, most), *others = sorted(self.alone.items(), key=lambda item: -item[1].mean)
        rival = max((share.high for _, share in others), default=0.0)
        pair, joint = max(self.pairs.items(), key=lambda item: item[1].mean)
        sure = "more than any other knob on any draw of pictures" if most.low > rival else "the most, though not on every draw of pictures"
        return (f"{first} alone explains {most.mean:.0%} ({most.low:.0%} to {most.high:.0%}) of what separates these {self.runs} runs, {sure}; "
                f"pairs of knobs explain {self.together:.0%} beyond that, {pair[0]} with {pair[1]} the most ({joint.mean:.0%}).")


def sensitivity(histories, knobs=KNOBS) -> Sensitivity:
    """Divide the variance of the gain over a full grid of runs by analysis of variance; Sobol 1993, first and second order.

    The gain of a run is what its held-out loss (fixed noise) fell by; one that made it worse, or broke, counts as no gain at all.
    Intervals are over pictures. LabError: the runs are not one whole grid of two knobs or more.
    """
    levels = {name: tuple(sorted({getattr(run.config, name) for run in histories})) for name in knobs}
    levels = {name: values for name, values in levels.items() if len(values) > 1}
    table = {tuple(getattr(run.config, name) for name in levels): run for run in histories}
    cells = list(itertools.product(*levels.values()))
    if len(levels) < 2 or len(histories) != len(cells) or set(table) != set(cells):
        raise LabError(f"These {len(histories)} runs are not one whole grid over two knobs or more of {', '.join(knobs)}: take one run for each combination.")
    gains = np.stack([gain(table[cell]) for cell in cells])   # (runs, pictures)
    draws = np.maximum(resampled_means(gains.T), 0).reshape(-1, *map(len, levels.values()))
    whole = np.maximum(gains.mean(1), 0).reshape(1, *map(len, levels.values()))
    names, n = list(levels), gains.shape[1]
    if whole.std() < 1e-9:
        raise LabError("All these runs gained the same: there is nothing to explain.")
    estimate, drawn = shares(whole), shares(draws)
    held = {key: spread(float(estimate[key][0]), drawn[key], n) for key in estimate}
    effects = {name: [spread(float(level[0]), other, n) for level, other in zip(marginal(whole, (i,)).T, marginal(draws, (i,)).T)]
               for i, name in enumerate(names)}
    return Sensitivity(levels, {name: held[i,] for i, name in enumerate(names)},
                       {(names[i], names[j]): held[i, j] for i, j in itertools.combinations(range(len(names)), 2)}, held[()], effects, len(cells))


def gain(history) -> np.ndarray:
    """Return by how much each picture's held-out loss fell, (pictures,); 0 where the run broke."""
    losses = history.validations["validation"].losses
    fell = by_picture(losses[0]) - by_picture(losses[-1])
    broken = history.status == "diverged" or not np.isfinite(fell).all()
    return np.zeros_like(fell) if broken else fell


def marginal(values, axes) -> np.ndarray:
    """Average values (D, levels...) over all knobs but those given, (D, levels of these...)."""
    others = tuple(i + 1 for i in range(values.ndim - 1) if i not in axes)
    return values.mean(axis=others) if others else values


def shares(values) -> dict:
    """Return the shares of variance (D,) of values (D, levels...): {(i,): of a knob, (i, j): of a pair, (): the rest}."""
    knobs = range(values.ndim - 1)
    grand = values.mean(axis=tuple(i + 1 for i in knobs))
    total = values.reshape(len(values), -1).var(axis=1)
    own = {i: marginal(values, (i,)) - grand[:, None] for i in knobs}
    found = {(i,): (own[i] ** 2).mean(axis=1) for i in knobs}
    for i, j in itertools.combinations(knobs, 2):
        joint = marginal(values, (i, j)) - own[i][:, :, None] - own[j][:, None, :] - grand[:, None, None]
        found[i, j] = (joint ** 2).mean(axis=(1, 2))
    found = {key: value / np.where(total, total, 1) for key, value in found.items()}
    return found | {(): 1 - sum(found.values())}


def plot_shares(found, ax=None):
    """Draw the share of each knob alone, of all its pairs, and the rest, with 95 % intervals over pictures."""
    order = sorted(found.alone, key=lambda name: found.alone[name].mean)
    height = 0.42 * (len(order) + 1)
    ax = new_axes(ax or LabFigure(height=height + 0.75).place_axes(1.9, 0.6, 6.9, height))
    for y, name in enumerate(order, start=1):
        share = found.alone[name]
        paired = sum(value.mean for pair, value in found.pairs.items() if name in pair)
        ax.barh(y, share.mean, height=0.6, color="#0072B2")
        ax.barh(y, paired, left=share.mean, height=0.6, facecolor="white", edgecolor="#0072B2", hatch="////", linewidth=0.8)
        ax.plot([share.low, share.high], [y, y], color="black", linewidth=1.4, marker="|")
        ax.text(max(share.mean + paired, share.high) + 0.01, y, f"{share.mean:.0%} alone, {share.mean + paired:.0%} with its pairs", va="center", fontsize=STYLE["small"])
    ax.barh(0, max(found.rest.mean, 0), height=0.6, color="#BBBBBB")
    ax.text(max(found.rest.mean, 0) + 0.01, 0, f"{found.rest.mean:.0%}", va="center", fontsize=STYLE["small"])
    ax.set_yticks(range(len(order) + 1), ["three and more, chance", *order])
    ax.set_xlim(0, 1.35)
    ax.set_xticks(np.arange(0, 1.01, 0.2), [f"{x:.0%}" for x in np.arange(0, 1.01, 0.2)])
    name_axes(ax, "share of the variance of the gain (filled: alone; hatched: pairs, counted for both)", "")
    ax.figure.summary = found.sentence
    return ax


def plot_effects(found, ax=None):
    """Draw the mean gain at each level of each knob, over all settings of the others, one line a knob."""
    ax = new_axes(ax, top=0.35, right=0.3)
    at, ticks, texts = 0.0, [], []
    for i, (name, levels) in enumerate(found.effects.items()):
        xs = at + np.arange(len(levels))
        ax.errorbar(xs, [level.mean for level in levels], [[level.mean - level.low for level in levels], [level.high - level.mean for level in levels]],
                    color="#0072B2", linestyle=LINES[0], marker=MARKERS[i], markersize=STYLE["marker"] + 1, linewidth=STYLE["line"], capsize=3)
        ax.text(xs.mean(), 1.02, name, ha="center", va="bottom", fontsize=STYLE["small"], transform=ax.get_xaxis_transform())
        ticks += list(xs)
        texts += [rung_text(name, value) for value in found.levels[name]]
        at = xs[-1] + 1.6
    ax.set_xticks(ticks, texts, rotation=30, ha="right")
    ax.set_ylim(bottom=0)
    name_axes(ax, "", "mean gain: what the held-out\nloss fell by")
    best = {name: rung_text(name, found.levels[name][int(np.argmax([level.mean for level in levels]))]) for name, levels in found.effects.items()}
    ax.figure.summary = "Most was gained, on average over the other knobs, at " + ", ".join(f"{name} {value}" for name, value in best.items()) + "."
    return ax
