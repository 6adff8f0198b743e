"""Runs over learning rates that nobody trained, whose valley is known."""

import math

from volume_runs import ended

RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STEEP, FLAT = 0.06, 0.0005  # of the loss, a decade from the best rate


def valley(best, *, depth=0.05, slope=STEEP, rates=RATES, **knobs):
    """Return runs at every rate and seed that end at `depth` at the best rate, higher by `slope` a decade from it."""
    ends = {rate: depth + slope * abs(math.log10(rate / best)) for rate in rates}
    return at_rates(ends, **knobs)


def at_rates(ends, *, seeds=(0, 1), apart=0.0005, **knobs):
    """Return runs of every seed that end at ends[rate], seeds `apart`."""
    return [ended(end + apart * seed, seed=seed, learning_rate=rate, **knobs)
            for rate, end in ends.items() for seed in seeds]
