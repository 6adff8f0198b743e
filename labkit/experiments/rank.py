"""What rank buys: how far runs of every rank came, at one rate and at each rank's own best, and the smallest that is enough.

Losses are held-out ones on fixed noise at the end of a run, compared picture by picture. m seeds, n pictures. What a size lacks of
the best is an interval over pictures and seeds that holds for all sizes together: the best is itself one of those that were measured
(multiple comparisons with the best, after Hsu 1984).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from labkit.errors import LabError
from labkit.judge.arms import noise_among
from labkit.judge.stats import LEVEL, Interval, by_picture, seeds_difference
from labkit.text import rate_text
from labkit.view.style import LINES, MARKERS, STYLE, LabFigure, direct_labels, name_axes, new_axes, ordered_colors
from labkit.view.tables import Table

FULL = "full"                                                 # in the place of a rank: a dense change of the same matrices
ENOUGH = 0.05                                                 # of the gain: the smallest effect of interest, declared beforehand
FLOOR = -0.25                                                 # shares of the gain below are drawn at the edge


@dataclass(frozen=True, eq=False)
class Capacity:
    """Hold final held-out losses by size (a rank, or 'full') and rate, each (m, n), on one territory."""

    territory: str
    start: np.ndarray                                         # (n,) of the untouched base
    ends: dict                                                # {size: {rate: (m, n)}}; inf where a run broke
    probes: dict                                              # the same on training pictures
    seeds: int

    @property
    def ranks(self) -> list[int]:
        """Return the ranks, the smallest first."""
        return sorted(size for size in self.ends if size != FULL)

    @property
    def sizes(self) -> list:
        """Return the ranks, then 'full' where there are such runs."""
        return self.ranks + [FULL] * (FULL in self.ends)

    def best_rate(self, size) -> float:
        """Return the rate at which runs of this size end lowest."""
        return min(self.ends[size], key=lambda rate: self.ends[size][rate].mean())

    def at_edge(self, size) -> bool:
        """Tell whether the best rate is the first or last one tried, so that a better one may lie outside."""
        return self.best_rate(size) in (min(self.ends[size]), max(self.ends[size]))

    def end(self, size) -> np.ndarray:
        """Return the losses (m, n) of a size at its own best rate."""
        return self.ends[size][self.best_rate(size)]

    @cached_property
    def best(self):
        """Return the size whose runs end lowest."""
        return min(self.sizes, key=lambda size: self.end(size).mean())

    @cached_property
    def gain(self) -> float:
        """Return by how much the best runs' loss fell, the measure of all shares."""
        return float(self.start.mean() - self.end(self.best).mean())

    @cached_property
    def noise(self):
        """Return how far seeds lie apart among the runs that learned."""
        ends = [end for by_rate in self.ends.values() for end in by_rate.values()]
        return noise_among(ends, [self.start.mean()] * len(ends))

    def lacks(self, size, sizes=None, rate=None) -> Interval:
        """Return what a size at a rate, its own best by default, lacks of the best of some sizes, in shares of the gain; at least 0 if it is one of them."""
        sizes = [other for other in sizes or self.sizes if np.isfinite(self.end(other)).all()]
        end = self.end(size) if rate is None else self.ends[size][rate]
        others = [other for other in sizes if other != size or rate is not None]
        level = 1 - (1 - LEVEL) / max(len(sizes) - 1, 1)
        apart = [seeds_difference(end, self.end(other), self.noise, level) for other in others]
        floor = 0.0 if rate is None else -math.inf
        return Interval(*(max([floor, *(found[i] for found in apart)]) / self.gain for i in range(3)))

    def share(self, size, rate=None) -> Interval:
        """Return the share of the greatest gain that a size reaches at a rate, its own best by default: 0 the base, 1 the best."""
        end = self.end(size) if rate is None else self.ends[size][rate]
        if not np.isfinite(end).all():
            return Interval(-math.inf, -math.inf, -math.inf)
        mean, low, high = self.lacks(size, rate=rate)
        return Interval(1 - mean, 1 - high, 1 - low)

    @property
    def enough(self) -> int:
        """Return the smallest rank that, at its own best rate, lacks at most ENOUGH of the gain of the best rank, in the mean of the seeds."""
        return min(rank for rank in self.ranks if self._lack(rank).mean <= ENOUGH)

    @property
    def open(self) -> tuple[int, int | None]:
        """Return the smallest rank that may be enough and the smallest that surely is, None where none is sure: pictures and seeds leave open what lies between."""
        may, sure = ([rank for rank in self.ranks if self._lack(rank)[i] <= ENOUGH] for i in (1, 2))
        return min(may), min(sure, default=None)

    def _lack(self, rank) -> Interval:
        """Return what a rank lacks of the best rank."""
        broke = Interval(math.inf, math.inf, math.inf)
        return self.lacks(rank, self.ranks) if np.isfinite(self.end(rank)).all() else broke

    @property
    def range(self) -> str:
        """Write which rank may be the smallest that is enough."""
        low, high = self.open
        if (low, high) == (self.ranks[0], None):
            return "any of those tried"
        return f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"

    @property
    def sentence(self) -> str:
        """Say which rank is enough, how sure that is, and what one direction in each matrix reaches already."""
        first, over = self.ranks[0], f"pictures and {self.seeds} seeds" if self.seeds > 1 else "pictures; one seed"
        edge = ", the largest one tried, so that a larger one may be needed" if self.enough == self.ranks[-1] else ""
        sure = "which is sure" if self.open == (self.enough, self.enough) else f"but the intervals leave open {self.range}"
        return (f"{self.territory}: in the mean, rank {self.enough} is the smallest within {ENOUGH:.0%} of the best rank{edge}; {sure}. Rank {first} reaches "
                f"{_share(self.share(first))} of the greatest gain at its own best rate, {rate_text(self.best_rate(first))} (95 % intervals over {over}, all sizes together).")


