"""Runs that differ by their batch: the rate that goes with it, at equal epochs and at equal updates, and what a batch costs."""

import math
from itertools import product

import numpy as np

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.experiments.overfitting import gap, views
from labkit.judge.arms import basis, difference, over_seeds
from labkit.judge.seed_spread import caution, recorded_noise
from labkit.judge.stats import by_picture
from labkit.text import rate_text
from labkit.view.curves import LOSS_AXIS, loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, direct_labels, name_axes, new_axes, ordered_colors
from labkit.view.tables import Table, loss

BROKEN = 1.2                                                  # times the untouched base's loss: such an end says nothing of a valley
LIKE = "batch_equal_epochs"                                   # the recorded set whose seeds tell of a race's
ALIKE = 1.5                                                   # updates whose lengths differ by less are about equal
RULES = {"none": "the same rate", "sqrt": "rate × √batch", "linear": "rate × batch"}


def at_equal_epochs(design: RunConfig, batch_sizes, rules=tuple(RULES)) -> list[RunConfig]:
    """Return the design at other batch sizes, as many pictures shown in all, with the rate that each rule gives; resolved designs only."""
    shown, found = volume.exposures(design.max_train_steps, design.effective_batch_size), {}
    for batch in batch_sizes:
        for rule in rules:
            rate = volume.scaled_learning_rate(design.learning_rate, design.train_batch_size, batch, rule)
            found[design.replace(train_batch_size=batch, learning_rate=float(f"{rate:.3g}"), max_train_steps=math.ceil(shown / batch))] = None
    return list(found)


def rules_of(config, reference) -> list[str]:
    """Name the rules that lead from the reference's rate to this one: all of them at its own batch."""
    ratio = config.learning_rate / reference.learning_rate
    return [rule for rule in RULES if math.isclose(ratio, volume.scaled_learning_rate(1.0, reference.train_batch_size, config.train_batch_size, rule), rel_tol=0.01)]


def reference_of(runs, batch=4):
    """Return the run whose batch is the reference: the one batch that has a single rate, else the one given."""
    rates = {}
    for run in runs:
        rates.setdefault(run.config.train_batch_size, set()).add(run.config.learning_rate)
    found = [size for size, several in rates.items() if len(several) == 1] or [batch]
    return next(run for run in runs if run.config.train_batch_size == found[0])


def label(run) -> str:
    """Name a run by its batch and its rate."""
    return f"batch {run.config.train_batch_size}, {rate_text(run.config.learning_rate)}"


def final(run) -> np.ndarray:
    """Return the held-out losses (pictures,) at the end; not numbers where the run broke off."""
    losses = by_picture(run.validations["validation"].losses[-1])
    return np.full_like(losses, np.nan) if run.status == "diverged" else losses


def text(interval) -> str:
    """Write a difference with its interval."""
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})" if math.isfinite(interval.mean) else "not finite"


def update_size(run) -> float:
    """Return the median length of an update, relative to the adapter's own."""
    return float(np.nanmedian(run.steps["update_norm"])) if len(run.steps["update_norm"]) else math.nan


def plot_rules(histories, ax=None):
    """Draw the final held-out loss against the batch, one line for each rule of scaling the rate, as many pictures shown to all."""
    ax, histories = new_axes(ax, top=0.2), list(histories)
    reference, labels, seen, said = reference_of(histories), [], [], []
    for i, (rule, color) in enumerate(zip(RULES, ordered_colors(len(RULES)))):
        runs = sorted((run for run in histories if rule in rules_of(run.config, reference.config)), key=lambda run: run.config.train_batch_size)
        sizes, ends = [run.config.train_batch_size for run in runs], np.array([final(run).mean() for run in runs])
        spans = np.array([(0.0, 0.0) if run is reference else _span(difference(run, reference)) for run in runs]).T
        ax.errorbar(np.array(sizes) * 1.04 ** (i - 1), ends, spans, color=color, linestyle=LINES[i], marker=MARKERS[i], markersize=STYLE["marker"] + 1,
                    linewidth=STYLE["line"], capsize=4)
        labels.append((ends[-1] if np.isfinite(ends[-1]) else 1e30, f"{RULES[rule]} {loss(ends[-1])}", color))
        seen += [ends, *(ends + sign * span for sign, span in zip((-1, 1), spans))]
        said.append(f"{RULES[rule]}: " + ", ".join(f"{loss(end)} at batch {size}" for size, end in zip(sizes, ends)))
    all_sizes = sorted({run.config.train_batch_size for run in histories})
    ax.set_xscale("log", base=2)
    ax.set_xticks(all_sizes, [f"{size}\n{next(run.config.max_train_steps for run in histories if run.config.train_batch_size == size):,} updates" for size in all_sizes])
    ax.minorticks_off()
    loss_axis(ax, seen)
    name_axes(ax, "", "held-out loss at the end, " + LOSS_AXIS.split("\n")[0].removeprefix("loss ") + "\n(bars: 95 % interval of the difference)")
    direct_labels(ax, labels)
    ax.annotate("batch", (0, 0), (-14, -7), xycoords="axes fraction", textcoords="offset points", ha="right", va="top", fontsize=STYLE["small"], color=STYLE["text"])
    ax.figure.summary = "Final held-out loss, " + "; ".join(said) + "."
    return ax


