"""What does rank buy? How far runs of every rank came, the smallest that is enough, and what an adapter costs.

Losses are held-out ones on fixed noise at the end of a run, compared picture by picture. m seeds, n pictures. What a
size lacks of the best is an interval over pictures and seeds that holds for all sizes together: the best is itself one
of those that were measured (multiple comparisons with the best, after Hsu 1984).
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.ladders import rung_text
from labkit.engine.adapters import LoRAStack
from labkit.engine.monitor import Monitor
from labkit.engine.train import train
from labkit.errors import LabError
from labkit.judge import compare
from labkit.judge.arms import noise_among
from labkit.judge.compare import final_losses
from labkit.judge.stats import Interval, SeedNoise, by_picture, level_among, seeds_difference
from labkit.store.adapter_files import adapter_bytes
from labkit.store.events import Checkpoint, Step
from labkit.store.history import Run
from labkit.text import rate_text, share_text
from labkit.view.style import LINES, MARKERS, STYLE, LabFigure, direct_labels, name_axes, new_axes, ordered_colors
from labkit.view.tables import Table

FULL = "full"  # in the place of a rank: a dense change of the same matrices
ENOUGH = 0.05  # of the gain: the smallest effect of interest, declared beforehand
FLOOR = -0.25  # shares of the gain below are drawn at the edge
UPDATES = 3  # timed of each adapter; one more before them warms up

Ends = dict[float, np.ndarray]  # {rate: final losses (m, n)}; infinite where a run broke
Sized = int | str  # a rank, or FULL


# -- how far runs came


@dataclass(frozen=True, eq=False)
class Capacity:
    """Hold final held-out losses by size (a rank, or 'full') and rate, each (m, n), on one territory."""

    territory: str
    start: np.ndarray  # (n,) of the untouched base
    ends: dict[Sized, Ends]
    probes: dict[Sized, Ends]  # the same on training pictures
    seeds: int

    @property
    def ranks(self) -> list[int]:
        """Return the ranks, the smallest first."""
        return sorted(size for size in self.ends if size != FULL)

    @property
    def sizes(self) -> list[Sized]:
        """Return the ranks, then 'full' where there are such runs."""
        return self.ranks + [FULL] * (FULL in self.ends)

    def best_rate(self, size: Sized) -> float:
        """Return the rate at which runs of this size end lowest."""
        return compare.best_rate(self.ends[size])

    def at_edge(self, size: Sized) -> bool:
        """Tell whether the best rate is the first or last one tried, so that a better one may lie outside."""
        return compare.at_edge(self.ends[size])

    def end(self, size: Sized) -> np.ndarray:
        """Return the losses (m, n) of a size at its own best rate."""
        return self.ends[size][self.best_rate(size)]

    @cached_property
    def best(self) -> Sized:
        """Return the size whose runs end lowest."""
        return min(self.sizes, key=lambda size: self.end(size).mean())

    @cached_property
    def gain(self) -> float:
        """Return by how much the best runs' loss fell, the measure of all shares."""
        return float(self.start.mean() - self.end(self.best).mean())

    @cached_property
    def noise(self) -> SeedNoise | None:
        """Return how far seeds lie apart among the runs that learned."""
        ends = [end for by_rate in self.ends.values() for end in by_rate.values()]
        return noise_among(ends, [self.start.mean()] * len(ends))

    def lacks(self, size: Sized, sizes: Sequence[Sized] | None = None, rate: float | None = None) -> Interval:
        """Return what a size lacks of the best of `sizes` (all of them), in shares of the gain.

        At its own best rate, where it is one of the sizes itself and lacks at least 0, or at another rate.
        """
        sizes = [other for other in sizes or self.sizes if np.isfinite(self.end(other)).all()]
        end = self.end(size) if rate is None else self.ends[size][rate]
        others = [other for other in sizes if other != size or rate is not None]
        level = level_among(len(sizes) - 1)
        apart = [seeds_difference(end, self.end(other), self.noise, level) for other in others]
        floor = 0.0 if rate is None else -math.inf
        return Interval(*(max([floor, *(interval[i] for interval in apart)]) / self.gain for i in range(3)))

    def share(self, size: Sized, rate: float | None = None) -> Interval:
        """Return the share of the greatest gain that a size reaches at a rate: 0 the base, 1 the best.

        None takes the size's own best rate.
        """
        end = self.end(size) if rate is None else self.ends[size][rate]
        if not np.isfinite(end).all():
            return Interval(-math.inf, -math.inf, -math.inf)
        mean, low, high = self.lacks(size, rate=rate)
        return Interval(1 - mean, 1 - high, 1 - low)

    @property
    def enough(self) -> int:
        """Return the smallest rank that lacks at most ENOUGH of the gain of the best rank, in the mean of the seeds.

        Each at its own best rate.
        """
        return min(rank for rank in self.ranks if self._lack(rank).mean <= ENOUGH)

    @property
    def open(self) -> tuple[int, int | None]:
        """Return the smallest rank that may be enough, and the smallest that surely is; None where none is sure.

        Pictures and seeds leave open what lies between.
        """
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
        is_sure = self.open == (self.enough, self.enough)
        sure = "which is sure" if is_sure else f"but the intervals leave open {self.range}"
        return (
            f"{self.territory}: in the mean, rank {self.enough} is the smallest within {ENOUGH:.0%} of the best rank"
            f"{edge}; {sure}. Rank {first} reaches {_share(self.share(first))} of the greatest gain at its own best "
            f"rate, {rate_text(self.best_rate(first))} (95 % intervals over {over}, all sizes together)."
        )


