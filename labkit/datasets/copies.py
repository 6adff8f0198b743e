"""Find copies and near copies among pictures, which must not lie on both sides of a split. No torch here."""

from collections.abc import Sequence

import numpy as np

from labkit.datasets.pixels import Look, thumbs

# Of a picture's own contrast. Measured on the kit's 960 pictures: saved again as JPEG of quality 30 or at a quarter of
# the size they differ by at most 0.07, others by at least 0.29.
NEAR = 0.12
LEAST = 1.0                                 # of 255: flat pictures have no contrast


def near_pairs(looks: Sequence[Look], others: Sequence[Look] | None = None) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of copies and near copies among `looks` (i < j), or of `looks` with `others`.

    Two pictures are near copies when the root mean square difference of their thumbnails is at most NEAR times the
    smaller of their contrasts (standard deviation over the picture): saved again, scaled, lightly retouched. Crops and
    mirror images are not found.
    """
    small = thumbs(looks)
    large = small if others is None else thumbs(others)
    if not len(small) or not len(large):
        return []
    bound, bounds = _bounds(small), _bounds(large)
    order = np.argsort(large.mean(1))
    means = large.mean(1)[order]
    pairs: list[tuple[int, int]] = []
    for i, thumb in enumerate(small):       # means differ by less than pictures do: only these few can be near
        mean = thumb.mean()
        first, last = np.searchsorted(means, [mean - bound[i] - 1e-3, mean + bound[i] + 1e-3])
        close = order[first:last]
        if others is None:
            close = close[close > i]
        far = np.sqrt(((large[close] - thumb) ** 2).mean(1))
        pairs += [(i, int(j)) for j in close[far <= np.minimum(bound[i], bounds[close])]]
    return pairs


def _bounds(small: np.ndarray) -> np.ndarray:
    """Return how far from each of n pictures (n, D) a near copy of it may be, in levels of 255."""
    contrast = np.sqrt(small.reshape(len(small), -1, 3).var(1).mean(1))
    return np.maximum(LEAST, NEAR * contrast)


def groups(looks: Sequence[Look], *, near: bool = True) -> list[list[int]]:
    """Partition picture numbers into groups of equal pictures; with `near`, of near copies too, transitively."""
    first: dict[str, int] = {}
    same = [(first.setdefault(look.pixels, i), i) for i, look in enumerate(looks)]
    leader = list(range(len(looks)))
    for i, j in same + (near_pairs(looks) if near else []):
        a, b = _root(leader, i), _root(leader, j)
        leader[max(a, b)] = min(a, b)
    by_leader: dict[int, list[int]] = {}
    for i in range(len(looks)):
        by_leader.setdefault(_root(leader, i), []).append(i)
    return list(by_leader.values())


def _root(leader: list[int], i: int) -> int:
    """Return the picture that leads the group of picture i."""
    while leader[i] != i:
        i = leader[i]
    return i
