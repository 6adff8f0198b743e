"""At which strength does an adapter reach its target and still preserve the ordinary, in pictures of the same seeds?

K strengths, N pictures of the territory and as many ordinary ones. Wortsman et al. 2022 (arXiv:2109.01903) walk the
same line between a base and its fine-tuned weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labkit.engine.attribute_reader import STYLE as STYLE_ASKED
from labkit.engine.attribute_reader import asked_of, load_reader
from labkit.engine.monitor import FIRST_SCORED
from labkit.experiments.distance import PICTURES, nearest
from labkit.judge.stats import Interval, level_among, share_interval, shares_difference
from labkit.text import share_text
from labkit.view.labels import name_points
from labkit.view.pictures import show_mosaic
from labkit.view.style import STYLE, VERDICTS, LabFigure, direct_labels, name_axes, new_axes

STRENGTHS = (0.0, 0.5, 0.75, 1.0, 2.0)
TARGET, KEPT = VERDICTS["stagnating"][1], VERDICTS["diverged"][1]


@dataclass(frozen=True, eq=False)
class Frontier:
    """Hold scores from 0 to 1 of pictures drawn at K strengths, the first of them 0: the untouched base."""

    base: str
    strengths: tuple[float, ...]
    target: np.ndarray                                        # (K, N) of the territory's prompts
    kept: np.ndarray                                          # (K, N) of ordinary prompts
    affordable: float                                         # how much of `kept` may be lost
    pictures: np.ndarray                                      # uint8 (2, K, H, W, 3): first prompt of each set
    prompts: tuple[str, str]
    scored_by: str = "a score of one's own"

    @property
    def on_frontier(self) -> np.ndarray:
        """Tell of each strength (K,) that no other is at least as good in both scores and better in one."""
        points = np.stack([self.target.mean(1), self.kept.mean(1)], axis=1)
        beaten = (points[None] >= points[:, None]).all(-1) & (points[None] > points[:, None]).any(-1)
        return ~beaten.any(1)

    @property
    def is_affordable(self) -> np.ndarray:
        """Tell of each strength (K,) that the ordinary pictures' mean score lost no more than may be lost."""
        kept = self.kept.mean(1)
        return kept[0] - kept <= self.affordable + 1e-9

    @property
    def chosen(self) -> int:
        """Return the number of the strength to use.

        It is on the frontier and affordable and has the best target score; of equals it is the weakest.
        """
        fit = self.on_frontier & self.is_affordable
        return int(np.argmax(np.where(fit, self.target.mean(1), -np.inf)))

    @property
    def level(self) -> float:
        """Return the level of each interval, so that those of all strengths hold together with 95 %.

        Together, because the strength was chosen by what they measure.
        """
        return level_among(len(self.strengths) - 1)

    @property
    def lost(self) -> Interval:
        """Return how much the chosen strength loses of the ordinary pictures' mean score."""
        return shares_difference(self.kept[0], self.kept[self.chosen], self.level)

    @property
    def sentence(self) -> str:
        """Say which strength was chosen, what it gives and costs, and what these pictures cannot promise."""
        k, allowed = self.chosen, f"{self.affordable:.0%}"
        target, kept = (f"{self._share(scores[k])} on {scores.shape[1]} {of} ({self._share(scores[0])} untouched)"
                        for scores, of in ((self.target, "prompts of the territory"), (self.kept, "ordinary ones")))
        scores = f"On the base {self.base}, strength {self.strengths[k]:g} scores {target} and {kept}"
        basis = f"Intervals: 95 % for all strengths together, over prompts; one trained run. Score: {self.scored_by}."
        if k == 0:
            return (f"{scores}: in these pictures no strength on the frontier gains without losing more than "
                    f"{allowed}. {basis}")
        lost = self.lost
        sure = (f"it loses at most {allowed}" if lost.high <= self.affordable else
                f"so few pictures cannot rule out that it loses more than {allowed}")
        return (f"{scores}. In these pictures it is the best that loses at most {allowed} there; "
                f"{sure} (loss {lost.mean:.0%}, {lost.low:.0%} to {lost.high:.0%}). {basis}")

    def _share(self, scores) -> str:
        mean, low, high = share_interval(scores, self.level)
        return share_text((mean, low, high))


