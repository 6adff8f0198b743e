"""Draw the race on the style territory, a row a rate: `python -m recipes.ship.style_figure`.

Start it in the folder data. Runs that the run store has are not trained again.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.datasets.folders import load_picture
from labkit.engine.attribute_reader import load_reader
from labkit.judge.diagnose import diagnose
from labkit.lab import Lab
from labkit.text import rate_text
from labkit.view.curves import curve
from labkit.view.pictures import show_mosaic
from labkit.view.style import STYLE, VERDICTS, LabFigure
from recipes.ship.float32 import compute_in_float32
from recipes.ship.style_race import PROMPTS, STORE, accepted, drawn, race

SHEETS = Path(__file__).parents[2] / "sheets"
SHOWN = 5                                                     # pictures in a row: the first captions, not chosen
WORDS, CURVE, SIDE, GAP, HEAD = 1.72, 1.95, 1.03, 0.09, 0.72  # inches: columns, a picture, between rows, above them
HOLDS = 1.1                                                   # times the first loss: the axis is of runs below it
SHARP = 2.0                                                   # times the pixels of its place on a page


def score(interval):
    """Write a share of the pictures with its interval, in two lines."""
    low, high = (round(100 * x) for x in interval[1:])
    return f"{round(interval[0] * PROMPTS)} of {PROMPTS} accepted\n({low} to {high} %)"


def still(lab, reader, runs):
    """Draw the race: a row a rate, with its held-out curve, pictures of the same seeds, verdict and score."""
    paths = lab.territory.validation.paths[:SHOWN]
    untouched = drawn(lab)
    rows = [("To be learned", "", STYLE["text"], "real pictures of\nthe same prompts",
             np.stack([load_picture(path, lab.base.resolution) for path in paths]), None),
            ("Untouched base", "", STYLE["text"], score(accepted(lab, reader, untouched)), untouched, None)]
    for run in runs:
        pictures, verdict = drawn(lab, run), diagnose(run, runs).label
        symbol, color = VERDICTS[verdict]
        rows.append((rate_text(run.config.learning_rate), f"{symbol} {verdict}", color,
                     score(accepted(lab, reader, pictures)), pictures, run))
    figure = LabFigure(STYLE["width"], HEAD + len(rows) * (SIDE + GAP), photographic=True)
    figure.summary = "; ".join(f"{name} {verdict}: {words}".replace("\n", " ")
                               for name, verdict, _, words, _, _ in rows)
    write(figure, 0.08, 0.1, f"One design at {len(runs)} learning rates: {runs[0].config.max_train_steps} updates on "
          "rooms in a storybook style", STYLE["text"], STYLE["title"] + 1, "bold")
    heads = ((0.08, "rate, verdict, score"), (WORDS, "loss on held-out pictures"),
             (WORDS + CURVE, "pictures of the same seeds at the end"))
    for left, words in heads:
        write(figure, left, HEAD - 0.25, words, STYLE["faint"], STYLE["small"])
    for i, (name, verdict, color, words, pictures, run) in enumerate(rows):
        top = HEAD + i * (SIDE + GAP)
        bottom = figure.get_figheight() - top - SIDE
        write(figure, 0.08, top + 0.09, name, color, STYLE["title"], "bold")
        write(figure, 0.08, top + 0.35, verdict, color, STYLE["label"], "bold")
        write(figure, 0.08, top + (0.58 if verdict else 0.37), words, STYLE["text"], STYLE["small"])
        if run is not None:
            small_curve(figure.place_axes(WORDS + 0.05, bottom + 0.17, CURVE - 0.35, SIDE - 0.22), run, runs, color)
        ax = figure.place_axes(WORDS + CURVE, bottom, STYLE["width"] - WORDS - CURVE - 0.08, SIDE)
        show_mosaic(ax, [list(pictures[:SHOWN])])
        ax.set_anchor("W")
    return figure


def write(figure, left, top, words, color, size, weight="normal"):
    """Write words at a place in inches from the upper left corner."""
    figure.text(left / STYLE["width"], 1 - top / figure.get_figheight(), words, color=color, fontsize=size,
                fontweight=weight, va="top", linespacing=1.35)


def small_curve(ax, run, runs, color):
    """Draw one run's held-out loss over those of its siblings, in grey; the axis is that of the runs that hold."""
    ends = []
    for other in runs:
        steps, mean, _, _ = curve(other)
        if np.isfinite(mean).all() and mean.max() < HOLDS * mean[0]:
            ends += [mean.min(), mean.max()]
        is_own = other is run
        ax.plot(steps, mean, color=color if is_own else STYLE["grid"], linewidth=2.2 if is_own else 1.2,
                zorder=3 if is_own else 1)
    room = 0.12 * (max(ends) - min(ends))
    low, high = min(ends) - room, max(ends) + room
    steps, mean, _, _ = curve(run)
    last = mean[np.isfinite(mean)][-1]
    words, y, lift, side = (f"{last:.3f}", last, 5, "bottom") if last < high else (f"{last:.2f} ↑", high, -2, "top")
    ax.annotate(words, (run.config.max_train_steps, y), (-2, lift), textcoords="offset points", ha="right", va=side,
                fontsize=STYLE["small"], color=color, fontweight="bold")
    ax.set_xlim(0, run.config.max_train_steps * 1.02)
    ax.set_ylim(low, high)
    ax.set_xticks([0, run.config.max_train_steps])
    ax.set_yticks([])
    ax.tick_params(labelsize=STYLE["small"] - 1, length=2, colors=STYLE["faint"], pad=2)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(STYLE["grid"])


def main():
    """Train the race where the store does not have it, and write its figure as WebP."""
    compute_in_float32()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=STORE, help="run store (default out/style_race in the checkout)")
    parser.add_argument("--to", type=Path, default=SHEETS / "race-style.webp")
    options = parser.parse_args()
    lab = Lab(data="near", store=options.store)
    figure = still(lab, load_reader(), race(lab))
    Image.open(io.BytesIO(figure.encoded("png", SHARP))).convert("RGB").save(options.to, quality=85, method=6)
    print(f"{options.to}: {figure.summary}")


if __name__ == "__main__":
    main()
