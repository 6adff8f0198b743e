"""When was a long run best, by its held-out loss and by its pictures, and when did it begin to copy?

Three times that need not be one, each with its interval over pictures. T evaluations.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from labkit.errors import LabError
from labkit.experiments.memorization import CLOSE
from labkit.judge.early_stopping import (
    Rule,
    Time,
    apply_rule,
    over_resamples,
    time_of_lowest_loss,
    time_of_minimum,
    usual_rules,
)
from labkit.judge.stats import LEVEL
from labkit.store.history import Run
from labkit.text import share_text
from labkit.view.curves import SETS, STEP_AXIS, curve, loss_axis, step_axis
from labkit.view.style import LINES, STYLE, VERDICTS, LabFigure, direct_labels, name_axes, new_axes
from labkit.view.tables import Table

NAMES = {"validation": "lowest held-out loss", "score": "best pictures", "copying": "copying begins"}
LOOKS = {"validation": ("o", "healthy"), "score": ("s", "stagnating"), "copying": ("X", "diverged")}


class Scored(NamedTuple):
    """Hold a value for each picture at some evaluations: a score, or whether it was copied."""

    steps: np.ndarray  # (T,)
    values: np.ndarray  # (T, pictures)


def boundary(run: Run, scores: Scored | None = None, copies: Scored | None = None,
             level: float = LEVEL) -> dict[str, Time]:
    """Return the time of the lowest held-out loss, of the best score and of the onset of copying where given.

    scores    higher is better, such as the reader's acceptance of generated pictures
    copies    `memorization(...).copied` of the pictures generated at each evaluation
    level     of each interval

    Intervals are those of resampled pictures, widened to the evaluations beside (`early_stopping.time_of_minimum`).
    LabError where the run has fewer than three evaluations, or scores or copies have another shape.
    """
    times = {"validation": time_of_lowest_loss(run, level)}
    if scores is not None:
        steps, values = _checked("scores", scores)
        times["score"] = time_of_minimum(steps, -values, level)
    if copies is not None:
        times["copying"] = _onset(*_checked("copies", copies), level)
    return times


def chance_copies(n: int) -> int:
    """Return how many of n pictures may look copied by chance, a binomial quantile of an interval's confidence."""
    reached, count = 0.0, -1
    while reached < (1 + LEVEL) / 2:
        count += 1
        reached += math.comb(n, count) * CLOSE**count * (1 - CLOSE) ** (n - count)
    return count


def _checked(name, scored) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps (T,) and the values (pictures, T)."""
    steps, values = np.asarray(scored.steps), np.asarray(scored.values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(steps) or not len(steps):
        raise LabError(
            f"{name}: values of shape {values.shape} for {len(steps)} steps; give one row of pictures for each step."
        )
    return steps, values.T


def _onset(steps, values, level) -> Time:
    """Return from which evaluation on more pictures are copied than chance gives; it began after the one before."""
    n, T = values.shape

    def first(shares):
        stays = np.logical_and.accumulate((shares > chance_copies(n) / n)[:, ::-1], axis=1)[:, ::-1]
        return np.where(stays.any(axis=1), stays.argmax(axis=1), T)

    at, low, high = over_resamples(values, first, level)
    return Time(*(float([*steps, math.inf][i]) for i in (at, max(low - 1, 0), high)))


def stopping_table(run: Run, rules: Iterable[Rule] | None = None) -> Table:
    """Return one row a rule: when it stopped, which checkpoint it gives, and its share of the best one's gain."""
    rows = []
    for rule in rules or usual_rules(run):
        result = apply_rule(rule, run)
        mean, low, high = result.gain
        spent = f"{result.stopped:,.0f}" if math.isfinite(result.stopped) else "the run ends first"
        rows.append([result.rule, spent, f"{result.kept:,}", share_text((mean, low, high))])
    gain = "share of the best gain (95 % interval over pictures, one run)"
    return Table(["rule", "stops after updates", "gives the checkpoint of", gain], rows)


