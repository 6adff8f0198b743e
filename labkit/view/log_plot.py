"""The figure of another trainer's log: its validation loss, the course behind it and the band that noise leaves."""

import numpy

from labkit.view.style import MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

WINDOW = 50                                                   # medians that the training loss is drawn as
BAND = (0.025, 0.975)


def plot_log(log, verdict, ax=None):
    """Draw a log with its verdict.

    With a validation loss: its points, the mean of the courses that agree with them, their 95 % band, and how far a
    point may lie from the course by noise alone. Without: the training loss, faintly, with medians of stretches.
    """
    ax = new_axes(ax)
    symbol, color = VERDICTS[verdict.label]
    labels = []
    if log.validation is not None:
        labels += _validation(ax, log.validation, verdict.course, color)
    elif log.train is not None:
        labels += _training(ax, log.train)
    ax.set_xmargin(0.02)
    name_axes(ax, "steps, as the trainer counts them", "loss (as logged)",
              f"{symbol} {verdict.label}: {log.run or log.path.stem or log.path.name}", color)
    direct_labels(ax, labels)
    ax.figure.summary = f"{verdict.label}: {verdict.sentence}"
    return ax


def _validation(ax, curve, course, color):
    finite = numpy.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite]
    ax.plot(steps, values, linestyle="", marker=MARKERS[0], markersize=STYLE["marker"], color=color,
            markerfacecolor="white")
    if course is None or not len(steps):
        return [(float(values[-1]), curve.tag, color)] if len(values) else []
    count = len(course.steps)
    mean, noise = course.mean[:count], course.noises[:count]
    low, high = numpy.quantile(course.draws[:, :count], BAND, axis=0)
    ax.fill_between(course.steps, mean - 2 * noise, mean + 2 * noise, color=STYLE["faint"], alpha=0.12, linewidth=0)
    ax.fill_between(course.steps, low, high, color=color, alpha=0.25, linewidth=0)
    ax.plot(course.steps, mean, color=color, linewidth=STYLE["line"])
    best = course.best
    ax.axvline(course.steps[best], color=STYLE["faint"], linewidth=0.8, linestyle=":")
    return [(float(mean[-1]), f"{curve.tag}: course with its 95\u00a0% band", color),
            (float(mean[-1] + 2 * noise[-1]), "grey: where noise alone puts a point", STYLE["faint"])]


def _training(ax, curve):
    finite = numpy.isfinite(curve.values) & (curve.values > 0)
    steps, values = curve.steps[finite], curve.values[finite]
    if not len(values):
        return []
    ax.plot(steps, values, ".", color=STYLE["faint"], alpha=0.35, markersize=3)
    ax.set_yscale("log")
    parts = max(1, len(values) // WINDOW)
    places = [part.mean() for part in numpy.array_split(steps, parts)]
    medians = [float(numpy.median(part)) for part in numpy.array_split(values, parts)]
    ax.plot(places, medians, color=STYLE["text"], linewidth=STYLE["line"])
    return [(medians[-1], f"{curve.tag}: medians of stretches", STYLE["text"])]
