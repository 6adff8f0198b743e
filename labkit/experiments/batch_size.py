"""How large a batch, and at what rate? Runs at equal epochs and at equal updates, and what a batch costs."""

import math
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.judge.arms import Arm, basis, broke, difference, over_seeds
from labkit.judge.compare import as_good, at_edge, best_of, ends_by_rate, final_losses, gap, has_failed, views
from labkit.judge.seed_spread import caution, recorded_noise
from labkit.judge.stats import Interval, paired_difference
from labkit.store.history import Run
from labkit.text import rate_text, with_interval
from labkit.view.by_rate import LEFT_OUT, RateLine, plot_by_rate
from labkit.view.curves import LOSS_AXIS, STEP_AXIS, curve, end, loss_axis, step_axis
from labkit.view.style import LINES, MARKERS, STYLE, direct_labels, name_axes, new_axes, ordered_colors
from labkit.view.tables import Table, loss

LIKE = "batch_equal_epochs"  # the recorded set whose seeds tell of a race's
ALIKE = 1.5  # updates whose lengths differ by less are about equal
RULES = {"none": "the same rate", "sqrt": "rate × √batch", "linear": "rate × batch"}


# -- one race: each rule of scaling the rate


def at_equal_epochs(
    design: RunConfig, batch_sizes: Iterable[int], rules: Sequence[str] = tuple(RULES)
) -> list[RunConfig]:
    """Return the design at other batch sizes, as many pictures shown in all, with the rate that each rule gives.

    design    resolved
    """
    shown, configs = volume.exposures(design.max_train_steps, design.effective_batch_size), {}
    for batch in batch_sizes:
        for rule in rules:
            rate = volume.scaled_learning_rate(design.learning_rate, design.train_batch_size, batch, rule)
            steps = math.ceil(shown / (batch * design.gradient_accumulation_steps))
            config = design.replace(
                train_batch_size=batch, learning_rate=float(f"{rate:.3g}"), max_train_steps=steps
            )
            configs[config] = None                            # rules that give one rate are one run
    return list(configs)


def rules_of(config: RunConfig, reference: RunConfig) -> list[str]:
    """Name the rules that lead from the reference's rate to this one: all of them at its own batch."""
    ratio = config.learning_rate / reference.learning_rate
    batches = reference.train_batch_size, config.train_batch_size
    return [
        rule for rule in RULES if math.isclose(ratio, volume.scaled_learning_rate(1.0, *batches, rule), rel_tol=0.01)
    ]


def reference_of(runs: Sequence[Run], batch: int = 4) -> Run:
    """Return the run whose batch is the reference: the one batch that has a single rate, else the one given."""
    rates = {}
    for run in runs:
        rates.setdefault(run.config.train_batch_size, set()).add(run.config.learning_rate)
    reference = next((size for size, tried in rates.items() if len(tried) == 1), batch)
    return next(run for run in runs if run.config.train_batch_size == reference)


def label(run: Run) -> str:
    """Name a run by its batch and its rate."""
    return f"batch {run.config.train_batch_size}, {rate_text(run.config.learning_rate)}"


def update_size(run: Run) -> float:
    """Return the median length of an update, relative to the adapter's own."""
    return float(np.nanmedian(run.steps["update_norm"])) if len(run.steps["update_norm"]) else math.nan


def plot_rules(runs: Iterable[Run], ax=None):
    """Draw the final held-out loss against the batch, one line for each rule of scaling the rate.

    All runs have been shown as many pictures.
    """
    ax, runs = new_axes(ax, top=0.2), list(runs)
    reference, labels, levels, summary = reference_of(runs), [], [], []
    for i, (rule, color) in enumerate(zip(RULES, ordered_colors(len(RULES)), strict=True)):
        ruled = [run for run in runs if rule in rules_of(run.config, reference.config)]
        ruled = sorted(ruled, key=lambda run: run.config.train_batch_size)
        sizes = [run.config.train_batch_size for run in ruled]
        ends = np.array([final_losses(run).mean() for run in ruled])
        spans = np.array([(0.0, 0.0) if run is reference else _span(difference(run, reference)) for run in ruled]).T
        ax.errorbar(np.array(sizes) * 1.04 ** (i - 1), ends, spans, color=color, linestyle=LINES[i], marker=MARKERS[i],
                    markersize=STYLE["marker"] + 1, linewidth=STYLE["line"], capsize=4)
        labels.append((end(ends), f"{RULES[rule]} {loss(ends[-1])}", color))
        levels += [ends, ends - spans[0], ends + spans[1]]
        words = ", ".join(f"{loss(end)} at batch {size}" for size, end in zip(sizes, ends, strict=True))
        summary.append(f"{RULES[rule]}: {words}")
    updates = {run.config.train_batch_size: run.config.max_train_steps for run in reversed(runs)}
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(updates), [f"{size}\n{updates[size]:,} updates" for size in sorted(updates)])
    ax.minorticks_off()
    loss_axis(ax, levels)
    name = LOSS_AXIS.split("\n")[0].removeprefix("loss ")
    name_axes(ax, "", f"held-out loss at the end, {name}\n(bars: 95 % interval of the difference)")
    direct_labels(ax, labels)
    ax.annotate("batch", (0, 0), (-14, -7), xycoords="axes fraction", textcoords="offset points", ha="right", va="top",
                fontsize=STYLE["small"], color=STYLE["text"])
    ax.figure.summary = "Final held-out loss, " + "; ".join(summary) + "."
    return ax


