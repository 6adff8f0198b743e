"""Which rank and alpha kohya's trainer takes from the adapter that training begins from, read in its file."""

import os
from pathlib import Path

from labkit.errors import LabError
from labkit.settings import given_path

WEIGHTS = {"kohya": "network_weights", "kohya_ss": "lora_network_weights"}


def with_sizes(trainer, settings, file):
    """Return settings in which rank and alpha are those of the file that they begin from, and a sentence about it.

    The sentence is empty, and the settings are as they were, where `dim_from_weights` is not set, or the file is not
    here or has several ranks or alphas.

    file    the settings' file, beside which the adapter is looked for, or a command line
    """
    named = {name.rsplit(".", 1)[-1]: name for name in settings} if trainer.name in WEIGHTS else {}
    place = settings.get(named.get(WEIGHTS.get(trainer.name)))
    if not place or settings.get(named.get("dim_from_weights")) not in (True, 1, "true", "True"):
        return settings, ""
    beside = given_path(file).parent if os.path.isfile(file) else Path()    # a command line is longer than any name
    path = next((path for path in (given_path(str(place)), beside / str(place)) if os.path.isfile(path)), None)
    sizes = _sizes(path) if path else None
    if sizes is None:
        return settings, ""
    own = {named.get(name, name): value for name, value in zip(("network_dim", "network_alpha"), sizes, strict=True)}
    left = {name: value for name, value in settings.items() if name != named["dim_from_weights"]} | own
    return left, f"rank {sizes[0]} and alpha {sizes[1]:g} are those of {path}, whatever else the settings say"


def _sizes(path):
    """Return the rank and the alpha of a file's U-Net; None where it has several, or cannot be read."""
    from labkit.store.foreign_adapters import read_adapter  # loads numpy, which most settings need not

    try:
        layers = [layer for layer in read_adapter(path).layers if layer.part in ("unet", "")]
    except LabError:                                          # told in a sentence when it is trained from
        return None
    sizes = {(layer.rank, layer.rank if layer.alpha is None else layer.alpha) for layer in layers}
    found = sizes.pop() if len(sizes) == 1 else (None, None)
    return None if found[0] is None else (found[0], float(found[1]))
