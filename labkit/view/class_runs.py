"""Runs of a whole class in one figure: at which rates how much was learned, and how many checks were passed."""

import math

import numpy as np
from matplotlib.ticker import FuncFormatter

from labkit.text import counted, rate_text
from labkit.view.style import STYLE, VERDICTS, LabFigure, name_axes, new_axes

COLUMNS, PANEL = 3, (3.3, 2.35)                               # of small figures, inches of each
GAPS, EDGE, FOOT = (0.65, 0.85), (0.8, 0.25), 1.05            # inches between them; at left and right; at the bottom
TOP = 0.25  # of the loss at the start: what ends higher is drawn at the upper edge
NOTE = (f"Every mark is a run of one student, the line the median of a rate. At the upper edge: {TOP:.0%} worse than "
        "at the start, or more.")
SPREAD = 0.09  # decades by which points of one rate are moved apart
VERDICT_MARKERS = {"healthy": "o", "stagnating": "s", "overshooting": "^", "overfitting": "D", "diverged": "X"}
FEW = 3  # runs of a rate below which no median is drawn


def plot_class(runs, passed) -> LabFigure:
    """Draw a small figure for each group of runs, one mark a run, and one of the checks passed.

    runs      {name: [(learning rate, change of the held-out loss as a share of its start, verdict's label)]}
    passed    {name: ([checks passed by each student], checks that there are)}
    """
    count = len(runs) + bool(passed)
    rows, columns = -(-max(count, 1) // COLUMNS), min(max(count, 1), COLUMNS)
    (width, height), (across, down), (left, right) = PANEL, GAPS, EDGE
    figure = LabFigure(left + columns * width + (columns - 1) * across + right, rows * (height + down) + FOOT - 0.4,
                       summary=_summary(runs, passed))
    panels = [figure.place_axes(left + column * (width + across), FOOT + (rows - 1 - row) * (height + down),
                                width, height) for row in range(rows) for column in range(columns)][:count]
    lowest = min((change for points in runs.values() for _, change, _ in points if math.isfinite(change)), default=-1)
    for place, (name, points) in enumerate(runs.items()):
        _draw_runs(new_axes(panels[place]), name, points, lowest, is_first=place % COLUMNS == 0)
    if passed:
        _draw_passed(new_axes(panels[-1]), passed)
    labels = {label for points in runs.values() for *_, label in points}
    marks = [figure.axes[0].plot([], [], linestyle="", color=color, marker=_marker(label), label=label)[0]
             for label, (_, color) in VERDICTS.items() if label in labels]
    figure.legend(handles=marks, loc="lower center", ncols=max(len(marks), 1), frameon=False,
                  fontsize=STYLE["small"], bbox_to_anchor=(0.5, 0.18 / figure.get_figheight()))
    figure.text(0.5, 0.1 / figure.get_figheight(), NOTE, ha="center", fontsize=STYLE["small"], color=STYLE["faint"])
    return figure


def _draw_runs(ax, name, points, lowest, is_first):
    rates = np.array([rate for rate, *_ in points])
    changes = np.array([change if math.isfinite(change) else math.inf for _, change, _ in points])
    shown = np.minimum(changes, TOP)
    for label, (_, color) in VERDICTS.items():
        chosen = np.array([each == label for *_, each in points])
        if chosen.any():
            ax.plot(_apart(rates, shown)[chosen], shown[chosen], linestyle="", marker=_marker(label), color=color,
                    markersize=4.5, alpha=0.6, markeredgewidth=0, zorder=2)
    several = [rate for rate in np.unique(rates) if (rates == rate).sum() >= FEW]
    ax.plot(several, [min(float(np.median(changes[rates == rate])), TOP) for rate in several], color=STYLE["faint"],
            linewidth=1.3, zorder=1)
    ax.set_xscale("log")
    # The smallest of the labelled places where there are many: they must not touch.
    places = np.unique(rates)[::max(1, -(-len(np.unique(rates)) // 6))]
    ax.set_xticks(places, [rate_text(rate) for rate in places])
    ax.set_xticks([], minor=True)
    ax.set_xlim(rates.min() / 1.8, rates.max() * 1.8)
    ax.axhline(0, color=STYLE["faint"], linewidth=0.8)
    ax.set_ylim(min(lowest * 1.08, -0.05), TOP * 1.08)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0%}" if value else "0"))
    name_axes(ax, "learning rate", "held-out loss, change" if is_first else "", name)


def _draw_passed(ax, passed):
    names = list(passed)
    for place, (counts, checks) in enumerate(passed.values()):
        shares = np.bincount(counts, minlength=checks + 1)[: checks + 1]
        begin = 0
        for number in range(checks, -1, -1):                  # those who passed all of them at the left
            if shares[number]:
                is_wide = shares[number] > 0.04 * len(counts)  # enough for its number
                color = "#00785A" if number == checks else "#B9D9CF" if number else "#E4E4E4"
                ax.barh(place, shares[number], left=begin, height=0.62, color=color, edgecolor="white")
                ax.text(begin + shares[number] / 2, place, f"{number}" if is_wide else "", ha="center", va="center",
                        fontsize=STYLE["small"], color="white" if number == checks else STYLE["text"])
            begin += shares[number]
    ax.set_yticks(range(len(names)), [name.split(" ")[0] for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(False, axis="y")
    name_axes(ax, "students, by checks passed (dark: all)", "lesson", "Checks passed")


def _apart(rates, heights):
    """Return rates moved a little to the sides, in the order of their heights, so that no point hides another."""
    moved = rates.astype(float)
    for rate in np.unique(rates):
        (same,) = np.nonzero(rates == rate)
        order = same[np.argsort(heights[same], kind="stable")]
        sides = (np.arange(len(order)) * 0.618) % 1 - 0.5     # the golden section never repeats a place
        moved[order] *= 10 ** (2 * SPREAD * sides * (len(order) > 1))
    return moved


def _marker(label):
    return VERDICT_MARKERS.get(label, "P")


def _summary(runs, passed) -> str:
    """Return the figure in words."""
    parts = [f"{name}: {counted(len(points), 'run')}, best median at {rate_text(best)}"
             for name, points in runs.items() if (best := _best_rate(points))]
    done = [f"{name}: {sum(count == checks for count in counts)} of {len(counts)} students passed all {checks} checks"
            for name, (counts, checks) in passed.items()]
    return ". ".join([*parts, *done]) + "."


def _best_rate(points):
    rates = {rate: [change for at, change, _ in points if at == rate] for rate, *_ in points}
    rates = {rate: changes for rate, changes in rates.items() if np.isfinite(np.median(changes))}
    return min(rates, key=lambda rate: float(np.median(rates[rate])), default=None)
