"""Figures of curves: losses on fixed noise, schedules, the loss of single steps and of single timesteps."""

import math

import numpy
from matplotlib.ticker import MaxNLocator

from labkit.design.ladders import rung_text
from labkit.design.naming import apart
from labkit.design.schedules import rates
from labkit.judge.diagnose import DIVERGED, diagnose
from labkit.judge.stats import by_picture, paired_difference
from labkit.text import loss_text, rate_text
from labkit.view.style import (
    LINES,
    MARKERS,
    PINNED,
    STYLE,
    VERDICTS,
    direct_labels,
    name_axes,
    new_axes,
    ordered_colors,
)

STEP_AXIS = "updates done (logarithmic)"
LOSS_AXIS = "loss on fixed noise\n(mean squared error, no unit)"
SETS = {"validation": ("held-out pictures", "-"), "probe": ("training pictures", LINES[2]),
        "ordinary": ("ordinary places", LINES[3])}
WORTH_SEEING = 2.0, 0.15  # above the start: times what the best run gained, or this share of the start if that is more
FAR_ABOVE = 1e30  # where the label of a line without an end that is a number goes: pushed to the top edge


def curve(run, name: str = "validation"):
    """Return steps (T,), mean loss (T,), and the ends (T,), (T,) of the 95 % band of its change since step 0.

    The change is paired over pictures: each meets the same noise at every step, so the difference to step 0 is known
    far better than the loss itself.
    """
    steps, losses = run.validations[name]
    mean = numpy.array([by_picture(loss).mean() for loss in losses])
    change = numpy.array([paired_difference(loss, losses[0]) for loss in losses])  # (T, 3): mean, low, high
    return steps, mean, mean[0] + change[:, 1], mean[0] + change[:, 2]


def plot_validation(run, ax=None, *, names=("validation", "probe"), verdict=None, title=None, pinned=None, raw=False):
    """Draw one run's loss on held-out and on training pictures, on one axis.

    Where none are held out there is one curve. The title is the verdict unless `title` is given. `pinned` is another
    run whose loss is drawn for comparison, both then named by what sets them apart; `raw` adds the loss of single
    steps, faintly.
    """
    ax = new_axes(ax)
    verdict = verdict or diagnose(run)
    symbol, color = VERDICTS[verdict.label]
    labels, last_step, means, bands = [], 1, [], []
    for name, tint, marker in zip(names, (color, STYLE["text"], STYLE["faint"]), MARKERS, strict=False):
        if name not in run.validations or (name == "probe" and not run.is_held_out):
            continue                                          # with none held out, both are training pictures
        words, line = SETS[name]
        words = run.measured_on if name == "validation" else words
        steps, mean, low, high = curve(run, name)
        ax.plot(steps, mean, color=tint, linestyle=line, linewidth=STYLE["line"], marker=marker,
                markersize=STYLE["marker"], markerfacecolor=tint if name == "validation" else "white")
        ax.fill_between(steps, low, high, color=tint, alpha=STYLE["band"], linewidth=0)
        means.append(mean)
        bands += [low, high]
        last_step = max(last_step, steps[-1])
        labels.append((end(mean), f"{words} {loss_text(mean[-1])}", tint))
        mark_not_finite(ax, steps, mean, tint)
    if raw and len(run.steps["loss"]):
        ax.plot(run.steps["global_step"], run.steps["loss"], ".", color=STYLE["faint"], alpha=0.35, markersize=3,
                zorder=1)
        last_step = max(last_step, run.steps["global_step"][-1])
        labels.append((middle(run.steps["loss"]), "· single steps, not judged", STYLE["faint"]))
    if pinned:
        steps, mean, _, _ = curve(pinned)
        marker, tint = PINNED
        ax.plot(steps, mean, color=tint, linestyle=LINES[4], linewidth=1.2, marker=marker,
                markersize=STYLE["marker"], zorder=1)
        mark_not_finite(ax, steps, mean, tint)
        means.append(mean)
        last_step = max(last_step, steps[-1])
        labels.append((end(mean), f"pinned {loss_text(mean[-1])}:  {apart(pinned, run)}", tint))
    step_axis(ax, last_step)
    loss_axis(ax, means, bands)
    name_axes(ax, STEP_AXIS, LOSS_AXIS, title or f"{symbol} {verdict.label}: {apart(run, pinned or run)}", color)
    direct_labels(ax, labels)
    ax.figure.summary = f"{verdict.label}: {verdict.sentence}"
    return ax