def measure_frontier(lab, run, *, strengths=STRENGTHS, pictures: int = 16, affordable: float = 0.1, seed: int = 0,
                     score: Callable | None = None, **options) -> Frontier:
    """Draw the same prompts with the same seeds at every strength and score them.

    run         a Run, or the id of a run in the lab's store
    pictures    prompts of each set: held-out captions, of which final scores use others
    score       takes uint8 pictures (N, H, W, 3) and the PictureFolder (N) whose captions were drawn, gives (N,) from
                0 to 1; None takes the best that the reader can give, `by_reader`
    options     num_inference_steps, guidance_scale
    """
    scored_by, strengths = Frontier.scored_by, sorted({0.0, *map(float, strengths)})
    if score is None:
        score, scored_by = by_reader(lab)
    scores, shown, prompts = [], [], []
    for whole in (lab.territory.validation.take(FIRST_SCORED), lab.territory.ordinary):
        folder = whole.take(pictures)
        drawn = lab.generate(folder.captions, range(seed, seed + len(folder)), run=run, strength=strengths, **options)
        scores.append(np.stack([np.asarray(score(at_strength, folder), dtype=np.float64) for at_strength in drawn]))
        shown.append(drawn[:, 0])
        prompts.append(folder.captions[0])
    return Frontier(lab.base.name, tuple(strengths), *scores, affordable, np.stack(shown), tuple(prompts), scored_by)


def by_reader(lab) -> tuple[Callable, str]:
    """Return the best score that the reader which ships can give for a lab's territory, and its name.

    It is whether the kind of place, or the style, that was asked for is accepted, where the reader knows all of them,
    else `nearest_by_reader`.
    """
    reader, sets = load_reader(), (lab.territory.validation, lab.territory.ordinary)
    if not all(attributes.get("kind") in reader.kinds for folder in sets for attributes in folder.attributes):
        return nearest_by_reader(lab, reader), ("to the reader nearer to real pictures of what was asked for "
                                                "than to those of the other set")

    def accepted(pictures, folder):
        kinds = [{"kind": attributes["kind"]} for attributes in folder.attributes]
        return reader.accepted(pictures, asked_of(folder) or kinds)

    is_style = STYLE_ASKED in (asked_of(lab.territory.validation) or [{}])[0]
    return accepted, f"accepted by the reader as the {'style' if is_style else 'kind of place'} asked for"


def nearest_by_reader(lab, reader) -> Callable:
    """Return the score for kinds that the reader does not know.

    It is 1 where the nearest real picture, in the reader's features, is of the set asked for, else 0.
    """
    sets = lab.territory.validation.take(FIRST_SCORED), lab.territory.ordinary
    n = min(PICTURES, *map(len, sets))                        # as many of each: a larger set would be nearer by chance
    real = {}
    for folder in sets:
        pictures = folder.take(n).pixels(reader.resolution)
        real[folder.folder] = reader.read(pictures).features

    def score(pictures, folder):
        features = reader.read(pictures).features
        away = {place: nearest(features, real_features) for place, real_features in real.items()}
        to_its_set = away.pop(folder.folder)
        return to_its_set < np.min(list(away.values()), axis=0)

    return score


