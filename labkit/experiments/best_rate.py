"""What does the best rate depend on? Runs of several arms, each at its own rates, seen side by side.

Losses are held-out ones on fixed noise at the end of a run, compared picture by picture. m seeds, n pictures.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from labkit.design import volume
from labkit.design.ladders import rung_text
from labkit.errors import LabError
from labkit.judge.arms import basis, difference, noise_among, over_seeds, with_common_noise
from labkit.judge.compare import (
    as_good,
    at_edge,
    best_of,
    best_rate,
    ends_by_rate,
    final_losses,
    has_failed,
    share_left,
)
from labkit.judge.findings import DIVERGED_FACTOR
from labkit.judge.stats import SeedNoise, by_picture, seeds_difference
from labkit.store.history import Run
from labkit.store.recorded import missing, recorded_or_none
from labkit.text import counted, rate_text, with_interval
from labkit.view.by_rate import LEFT_OUT, RATE_AXIS, RateLine, plot_by_rate
from labkit.view.curves import LOSS_AXIS
from labkit.view.frontend import say
from labkit.view.style import name_axes, new_axes
from labkit.view.tables import Table

MARKS = "●■◆▲▼✚✖⬢◂▸"  # `style.MARKERS` as characters, in their order

Ends = dict[float, np.ndarray]  # {rate: final losses (m, n)}


# -- arms of recorded sets


def read(sets: Mapping[str, str], name: str | None = None) -> dict[str, list[Run]]:
    """Read recorded sets {arm: set} as {arm: runs}, of the seeds that all arms have.

    A set under "" has an arm for each value of the field `name`. LabError: a set does not ship; it says what makes it.
    """
    arms: dict[str, list[Run]] = {}
    for arm, recorded_set in sets.items():
        runs = recorded_or_none(recorded_set)
        if runs is None:
            raise LabError(missing(recorded_set))
        for run in runs:
            arms.setdefault(arm or rung_text(str(name), getattr(run.config, str(name))), []).append(run)
    common = set.intersection(*({run.config.seed for run in runs} for runs in arms.values()))
    if not common:
        raise LabError("The arms have no seed in common: record them with the same seeds.")
    arms = {arm: [run for run in runs if run.config.seed in common] for arm, runs in arms.items()}
    command = f"python -m recipes.ship.recorded {' '.join(sets.values())}"
    count = sum(map(len, arms.values()))
    say(f"Recorded runs, made in the folder data by `{command}`: {count} runs, {counted(len(common), 'seed')}.")
    return arms


def plot(arms: Mapping[str, Sequence[Run]], ax=None):
    """Draw the share of the loss that is left against the learning rate, one line for each arm of `read`."""
    lines, summary = [], []
    for i, (arm, runs) in enumerate(arms.items()):
        means = over_seeds(runs, "learning_rate")
        lowest = rate_text(best_of(means).config.learning_rate)
        label = f"{MARKS[i % len(MARKS)]} {arm}:\nlowest at {lowest}"
        seeds = [(run.config.learning_rate, _share_shown(run)) for run in runs]
        rates = [run.config.learning_rate for run in means]
        lines.append(RateLine(rates, np.array([_share_shown(run) for run in means]), seeds, label))
        summary.append(f"{arm}: {lowest}")
    ax = plot_by_rate(lines, new_axes(ax, top=0.15), base=(1.0, ""))
    name_axes(ax, LEFT_OUT, "held-out loss at the end\n(1: untouched base)")
    ax.figure.summary = "Lowest at, " + "; ".join(summary) + "."
    return ax


def _share_shown(run) -> float:
    """Return the share of the loss that is left; not a number where the run failed, which would flatten the valley."""
    return math.nan if has_failed(run) else share_left(run)


def table(arms: Mapping[str, Sequence[Run]]) -> Table:
    """Return one row for each arm of `read`, at its own best rate.

    A row has the rates that are as good within noise, the share of the loss that is left, and how far the arm ends
    above the lowest of those on the same pictures.
    """
    by_arm = with_common_noise([over_seeds(runs, "learning_rate") for runs in arms.values()])
    means = dict(zip(arms, by_arm, strict=True))
    bests, rows = {arm: best_of(runs) for arm, runs in means.items()}, []
    for arm, best in bests.items():
        runs = means[arm]
        edge = " (at the edge)" if at_edge(ends_by_rate(runs)) else ""
        alike = ", ".join(rate_text(run.config.learning_rate) for run in as_good(runs)) or "none"
        comparable = [other for other in bests.values() if _pictures(other) == _pictures(best)]
        lowest = min(comparable, key=share_left)
        above = "lowest" if best is lowest else with_interval(difference(best, lowest, len(comparable) - 1))
        if len(comparable) == 1:
            above = "other pictures"
        rows.append([arm, rate_text(best.config.learning_rate) + edge, alike, f"{volume.lr_sum(best.config):.3g}",
                     f"{share_left(best):.1%}", above])
    interval = f"above the lowest (95 % interval {basis(*bests.values())})"
    heads = ["arm", "best rate", "as good within noise", "sum of the rate at the best", "held-out loss left", interval]
    return Table(heads, rows)


def bests(arms: Mapping[str, Sequence[Run]]) -> list[Run]:
    """Return one run of each arm of `read`, of the first seed, at the rate that is best over all seeds."""
    rates = {arm: best_of(over_seeds(runs, "learning_rate")).config.learning_rate for arm, runs in arms.items()}
    return [min((run for run in runs if run.config.learning_rate == rates[arm]), key=lambda run: run.config.seed)
            for arm, runs in arms.items()]


def _pictures(run) -> tuple:
    return run.config.data, run.config.resolution


# -- scalings: alpha in training acts as a rate


def by_scaling(runs: Sequence[Run]) -> dict[float, Ends]:
    """Return {scaling: {rate: final losses (m, n)}}, the smallest first; LabError for runs of one scaling alone."""
    ends: dict[float, dict[float, list]] = {}
    for run in runs:
        by_rate = ends.setdefault(run.config.scaling, {})
        by_rate.setdefault(run.config.learning_rate, []).append(final_losses(run))
    if len(ends) < 2:
        raise LabError(f"These runs have {len(ends)} scaling; give those of two at least.")
    return {
        scaling: {rate: np.stack(losses) for rate, losses in sorted(by_rate.items())}
        for scaling, by_rate in sorted(ends.items())
    }


def plot_scalings(runs: Sequence[Run], ax=None):
    """Draw the final held-out loss over the rate, one valley for each scaling that runs were trained with."""
    runs = list(runs)
    scalings, lines = by_scaling(runs), []
    for scaling, ends in scalings.items():
        means = np.array([losses.mean() for losses in ends.values()])
        seeds = [(rate, seed.mean()) for rate, losses in ends.items() for seed in losses]
        label = f"scaling {scaling:g}\nbest at {rate_text(best_rate(ends))}"
        lines.append(RateLine(list(ends), means, seeds, label))
    start = float(np.mean([by_picture(run.validations["validation"].losses[0]).mean() for run in runs]))
    ax = plot_by_rate(lines, new_axes(ax, top=0.15), base=(start, "untouched base"), limit=DIVERGED_FACTOR * start)
    name_axes(ax, RATE_AXIS, LOSS_AXIS)
    ax.figure.summary = sentence(scalings, start)
    return ax


def sentence(scalings: Mapping[float, Ends], start: float) -> str:
    """Compare every scaling with the one nearest to 1: at the best rate of that one, and each at its own.

    start    the untouched base's mean loss
    """
    all_ends = [losses for ends in scalings.values() for losses in ends.values()]
    noise, seeds = noise_among(all_ends, [start] * len(all_ends)), min(map(len, all_ends))
    plain = min(scalings, key=lambda scaling: abs(np.log(scaling)))
    rate = best_rate(scalings[plain])
    reference, words = scalings[plain][rate], []
    for scaling, ends in scalings.items():
        if scaling != plain:
            best = best_rate(ends)
            there = _change(ends.get(rate), reference, noise)
            words.append(f"scaling {scaling:g} ends {there} at rate {rate_text(rate)}, "
                         f"and {_change(ends[best], reference, noise)} at its own best, {rate_text(best)}")
    over = "pictures and seeds" if seeds > 1 else "pictures"
    known = f"{'one seed' if seeds == 1 else f'{seeds} seeds'}; 95 % intervals over {over}"
    return f"Against scaling {plain:g} at its best rate {rate_text(rate)}: {'; '.join(words)} ({known})."


def _change(ends: np.ndarray | None, reference: np.ndarray, noise: SeedNoise | None) -> str:
    if ends is None:
        return "at no run"
    return with_interval(seeds_difference(ends, reference, noise)) if np.isfinite(ends).all() else "broken"
