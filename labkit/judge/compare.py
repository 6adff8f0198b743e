"""What comparisons of finished runs share: where each ended, which is best, which as good, is a better one beyond?

One convention holds everywhere: the final losses of a run that broke are infinite (`arms.losses`), so that it is never
the best, and its difference to another run is not a number. n pictures, m seeds.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from labkit.design import volume
from labkit.errors import LabError
from labkit.judge.arms import broke, difference, losses
from labkit.judge.stats import Interval, SeedNoise
from labkit.store.history import Run
from labkit.text import rate_text

AnyRun = TypeVar("AnyRun", bound=Run)  # a run, or an arm of runs that differ by the seed alone

FAILED_AT = 1.2  # times the untouched base's loss: such an end says nothing of a valley


def final_losses(run: Run, name: str = "validation") -> np.ndarray:
    """Return the losses (n,) of a run at its end, in the mean of the seeds of an arm; infinite where it broke."""
    return losses(run, name=name).mean(axis=0)


def share_left(run: Run) -> float:
    """Return the final held-out loss as a share of the untouched base's: it compares runs on different pictures."""
    return float(final_losses(run).mean() / losses(run, 0).mean())


def has_failed(run: Run) -> bool:
    """Tell whether a run broke or ends at FAILED_AT times the untouched base's loss or above."""
    return not share_left(run) < FAILED_AT


def best_of(runs: Sequence[AnyRun]) -> AnyRun:
    """Return the run with the lowest final held-out loss; LabError where every one of them broke."""
    best = min(runs, key=lambda run: final_losses(run).mean())
    if broke(best):
        raise LabError(f"No run at batch {best.config.train_batch_size} ended with a number: record lower rates.")
    return best


def as_good(runs: Sequence[AnyRun], noise: SeedNoise | None = None) -> list[AnyRun]:
    """Return the runs that end no higher than the best one beyond the noise of pictures and seeds, without that one.

    Their intervals hold all together. Runs that failed do not count.

    noise    between seeds, for runs that have one seed each
    """
    best = best_of(runs)
    others = [run for run in runs if run is not best and not has_failed(run)]
    return [run for run in others if not difference(run, best, len(others), noise).low > 0]


def ends_by_rate(runs: Sequence[Run]) -> dict[float, np.ndarray]:
    """Return {learning rate: final held-out losses (n,)} of runs or arms of one rate each, the lowest rate first."""
    ends = {run.config.learning_rate: final_losses(run) for run in runs}
    return dict(sorted(ends.items()))


def best_rate(ends: Mapping[float, np.ndarray]) -> float:
    """Return the rate whose final losses, (n,) or (m, n), are lowest in the mean."""
    return min(ends, key=lambda rate: ends[rate].mean())


def at_edge(ends: Mapping[float, np.ndarray]) -> bool:
    """Tell whether the best rate is the lowest or the highest that was tried, so that a better one may lie beyond."""
    return best_rate(ends) in (min(ends), max(ends))


def rate_shift(runs: Sequence[Run], others: Sequence[Run]) -> Interval:
    """Return how many times the best rate of some runs or arms the best rate of others is.

    Its ends are the least and the most that rates as good within noise give. LabError where a best rate is the lowest
    or the highest that was tried, so that a better one may lie beyond.
    """
    choices = []
    for arm in (runs, others):
        best = best_of(arm)
        if at_edge(ends_by_rate(arm)):
            raise LabError(f"The best rate, {rate_text(best.config.learning_rate)}, is at the edge of those tried: "
                           "record rates beyond it.")
        choices.append([run.config.learning_rate for run in (best, *as_good(arm))])
    first, second = choices
    return Interval(second[0] / first[0], min(second) / max(first), max(second) / min(first))


def views(run: Run, step: float) -> float:
    """Return how often each training picture was shown in the mean after `step` updates: epochs."""
    n_train = run.config.n_train
    assert n_train is not None                                # as of every configuration that was trained
    return volume.views(step, run.config.effective_batch_size, n_train)


def gap(run: Run) -> float:
    """Return by how much more the loss fell on training than on held-out pictures since the untouched base.

    It counts from the start because the two sets are not equally hard to begin with.
    """
    held, probe = run.validations["validation"].means, run.validations["probe"].means
    return float((held[-1] - held[0]) - (probe[-1] - probe[0]))
