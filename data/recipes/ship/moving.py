"""Draw a moving figure, pictures that turn over the updates at three rates: `python -m recipes.ship.moving`.

Start it in the folder data. Runs that the run store has are not trained again.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from labkit.judge.diagnose import diagnose
from labkit.lab import Lab
from labkit.text import rate_text
from labkit.view.pictures import show_mosaic
from labkit.view.style import STYLE, VERDICTS, LabFigure
from recipes.ship.float32 import compute_in_float32
from recipes.ship.style_figure import SHEETS, write
from recipes.ship.style_race import KEPT, STORE, drawn, race

RATES = (1e-5, 5e-3, 1e-1)
SHARP = 1.2                                                   # times the pixels of its place on a page
FRAME, LAST_FRAME = 450, 3500                                 # milliseconds
HEAD, SPACE = 0.78, 0.08                                      # inches above the pictures, and around them


def frames(lab, runs, verdicts):
    """Draw a frame for each number of updates: the same four seeds' pictures of each run; verdicts by run id."""
    last = runs[0].config.max_train_steps
    return [frame(runs, [drawn(lab, run, at(lab, run, step), 4) if step else drawn(lab, prompts=4) for run in runs],
                  step, last, verdicts if step == last else {}) for step in (0, *KEPT, last)]


def at(lab, run, step):
    """Return the last checkpoint of a run up to a step: one that diverged has ended before."""
    return max(kept for kept in lab.store.run(run.run_id).checkpoints() if kept <= step)


def frame(runs, pictures, step, last, verdicts):
    """Draw one frame: the course as a bar, and for each run its rate, its verdict if given, and four pictures."""
    wide = (STYLE["width"] - SPACE) / len(runs)
    figure = LabFigure(STYLE["width"], HEAD + wide, photographic=True)
    write(figure, SPACE, 0.08, f"{step} of {last} updates", STYLE["text"], STYLE["title"], "bold")
    bar = figure.place_axes(SPACE + wide, HEAD + wide - 0.24, 2 * wide - SPACE, 0.1)
    bar.barh(0, last, color=STYLE["grid"])
    bar.barh(0, step, color=STYLE["text"])
    bar.set_xlim(0, last)
    bar.set_axis_off()
    for i, (run, drawings) in enumerate(zip(runs, pictures, strict=True)):
        left, verdict = SPACE + i * wide, verdicts.get(run.run_id, "")
        symbol, color = VERDICTS[verdict] if verdict else ("", STYLE["text"])
        words = f"{rate_text(run.config.learning_rate)}   {symbol} {verdict}".strip()
        write(figure, left, 0.45, words, color, STYLE["title"], "bold")
        show_mosaic(figure.place_axes(left, SPACE, wide - SPACE, wide - SPACE), [drawings[:2], drawings[2:]])
    return figure


def main():
    """Train the race where the store does not have it, and write the frames as one animated WebP."""
    compute_in_float32()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=STORE, help="run store (default out/style_race in the checkout)")
    parser.add_argument("--to", type=Path, default=SHEETS / "race-moving.webp")
    options = parser.parse_args()
    lab = Lab(data="near", store=options.store)
    every = race(lab)
    verdicts = {run.run_id: diagnose(run, every).label for run in every}  # beside all of them, as in README's figure
    runs = [run for run in every if run.config.learning_rate in RATES]
    first, *others = (Image.open(io.BytesIO(one.encoded("png", SHARP))).convert("RGB")
                      for one in frames(lab, runs, verdicts))
    durations = [FRAME] * len(others) + [LAST_FRAME]
    first.save(options.to, save_all=True, append_images=others, duration=durations, loop=0, quality=80, method=6)
    print(f"{options.to}: {options.to.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
