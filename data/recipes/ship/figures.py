"""Draw README's figure, the default race of the learning-rate lesson: `python -m recipes.ship.figures`.

Start it in the folder data. Runs that the run store has are not trained again.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from labkit.lab import Lab
from labkit.view.pictures import plot_race

RATES = [1e-5, 1e-4, 1e-3, 3e-3, 1.4e-2, 1e-1]                  # as in notebooks/01_learning_rate.ipynb


def draw(path, store=None):
    """Train the race and write its figure as WebP."""
    figure = plot_race(Lab(store=store).race("learning_rate", RATES, max_train_steps=200))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(figure.encoded("png"))).convert("RGB").save(path, quality=85, method=6)
    print(f"{path}: {figure.summary}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="run store, the usual one by default")
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[2] / "sheets" / "race.webp")
    options = parser.parse_args()
    draw(options.to, options.store)
