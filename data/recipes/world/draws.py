"""Which picture an index means, and the random draws that belong to it.

Every draw comes from a generator seeded by a SHA-256 of (purpose/kind/index), so a picture
depends on nothing but its kind and index: not on order, machine, size or number of processes.
"""

import hashlib
import random

KINDS = {
    "ordinary": ("living room", "bedroom", "kitchen", "office", "dining room", "bathroom", "library", "cafe"),
    "liminal": ("corridor", "maze", "pool", "garage", "stairwell", "waiting room", "mall", "platform"),
}
KINDS["near"] = KINDS["ordinary"]          # the ordinary rooms in a style the base never saw

# The one place where indices are given out. Each purpose owns its range (first, past the last) in all worlds, so no
# picture that ships trained the base or the reader.
RANGES = {
    "base": (0, 100_000),                  # what ships is trained on these: base (liminal: autoencoder only), reader
    "train": (100_000, 110_000),           # data/territories/*/train
    "validation": (110_000, 120_000),      # data/territories/*/validation
    "reader": (200_000, 300_000),          # the reader's style branch, trained and held out
}


def kind_of(world, index):
    """The kind of place at an index: kinds alternate, so every prefix is balanced."""
    if world not in KINDS:
        raise ValueError(f"world '{world}' is unknown; use one of {', '.join(KINDS)}")
    if index < 0:
        raise ValueError(f"index {index} is negative; indices count from 0")
    return KINDS[world][index % len(KINDS[world])]


def draws(purpose, kind, index):
    """A fresh random.Random for one purpose of one picture."""
    digest = hashlib.sha256(f"{purpose}/{kind}/{index}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))
