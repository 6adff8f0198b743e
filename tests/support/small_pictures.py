"""A small folder of captioned pictures with its own validation and ordinary parts."""

import numpy as np
from PIL import Image


def write_territory(folder):
    """Write 8 training, 4 validation and 4 ordinary pictures that share a pattern; give the folder."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 8), ("validation", 4), ("ordinary", 4)):
        (folder / part).mkdir()
        for i in range(count):
            pixels = np.tile(np.linspace(0, 255, 64), (64, 1))[..., None] + draw.normal(0, 60, (64, 64, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / part / f"{i}.png")
            (folder / part / f"{i}.txt").write_text(f"a yellow room, number {i}")
    return folder