def capacity(runs: Iterable[Run]) -> Capacity:
    """Return how far runs of one territory came.

    LabError where they are of several territories or of none, or no run of a rank ended with a number.
    """
    runs = list(runs)
    territories = {run.config.data for run in runs}
    if len(territories) != 1:
        raise LabError(f"These are runs of {', '.join(sorted(territories)) or 'no territory'}; give those of one.")
    ends, probes = _ends(runs, "validation"), _ends(runs, "probe")
    start = np.mean([by_picture(run.validations["validation"].losses[0]) for run in runs], axis=0)
    of_ranks = [losses for size, by_rate in ends.items() if size != FULL for losses in by_rate.values()]
    if not any(np.isfinite(losses).all() for losses in of_ranks):
        raise LabError("No run of a rank ended with a number; record lower rates.")
    return Capacity(territories.pop(), start, ends, probes, len({run.config.seed for run in runs}))


def _ends(runs, name) -> dict[Sized, Ends]:
    """Return the final losses of runs on one set of pictures, by size and rate."""
    ends: dict[Sized, dict[float, list]] = {}
    for run in runs:
        size = FULL if run.config.adapter == "full" else run.config.rank
        ends.setdefault(size, {}).setdefault(run.config.learning_rate, []).append(final_losses(run, name))
    return {size: {rate: np.stack(losses) for rate, losses in by_rate.items()} for size, by_rate in ends.items()}


def capacity_table(*capacities: Capacity) -> Table:
    """Return one row a size: best rate, share of the gain and loss on training pictures, for every territory."""
    measures = ("best rate", "share of the gain (95 % interval)", "loss on training pictures")
    heads = [f"{each.territory}: {measure}" for each in capacities for measure in measures]
    rows = []
    for size in capacities[0].sizes:
        name = f"rank {size}" if size != FULL else "the whole matrices"
        rows.append([name, *(cell for each in capacities for cell in _cells(each, size))])
    return Table(["", *heads], rows)


def _cells(each: Capacity, size: Sized) -> list[str]:
    """Return a size's cells of one territory."""
    if size not in each.ends:
        return ["", "", ""]
    rate, edge = each.best_rate(size), " (the last one tried)" if each.at_edge(size) else ""
    return [rate_text(rate) + edge, _share(each.share(size)), f"{each.probes[size][rate].mean():.3f}"]


def predictions(guesses: Mapping[str, tuple[int | None, Capacity]]) -> str:
    """Compare predicted smallest sufficient ranks with what was measured; no answer is not wrong.

    guesses    {words that name the territory: (predicted rank, Capacity)}
    """
    lines = []
    for words, (guess, measured) in guesses.items():
        low, high = measured.open
        answer = "" if guess is None else f" You said {guess}{_judgement(guess, measured, low, high or math.inf)}"
        enough = f"{measured.enough} in the mean, {measured.range} by the intervals"
        lines.append(f"Smallest rank that is enough, {words}: {enough}.{answer}")
    return "\n".join(lines)


def _judgement(guess, measured, low, high) -> str:
    if guess == measured.enough:
        return ": yes."
    return ", which the intervals leave open." if low <= guess <= high else "."


def plot_capacity(*capacities: Capacity, width: float = STYLE["width"]) -> LabFigure:
    """Draw the share of the gain over the rank, a panel a territory: every rate faintly, the own best rate on top."""
    left, room, height = 0.75, 1.15, 4.0
    figure = LabFigure(width, height, summary=" ".join(each.sentence for each in capacities))
    panel = width / len(capacities)
    for i, each in enumerate(capacities):
        ax = new_axes(figure.place_axes(i * panel + left, 0.6, panel - left - room, height - 1.25))
        _draw(ax, each)
        title = f"{each.territory}: rank {each.enough} is enough (mean),\nby the intervals {each.range}"
        name_axes(ax, "rank (logarithmic)", "" if i else "share of the greatest gain", title)
    return figure


