"""Figures of pictures: the same seeds at the same steps, as strips of one run and as the race of many."""

import numpy
from matplotlib.transforms import blended_transform_factory
from PIL import Image

from labkit.diagnose import diagnose
from labkit.plots import plot_curves
from labkit.style import MARKERS, STYLE, VERDICTS, LabFigure, ordered_colors, rate_text

GAP = 4                                                               # pixels of white between pictures


def sample_pictures(history) -> dict[int, numpy.ndarray]:
    """Return the sample pictures of a run by step: uint8 (N, H, W, 3), in the order of prompts and seeds."""
    return {int(step): numpy.stack([opened(picture) for picture in pictures]) for step, pictures in history.samples}


def opened(picture) -> numpy.ndarray:
    """Return an array as it is, a path as the picture it names: uint8 (H, W, 3)."""
    return picture if isinstance(picture, numpy.ndarray) else numpy.asarray(Image.open(picture).convert("RGB"))


def mosaic(rows, columns_apart=()) -> tuple[numpy.ndarray, list[float], list[float]]:
    """Lay rows of equal pictures (None: left white) out on white.

    Returns the pixels, the x of every column's centre and the y of every row's centre. `columns_apart` are column numbers
    that get a wider gap before them.
    """
    height, width = next(picture.shape[:2] for row in rows for picture in row if picture is not None)
    lefts = [i * (width + GAP) + sum(3 * GAP for c in columns_apart if c <= i) for i in range(max(map(len, rows)))]
    tops = [i * (height + GAP) for i in range(len(rows))]
    pixels = numpy.full((tops[-1] + height, lefts[-1] + width, 3), 255, numpy.uint8)
    for top, row in zip(tops, rows):
        for left, picture in zip(lefts, row):
            if picture is not None:
                pixels[top:top + height, left:left + width] = picture
    return pixels, [left + width / 2 for left in lefts], [top + height / 2 for top in tops]


def show_mosaic(ax, rows, columns_apart=()):
    """Draw a mosaic on bare axes; returns the centres of columns and rows in its data coordinates."""
    pixels, xs, ys = mosaic(rows, columns_apart)
    ax.imshow(pixels, interpolation="antialiased", extent=(0, pixels.shape[1], pixels.shape[0], 0))
    ax.set_axis_off()
    return xs, ys


def plot_samples(history, *, pictures=None, prompts=(), width=STYLE["width"]):
    """Draw the same seeds over the steps of one run: a row a seed, a column a step. Returns the Figure."""
    by_step = pictures if pictures is not None else sample_pictures(history)
    steps = sorted(by_step)
    rows = [[by_step[step][i] for step in steps] for i in range(len(by_step[steps[0]]))]
    side = min(width / len(steps), 1.7)
    figure = LabFigure(side * len(steps), side * len(rows) + 0.3, photographic=True,
                       summary=f"pictures of the same {len(rows)} seeds at steps {', '.join(map(str, steps))}")
    ax = figure.place_axes(0, 0, side * len(steps), side * len(rows))
    xs, ys = show_mosaic(ax, rows)
    for x, step in zip(xs, steps):
        ax.annotate(step_text(step), (x, 0), (0, 3), textcoords="offset points", ha="center", va="bottom",
                    fontsize=STYLE["small"], color=STYLE["text"])
    return figure


def step_text(step: int) -> str:
    """Name a column of pictures."""
    return f"step {step:,}" if step else "base"


def plot_race(histories, *, verdicts=None, prompts=None, width=STYLE["width"]):
    """Draw a race over learning rates: all curves above, below a row of pictures per rate, and each rate's verdict.

    Seeds and steps are the same in every row, so a column differs by the rate alone. `prompts` chooses pictures by number
    (at most two fit a notebook's width). Returns the Figure.
    """
    histories = sorted(histories, key=lambda history: history.config.learning_rate)
    verdicts = verdicts or [diagnose(history, histories) for history in histories]
    pictures = [sample_pictures(history) for history in histories]
    steps = sorted(set().union(*pictures))
    shown = list(prompts if prompts is not None else range(min(2, len(pictures[0][min(pictures[0])]))))
    rows = [[by_step[step][i] if step in by_step else None for i in shown for step in steps] for by_step in pictures]
    apart = [len(steps) * i for i in range(1, len(shown))]
    names, above, heads = 1.5, 4.3, 0.35                              # inches: names of rows, curves, heads of columns
    columns = len(steps) * len(shown)
    side = min((width - names) / columns, 1.15)
    figure = LabFigure(width, above + heads + side * len(rows), photographic=True)
    left, right, bottom = STYLE["margins"]
    ax = figure.place_axes(left, heads + side * len(rows) + bottom, width - left - right, above - bottom - 0.4)
    plot_curves(histories, ax, verdicts=verdicts)
    ax.set_title(f"One design at {len(rows)} learning rates: loss on held-out pictures", loc="left", fontsize=STYLE["title"],
                 fontweight="bold", color=STYLE["text"], pad=10)
    ax = figure.place_axes(names, 0.03, width - names - 0.03, side * len(rows))
    xs, ys = show_mosaic(ax, rows, apart)
    ax.set_anchor("NW")
    for x, step in zip(xs, steps * len(shown)):
        ax.annotate(step_text(step), (x, 0), (0, 3), textcoords="offset points", ha="center", va="bottom",
                    fontsize=STYLE["small"], color=STYLE["text"])
    for y, history, verdict, color, i in zip(ys, histories, verdicts, ordered_colors(len(rows)), range(len(rows))):
        symbol, tint = VERDICTS[verdict.label]
        write = {"xycoords": ("figure fraction", "data"), "ha": "left", "annotation_clip": False, "textcoords": "offset points"}
        ax.annotate(rate_text(history.config.learning_rate), (0, y), (30, 1), va="bottom", fontsize=STYLE["title"],
                    fontweight="bold", color=color, **write)
        ax.annotate(f"{symbol} {verdict.label}".replace("enough ", "enough\n    "), (0, y), (30, -3), va="top",
                    fontsize=STYLE["small"], color=tint, **write)
        ax.plot(0.022, y - 0.13 * (ys[0] * 2), MARKERS[i % len(MARKERS)], color=color, markersize=7, clip_on=False,
                transform=blended_transform_factory(figure.transFigure, ax.transData))
    figure.summary = "; ".join(f"rate {rate_text(h.config.learning_rate)}: {v.label}" for h, v in zip(histories, verdicts))
    return figure
