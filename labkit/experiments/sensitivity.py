"""Which knob matters most? A grid's variance is divided exactly among knobs, pairs of knobs and the rest."""

import itertools
from dataclasses import dataclass

import numpy as np

from labkit.design.ladders import rung_text
from labkit.errors import LabError
from labkit.judge.arms import broke
from labkit.judge.stats import DRAWS, Interval, by_picture, resampled_means, spread
from labkit.text import share_text
from labkit.view.style import LINES, MARKERS, STYLE, LabFigure, name_axes, new_axes

BLUE = "#0072B2"
KNOBS = ("learning_rate", "max_train_steps", "train_batch_size", "alpha", "rank", "lr_scheduler")


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Hold each knob's share of the variance and its mean gains.

    Shares are those of a knob alone and of a pair beyond its two knobs, with chance taken off.
    """

    levels: dict[str, tuple]                                  # of each knob, in their order
    alone: dict[str, Interval]
    pairs: dict[tuple[str, str], Interval]
    together: Interval                                        # share of all pairs
    rest: float                                               # what three knobs and more do together, and chance
    effects: dict[str, list[Interval]]                        # mean gain at each level, over all other knobs
    runs: int
    seeds: int                                                # different ones among the runs

    @property
    def sentence(self) -> str:
        """Say what explains most, and whether that is sure."""
        (first, most), *others = sorted(self.alone.items(), key=lambda item: -item[1].mean)
        rival = max((share.high for _, share in others), default=0.0)
        pair, joint = max(self.pairs.items(), key=lambda item: item[1].mean)
        sure = ("more than any other knob, beyond chance" if most.low > rival else
                "the most, though chance may have put it first")
        trained = "each trained once with one seed" if self.seeds == 1 else f"trained with {self.seeds} seeds"
        together = self.together
        return (f"{first} alone explains {share_text(most)} of what separates these "
                f"{self.runs} runs, {trained}; {sure}. Pairs of knobs explain {together.mean:.0%} "
                f"({together.low:.0%} to {together.high:.0%}) beyond that, {pair[0]} with {pair[1]} the most "
                f"({joint.mean:.0%}, {joint.low:.0%} to {joint.high:.0%}).")


def sensitivity(runs, knobs=KNOBS) -> Sensitivity:
    """Divide the variance of the gain over a full grid of runs by analysis of variance.

    Sobol 1993, indices of first and second order.

    The gain of a run is what its held-out loss (fixed noise) fell by; one that made it worse, or broke, counts as no
    gain at all. Chance moves every mean, so that a knob without any effect explains something, too: what pictures and
    runs give by chance is taken off, and a share's 95 % interval holds 0 unless the knob does more than that. What
    three knobs and more do together counts as the chance of runs, since each combination was trained once.
    LabError: the runs are not one whole grid of two knobs or more.
    """
    levels = {name: tuple(sorted({getattr(run.config, name) for run in runs})) for name in knobs}
    levels = {name: values for name, values in levels.items() if len(values) > 1}
    table = {tuple(getattr(run.config, name) for name in levels): run for run in runs}
    cells = list(itertools.product(*levels.values()))
    if len(levels) < 2 or len(runs) != len(cells) or set(table) != set(cells):
        raise LabError(f"These {len(runs)} runs are not one whole grid over two knobs or more of {', '.join(knobs)}: "
                       "take one run for each combination.")
    gains = np.stack([gain(table[cell]) for cell in cells])   # (runs, pictures)
    gains[gains.mean(axis=1) < 0] = 0
    if gains.mean(axis=1).std() < 1e-9:
        raise LabError("All these runs gained the same: there is nothing to explain.")
    names, chance = list(levels), Chance(gains.T.reshape(-1, *map(len, levels.values())))
    alone = {name: chance.share((i,)) for i, name in enumerate(names)}
    numbered_pairs = list(itertools.combinations(range(len(names)), 2))
    pairs = {(names[i], names[j]): chance.share((i, j)) for i, j in numbered_pairs}
    return Sensitivity(levels, alone, pairs, together=chance.share(*numbered_pairs),
                       rest=1 - sum(share.mean for share in (*alone.values(), *pairs.values())),
                       effects={name: chance.means(i) for i, name in enumerate(names)},
                       runs=len(cells), seeds=len({run.config.seed for run in runs}))


class Chance:
    """Tell effects from chance in gains (pictures, levels...), whose means over pictures are divided among knobs."""

    def __init__(self, gains):
        """Divide the gains, and draw them again by pictures and by the chance of runs."""
        self.n, sizes = len(gains), gains.shape[1:]
        self.whole = gains.mean(axis=0, keepdims=True)
        self.measured = {key: float(value[0]) for key, value in parts(self.whole).items()}
        degrees = {key: int(np.prod([sizes[i] - 1 for i in key])) for key in self.measured if key}
        degrees[()] = int(np.prod(sizes)) - 1 - sum(degrees.values())
        # A mean moves by the pictures' spread over the root of their number, in every direction of the grid. What the
        # rest of the directions hold beyond that is the chance of runs, an equal part in each.
        deviations = parts(gains - self.whole)
        pictures = {key: float(value.sum()) / (self.n - 1) / self.n for key, value in deviations.items()}
        runs = max(0.0, self.measured[()] - pictures[()]) / degrees[()] if degrees[()] else 0.0
        self.noise = {key: pictures[key] + degrees[key] * runs for key in degrees}
        rng = np.random.default_rng(len(gains))
        self.draws = resampled_means(gains) + rng.normal(0, np.sqrt(runs * np.prod(sizes)), (DRAWS, *sizes))
        self.drawn = parts(self.draws)

    def share(self, *keys) -> Interval:
        """Return the share of the variance of some effects, less chance; it is 0 or more.

        keys    of `parts`. A draw holds chance twice: its own, and that of the runs it is drawn from.
        """
        measured, drawn, noise = (sum(of[key] for key in keys) for of in (self.measured, self.drawn, self.noise))
        total, all_drawn = sum(self.measured.values()), sum(self.drawn.values()) - sum(self.noise.values())
        share = spread((measured - noise) / total, (drawn - 2 * noise) / all_drawn, self.n)
        return Interval(*(max(value, 0.0) for value in share))

    def means(self, knob) -> list[Interval]:
        """Return the mean gain at each level of a knob."""
        means, draws = marginal(self.whole, (knob,))[0], marginal(self.draws, (knob,)).T
        return [spread(float(mean), drawn, self.n) for mean, drawn in zip(means, draws, strict=True)]


def gain(run) -> np.ndarray:
    """Return by how much each picture's held-out loss fell, (pictures,); 0 where the run broke."""
    losses = run.validations["validation"].losses
    fell = by_picture(losses[0]) - by_picture(losses[-1])
    return np.zeros_like(fell) if broke(run) else fell