def capacity(runs) -> Capacity:
    """Return how far runs of one territory came; LabError where they are of several or none, or no rank ended with a number."""
    runs = list(runs)
    territories = {run.config.data for run in runs}
    if len(territories) != 1:
        raise LabError(f"histories: runs of {', '.join(sorted(territories)) or 'no territory'}; give those of one.")
    ends, probes, seeds = {}, {}, set()
    for run in runs:
        config = run.config
        size = FULL if config.adapter == "full" else config.rank
        seeds.add(config.seed)
        for found, name in ((ends, "validation"), (probes, "probe")):
            found.setdefault(size, {}).setdefault(config.learning_rate, []).append(end_of(run, name))
    start = np.mean([by_picture(run.validations["validation"].losses[0]) for run in runs], axis=0)
    stacked = [{size: {rate: np.stack(values) for rate, values in by_rate.items()} for size, by_rate in found.items()} for found in (ends, probes)]
    if not any(np.isfinite(end).all() for size, by_rate in stacked[0].items() if size != FULL for end in by_rate.values()):
        raise LabError("histories: no run of a rank ended with a number; record lower rates.")
    return Capacity(territories.pop(), start, *stacked, len(seeds))


def end_of(run, name="validation") -> np.ndarray:
    """Return a run's last losses (n,); infinite where it broke before its end."""
    curve = run.validations[name]
    last = by_picture(curve.losses[-1])
    is_whole = curve.steps[-1] == run.config.max_train_steps and np.isfinite(last).all()
    return last if is_whole else np.full(len(last), np.inf)


def capacity_table(*found: Capacity) -> Table:
    """Return one row a size: best rate, share of the gain and loss on training pictures, for every territory."""
    heads = [f"{each.territory}: {words}" for each in found for words in ("best rate", "share of the gain (95 % interval)", "loss on training pictures")]
    rows = [[f"rank {size}" if size != FULL else "the whole matrices", *(cell for each in found for cell in _cells(each, size))] for size in found[0].sizes]
    return Table(["", *heads], rows)


