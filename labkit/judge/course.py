"""The course of a run behind its jitter: what the mean loss would be without the chance of single updates.

Evaluations scatter about the course for two reasons. Other pictures would have given other losses: the pictures are
resampled. And the run itself trembles: an evaluation a few updates earlier or later would have moved all pictures at
once by the same small amount, which no resampling of pictures shows.

Here the course is a smooth function of the logarithm of the updates, a Gaussian process with a Matern-5/2 kernel. The
jitter is independent noise at every evaluation but the first, which is the untouched base's. How smooth, how high and
how jittery is not assumed but averaged over, weighted by how well each explains the run's own evaluations (Rasmussen
and Williams, Gaussian Processes for Machine Learning, 2006, sections 2.2 and 5.4). So more evaluations pin the course
down, and a minimum of many is no lower than one of few.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from labkit.judge.stats import DRAWS, LEVEL, t_quantile

# Of the range of the evaluations: how large the jitter of a run may be, and how common each size is. Between seeds of
# recorded runs one evaluation scatters by 4 % of the gain, two thirds of them within a factor of three; noise of the
# pictures' own at each evaluation adds a little.
JITTER_MEDIAN, JITTER_FACTOR = 0.05, 3.0
JITTERS = np.geomspace(0.004, 1.0, 9)
HEIGHTS = np.geomspace(0.1, 3.0, 4)  # standard deviation of the course over the range of the evaluations
LENGTHS = np.geomspace(1.0, 6.0, 4)  # in units of the natural logarithm of the updates
LEAST_WEIGHT = 0.003  # of the most likely combination of the three; less likely ones are left out
AT_START = 1e-4  # of the range: keeps the matrices regular where nothing is uncertain
NOISE_LEVELS, BINS = 1000, 8  # as `labkit.engine.validation.ValidationSet` deals them out
MOST_EVALUATIONS = 64  # more are averaged in neighbours first, which loses nothing at this smoothness


def course(steps: Sequence[float] | np.ndarray, curves: np.ndarray, places: Sequence[float] | np.ndarray, *,
           stream: int = 0) -> np.ndarray:
    """Draw courses of one run's mean loss: (DRAWS, G) changes since step 0 at the given places.

    steps    (T,) updates of the evaluations, rising, the first 0
    curves   (DRAWS, T) change since step 0 of the mean loss over resampled pictures
    places   (G,) updates at which the course is wanted, not necessarily evaluations
    stream   which of the fixed random draws are used; two curves of one run take different ones
    """
    steps, curves = thinned(np.asarray(steps, np.float64), curves)
    mean = curves.mean(axis=0)
    size = float(np.ptp(mean)) or float(np.abs(curves).max())
    if not size:
        return np.zeros((len(curves), len(places)))
    axis = np.log1p(np.concatenate([steps, places]) / max(steps[1], 1.0))
    kernels, count = _anchored(axis, LENGTHS), len(steps)  # (lengths, T + G, T + G)
    jitters, heights, lengths = (grid.ravel() for grid in np.meshgrid(JITTERS, HEIGHTS, range(len(LENGTHS))))
    noise = np.where(np.arange(count) > 0, jitters[:, None], 0.0) ** 2 + AT_START**2
    seen = heights[:, None, None] ** 2 * kernels[lengths, :count, :count] + noise[:, :, None] * np.eye(count)
    factor = np.linalg.cholesky(seen)
    white = np.linalg.solve(factor, np.broadcast_to((mean / size)[:, None], (len(factor), count, 1)))[..., 0]
    fit = -0.5 * (white**2).sum(axis=1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    fit -= 0.5 * (np.log(jitters / JITTER_MEDIAN) / np.log(JITTER_FACTOR)) ** 2
    weights = np.exp(fit - fit.max())
    kept = np.flatnonzero(weights >= LEAST_WEIGHT)
    prior = heights[kept, None, None] ** 2 * kernels[lengths[kept]]
    across = prior[:, :count, count:]
    gains = np.linalg.solve(seen[kept], across).transpose(0, 2, 1)  # (kept, G, T): from evaluations to the course
    values, vectors = np.linalg.eigh(prior[:, count:, count:] - gains @ across)
    spreads = vectors * np.sqrt(values.clip(min=0))[:, None]  # (kept, G, G): a square root of what remains uncertain
    draws = np.empty((len(curves), len(places)))
    normal = _normal(stream, len(curves), len(places))
    for h, rows in enumerate(_shares(stream, weights[kept], len(curves))):
        draws[rows] = curves[rows] @ gains[h].T + size * (normal[rows] @ spreads[h].T)
    return draws


def _anchored(axis: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the covariance (H, N, N) of the change since step 0 of a Matern-5/2 process of height 1."""
    near = np.sqrt(5) * np.abs(axis[:, None] - axis) / lengths[:, None, None]
    kernel = (1 + near + near**2 / 3) * np.exp(-near)
    return kernel - kernel[:, :, :1] - kernel[:, :1, :] + 1.0


