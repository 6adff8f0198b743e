"""Find copies and near copies among pictures, which must not lie on both sides of a split. No torch here."""

from collections.abc import Sequence

import numpy as np

from labkit.datasets.pixels import THUMB, Look, thumbs

# Of a picture's own contrast. Measured on the kit's 960 pictures: saved again as JPEG of quality 30 or at a quarter of
# the size they differ by at most 0.07, others by at least 0.29.
NEAR = 0.12
LEAST = 1.0                                 # of 255: flat pictures have no contrast


class _Near:
    """Find the near copies of a picture among n others.

    Two pictures are near copies when the root mean square difference of their thumbnails is at most NEAR times the
    smaller of their contrasts (standard deviation over the picture): saved again, scaled, lightly retouched. Crops and
    mirror images are not found.
    """

    def __init__(self, looks: Sequence[Look]):
        self.thumbs = thumbs(looks)
        contrast = np.sqrt(self.thumbs.reshape(-1, THUMB**2, 3).var(1).mean(1))
        self.bounds = np.maximum(LEAST, NEAR * contrast)      # how far a near copy may be, in levels of 255
        self.order = np.argsort(self.thumbs.mean(1))
        self.means = self.thumbs.mean(1)[self.order]

    def of(self, thumb: np.ndarray, bound: float, among: np.ndarray | None = None) -> np.ndarray:
        """Return the numbers of the near copies of a picture, where `among` (n,) is given of those alone."""
        mean = thumb.mean()                 # means differ by less than pictures do: only these few can be near
        first, last = np.searchsorted(self.means, [mean - bound - 1e-3, mean + bound + 1e-3])
        close = self.order[first:last]
        if among is not None:
            close = close[among[close]]
        far = np.sqrt(((self.thumbs[close] - thumb) ** 2).mean(1))
        return close[far <= np.minimum(bound, self.bounds[close])]


def near_pairs(looks: Sequence[Look], others: Sequence[Look]) -> list[tuple[int, int]]:
    """Return the pairs (i, j) where picture i of `looks` is a copy or a near copy of picture j of `others`."""
    own, search = _Near(looks), _Near(others)
    return [(i, int(j)) for i, thumb in enumerate(own.thumbs) for j in search.of(thumb, own.bounds[i])]


def groups(looks: Sequence[Look], *, near: bool = True) -> list[list[int]]:
    """Partition picture numbers into groups of equal pictures; with `near`, of near copies too, transitively."""
    first: dict[str, int] = {}
    leader = np.array([first.setdefault(look.pixels, i) for i, look in enumerate(looks)], int)    # of each its group's
    search = _Near(looks if near else ())
    for i, thumb in enumerate(search.thumbs):                 # those of one group by then are not compared again
        near_copies = search.of(thumb, search.bounds[i], leader != leader[i])
        if len(near_copies):
            merged = np.unique([leader[i], *leader[near_copies]])
            leader[np.isin(leader, merged)] = merged[0]
    by_leader: dict[int, list[int]] = {}
    for i, first_of_group in enumerate(leader.tolist()):
        by_leader.setdefault(first_of_group, []).append(i)
    return list(by_leader.values())
