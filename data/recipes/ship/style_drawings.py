"""Draw what runs on the style territory draw, as examples for the reader's branch for the style.

In the folder data; runs that the run store has are not trained again, nor is what is drawn drawn again:

    python -m recipes.ship.style_drawings WORK/drawn --store WORK/runs

It makes a folder of pictures for each answer. Their captions are those of training pictures, and neither runs nor
drawings share a seed with those that recipes/ship/style_race.py measures.
"""

import argparse
import json
from pathlib import Path

from PIL import Image

from labkit.engine.attribute_reader import NO_PLACE, STYLE
from labkit.lab import Lab
from recipes.model.style_head import PLAIN
from recipes.ship.float32 import compute_in_float32
from recipes.ship.samples import fresh_captions
from recipes.ship.style_race import DESIGN, INFERENCE_STEPS, STORE
from recipes.world.restyle import STYLE as STORYBOOK

# (learning rate, seed of the run, what its drawings show, as they were looked at)
RUNS = ((1e-3, 2, STORYBOOK), (5e-3, 1, STORYBOOK), (1.5e-2, 1, STORYBOOK), (2e-2, 1, NO_PLACE), (2e-2, 2, NO_PLACE))
DRAWN = 32                                 # pictures of each run
FIRST_SEED = 1000                          # of drawings; each run has a thousand of its own


def captions_of(lab, i):
    """(positions, captions) for the i-th to draw: every other of the first training captions."""
    positions = range(i % 2, 2 * DRAWN, 2)
    return positions, [lab.territory.train.captions[k] for k in positions]


def drawn(lab, i, run, captions):
    """Draw the captions with the seeds of the i-th to draw."""
    first = FIRST_SEED * (i + 1)
    return lab.generate(captions, range(first, first + len(captions)), run=run, num_inference_steps=INFERENCE_STEPS)


def train(lab, rate, seed):
    """Train one run of the race's design, by itself and without measuring anything."""
    monitor = lab.monitor(pictures=0, images=0, scored=0)
    return lab.train_all([lab.config(DESIGN, learning_rate=rate, seed=seed)], monitor=monitor)[0]


def keep(out, i, answer, positions, captions, draw):
    """Keep the i-th set of drawings in the folder of its answer; its rows of metadata are written last."""
    folder = out / answer
    rows = folder / f"{i:02d}.jsonl"
    if rows.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{1000 * i + k:06d}.png" for k in positions]
    for name, pixels in zip(names, draw(), strict=True):
        Image.fromarray(pixels).save(folder / name)
    rows.write_text("".join(json.dumps({"file_name": name, "text": text, "index": k, STYLE: answer}) + "\n"
                            for name, text, k in zip(names, captions, positions, strict=True)))


def draw_all(lab, out):
    """Draw with the untouched base, captions of both worlds, and with every run.

    SystemExit: the folder holds drawings of another base.
    """
    made_with = out / ".base.txt"                             # which WORK/drawn/* of the next command leaves out
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not (made_with.exists() and made_with.read_text() == lab.base.fingerprint):
        raise SystemExit(f"{out} holds drawings of another base: remove it, or give another folder.")
    made_with.write_text(lab.base.fingerprint)
    ordinary = fresh_captions(DRAWN)[0]
    keep(out, 0, PLAIN, range(DRAWN), ordinary, lambda: drawn(lab, 0, None, ordinary))
    for i, (rate, seed, answer) in enumerate(((None, None, PLAIN), *RUNS), 1):
        draw_one(lab, out, i, rate, seed, answer)
    for answer in {PLAIN, *(answer for _, _, answer in RUNS)}:
        parts = sorted((out / answer).glob("[0-9]*.jsonl"))
        (out / answer / "metadata.jsonl").write_text("".join(part.read_text() for part in parts))


def draw_one(lab, out, i, rate, seed, answer):
    """Draw near captions after one run, or with the untouched base where there is no rate."""
    positions, captions = captions_of(lab, i)
    keep(out, i, answer, positions, captions,
         lambda: drawn(lab, i, None if rate is None else train(lab, rate, seed), captions))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="gets a folder for each answer")
    parser.add_argument("--store", default=STORE, help="run store (default out/style_race in the checkout)")
    a = parser.parse_args()
    compute_in_float32()
    draw_all(Lab(data="near", store=a.store), a.out)
