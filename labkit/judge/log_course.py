"""The course of one logged curve behind its noise, and how large that noise is: both from the curve itself.

As in `labkit.judge.course` the course is a smooth Gaussian process with a Matern-5/2 kernel, and how smooth, how high
and how noisy it is is averaged over, weighted by how well each explains the points (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, sections 2.2 and 5.4). Two things are otherwise here: a log has one number where
our own runs have one for each picture, so that nothing can be resampled, and its first number need not be that of the
untouched base, so that all points are noisy and the level is free. The axis is the square root of the steps: learning
is fast at first, and late turns are still seen.
"""

from dataclasses import dataclass

import numpy as np

from labkit.judge.course import JITTER_FACTOR, JITTER_MEDIAN, thinned

DRAWS = 1000
NOISES = np.geomspace(0.001, 0.7, 11)                         # standard deviations over the range of the points
GROWTHS = (1.0, 6.0)                                          # of the noise, from the first point to the last
HEIGHTS = np.geomspace(0.25, 3.0, 3)                          # of the course, over the same range
LENGTHS = np.geomspace(0.2, 1.6, 4)                           # in parts of the axis
LEVEL_VARIANCE = 25.0                                         # of the free level, over the range squared
LEAST_WEIGHT = 0.002


@dataclass(frozen=True, eq=False)
class LogCourse:
    """Hold what a curve looks like without its noise.

    steps    (T,) of the points, neighbours averaged where there are many
    draws    (DRAWS, T + P) courses that agree with the points, at the steps and at the places asked for
    noise    standard deviation of a single logged point about the course, on average
    noises   (T + P,) the same along the run
    """

    steps: np.ndarray
    draws: np.ndarray
    noise: float
    noises: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Return the mean course (T + P,)."""
        return self.draws.mean(axis=0)

    @property
    def best(self) -> int:
        """Return the place of the lowest point of the mean course."""
        return int(self.mean[: len(self.steps)].argmin())


def log_course(steps: np.ndarray, values: np.ndarray, places: np.ndarray) -> LogCourse:
    """Draw the courses of a curve: values (N,) at rising steps (N,), and the same at places (P,) between them."""
    few, averaged = thinned(np.asarray(steps, np.float64), np.asarray(values, np.float64)[None])
    points, level = averaged[0], float(averaged.mean())
    size = float(np.ptp(points))
    each = np.ones(len(few))
    each[1:] = max(1.0, (len(steps) - 1) / (len(few) - 1)) ** -0.5  # averages of several points are less noisy
    if not size:
        shape = len(few) + len(places)
        return LogCourse(few, np.full((DRAWS, shape), level), 0.0, np.zeros(shape))
    every = np.concatenate([few, places])
    axis = np.sqrt(((every - few[0]) / (few[-1] - few[0])).clip(min=0))
    apart = np.abs(axis[:, None] - axis)
    count = len(few)
    noises, growths, heights, lengths = (
        grid.ravel() for grid in np.meshgrid(NOISES, GROWTHS, HEIGHTS, LENGTHS, indexing="ij"))
    kernels = _matern(apart, lengths) * heights[:, None, None] ** 2 + LEVEL_VARIANCE
    along = noises[:, None] * growths[:, None] ** (axis - 0.5)                        # (H, T + P)
    seen = kernels[:, :count, :count] + (along[:, :count] * each)[:, :, None] ** 2 * np.eye(count)
    target = (points - level) / size
    factor = np.linalg.cholesky(seen)
    white = np.linalg.solve(factor, np.broadcast_to(target[:, None], (len(factor), count, 1)))[..., 0]
    fit = -0.5 * (white**2).sum(axis=1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    fit -= 0.5 * (np.log(noises / JITTER_MEDIAN) / np.log(JITTER_FACTOR)) ** 2
    weights = np.exp(fit - fit.max())
    kept = np.flatnonzero(weights >= LEAST_WEIGHT)
    weights = weights[kept] / weights[kept].sum()
    draws = np.empty((DRAWS, len(every)))
    random = np.random.default_rng([DRAWS, len(every)])       # always the same, so that a verdict never flickers
    normal, order = random.normal(size=draws.shape), random.permutation(DRAWS)
    for rows, which in zip(np.split(order, np.round(np.cumsum(weights) * DRAWS).astype(int)[:-1]), kept, strict=True):
        gain = np.linalg.solve(seen[which], kernels[which, :count]).T                 # (T + P, T)
        left = kernels[which] - gain @ kernels[which, :count]
        spreads, vectors = np.linalg.eigh((left + left.T) / 2)
        draws[rows] = gain @ target + normal[rows] @ (vectors * np.sqrt(spreads.clip(min=0))).T
    noise = size * weights @ along[kept]
    return LogCourse(few, level + size * draws, float(noise[:count].mean()), noise)


def _matern(apart: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the correlations (H, N, N) of a Matern-5/2 process."""
    near = np.sqrt(5) * apart / lengths[:, None, None]
    return (1 + near + near**2 / 3) * np.exp(-near)