def _span(interval):
    """Return how far an interval reaches below and above its middle, for error bars."""
    return (interval.mean - interval.low, interval.high - interval.mean) if math.isfinite(interval.mean) else (math.nan, math.nan)


def rules_table(runs) -> Table:
    """Return one row a run: what its rule makes of rate, updates and the sum of the rate, and where it ends against the reference."""
    runs = list(runs)
    reference, rows = reference_of(runs), []
    for run in sorted(runs, key=lambda run: (run.config.train_batch_size, run.config.learning_rate)):
        rules = rules_of(run.config, reference.config)
        rows.append([run.config.train_batch_size, f"{run.config.max_train_steps:,}", rate_text(run.config.learning_rate),
                     "reference" if run is reference else ", ".join(RULES[rule] for rule in rules), f"{volume.lr_sum(run.config):.3g}",
                     f"{update_size(run) / update_size(reference):.2g} ×", loss(final(run).mean()), "" if run is reference else text(difference(run, reference))])
    return Table(["batch", "updates", "learning rate", "rule", "sum of the rate", "length of an update", "held-out loss at the end", f"against the reference (95 % interval {basis(*runs)})"], rows)


def predictions(runs, batch=None, longest=None) -> str:
    """Compare what was predicted of the runs at one rate with the race, and say what one seed cannot show; no answer is not wrong."""
    reference = reference_of(runs)
    same = [run for run in runs if run.config.learning_rate == reference.config.learning_rate]
    ended = [run for run in same if np.isfinite(final(run)).all()]
    lowest = (best_of(ended) if ended else same[0]).config.train_batch_size
    rivals = " and ".join(str(run.config.train_batch_size) for run in as_good(ended, recorded_noise(reference, LIKE))) if ended else ""
    kept = f" (within noise also {rivals})" if rivals else ""
    sizes = {run.config.train_batch_size: update_size(run) for run in same}
    most = "about equal" if max(sizes.values()) < ALIKE * min(sizes.values()) else str(max(sizes, key=sizes.get))
    lines = []
    for words, found, more, said in (("Lowest at one rate: batch", str(lowest), kept, batch), ("Longest updates at one rate:", most, "", longest)):
        lines.append(f"{words} {found}{more}." + ("" if said is None else f" You said {said}" + (": yes." if str(said).strip().casefold() == found else ".")))
    return "\n".join([*lines, caution(reference, LIKE)])


# -- the best rate of each batch

def by_batch(runs) -> dict[int, list]:
    """Return {batch: runs, one a rate, averaged over seeds, by rate}."""
    groups = {}
    for run in over_seeds(runs, "learning_rate"):
        groups.setdefault(run.config.train_batch_size, []).append(run)
    return dict(sorted(groups.items()))


def best_of(runs):
    """Return the run with the lowest final loss; LabError where none has one."""
    finite = [run for run in runs if np.isfinite(final(run)).all()]
    if not finite:
        raise LabError(f"No run at batch {runs[0].config.train_batch_size} ended with a number: record lower rates.")
    return min(finite, key=lambda run: final(run).mean())


def exponent(histories) -> tuple[float, float, float]:
    """Return the power of the batch by which the best rate grows (0 constant, 0.5 square root, 1 linear), and the lowest and the
    highest that rates as good within noise would give."""
    groups = by_batch(histories)
    if len(groups) < 2:
        return (math.nan,) * 3
    bests = {batch: best_of(runs) for batch, runs in groups.items()}
    rates = [[run.config.learning_rate for run in [bests[batch], *as_good(runs)]] for batch, runs in groups.items()]
    powers = [round(float(np.polyfit(np.log(list(groups)), np.log(some), 1)[0]), 6) + 0.0 for some in product(*rates)]  # + 0.0: no -0.00
    return powers[0], min(powers), max(powers)


def as_good(runs, noise=None) -> list:
    """Return the runs that end no higher than the best one, beyond the noise of pictures and seeds, without it; all hold together.

    noise    of seeds, for runs that have one each
    """
    best = best_of(runs)
    others = [run for run in runs if run is not best and math.isfinite(_unless_broken(run))]
    return [run for run in others if not difference(run, best, len(others), noise).low > 0]


def on_edge(runs) -> bool:
    """Tell whether the best rate is the lowest or highest that was tried, so that a better one may lie beyond."""
    return best_of(runs).config.learning_rate in (runs[0].config.learning_rate, runs[-1].config.learning_rate)


