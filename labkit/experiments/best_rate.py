"""What the best rate depends on: recorded runs of several arms, each at its own rates, seen side by side."""

import math

import numpy as np

from labkit.design import volume
from labkit.errors import LabError
from labkit.experiments.batch_size import BROKEN, as_good, best_of, final, on_edge, text
from labkit.judge.arms import basis, difference, over_seeds, together
from labkit.judge.stats import by_picture
from labkit.store.recorded import missing, recorded_or_none
from labkit.text import rate_text
from labkit.view.curves import loss_axis
from labkit.view.frontend import say
from labkit.view.style import LINES, MARKERS, STYLE, direct_labels, name_axes, new_axes, ordered_colors
from labkit.view.tables import Table


def read(sets, name=None) -> dict[str, list]:
    """Read recorded sets {arm: set} as {arm: runs}, of the seeds that all arms have; a set under "" has an arm for each value of the field `name`.

    LabError: a set does not ship; it says what makes it.
    """
    found = {}
    for arm, given in sets.items():
        runs = recorded_or_none(given)
        if runs is None:
            raise LabError(missing(given))
        for run in runs:
            found.setdefault(arm or str(getattr(run.config, name)).replace("_", " "), []).append(run)
    common = set.intersection(*({run.config.seed for run in runs} for runs in found.values()))
    if not common:
        raise LabError("The arms have no seed in common: record them with the same seeds.")
    found = {arm: [run for run in runs if run.config.seed in common] for arm, runs in found.items()}
    command = f"python -m recipes.ship.recorded {' '.join(sets.values())}"
    say(f"Recorded runs, made in the folder data by `{command}`: {sum(map(len, found.values()))} runs, {len(common)} seeds.")
    return found


def left(run) -> float:
    """Return the held-out loss at the end as a share of the untouched base's: what arms with other pictures can be compared by."""
    return float(final(run).mean() / by_picture(run.validations["validation"].losses[0]).mean())


def plot(found, ax=None):
    """Draw the loss that is left against the learning rate, one line an arm with its lowest point enlarged; rings are single seeds."""
    ax = new_axes(ax, top=0.15)
    labels, curves, said = [], [np.ones(1)], []
    middle = (len(found) - 1) / 2
    for i, ((arm, runs), color) in enumerate(zip(found.items(), ordered_colors(len(found)))):
        means = over_seeds(runs, "learning_rate")
        shift, best = 1.04 ** (i - middle), best_of(means)
        shares = np.array([left(run) for run in means])
        shares[shares > BROKEN] = np.nan                         # broken: it would flatten the valleys
        ax.plot([run.config.learning_rate * shift for run in means], shares, color=color, linestyle=LINES[i % len(LINES)], marker=MARKERS[i],
                markersize=STYLE["marker"], linewidth=STYLE["line"])
        ax.plot([run.config.learning_rate * shift for run in runs], [left(run) if left(run) <= BROKEN else math.nan for run in runs], MARKERS[i],
                color=color, markerfacecolor="none", markersize=STYLE["marker"] - 1, alpha=0.6)
        ax.plot(best.config.learning_rate * shift, left(best), MARKERS[i], color=color, markersize=STYLE["marker"] + 5, markeredgecolor="black", zorder=5)
        labels.append((shares[np.isfinite(shares)][-1], f"{MARKS[MARKERS[i]]} {arm}:\nlowest at {rate_text(best.config.learning_rate)}", color))
        said.append(f"{arm}: {rate_text(best.config.learning_rate)}")
        curves.append(shares)
    tried = sorted({run.config.learning_rate for runs in found.values() for run in runs})
    ax.axhline(1, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
    ax.set_xscale("log")
    ax.set_xticks(tried, [rate_text(rate) for rate in tried])
    ax.minorticks_off()
    loss_axis(ax, curves)
    name_axes(ax, "learning rate (logarithmic); runs that broke are left out", "held-out loss at the end\n(1: untouched base)")
    direct_labels(ax, labels)
    ax.figure.summary = "Lowest at, " + "; ".join(said) + "."
    return ax


MARKS = dict(zip(MARKERS, "●■◆▲▼✚✖⬢◂▸"))                # the same marks as words


def table(found) -> Table:
    """Return one row an arm at its own best rate: rates as good within noise, the loss left, how far above the lowest arm on the same pictures."""
    groups = dict(zip(found, together([over_seeds(runs, "learning_rate") for runs in found.values()])))
    bests, rows = {arm: best_of(runs) for arm, runs in groups.items()}, []
    for arm, best in bests.items():
        runs = groups[arm]
        alike = [rate_text(run.config.learning_rate) for run in as_good(runs)]
        comparable = [other for other in bests.values() if _pictures(other) == _pictures(best)]
        lowest = min(comparable, key=left)
        above = "other pictures" if len(comparable) == 1 else "lowest" if best is lowest else text(difference(best, lowest, len(comparable) - 1))
        rows.append([arm, rate_text(best.config.learning_rate) + (" (at the edge)" if on_edge(runs) else ""), ", ".join(alike) or "none",
                     f"{volume.lr_sum(best.config):.3g}", f"{left(best):.1%}", above])
    return Table(["arm", "best rate", "as good within noise", "sum of the rate at the best", "held-out loss left",
                  f"above the lowest (95 % interval {basis(*bests.values())})"], rows)


def _pictures(run):
    return run.config.data, run.config.resolution