def _cells(found, size) -> list[str]:
    if size not in found.ends:
        return ["", "", ""]
    rate, edge = found.best_rate(size), " (the last one tried)" if found.at_edge(size) else ""
    return [rate_text(rate) + edge, _share(found.share(size)), f"{found.probes[size][rate].mean():.3f}"]


def predictions(found: dict) -> str:
    """Compare predicted smallest sufficient ranks with what was measured: (guess, Capacity) by words; no answer is not wrong."""
    lines = []
    for words, (guess, measured) in found.items():
        low, high = measured.open
        fits = guess is not None and low <= guess <= (high or math.inf)
        said = "" if guess is None else f" You said {guess}" + (": yes." if guess == measured.enough else ", which the intervals leave open." if fits else ".")
        lines.append(f"Smallest rank that is enough, {words}: {measured.enough} in the mean, {measured.range} by the intervals.{said}")
    return "\n".join(lines)


def plot_capacity(*found: Capacity, width=STYLE["width"]):
    """Draw the share of the gain over the rank, a panel a territory: every rate tried faintly, the own best rate on top. Returns the Figure."""
    left, room, height = 0.75, 1.15, 4.0
    figure = LabFigure(width, height, summary=" ".join(each.sentence for each in found))
    panel = width / len(found)
    for i, each in enumerate(found):
        ax = new_axes(figure.place_axes(i * panel + left, 0.6, panel - left - room, height - 1.25))
        _draw(ax, each)
        name_axes(ax, "rank (logarithmic)", "share of the greatest gain" if not i else "", f"{each.territory}: rank {each.enough} is enough (mean),\nby the intervals {each.range}")
    return figure


def _draw(ax, found) -> None:
    """Draw one territory's panel."""
    places = {size: i for i, size in enumerate(found.sizes)}  # ranks are powers of two: their order is their logarithm
    rates = sorted({rate for rank in found.ranks for rate in found.ends[rank]})
    labels = []
    for i, (rate, color) in enumerate(zip(rates, ordered_colors(len(rates)))):
        ranks = [rank for rank in found.ranks if rate in found.ends[rank]]
        shares = np.array([max(found.share(rank, rate).mean, FLOOR) for rank in ranks])
        at = [places[rank] for rank in ranks]
        ax.plot(at, shares, color=color, linestyle=LINES[i % len(LINES)], marker=MARKERS[i % len(MARKERS)], markersize=4, linewidth=1.0, alpha=0.8)
        ax.plot([place for place, share in zip(at, shares) if share == FLOOR], [FLOOR] * (shares == FLOOR).sum(), "X", color=color, markersize=8, clip_on=False)
        labels.append((shares[-1], ("✖ " if shares[-1] == FLOOR else "") + f"rate {rate_text(rate)}", color))
    own = [found.share(size) for size in found.ranks]
    at = [places[rank] for rank in found.ranks]
    ax.plot(at, [share.mean for share in own], color=STYLE["text"], linewidth=STYLE["line"] + 0.8, marker="o", markersize=STYLE["marker"] + 2, markerfacecolor="white", zorder=4)
    ax.fill_between(at, [share.low for share in own], [share.high for share in own], color=STYLE["text"], alpha=STYLE["band"], linewidth=0)
    labels.append((own[-1].mean, "○ own best", STYLE["text"]))
    if FULL in found.ends:
        whole = found.share(FULL)
        ax.errorbar([places[FULL]], [whole.mean], [[whole.mean - whole.low], [whole.high - whole.mean]], color=STYLE["text"], marker="D", markersize=STYLE["marker"] + 1, capsize=4)
    ax.axhline(0, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.0)
    ax.set_xticks(list(places.values()), [str(size) for size in places])
    ax.set_xlim(-0.4, len(places) - 0.6)
    ax.set_yticks([FLOOR, 0, 0.25, 0.5, 0.75, 1], ["worse", "base", "25 %", "50 %", "75 %", "best"])
    ax.set_ylim(FLOOR, 1.12)
    direct_labels(ax, labels)


def _share(interval) -> str:
    return f"{interval.mean:.0%} ({interval.low:.0%} to {interval.high:.0%})" if math.isfinite(interval.mean) else "broke at every rate"