def plot_curves(runs, ax=None, *, name="validation", verdicts=None, label=None):
    """Draw the same measure of several runs, each with its own marker and its label at the line's end.

    `label(run)` names a run (its learning rate by default); so do names of fields, as in ("scaling", "learning_rate"),
    written in lines of their own. The axis is that of the runs that did not diverge; one that did, or rises far above
    its start, leaves it at the top, so that what the others gained can be seen.
    """
    ax = new_axes(ax, right=2.5) if isinstance(label, tuple) else new_axes(ax)
    runs = list(runs)
    label = _fields_named(label) if isinstance(label, tuple) else label or _rate
    verdicts = verdicts or [diagnose(run, runs) for run in runs]
    labels, last_step, means, kept_means, bands = [], 1, [], [], []
    for i, (run, verdict, color) in enumerate(zip(runs, verdicts, ordered_colors(len(runs)), strict=True)):
        if name not in run.validations:
            continue
        steps, mean, low, high = curve(run, name)
        ax.plot(steps, mean, color=color, linestyle=LINES[i % len(LINES)], marker=MARKERS[i % len(MARKERS)],
                markersize=STYLE["marker"], linewidth=STYLE["line"])
        mark_not_finite(ax, steps, mean, color)
        means.append(mean)
        if verdict.label != DIVERGED:  # how sure the loss of a run that diverged is interests nobody
            kept_means.append(mean)
            ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
            bands += [low, high]
        last_step = max(last_step, steps[-1])
        labels.append((end(mean), f"{label(run)}  {VERDICTS[verdict.label][0]} {verdict.label}", color))
    step_axis(ax, last_step)
    highest = _worth_seeing(kept_means)
    loss_axis(ax, [numpy.minimum(mean, highest) for mean in kept_means] or means,
              [numpy.minimum(band, highest) for band in bands])
    top = ax.get_ylim()[1]
    labels = [(value, text + (" ↑" if value > top else ""), color) for value, text, color in labels]
    name_axes(ax, STEP_AXIS, LOSS_AXIS)
    direct_labels(ax, labels)
    outcomes = zip(runs, verdicts, strict=True)
    ax.figure.summary = "; ".join(f"{label(run)}: {verdict.label}" for run, verdict in outcomes)
    return ax


def _rate(run) -> str:
    return rate_text(run.config.learning_rate)


def _fields_named(names):
    """Return a function that names a run by these fields, each in a line."""
    def label(run) -> str:
        return ",\n".join(f"{name.removeprefix('learning_')} {rung_text(name, getattr(run.config, name))}"
                          for name in names)

    return label


def _worth_seeing(curves) -> float:
    """Return the loss up to which curves are drawn: high enough for a run that ends somewhat worse than it began."""
    finite = _finite(curves)
    if not finite.size:
        return math.inf
    start, (gains, share) = max(curve[0] for curve in curves), WORTH_SEEING
    return float(start + max(gains * (start - finite.min()), share * start))


def step_axis(ax, last_step: int) -> None:
    """Make the x axis logarithmic in steps, with step 0 (the untouched base) at its left end."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.35)
    round_steps = [step for decade in range(6) for step in (10 ** decade, 3 * 10 ** decade)]
    ticks = [0, *(step for step in round_steps if step < last_step * 0.55), int(last_step)]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(-0.08, last_step * 1.06)


def loss_axis(ax, curves, bands=()) -> None:
    """Scale the y axis to finite losses and their bands, logarithmic where losses span more than a factor of three."""
    finite, around = _finite(curves), _finite([*curves, *bands])
    if not finite.size:
        return
    is_log = finite.min() > 0 and finite.max() / finite.min() > 3
    low, high = around[around > (0 if is_log else -math.inf)].min(), around.max()
    if is_log:
        ax.set_yscale("log")
        round_losses = [digit * 10.0 ** power for power in range(-4, 4) for digit in (1, 2, 3, 5)]
        ticks = [value for value in round_losses if low * 0.8 <= value <= high * 1.25]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_ylim(low * 0.85, high * 1.2)
    else:
        room = (high - low or abs(high) * 0.1 or 1) * 0.12
        # Few digits: wide numbers would push the axis' name off.
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.set_ylim(low - room, high + room)


def _finite(curves):
    """Return all finite numbers of some curves."""
    finite = [curve[numpy.isfinite(curve)] for curve in map(numpy.asarray, curves)]
    return numpy.concatenate(finite or [numpy.array([])])


def middle(losses) -> float:
    """Return the median of the finite losses, or far above where there are none."""
    finite = losses[numpy.isfinite(losses)]
    return float(numpy.median(finite)) if finite.size else FAR_ABOVE


def end(mean) -> float:
    """Return where a curve's label belongs: its last value, or far above where that is not finite."""
    return float(mean[-1]) if numpy.isfinite(mean[-1]) else FAR_ABOVE


