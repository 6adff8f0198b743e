"""Which of several adapters to keep, from their losses on the same held-out pictures, noise and timesteps.

The lowest is kept where it lies below the untouched base beyond chance. It was chosen as the lowest, so the intervals
of all differences hold together (`arms.difference`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit.judge.arms import broke, difference, losses
from labkit.judge.compare import as_good, best_of, has_failed
from labkit.judge.stats import Interval, level_among, seeds_difference
from labkit.store.history import Run

NOT_KNOWN = Interval(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Choice:
    """Hold which run to keep and how sure that is; intervals by run id, in units of the loss."""

    lowest: Run | None                                        # None: all of them broke
    as_good: tuple[Run, ...]                                  # no higher than the lowest beyond chance, without it
    above: dict[str, Interval]                                # how much higher than the lowest
    change: dict[str, Interval]                               # since the untouched base

    @property
    def kept(self) -> Run | None:
        """Return the run to keep; None where none is lower than the untouched base beyond chance."""
        is_lower = self.lowest is not None and self.change[self.lowest.run_id].high < 0
        return self.lowest if is_lower else None


def choose(runs: Sequence[Run]) -> Choice:
    """Compare runs whose first evaluation is the untouched base's and whose last is their own."""
    level = level_among(len(runs))
    change = {run.run_id: seeds_difference(losses(run), losses(run, 0), None, level) for run in runs}
    whole = [run for run in runs if not broke(run)]
    if not whole:
        return Choice(None, (), dict.fromkeys(change, NOT_KNOWN), change)
    lowest = best_of(whole)
    among = sum(not has_failed(run) for run in whole) - 1     # as `as_good` counts them
    above = {run.run_id: difference(run, lowest, among) for run in runs}
    return Choice(lowest, tuple(as_good(whole)), above | {lowest.run_id: Interval(0.0, 0.0, 0.0)}, change)
