"""Make data/territories: the pictures and captions that ship, 512x512 WebP, in image-folder form.

In the folder data:

    python -m recipes.ship.territories --processes 2

Resumable: what is there and whole stays. The ranges of indices are those of draws.py.
"""

import argparse
import sys
from pathlib import Path

from recipes.world.draws import RANGES
from recipes.world.render import render

TERRITORIES = Path(__file__).parents[2] / "territories"
SIZE, SAMPLES = 512, 8                     # pixels, paths per pixel before denoising

# (world, set, number of pictures, WebP quality): drawn lines are costly to keep, and look the same at 50
SETS = (("liminal", "train", 96, 85), ("liminal", "validation", 256, 85),
        ("near", "train", 96, 50), ("near", "validation", 256, 50),
        ("ordinary", "validation", 256, 85))


def indices(purpose, count):
    """The first indices of a purpose's range."""
    first, past = RANGES[purpose]
    if count > past - first:
        raise ValueError(f"{count} pictures don't fit the range of '{purpose}' in draws.py ({past - first}): "
                         "widen it")
    return range(first, first + count)


def main():
    """Render the sets of every territory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TERRITORIES, help="folder of the territories")
    parser.add_argument("--processes", type=int, default=1, help="one per core: each works on one thread")
    a = parser.parse_args()
    try:
        for world, purpose, count, quality in SETS:
            render(world, indices(purpose, count), SIZE, a.out / world / purpose, a.processes, SAMPLES, quality)
    except (RuntimeError, OSError, ValueError) as error:
        sys.exit(f"territories: {error}")


if __name__ == "__main__":
    main()
