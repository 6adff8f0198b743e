"""A lab of a base that is made in a moment."""

import dataclasses
from pathlib import Path

import tiny

from labkit.datasets.folders import PictureFolder, Territory

EPOCHS, N = 10, 11            # by batches of 4: 28 updates, 20 with drop_last, 30 with partial batches


def folder(first, n):
    numbers = range(first, first + n)
    names = tuple(map(str, numbers))
    hashes = tuple(f"hash {i}" for i in numbers)
    return PictureFolder(Path("p"), tuple(map(Path, names)), names, ({},) * n, hashes)


def made_lab():
    territory = Territory("tiny", folder(0, N), folder(20, 8), folder(40, 8), ("1",))
    return tiny.lab(data=territory, cache=dataclasses.replace(tiny.cache(N), fingerprint=territory.fingerprint))
