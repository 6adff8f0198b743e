"""Intervals by bootstrap over pictures: two losses are compared picture by picture, on the same noise."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

DRAWS = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """Hold an estimate and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Tell whether the effect has a sign beyond chance."""
        return self.low > 0 or self.high < 0


def by_picture(losses) -> np.ndarray:
    """Average losses (images, strata) to (images,) in float64: strata of one picture are not independent."""
    losses = np.asarray(losses, dtype=np.float64)
    return losses.reshape(len(losses), -1).mean(axis=1)


def resampled_means(values) -> np.ndarray:
    """Return the means (DRAWS, ...) of values (images, ...) over pictures drawn with replacement, always the same draws."""
    values = np.asarray(values, dtype=np.float64)
    return np.tensordot(_weights(len(values)), values, axes=1)


def interval_of(values, level=LEVEL) -> Interval:
    """Return the mean of one value per picture with its interval; not a number when any value is not."""
    values = np.asarray(values, dtype=np.float64)
    return spread(float(values.mean()), resampled_means(values), len(values), level)


def paired_difference(after, before, level=LEVEL) -> Interval:
    """Return the mean of after - before, both (images, strata) on the same stored noise, with its interval over images."""
    return interval_of(by_picture(after) - by_picture(before), level)


def spread(estimate, draws, n, level=LEVEL) -> Interval:
    """Return the percentile interval of draws from n pictures, widened about the estimate for small n.

    A plain percentile interval is too narrow by sqrt((n - 1) / n) and by normal instead of t quantiles: the expanded
    interval of Hesterberg, What Teachers Should Know About the Bootstrap (2015), section 4.1.
    """
    if n < 2:
        return Interval(estimate, -math.inf, math.inf)
    if not (math.isfinite(estimate) and np.isfinite(draws).all()):
        return Interval(estimate, math.nan, math.nan)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    widening = t_quantile(1 - tail, n - 1) / NormalDist().inv_cdf(1 - tail) * math.sqrt(n / (n - 1))
    return Interval(estimate, float(estimate + (low - estimate) * widening), float(estimate + (high - estimate) * widening))


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` trials: Wilson 1927, eq. 4."""
    z = 1.959964
    middle, half = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def t_quantile(probability, degrees) -> float:
    """Return the quantile of Student's t: exact for 1 and 2 degrees of freedom, else Hill's expansion (1970)."""
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))


@lru_cache(maxsize=16)
def _weights(n) -> np.ndarray:
    """Return (DRAWS, n) shares of each picture in each resample; one fixed seed, so that an interval never flickers."""
    return np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=DRAWS) / n