def thinned(steps: np.ndarray, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring evaluations until at most MOST_EVALUATIONS are left; the first stays as it is."""
    while len(steps) > MOST_EVALUATIONS:
        odd = (len(steps) - 1) % 2
        pairs = slice(1, len(steps) - odd)
        steps = np.concatenate([steps[:1], steps[pairs].reshape(-1, 2).mean(axis=1), steps[len(steps) - odd :]])
        halved = curves[:, pairs].reshape(len(curves), -1, 2).mean(axis=2)
        curves = np.concatenate([curves[:, :1], halved, curves[:, curves.shape[1] - odd :]], axis=1)
    return steps, curves


def _shares(stream: int, weights: np.ndarray, count: int) -> list[np.ndarray]:
    """Divide the numbers of `count` draws in proportion to the weights, each share chosen at random among them."""
    ends = np.round(np.cumsum(weights) / weights.sum() * count).astype(int)
    return np.split(_order(stream, count), ends[:-1])


@lru_cache(maxsize=8)
def _order(stream: int, count: int) -> np.ndarray:
    return np.random.default_rng([stream, count]).permutation(count)


@lru_cache(maxsize=8)
def _normal(stream: int, count: int, size: int) -> np.ndarray:
    """Return standard normal draws, always the same, so that a verdict does not change when it is computed again."""
    return np.random.default_rng([stream, count, size]).normal(size=(count, size))


def resampled(timesteps: np.ndarray) -> np.ndarray:
    """Return weights (DRAWS, images) whose products with one value a picture are means over resampled pictures.

    timesteps   (images, strata) of the pictures. Pictures with one timestep each are resampled among those of like
                timestep, as the set was made: how losses differ between timesteps does not depend on which pictures
                were taken.

    Deviations are widened as for small samples: Hesterberg, What Teachers Should Know About the Bootstrap (2015), 4.1.
    """
    return _resampled(tuple(timesteps[:, 0]) if timesteps.shape[1] == 1 else (0,) * len(timesteps))


@lru_cache(maxsize=16)
def _resampled(timesteps: tuple[int, ...]) -> np.ndarray:
    groups = np.array(timesteps) * BINS // NOISE_LEVELS
    sizes = np.bincount(groups)
    if sizes[sizes > 0].min() < 3:  # too few of a kind to see how they scatter
        groups = np.zeros(len(groups), int)
    weights, left = np.empty((DRAWS, len(groups))), len(groups)
    rng = np.random.default_rng(len(groups))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        share = len(rows) / len(groups)
        drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=DRAWS) / len(rows)
        wide = math.sqrt(len(rows) / (len(rows) - 1))
        weights[:, rows] = share * (1 / len(rows) + wide * (drawn - 1 / len(rows)))
        left -= 1
    widening = t_quantile((1 + LEVEL) / 2, left) / NormalDist().inv_cdf((1 + LEVEL) / 2)
    return 1 / len(groups) + widening * (weights - 1 / len(groups))