def plot_volumes(runs: Iterable[Run], ax=None):
    """Draw the held-out loss of runs of several batches at one constant rate; rings: as many pictures shown to each.

    Upright the runs are compared after equal updates, from ring to ring after equal epochs.
    """
    ax, labels, means, bands = new_axes(ax), [], [], []
    runs = sorted(runs, key=lambda run: run.config.train_batch_size)
    for i, (run, color) in enumerate(zip(runs, ordered_colors(len(runs)), strict=True)):
        steps, mean, low, high = curve(run)
        ax.plot(steps, mean, color=color, linestyle=LINES[i], marker=MARKERS[i], linewidth=STYLE["line"])
        ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
        at = _nearest(run, _pictures_of_all(runs) / run.config.effective_batch_size)
        ax.plot(steps[at], mean[at], "o", markersize=17, markerfacecolor="none", markeredgecolor=color,
                clip_on=False)
        means.append(mean)
        bands += [low, high]
        words = f"batch {run.config.train_batch_size}  {loss(mean[-1])}"
        labels.append((end(mean), words, color))
    step_axis(ax, max(run.config.max_train_steps for run in runs))
    loss_axis(ax, means, bands)
    name_axes(ax, f"{STEP_AXIS}; rings: {_pictures_of_all(runs):,} pictures shown", LOSS_AXIS)
    direct_labels(ax, labels)
    ax.figure.summary = both_ways(runs)
    return ax