def mark_not_finite(ax, steps, mean, color) -> None:
    """Put a cross at the top edge where a loss was not a finite number."""
    bad, top = numpy.asarray(steps)[~numpy.isfinite(mean)], ax.get_xaxis_transform()
    ax.plot(bad, numpy.ones(len(bad)), "X", color=color, markersize=9, transform=top, clip_on=False)


def plot_schedules(configs, ax=None, *, label=None):
    """Draw the rate of every update exactly as it will be applied, one line per (resolved) configuration."""
    configs = [configs] if hasattr(configs, "learning_rate") else list(configs)
    ax = new_axes(ax, height=2.9, top=0.15)
    label = label or (lambda config: config.lr_scheduler.replace("_", " "))
    applied = [numpy.array(rates(config)) for config in configs]
    labels = []
    for i, (config, values, color) in enumerate(zip(configs, applied, ordered_colors(len(configs)), strict=True)):
        ax.plot(numpy.arange(len(values)), values, color=color, linestyle=LINES[i % len(LINES)],
                linewidth=STYLE["line"], marker=MARKERS[i % len(MARKERS)], markersize=STYLE["marker"],
                markevery=max(1, len(values) // 8))
        labels.append((values[-1], label(config), color))
    top = max(values.max() for values in applied)
    ax.set_ylim(-0.03 * top, 1.08 * top)
    ax.set_xlim(-0.01 * max(map(len, applied)), max(map(len, applied)))
    ax.yaxis.set_major_formatter(lambda value, _: rate_text(value))
    name_axes(ax, "update", "learning rate applied")
    direct_labels(ax, labels)
    ax.figure.summary = "; ".join(
        f"{label(config)}: {rate_text(values[0])} first, {rate_text(values.max())} at most, "
        f"{rate_text(values[-1])} last" for config, values in zip(configs, applied, strict=True))
    return ax


def plot_step_loss(run, ax=None):
    """Draw the loss of every step faintly under the loss on fixed noise, to show why only the latter is judged.

    Each step draws new pictures, new noise and new timesteps, and a picture under little noise costs far more than one
    under much: the scatter is mostly the timestep's, not the run's.
    """
    ax = new_axes(ax, top=0.15)
    loss = numpy.asarray(run.steps["loss"], dtype=float)
    ax.plot(numpy.asarray(run.steps["global_step"]), loss, ".", color=STYLE["faint"], alpha=0.45, markersize=4)
    steps, mean, low, high = curve(run)
    color = VERDICTS["healthy"][1]
    ax.plot(steps, mean, color=color, marker="o", markersize=STYLE["marker"], linewidth=STYLE["line"])
    ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
    step_axis(ax, steps[-1])
    loss_axis(ax, [loss, mean], [low, high])
    name_axes(ax, STEP_AXIS, LOSS_AXIS.replace(" on fixed noise", ""))
    direct_labels(ax, [(middle(loss), "each step's own loss:\nnew timesteps each time", STYLE["faint"]),
                       (mean[-1], "fixed noise:\nthis is judged", color)])
    ax.figure.summary = (f"on fixed noise the loss went from {mean[0]:.3f} to {mean[-1]:.3f}; "
                         "single steps scatter around it")
    return ax


def plot_loss_by_timestep(run, ax=None, *, name="validation"):
    """Draw the untouched base's loss on single pictures against their timesteps.

    The title says how much the timestep explains: a cubic in it, fitted to the logarithm of the loss.
    """
    ax = new_axes(ax, right=0.3)
    timesteps = run.timesteps[name].ravel().astype(float)
    losses = run.validations[name].losses[0].ravel().astype(float)
    cubic = numpy.poly1d(numpy.polyfit(timesteps / 1000, numpy.log(losses), 3))
    share = 1 - numpy.var(numpy.log(losses) - cubic(timesteps / 1000)) / numpy.var(numpy.log(losses))
    along = numpy.linspace(timesteps.min(), timesteps.max(), 100)
    ax.plot(timesteps, losses, "o", color=VERDICTS["stagnating"][1], alpha=0.6, markersize=4)
    ax.plot(along, numpy.exp(cubic(along / 1000)), color=STYLE["text"], linewidth=STYLE["line"])
    loss_axis(ax, [losses])
    name_axes(ax, "timestep (0: hardly any noise, 999: nothing but noise)", LOSS_AXIS,
              f"the timestep explains {share:.0%} of the spread of the loss")
    ax.figure.summary = f"the timestep explains {share:.0%} of the variance of the logarithm of the loss"
    return ax
