"""Make data/encoded: latents of what ships, so that a first click needs no pass through the autoencoder.

In the folder data:

    python -m recipes.ship.encoded

Run it after data/base or data/territories changed: until then the old files are passed over, which only costs time.
"""


from labkit.datasets.folders import shipped_territories, territory
from labkit.engine.base import load_base
from labkit.engine.cache import ship, ship_prior, shipped_file
from recipes.ship.float32 import compute_in_float32

LEFT_OUT = ("near-validation.safetensors",)  # one lesson uses them; encoded in seconds, they would be 1.6 MB


def main():
    """Encode every set that ships and say how large its file is."""
    compute_in_float32()
    base = load_base()
    sets = [pictures for name in shipped_territories()
            for pictures in (territory(name).train, territory(name).validation)]
    sets = [pictures for pictures in sets if shipped_file(pictures).name not in LEFT_OUT]
    ordinary = territory(shipped_territories()[0]).ordinary
    files = [ship(base, pictures) for pictures in (*sets, ordinary)]
    for file in (*files, ship_prior(base, ordinary)):
        print(f"{file.name}  {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