def _draw(ax, each: Capacity) -> None:
    """Draw one territory's panel."""
    places = {size: i for i, size in enumerate(each.sizes)}   # ranks are powers of two: their order is their logarithm
    rates = sorted({rate for rank in each.ranks for rate in each.ends[rank]})
    colors, labels = ordered_colors(len(rates)), []
    for i, (rate, color) in enumerate(zip(rates, colors, strict=True)):
        ranks = [rank for rank in each.ranks if rate in each.ends[rank]]
        shares = np.array([max(each.share(rank, rate).mean, FLOOR) for rank in ranks])
        at = np.array([places[rank] for rank in ranks])
        is_low = shares == FLOOR
        ax.plot(at, shares, color=color, linestyle=LINES[i % len(LINES)], marker=MARKERS[i % len(MARKERS)],
                markersize=4, linewidth=1.0, alpha=0.8)
        ax.plot(at[is_low], shares[is_low], "X", color=color, markersize=8, clip_on=False)
        labels.append((shares[-1], ("✖ " if is_low[-1] else "") + f"rate {rate_text(rate)}", color))
    labels.append(_draw_best(ax, each, places))
    ax.axhline(0, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.0)
    ax.set_xticks(list(places.values()), [str(size) for size in places])
    ax.set_xlim(-0.4, len(places) - 0.6)
    ax.set_yticks([FLOOR, 0, 0.25, 0.5, 0.75, 1], ["worse", "base", "25 %", "50 %", "75 %", "best"])
    ax.set_ylim(FLOOR, 1.12)
    direct_labels(ax, labels)


def _draw_best(ax, each: Capacity, places) -> tuple:
    """Draw every size at its own best rate, with intervals; return the label of the line."""
    shares, color = np.array([each.share(rank) for rank in each.ranks]), STYLE["text"]  # (ranks, 3): mean, low, high
    at = [places[rank] for rank in each.ranks]
    ax.plot(at, shares[:, 0], color=color, linewidth=STYLE["line"] + 0.8, marker="o", markersize=STYLE["marker"] + 2,
            markerfacecolor="white", zorder=4)
    ax.fill_between(at, shares[:, 1], shares[:, 2], color=color, alpha=STYLE["band"], linewidth=0)
    if FULL in each.ends:
        mean, low, high = each.share(FULL)
        ax.errorbar([places[FULL]], [mean], [[mean - low], [high - mean]], color=color, marker="D",
                    markersize=STYLE["marker"] + 1, capsize=4)
    return shares[-1, 0], "○ own best", color


def _share(interval: Interval) -> str:
    if not math.isfinite(interval.mean):
        return "broke at every rate"
    return share_text(interval)


# -- what an adapter costs


class Size(NamedTuple):
    """Hold what one configuration's adapter costs."""

    name: str
    trained: int  # numbers
    freedom: int  # of the products B A: r (in + out - r) a matrix
    of_width: float  # rank over the narrowest adapted matrix's smaller side
    file_bytes: int
    seconds: float  # of an update, alone in its pass


def sizes(lab, configs: Iterable[RunConfig], name: str = "rank") -> list[Size]:
    """Measure one adapter for each configuration, on the lab's base and pictures; nothing of it is kept.

    name    the field that the configurations differ in: each adapter is called by it
    """
    return [_size(lab, lab.config(config), name) for config in configs]


def _size(lab, config: RunConfig, field: str) -> Size:
    with lab.base.lock:
        stack = LoRAStack(lab.base.unet, [config]).initialize()
    matrices = [(layer.module.weight.shape[0], layer.module.weight[0].numel()) for layer in stack.layers]
    narrowest = min(min(sides) for sides in matrices)
    if config.adapter == "full":
        name, freedom, of_width = "the whole matrices", sum(out * into for out, into in matrices), 1.0
    else:
        ranks = [min(config.rank, *sides) for sides in matrices]
        freedom = sum(rank * (sum(sides) - rank) for rank, sides in zip(ranks, matrices, strict=True))
        value = rung_text(field, getattr(config, field))
        name, of_width = f"rank {value}" if field == "rank" else value, config.rank / narrowest
    file_bytes = len(adapter_bytes(stack.tensors(0), config))
    return Size(name, stack.theta.shape[1], freedom, of_width, file_bytes, _seconds(lab, config))


def _seconds(lab, config: RunConfig) -> float:
    """Return the mean time of an update, from the checkpoint after the first, which warms up, to the last."""
    begun, ended, short = math.nan, math.nan, config.replace(max_train_steps=1 + UPDATES)
    events = train(lab.base, lab.cache, [short], monitor=Monitor(images=0), checkpoint_at=(1,),
                   gradient_checkpointing=lab.recomputes(config))
    with closing(events):
        for event in events:
            if isinstance(event, Checkpoint) and event.global_step == 1:
                begun = time.perf_counter()
            elif isinstance(event, Step):
                ended = time.perf_counter()
    return (ended - begun) / UPDATES


def sizes_table(sizes: Iterable[Size]) -> Table:
    """Return one row an adapter."""
    rows = [
        [
            size.name, f"{size.trained:,}", f"{size.freedom:,}", f"{size.of_width:.1%}",
            f"{size.file_bytes / 1000:,.0f} kB", f"{1000 * size.seconds:.0f} ms",
        ]
        for size in sizes
    ]
    return Table([
        "", "numbers trained", "degrees of freedom", "rank, as a share of the narrowest width", "file",
        "one update, alone",
    ], rows)
