"""Intervals over pictures and over seeds: two losses are compared picture by picture, on the same noise.

What one run ends at has three parts of chance: which pictures it is measured on, the seed it was trained with (order,
noise, the adapter's first numbers, the jitter of the last updates), and what is left, a seed's own effect on a
picture. `interval_of` knows the pictures only; `seeds_difference` knows all, as two crossed random factors, which
takes runs of several seeds.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

Numbers = Sequence[float] | np.ndarray
DRAWS = 2000
LEVEL = 0.95
FAR = 4  # times the variance between seeds of runs like it: chance gives that to one arm in twenty


class Interval(NamedTuple):
    """Hold an estimate and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Tell whether the effect has a sign beyond chance."""
        return self.low > 0 or self.high < 0


def by_picture(losses: np.ndarray) -> np.ndarray:
    """Average losses (images, strata) to (images,) in float64: strata of one picture are not independent."""
    losses = np.asarray(losses, dtype=np.float64)
    return losses.reshape(len(losses), -1).mean(axis=1)


def resampled_means(values: Numbers) -> np.ndarray:
    """Return the means (DRAWS, ...) of values (images, ...) over pictures drawn with replacement.

    The draws are always the same.
    """
    values = np.asarray(values, dtype=np.float64)
    return np.tensordot(_weights(len(values)), values, axes=1)


def interval_of(values: Numbers, level: float = LEVEL) -> Interval:
    """Return the mean of one value per picture with its interval; not a number when any value is not."""
    values = np.asarray(values, dtype=np.float64)
    return spread(float(values.mean()), resampled_means(values), len(values), level)


def paired_difference(after: np.ndarray, before: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the mean of after - before with its interval over images, both (images, strata) on the same noise."""
    return interval_of(by_picture(after) - by_picture(before), level)


class SeedNoise(NamedTuple):
    """Hold how far the mean losses of runs that differ by the seed alone lie apart."""

    variance: float
    degrees: int  # of freedom: seeds less one, over all arms

    @property
    def deviation(self) -> float:
        """Return the standard deviation between seeds, in units of the loss."""
        return math.sqrt(self.variance)


def seed_noise(arms: Iterable[np.ndarray]) -> SeedNoise | None:
    """Pool the noise of seeds over arms, each (seeds, pictures) of one design; None where no arm has two seeds."""
    seed_means = [np.mean(arm, axis=1) for arm in arms if len(arm) > 1 and np.isfinite(arm).all()]
    return pooled_noise([SeedNoise(float(means.var(ddof=1)), len(means) - 1) for means in seed_means])


def pooled_noise(noises: Sequence[SeedNoise]) -> SeedNoise | None:
    """Average noises by their degrees of freedom; None where there are none."""
    degrees = sum(noise.degrees for noise in noises)
    return SeedNoise(sum(noise.variance * noise.degrees for noise in noises) / degrees, degrees) if degrees else None


def seeds_difference(after: np.ndarray, before: np.ndarray, noise: SeedNoise | None = None,
                     level: float = LEVEL) -> Interval:
    """Return how much higher one arm lies than another, both (seeds, pictures) on the same pictures.

    noise    of runs like these, where it is known; an arm whose own seeds lie FAR apart beside it counts with its own.
             None takes both arms' own seeds; where neither has two, the interval is over pictures and says nothing of
             another seed.

    Not a number where one of the losses is none or infinite, as those of a run that broke are.

    Two crossed random factors: the variance of the mean is that over pictures plus that over seeds, a little too much
    since both hold what a seed does to a single picture. Degrees of freedom after Satterthwaite 1946. Seeds of two
    arms count as independent.
    """
    after, before = (np.asarray(arm, dtype=np.float64) for arm in (after, before))
    if not (np.isfinite(after).all() and np.isfinite(before).all()):
        return Interval(math.nan, math.nan, math.nan)
    by_picture = after.mean(axis=0) - before.mean(axis=0)
    estimate, n, pooled = float(by_picture.mean()), len(by_picture), noise or seed_noise([after, before])
    if pooled is None or n < 2:
        return interval_of(by_picture, level)
    variances = [(seed_noise([arm]) or pooled).variance for arm in (after, before)]
    counted = [variance if variance > FAR * pooled.variance else pooled.variance for variance in variances]
    seeds = counted[0] / len(after) + counted[1] / len(before)
    pictures = float(by_picture.var(ddof=1)) / n
    if not pictures + seeds:
        return Interval(estimate, estimate, estimate)
    degrees = (pictures + seeds) ** 2 / (pictures**2 / (n - 1) + seeds**2 / pooled.degrees)
    half = t_quantile((1 + level) / 2, round(degrees, 1)) * math.sqrt(pictures + seeds)
    return Interval(estimate, estimate - half, estimate + half)


def level_among(n: int) -> float:
    """Return the level at which each of n intervals is taken so that all hold together with 95 % (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(n, 1)


def t_interval(values: Numbers, level: float = LEVEL) -> Interval:
    """Return the mean of a few values, such as those of seeds, with its interval by Student's t."""
    values = np.asarray(values, dtype=np.float64)
    estimate = float(values.mean())
    if len(values) < 2:
        return Interval(estimate, -math.inf, math.inf)
    half = t_quantile((1 + level) / 2, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(estimate, estimate - half, estimate + half)


def spread(estimate: float, draws: np.ndarray, n: int, level: float = LEVEL) -> Interval:
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
    low, high = (float(estimate + (end - estimate) * widening) for end in (low, high))
    return Interval(estimate, low, high)


def wilson(share: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a share of `count` trials: Wilson 1927, eq. 4."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def share_interval(scores: Numbers, level: float = LEVEL) -> Interval:
    """Return the mean of scores from 0 to 1 with its interval: of a share where each is 0 or 1, else by bootstrap."""
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isin(scores, (0, 1)).all():
        return interval_of(scores, level)
    return Interval(float(scores.mean()), *wilson(float(scores.mean()), len(scores), level))


def shares_difference(after: Numbers, before: Numbers, level: float = LEVEL) -> Interval:
    """Return the mean of after - before, scores from 0 to 1 of the same things, with its interval.

    Where each score is 0 or 1: Newcombe 1998, Improved confidence intervals for the difference between binomial
    proportions based on paired data, method 10 without its correction of phi; a bootstrap of scores all alike would
    have no width.
    """
    after, before = (np.asarray(scores, dtype=np.float64) for scores in (after, before))
    if not np.isin([after, before], (0, 1)).all():
        return interval_of(after - before, level)
    (one, low, high), (other, least, most) = share_interval(after, level), share_interval(before, level)
    phi = float(np.corrcoef(after, before)[0, 1]) if np.ptp(after) and np.ptp(before) else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    apart = one - other
    return Interval(apart, apart - reach(one - low, most - other), apart + reach(high - one, other - least))


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t, of any degrees of freedom from 1 up.

    With t = sqrt(degrees) tan(angle) the density is cos(angle) ** (degrees - 1), which a grid of angles integrates.
    """
    angle = np.linspace(-math.pi / 2, math.pi / 2, 20_001)
    density = np.cos(angle).clip(0) ** (degrees - 1)
    reached = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(math.sqrt(degrees) * math.tan(np.interp(probability, reached / reached[-1], angle)))


@lru_cache(maxsize=16)
def _weights(n: int) -> np.ndarray:
    """Return (DRAWS, n) shares of each picture in each resample; always the same, so that no interval flickers."""
    return np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=DRAWS) / n