def both_ways(runs: Iterable[Run], lowest=None) -> str:
    """Say how the largest batch stands to the middle one after as many updates and after as many pictures.

    lowest    batch predicted to be lowest after as many pictures; no answer is not wrong
    """
    runs = sorted(runs, key=lambda run: run.config.train_batch_size)
    pictures, middle, large = _pictures_of_all(runs), runs[(len(runs) - 1) // 2], runs[-1]
    updates = min(middle.config.max_train_steps, large.config.max_train_steps)
    held = {run.config.train_batch_size: run.validations["validation"] for run in runs}
    at_rings = {run.config.train_batch_size: _nearest(run, pictures / run.config.effective_batch_size) for run in runs}
    one, other = large.config.train_batch_size, middle.config.train_batch_size

    def apart(at, beside) -> str:
        return with_interval(paired_difference(held[one].losses[at], held[other].losses[beside]))

    best = min(held, key=lambda batch: np.nan_to_num(held[batch].means[at_rings[batch]], nan=math.inf))
    return (f"Held-out loss of batch {one} against batch {other}: after {updates:,} updates each "
            f"{apart(_nearest(large, updates), _nearest(middle, updates))}, after {pictures:,} pictures each "
            f"{apart(at_rings[one], at_rings[other])} (95 % intervals over pictures, one seed).\n"
            f"Lowest after {pictures:,} pictures: batch {best}.{_compared(lowest, str(best))}")


def _pictures_of_all(runs: Sequence[Run]) -> int:
    """Return how many pictures the run that saw the fewest was shown."""
    return min(volume.exposures(run.config.max_train_steps, run.config.effective_batch_size) for run in runs)


def _nearest(run: Run, step: float) -> int:
    """Return the number of the evaluation nearest to an update."""
    return int(np.abs(np.array(run.validations["validation"].steps) - step).argmin())


def _span(interval: Interval) -> tuple[float, float]:
    """Return how far an interval reaches below and above its middle, for error bars."""
    is_finite = math.isfinite(interval.mean)
    return (interval.mean - interval.low, interval.high - interval.mean) if is_finite else (math.nan, math.nan)


def rules_table(runs: Iterable[Run]) -> Table:
    """Return one row a run: what its rule makes of rate, updates and the sum of the rate, and where it ends."""
    runs = list(runs)
    reference, rows = reference_of(runs), []
    for run in sorted(runs, key=lambda run: (run.config.train_batch_size, run.config.learning_rate)):
        rule = ", ".join(RULES[rule] for rule in rules_of(run.config, reference.config))
        against = with_interval(difference(run, reference))
        if run is reference:
            rule, against = "reference", ""
        rows.append([
            run.config.train_batch_size, f"{run.config.max_train_steps:,}", rate_text(run.config.learning_rate), rule,
            f"{volume.lr_sum(run.config):.3g}", f"{update_size(run) / update_size(reference):.2g} ×",
            loss(final_losses(run).mean()), against,
        ])
    return Table([
        "batch", "updates", "learning rate", "rule", "sum of the rate", "length of an update",
        "held-out loss at the end", f"against the reference (95 % interval {basis(*runs)})",
    ], rows)


def predictions(runs: Sequence[Run], batch=None, longest=None) -> str:
    """Compare what was predicted of the runs at one rate with the race, and say what one seed cannot show.

    No answer is not wrong.

    batch      predicted to end lowest
    longest    batch predicted to make the longest updates, or "about equal"
    """
    reference = reference_of(runs)
    same = [run for run in runs if run.config.learning_rate == reference.config.learning_rate]
    ended = [run for run in same if not broke(run)]
    lowest = (best_of(ended) if ended else same[0]).config.train_batch_size
    rivals = as_good(ended, recorded_noise(reference, LIKE)) if ended else []
    beside = " and ".join(str(run.config.train_batch_size) for run in rivals)
    sizes = {run.config.train_batch_size: update_size(run) for run in same}
    are_alike = max(sizes.values()) < ALIKE * min(sizes.values())
    most = "about equal" if are_alike else str(max(sizes, key=sizes.get))
    within = f" (within noise also {beside})" if beside else ""
    return "\n".join([
        f"Lowest at one rate: batch {lowest}{within}.{_compared(batch, str(lowest))}",
        f"Longest updates at one rate: {most}.{_compared(longest, most)}",
        caution(reference, LIKE),
    ])


def _compared(answer, measured: str) -> str:
    """Write an answer and whether it is what was measured; nothing where there is none."""
    if answer is None:
        return ""
    return f" You said {answer}" + (": yes." if str(answer).strip().casefold() == measured else ".")


# -- the best rate of each batch


def by_batch(runs: Iterable[Run]) -> dict[int, list[Arm]]:
    """Return {batch: arms, one a rate, by rate}, each averaged over seeds."""
    groups = {}
    for arm in over_seeds(runs, "learning_rate"):
        groups.setdefault(arm.config.train_batch_size, []).append(arm)
    return dict(sorted(groups.items()))


def exponent(runs: Iterable[Run]) -> tuple[float, float, float]:
    """Return the power of the batch by which the best rate grows: 0 constant, 0.5 square root, 1 linear.

    With it come the lowest and the highest that rates as good within noise would give.
    """
    groups = by_batch(runs)
    if len(groups) < 2:
        return (math.nan,) * 3
    rates = [[arm.config.learning_rate for arm in (best_of(arms), *as_good(arms))] for arms in groups.values()]
    batches = np.log(list(groups))
    slopes = (float(np.polyfit(batches, np.log(choice), 1)[0]) for choice in product(*rates))
    powers = [round(slope, 6) + 0.0 for slope in slopes]      # + 0.0: no -0.00
    return powers[0], min(powers), max(powers)


def plot_best_rates(runs: Iterable[Run], ax=None):
    """Draw the final held-out loss against the learning rate, one line a batch.

    Runs that end far above the untouched base are left out: they would flatten the valleys.
    """
    runs = list(runs)
    groups, lines, summary = by_batch(runs), [], []
    for batch, arms in groups.items():
        lowest = rate_text(best_of(arms).config.learning_rate)
        words = f"batch {batch}: {arms[0].config.max_train_steps:,} updates,\nlowest at {lowest}"
        seeds = [(run.config.learning_rate, _shown(run)) for run in runs if run.config.train_batch_size == batch]
        rates = [arm.config.learning_rate for arm in arms]
        lines.append(RateLine(rates, np.array([_shown(arm) for arm in arms]), seeds, words))
        summary.append(f"batch {batch}: {lowest}")
    ax = plot_by_rate(lines, new_axes(ax, top=0.4))
    power, low, high = exponent(runs)
    goes_as = f"best rate goes as the batch to the power {power:.2f}"
    within = f" ({low:.2f} to {high:.2f} within noise)" if low < high else ""
    name_axes(ax, LEFT_OUT, LOSS_AXIS, f"The {goes_as}{within}")
    scale = "(0: constant, 0.5: square root, 1: linear)"
    ax.figure.summary = f"{goes_as.capitalize()}{within} {scale}; {'; '.join(summary)}."
    return ax


def _shown(run) -> float:
    """Return the mean final loss; not a number where the run failed."""
    return math.nan if has_failed(run) else final_losses(run).mean()


def best_rates(runs: Iterable[Run]) -> Table:
    """Return one row a batch: its best rate, rates as good within noise, and where it ends against other batches."""
    groups, rows = by_batch(runs), []
    bests = {batch: best_of(arms) for batch, arms in groups.items()}
    lowest = best_of(list(bests.values()))
    for batch, arms in groups.items():
        best = bests[batch]
        edge = " (at the edge)" if at_edge(ends_by_rate(arms)) else ""
        alike = ", ".join(rate_text(arm.config.learning_rate) for arm in as_good(arms)) or "none"
        above = "lowest" if best is lowest else with_interval(difference(best, lowest, len(bests) - 1))
        rows.append([
            batch, f"{best.config.max_train_steps:,}", f"{views(best, best.config.max_train_steps):.3g}",
            rate_text(best.config.learning_rate) + edge, alike, loss(final_losses(best).mean()), above,
        ])
    return Table([
        "batch", "updates", "epochs", "best rate", "as good within noise", "held-out loss at the end",
        f"above the lowest (95 % interval {basis(*bests.values())})",
    ], rows)


# -- both compensations at once


def compensation(runs: Iterable[Run]) -> Table:
    """Return one row a design of the experiment '8 times the epochs for an eighth of the batch'.

    The first row is the large batch, the others stand against it.
    """
    def order(arm):
        return -arm.config.train_batch_size, arm.config.max_train_steps, -arm.config.learning_rate

    arms = sorted(over_seeds(runs), key=order)
    first, rows = arms[0], []
    for arm in arms:
        config, rule, against = arm.config, "", ""
        if arm is not first:
            rule = ", ".join(RULES[rule] for rule in rules_of(config, first.config))
            against = with_interval(difference(arm, first))
        rows.append([
            config.train_batch_size, f"{views(arm, config.max_train_steps):.3g}",
            rate_text(config.learning_rate) + (f" ({rule})" if rule else ""), f"{config.max_train_steps:,}",
            f"{volume.lr_sum(config) / volume.lr_sum(first.config):.2g} ×", loss(final_losses(arm).mean()), against,
            f"{gap(arm):.3f}",
        ])
    return Table([
        "batch", "epochs", "learning rate", "updates", "sum of the rate", "held-out loss at the end",
        f"against the first row (95 % interval {basis(*arms)})", "further fall on training pictures",
    ], rows)


def cost_by_batch(lab, config: RunConfig, batch_sizes: Sequence[int]):
    """Return the memory and the time of an update at each batch size: a `CostByBatch`."""
    from labkit.experiments.updates import cost_by_batch  # here, since it imports torch

    return cost_by_batch(lab.base, lab.cache, config, batch_sizes=batch_sizes)


def cost_table(cost) -> Table:
    """Return one row a batch of `cost_by_batch`: memory and time, of an update and of a picture."""
    rows = []
    for batch, kept, seconds in zip(cost.batch_sizes, cost.kept_bytes, cost.seconds, strict=True):
        megabytes, milliseconds = kept / 1e6, 1000 * seconds
        rows.append([batch, f"{megabytes:.1f}", f"{megabytes / batch:.1f}", f"{milliseconds:.0f}",
                     f"{milliseconds / batch:.0f}"])
    return Table([
        "batch", "kept for the gradient (MB)", "of it a picture (MB)", "an update takes (ms)", "of it a picture (ms)",
    ], rows)