def marginal(values, axes) -> np.ndarray:
    """Average values (D, levels...) over all knobs but those given, (D, levels of these...)."""
    others = tuple(i + 1 for i in range(values.ndim - 1) if i not in axes)
    return values.mean(axis=others) if others else values


def parts(values) -> dict:
    """Return the parts (D,) of the variance of values (D, levels...).

    They are under (i,): of a knob, (i, j): of a pair, (): the rest.
    """
    knobs = range(values.ndim - 1)
    grand = values.mean(axis=tuple(i + 1 for i in knobs))
    effects = {i: marginal(values, (i,)) - grand[:, None] for i in knobs}
    variances = {(i,): (effects[i] ** 2).mean(axis=1) for i in knobs}
    for i, j in itertools.combinations(knobs, 2):
        joint = marginal(values, (i, j)) - effects[i][:, :, None] - effects[j][:, None, :] - grand[:, None, None]
        variances[i, j] = (joint ** 2).mean(axis=(1, 2))
    return variances | {(): values.reshape(len(values), -1).var(axis=1) - sum(variances.values())}


def plot_shares(result: Sensitivity, ax=None):
    """Draw the share of each knob alone, of all its pairs, and the rest; 95 % intervals over pictures and runs."""
    order = sorted(result.alone, key=lambda name: result.alone[name].mean)
    height = 0.42 * (len(order) + 1)
    ax = new_axes(ax or LabFigure(height=height + 0.75).place_axes(1.9, 0.6, 6.9, height))
    for y, name in enumerate(order, start=1):
        share = result.alone[name]
        pairs = sum(value.mean for pair, value in result.pairs.items() if name in pair)
        ax.barh(y, share.mean, height=0.6, color=BLUE)
        ax.barh(y, pairs, left=share.mean, height=0.6, facecolor="white", edgecolor=BLUE, hatch="////", linewidth=0.8)
        ax.plot([share.low, share.high], [y, y], color="black", linewidth=1.4, marker="|")
        words = f"{share.mean:.0%} alone, {share.mean + pairs:.0%} with its pairs"
        ax.text(max(share.mean + pairs, share.high) + 0.01, y, words, va="center", fontsize=STYLE["small"])
    ax.barh(0, max(result.rest, 0), height=0.6, color="#BBBBBB")
    ax.text(max(result.rest, 0) + 0.01, 0, f"{result.rest:.0%}", va="center", fontsize=STYLE["small"])
    ax.set_yticks(range(len(order) + 1), ["three and more, chance", *order])
    ax.set_xlim(0, 1.35)
    ax.set_xticks(np.arange(0, 1.01, 0.2), [f"{x:.0%}" for x in np.arange(0, 1.01, 0.2)])
    name_axes(ax, "share of the variance of the gain, less chance "
                  "(filled: alone; hatched: pairs, counted for both)", "")
    ax.figure.summary = result.sentence
    return ax


def plot_effects(result: Sensitivity, ax=None):
    """Draw the mean gain at each level of each knob, over all settings of the others, one line a knob."""
    ax = new_axes(ax, top=0.35, right=0.3)
    at, ticks, texts, best = 0.0, [], [], []
    for i, (name, effects) in enumerate(result.effects.items()):
        xs = at + np.arange(len(effects))
        mean, low, high = np.array(effects).T
        ax.errorbar(xs, mean, [mean - low, high - mean], color=BLUE, linestyle=LINES[0], marker=MARKERS[i],
                    markersize=STYLE["marker"] + 1, linewidth=STYLE["line"], capsize=3)
        ax.text(xs.mean(), 1.02, name, ha="center", va="bottom", fontsize=STYLE["small"],
                transform=ax.get_xaxis_transform())
        levels = [rung_text(name, value) for value in result.levels[name]]
        ticks += list(xs)
        texts += levels
        best.append(f"{name} {levels[int(np.argmax(mean))]}")
        at = xs[-1] + 1.6
    ax.set_xticks(ticks, texts, rotation=30, ha="right")
    ax.set_ylim(bottom=0)
    name_axes(ax, "", "mean gain: what the held-out\nloss fell by")
    ax.figure.summary = f"Most was gained, on average over the other knobs, at {', '.join(best)}."
    return ax
