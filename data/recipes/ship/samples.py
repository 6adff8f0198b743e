"""Draw sheets of pictures: what the base makes of captions, and what the autoencoder makes of renders.

In the folder data:

    python -m recipes.ship.samples --base base --out sheet.webp
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recipes.world import ordinary
from recipes.world.captions import caption
from recipes.world.draws import RANGES

FRESH = RANGES["base"][1] - 1000  # captions from here on belong to pictures nobody renders


def sheet(pictures, columns):
    """Lay uint8 pictures (n, h, w, 3) out in rows; -> PIL image."""
    starts = range(0, len(pictures) // columns * columns, columns)
    rows = [np.concatenate(list(pictures[i:i + columns]), 1) for i in starts]
    return Image.fromarray(np.concatenate(rows))


def fresh_captions(count, first=FRESH):
    """(captions, attributes) of ordinary places that were never rendered."""
    attributes = [ordinary.attributes(i) for i in range(first, first + count)]
    return [caption(a, i) for i, a in enumerate(attributes, first)], attributes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(Path(__file__).parents[2] / "base"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--steps", type=int, help="default: the base's own")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    from labkit.engine.base import load_base
    base = load_base(a.base)
    torch.set_num_threads(a.threads)
    prompts, _ = fresh_captions(a.count)
    pictures = base.generate(prompts, range(a.count), num_inference_steps=a.steps, guidance_scale=a.guidance)
    sheet(pictures, a.columns).save(a.out)
    print(*prompts, sep="\n")
