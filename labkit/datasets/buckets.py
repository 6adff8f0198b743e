"""Aspect-ratio buckets: pictures keep nearly their own shape, and those of one shape make a batch together.

Sizes, and which one a picture gets, are those of kohya's trainer (sd-scripts, `make_bucket_resolutions` and
`BucketManager.select_bucket`), with sides from half to twice the resolution: at 512 its own 256 to 1024. Sizes here
are (width, height) in pixels.
"""

import functools
import math
from collections import Counter
from collections.abc import Sequence

from labkit.datasets.notes import CUT
from labkit.datasets.picture_folder import PictureFolder
from labkit.errors import LabError
from labkit.reading import BUCKETS
from labkit.text import counted

Size = tuple[int, int]


@functools.cache
def bucket_sizes(resolution: int, step: int) -> tuple[Size, ...]:
    """Return the sizes of at most resolution * resolution pixels whose sides are multiples of `step`.

    Both are in pixels. LabError: there is none beside the square.
    """
    area, least, most = resolution**2, math.ceil(resolution / 2 / step) * step, 2 * resolution
    square = resolution // step * step
    sizes = {(square, square)}
    for side in range(least, most + 1, step):
        other = min(most, area // side // step * step)
        if other >= least:
            sizes |= {(side, other), (other, side)}
    if len(sizes) == 1:
        raise LabError(f"crop = 'buckets' has no size but the square at resolution = {resolution}, whose sides are "
                       f"multiples of {step} pixels: give a resolution of {2 * step} or more, or crop = 'center'.")
    return tuple(sorted(sizes))


def bucket_of(width: int, height: int, sizes: Sequence[Size]) -> Size:
    """Return the size whose width over height is nearest to a picture's; the picture's own size where it is one."""
    if (width, height) in sizes:
        return width, height
    return min(sizes, key=lambda size: abs(size[0] / size[1] - width / height))


def sizes_of(pictures: PictureFolder, resolution: int, step: int) -> list[Size]:
    """Return at which size each picture is used: its bucket's, or the square where it is cropped to one."""
    if pictures.crop != BUCKETS:
        return [(resolution, resolution)] * len(pictures)
    sizes = bucket_sizes(resolution, step)
    if not pictures.looks:                  # what ships is square
        return [(resolution, resolution)] * len(pictures)
    return [bucket_of(look.width, look.height, sizes) for look in pictures.looks]


def lost(width: int, height: int, size: Size) -> float:
    """Return the share of a picture that is cut off for a size."""
    picture_ratio, size_ratio = width * size[1], height * size[0]    # both times height and the size's height
    return 1 - min(picture_ratio, size_ratio) / max(picture_ratio, size_ratio)


def table(parts: Sequence[PictureFolder], resolution: int, step: int) -> str:
    """Say which buckets there are, how many pictures are in each, and how much of one is cut off at most."""
    cut: dict[Size, list[float]] = {}
    for pictures in parts:
        for look, size in zip(pictures.looks, sizes_of(pictures, resolution, step), strict=True):
            cut.setdefault(size, []).append(lost(look.width, look.height, size))
    return ", ".join(f"{_written(size)} ({counted(len(shares), 'picture')}, at most {max(shares):.0%} cut off)"
                     for size, shares in sorted(cut.items(), key=lambda item: -len(item[1])))


def notes(pictures: PictureFolder, resolution: int, step: int, prior: PictureFolder | None = None) -> list[str]:
    """Tell of pictures that fit no bucket and of those that are alone in theirs, as sentences without their stop.

    prior    class pictures that are shown beside, of which the same is told
    """
    beside = [f"class pictures: {note}" for note in notes(prior, resolution, step)] if prior else []
    used, sentences = sizes_of(pictures, resolution, step), []
    if pictures.crop != BUCKETS or not pictures.looks:
        return beside
    shares = [lost(look.width, look.height, size) for look, size in zip(pictures.looks, used, strict=True)]
    if (most := max(shares)) > CUT:
        i, n = shares.index(most), sum(share > CUT for share in shares)
        look = pictures.looks[i]
        sentences.append(f"{n} of {counted(len(used), 'picture')} lose more than {CUT:.0%} even in buckets; "
                         f"{pictures.paths[i].name} ({_written((look.width, look.height))}) loses {most:.0%} in "
                         f"{_written(used[i])}: crop it yourself, or leave it out")
    counts = Counter(used)
    if alone := [i for i, size in enumerate(used) if counts[size] == 1]:
        first = f"{pictures.paths[alone[0]].name} ({_written(used[alone[0]])})"
        sentences.append(f"{counted(len(alone), 'bucket')} of one picture, {first} for one: a batch there is that "
                         "picture several times, under noise of its own each time; crop it to the shape of others, "
                         "or leave it out")
    return sentences + beside


def _written(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
