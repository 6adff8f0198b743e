"""A lab of a base that is made in a moment."""

import dataclasses
from pathlib import Path

import tiny

from labkit.datasets.folders import PictureFolder, Territory
from labkit.lab import Lab

EPOCHS, N = 10, 11                                            # by batches of 4: 28 updates, 20 with drop_last, 30 with partial batches


def folder(first, n):
    numbers = range(first, first + n)
    return PictureFolder(Path("p"), tuple(map(Path, map(str, numbers))), tuple(map(str, numbers)), ({},) * n, tuple(f"hash {i}" for i in numbers))


def made_lab():
    lab = Lab()
    territory = Territory("tiny", folder(0, N), folder(20, 8), folder(40, 8), ("1",))
    lab.__dict__ |= {"base": tiny.base(), "territory": territory, "cache": dataclasses.replace(tiny.cache(N), fingerprint=territory.fingerprint)}
    return lab