def plot_frontier(frontier: Frontier, *, width=STYLE["width"]):
    """Draw the frontier, both scores over the strength, and two seeds at every strength. Returns the Figure."""
    K, chosen = len(frontier.strengths), frontier.chosen
    left, side = 1.0, (width - 1.0) / K
    below, above = 2 * side + 0.6, 3.6
    figure = LabFigure(width, above + below, photographic=True, summary=frontier.sentence)
    _plane(figure.place_axes(0.75, below + 0.6, width / 2 - 1.05, above - 1.1), frontier)
    _curves(figure.place_axes(width / 2 + 0.55, below + 0.6, width / 2 - 1.75, above - 1.1), frontier)
    ax = figure.place_axes(left, 0.03, width - left, 2 * side)
    xs, ys = show_mosaic(ax, frontier.pictures)
    ax.set_anchor("NW")
    small = {"fontsize": STYLE["small"], "color": STYLE["text"]}
    for k, x in enumerate(xs):
        mark, weight = (" chosen", "bold") if k == chosen else ("", "normal")
        ax.annotate(f"{frontier.strengths[k]:g}{mark}", (x, 0), (0, 3), textcoords="offset points", ha="center",
                    va="bottom", fontweight=weight, **small)
    for y, words in zip(ys, ("territory", "ordinary"), strict=True):
        ax.annotate(words, (0, y), (-6, 0), textcoords="offset points", ha="right", va="center", annotation_clip=False,
                    **small)
    figure.text(left / width, (2 * side + 0.27) / (above + below), "the same seeds at every strength",
                fontstyle="italic", **small)
    return figure


def _plane(ax, frontier) -> None:
    """Draw the strengths in the plane of both scores.

    They are filled on the frontier and hollow where another is better; the chosen one is ringed.
    """
    ax = new_axes(ax)
    kept, target, front = 100 * frontier.kept.mean(1), 100 * frontier.target.mean(1), frontier.on_frontier
    ax.axvspan(-5, kept[0] - 100 * frontier.affordable, color=STYLE["grid"], alpha=0.6, linewidth=0, zorder=0)
    ax.plot(kept, target, color=STYLE["faint"], linewidth=0.9, zorder=1)
    point = {"marker": "o", "linestyle": "none", "color": STYLE["text"]}
    for fill, which in ((STYLE["text"], front), ("white", ~front)):
        ax.plot(kept[which], target[which], markerfacecolor=fill, markersize=STYLE["marker"] + 1, zorder=2, **point)
    ax.plot(kept[frontier.chosen], target[frontier.chosen], markerfacecolor="none", markersize=14, markeredgewidth=1.6,
            zorder=3, **point)
    ax.set_xlim(-5, 112)
    ax.set_ylim(-12, 112)
    places = {}                                               # strengths at one point share its name
    for strength, *place in zip(frontier.strengths, kept.round(), target.round(), strict=True):
        places.setdefault(tuple(place), []).append(f"{strength:g}")
    name_points(ax, list(places), [", ".join(names) for names in places.values()])
    name_axes(ax, "score on ordinary prompts (%); grey: too much lost", "score on the territory (%)",
              "Frontier; numbers are strengths")


def _curves(ax, frontier) -> None:
    """Draw both scores over the strength with their 95 % intervals, which hold together."""
    ax, labels = new_axes(ax), []
    strengths, chosen = frontier.strengths, frontier.strengths[frontier.chosen]
    for scores, words, color, marker, line in ((frontier.target, "● territory", TARGET, "o", "-"),
                                               (frontier.kept, "■ ordinary", KEPT, "s", (0, (4, 1.5)))):
        mean, low, high = 100 * np.array([share_interval(row, frontier.level) for row in scores]).T
        ax.plot(strengths, mean, color=color, marker=marker, linestyle=line, markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        ax.fill_between(strengths, low, high, color=color, alpha=STYLE["band"], linewidth=0)
        labels.append((mean[-1], words, color))
    ax.axvline(chosen, color=STYLE["text"], linewidth=1, linestyle=(0, (1, 1.5)))
    ax.set_ylim(-12, 112)
    name_axes(ax, "strength at inference (1 is as trained)", "score (%)", f"Chosen: {chosen:g}")
    direct_labels(ax, labels)