def plot_boundary(run: Run, times: dict[str, Time], scores: Scored | None = None, copies: Scored | None = None):
    """Draw a long run's losses, under them its score (0 to 1) and share of copies where given, and the three times.

    times    of `boundary`
    """
    shares = [(name, scored) for name, scored in (("score", scores), ("copying", copies)) if scored is not None]
    left, right, bottom = STYLE["margins"]
    last, gap, panels, floor = int(run.validations["validation"].steps[-1]), 0.15, [], bottom
    # Heights of the panels in inches, from below: times, shares, losses.
    heights = [0.38 * len(times) + 0.1, *[1.5] * bool(shares), 2.6]
    figure = LabFigure(STYLE["width"], bottom + sum(heights) + gap * len(heights) + 0.5)
    for height in heights:
        panels.append(new_axes(figure.place_axes(left, floor, STYLE["width"] - left - right, height)))
        step_axis(panels[-1], last)
        floor += height + gap
    _draw_losses(panels[-1], run)
    if shares:
        _draw_shares(panels[1], shares)
    _draw_times(panels[0], times, last)
    for ax in panels[1:]:
        ax.tick_params(labelbottom=False)
    for ax in panels:
        for name, time in times.items():
            if math.isfinite(time.step):
                color = VERDICTS[LOOKS[name][1]][1]
                ax.axvline(time.step, color=color, linewidth=0.9, linestyle=LINES[3], zorder=1)
    _epochs_above(panels[-1], run, last)
    figure.summary = "; ".join(f"{NAMES[name]}: {time.text()} updates" for name, time in times.items())
    return figure


def _draw_losses(ax, run) -> None:
    labels, means, bands = [], [], []
    for name, marker, color in (("validation", "o", VERDICTS["healthy"][1]), ("probe", "s", STYLE["text"])):
        if name in run.validations:
            steps, mean, low, high = curve(run, name)
            fill = color if name == "validation" else "white"
            ax.plot(steps, mean, color=color, marker=marker, linestyle=SETS[name][1], markersize=STYLE["marker"],
                    linewidth=STYLE["line"], markerfacecolor=fill)
            ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
            labels.append((mean[-1], f"{SETS[name][0]} {mean[-1]:.3f}", color))
            means.append(mean)
            bands += [low, high]
    loss_axis(ax, means, bands)
    name_axes(ax, "", "loss on fixed noise\n(no unit)")
    direct_labels(ax, labels)


def _draw_shares(ax, shares) -> None:
    labels = []
    for name, scored in shares:
        steps, values = _checked(name, scored)
        marker, verdict = LOOKS[name]
        color, mean = VERDICTS[verdict][1], 100 * values.mean(axis=0)
        line = "-" if name == "score" else LINES[1]
        ax.plot(steps, mean, color=color, marker=marker, linestyle=line, markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        words = {"score": "accepted", "copying": "copied"}[name]
        labels.append((mean[-1], f"pictures {words} {mean[-1]:.0f} %", color))
    ax.set_ylim(-4, 104)
    name_axes(ax, "", "pictures drawn\n(%)")
    direct_labels(ax, labels)


def _draw_times(ax, times, last) -> None:
    ax.set_ylim(len(times) - 0.5, -0.5)
    ax.set_yticks([])
    ax.grid(False, axis="y")
    for row, (name, time) in enumerate(times.items()):
        marker, verdict = LOOKS[name]
        color, (at, low, high) = VERDICTS[verdict][1], (min(step, last) for step in (time.step, time.low, time.high))
        ax.plot([low, high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
        reached = math.isfinite(time.step)
        ax.plot(at, row, marker if reached else ">", color=color, markersize=8, zorder=4, clip_on=False)
        ax.annotate(f"{NAMES[name]}:\n{time.text()}", (1, row), (6, 0), xycoords=("axes fraction", "data"),
                    textcoords="offset points", va="center", fontsize=STYLE["small"], color=color,
                    annotation_clip=False)
    name_axes(ax, STEP_AXIS, "")


def _epochs_above(ax, run, last) -> None:
    """Add a second scale in epochs, which is what changes with the number of pictures."""
    per_epoch = run.config.n_train / run.config.effective_batch_size
    marks = [m * 10**e for e in range(6) for m in (1, 3) if per_epoch * m * 10**e <= last]
    top = ax.twiny()  # a secondary axis knows no scale that is linear up to 1
    step_axis(top, last)
    words = [f"{mark:,}" for mark in marks]
    top.set_xticks([mark * per_epoch for mark in marks], words, fontsize=STYLE["small"], color=STYLE["text"])
    top.tick_params(length=3)
    for side, spine in top.spines.items():
        spine.set_visible(side == "top")
        spine.set_color(STYLE["faint"])
    top.set_xlabel(f"epochs of {run.config.n_train} pictures", fontsize=STYLE["label"], color=STYLE["text"])