def plot_best_rates(histories, ax=None):
    """Draw the final held-out loss against the learning rate, one line a batch with its lowest point marked; rings are single seeds.

    Runs that end far above the untouched base are left out: they would flatten the valleys.
    """
    ax = new_axes(ax, top=0.4)
    groups, labels, seen = by_batch(histories), [], []
    tried = sorted({run.config.learning_rate for runs in groups.values() for run in runs})
    for i, ((batch, runs), color) in enumerate(zip(groups.items(), ordered_colors(len(groups)))):
        rates, ends = [run.config.learning_rate for run in runs], np.array([_unless_broken(run) for run in runs])
        shift = 1.05 ** (i - (len(groups) - 1) / 2)
        ax.plot(np.array(rates) * shift, ends, color=color, linestyle=LINES[i % len(LINES)], marker=MARKERS[i], markersize=STYLE["marker"], linewidth=STYLE["line"])
        for run in histories:
            if run.config.train_batch_size == batch:
                ax.plot(run.config.learning_rate * shift, _unless_broken(run), MARKERS[i], color=color, markerfacecolor="none", markersize=STYLE["marker"] - 1, alpha=0.6)
        best = best_of(runs)
        ax.plot(best.config.learning_rate * shift, final(best).mean(), MARKERS[i], color=color, markersize=STYLE["marker"] + 6, markeredgecolor="black", zorder=5)
        labels.append((ends[np.isfinite(ends)][-1], f"batch {batch}: {runs[0].config.max_train_steps:,} updates,\nlowest at {rate_text(best.config.learning_rate)}", color))
        seen.append(ends)
    ax.set_xscale("log")
    ax.set_xticks(tried, [rate_text(rate) for rate in tried])
    ax.minorticks_off()
    loss_axis(ax, seen)
    power, low, high = exponent(histories)
    within = f" ({low:.2f} to {high:.2f} within noise)" if low < high else ""
    name_axes(ax, "learning rate (logarithmic); runs that broke are left out", LOSS_AXIS, f"The best rate goes as the batch to the power {power:.2f}{within}")
    direct_labels(ax, labels)
    ax.figure.summary = f"Best rate goes as the batch to the power {power:.2f}{within} (0: constant, 0.5: square root, 1: linear); " + "; ".join(
        f"batch {batch}: {rate_text(best_of(runs).config.learning_rate)}" for batch, runs in groups.items()) + "."
    return ax


def _unless_broken(run):
    end = final(run).mean()
    return end if end < BROKEN * by_picture(run.validations["validation"].losses[0]).mean() else math.nan


def best_rates(histories) -> Table:
    """Return one row a batch: its best rate, the rates that are as good within noise, and where it ends against the other batches."""
    groups, rows = by_batch(histories), []
    bests = {batch: best_of(runs) for batch, runs in groups.items()}
    lowest = min(bests.values(), key=lambda run: final(run).mean())
    for batch, runs in groups.items():
        best = bests[batch]
        alike = as_good(runs)
        rows.append([batch, f"{best.config.max_train_steps:,}", f"{views(best, best.config.max_train_steps):.3g}", rate_text(best.config.learning_rate) + (" (at the edge)" if on_edge(runs) else ""),
                     ", ".join(rate_text(run.config.learning_rate) for run in alike) or "none", loss(final(best).mean()),
                     "lowest" if best is lowest else text(difference(best, lowest, len(bests) - 1))])
    return Table(["batch", "updates", "epochs", "best rate", "as good within noise", "held-out loss at the end",
                  f"above the lowest (95 % interval {basis(*bests.values())})"], rows)


# -- both compensations at once

def compensation(histories) -> Table:
    """Return one row a design of the experiment '8 times the epochs for an eighth of the batch', against the large batch."""
    runs = sorted(over_seeds(histories), key=lambda run: (-run.config.train_batch_size, run.config.max_train_steps, -run.config.learning_rate))
    first, rows = runs[0], []
    for run in runs:
        config = run.config
        rule = ", ".join(RULES[rule] for rule in rules_of(config, first.config)) if run is not first else ""
        rows.append([config.train_batch_size, f"{views(run, config.max_train_steps):.3g}", f"{rate_text(config.learning_rate)}{' (' + rule + ')' if rule else ''}",
                     f"{config.max_train_steps:,}", f"{volume.lr_sum(config) / volume.lr_sum(first.config):.2g} ×", loss(final(run).mean()),
                     "" if run is first else text(difference(run, first)), f"{gap(run):.3f}"])
    return Table(["batch", "epochs", "learning rate", "updates", "sum of the rate", "held-out loss at the end",
                  f"against the first row (95 % interval {basis(*runs)})", "further fall on training pictures"], rows)


def cost_table(found) -> Table:
    """Return one row a batch of `measure.cost_by_batch`: memory and time, of an update and of a picture."""
    rows = [[batch, f"{kept / 1e6:.1f}", f"{kept / batch / 1e6:.1f}", f"{1000 * seconds:.0f}", f"{1000 * seconds / batch:.0f}"]
            for batch, kept, seconds in zip(found.batch_sizes, found.kept_bytes, found.seconds)]
    return Table(["batch", "kept for the gradient (MB)", "of it a picture (MB)", "an update takes (ms)", "of it a picture (ms)"], rows)
