"""Early stopping: when a run's loss was lowest, where rules would have stopped it, and which checkpoint to keep.

Losses are held-out ones on fixed noise. T evaluations, D resamples of the pictures (`stats.resampled_means`).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labkit.design import volume
from labkit.errors import LabError
from labkit.judge.arms import runs_of
from labkit.judge.stats import LEVEL, resampled_means
from labkit.store.history import Run
from labkit.text import counted


@dataclass(frozen=True)
class Time:
    """Hold after how many updates something happened; inf where it had not by the end of the run."""

    step: float
    low: float
    high: float

    def text(self) -> str:
        """Write the time with its interval."""
        span = f"{self.low:,.0f} to {self.high:,.0f}" if math.isfinite(self.high) else f"{self.low:,.0f} or later"
        return f"{self.step:,.0f} ({span})" if math.isfinite(self.step) else f"not reached ({span})"


def time_of_lowest_loss(run: Run, level: float = LEVEL) -> Time:
    """Return when the held-out loss was lowest; LabError where the run has fewer than three evaluations.

    Of an arm of several seeds, the interval reaches from the lowest to the highest end that any seed gives.
    """
    held = run.validations.get("validation")
    if held is None or len(held.steps) < 3:
        raise LabError(
            f"The run {run.run_id} has fewer than three evaluations of held-out pictures: "
            "train it with a monitor that validates."
        )
    time = time_of_minimum(held.steps, held.losses.mean(axis=2).T, level)
    each = [time_of_lowest_loss(one, level) for one in runs_of(run) if one is not run]
    return Time(time.step, min([time.low, *(one.low for one in each)]), max([time.high, *(one.high for one in each)]))


def time_of_minimum(steps: np.ndarray, values: np.ndarray, level: float = LEVEL) -> Time:
    """Return when the mean over pictures of values (pictures, T) is lowest, with its interval.

    A minimum at the last evaluation has not been reached. The interval is widened to the evaluations beside it, since
    nothing is known of what lies between.
    """
    at, low, high = over_resamples(values, lambda means: np.nan_to_num(means, nan=np.inf).argmin(axis=1), level)
    last = len(steps) - 1
    return Time(
        math.inf if at == last else float(steps[at]),
        float(steps[max(low - 1, 0)]),
        math.inf if high == last else float(steps[high + 1]),
    )


def over_resamples(values: np.ndarray, find: Callable[[np.ndarray], np.ndarray],
                   level: float = LEVEL) -> tuple[int, int, int]:
    """Return which evaluation `find` gives for the mean over pictures, and the ends of its interval over resamples.

    values    (pictures, T)
    find      means (D, T) -> numbers of evaluations (D,)
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(find(resampled_means(values)), tails, method="inverted_cdf")
    return int(find(values.mean(axis=0, keepdims=True))[0]), int(low), int(high)


def kept_step(run: Run, checkpoints: Iterable[int]) -> tuple[int, str]:
    """Return the update of the checkpoint to keep, and the reason.

    It is the one nearest to the lowest held-out loss, or the last where the loss had not turned by the end.
    """
    turned = time_of_lowest_loss(run)
    last = int(run.validations["validation"].steps[-1])
    best = int(turned.step) if math.isfinite(turned.step) else last
    kept = min(checkpoints, key=lambda step: (abs(step - best), step))
    reason = f"the held-out loss was lowest after {turned.text()} updates"
    if best == last:
        reason = f"the held-out loss had not turned after {counted(last, 'update')}: a longer run might gain more"
    which = "of then" if kept == best else f"nearest to it, after {kept:,},"
    return kept, f"{reason}; the checkpoint {which} is kept"


# -- rules


@dataclass(frozen=True)
class Rule:
    """Hold a rule of early stopping; where it restores, the best checkpoint before its stop is kept, else the last.

    says_stop    losses (D, T) -> whether the rule says stop at each evaluation (D, T)
    """

    name: str
    says_stop: Callable[[np.ndarray], np.ndarray]
    restores: bool = True


def patience(evaluations: int) -> Rule:
    """Stop when the lowest loss lies so many evaluations back."""

    def says_stop(losses: np.ndarray) -> np.ndarray:
        return np.arange(losses.shape[1]) - _best_so_far(losses) >= evaluations

    return Rule(f"patience {evaluations}", says_stop)


def generalization_loss(percent: float) -> Rule:
    """Stop when the loss lies so many per cent above its lowest: GL of Prechelt 1998, section 2.2."""

    def says_stop(losses: np.ndarray) -> np.ndarray:
        return losses > (1 + percent / 100) * np.minimum.accumulate(losses, axis=1)

    return Rule(f"GL {percent:g} %", says_stop)


def rise_of_gain(share: float) -> Rule:
    """Stop when this share of what was gained is lost again: a denoiser's loss moves by per cents of itself."""

    def says_stop(losses: np.ndarray) -> np.ndarray:
        lowest = np.minimum.accumulate(losses, axis=1)
        return losses - lowest > share * (losses[:, :1] - lowest)

    return Rule(f"a rise by {share:.0%} of the gain", says_stop)


def fixed_epochs(epochs: int, run: Run) -> Rule:
    """Stop after so many epochs, whatever the loss, as a recipe does."""
    config, steps = run.config, run.validations["validation"].steps
    assert config.n_train is not None                         # as of every configuration that was trained
    last = volume.updates(config.n_train, config.effective_batch_size, epochs)
    return Rule(f"{epochs} epochs", lambda losses: np.broadcast_to(steps >= last, losses.shape), restores=False)


def usual_rules(run: Run) -> list[Rule]:
    """Return the rules that the lesson compares."""
    return [
        *(patience(evaluations) for evaluations in (1, 2, 3)),
        *(generalization_loss(percent) for percent in (1, 5)),
        *(rise_of_gain(share) for share in (0.1, 0.25)),
        *(fixed_epochs(epochs, run) for epochs in (5, 10, 50)),
    ]


class RuleResult(NamedTuple):
    """Hold where a rule would have stopped a run and the gain it would have kept; 1 is that of the best checkpoint."""

    rule: str
    stopped: float                                            # updates spent; inf where the rule never said stop
    kept: int                                                 # updates of the checkpoint it gives
    gain: tuple[float, float, float]                          # share of the best checkpoint's gain: mean, low, high


class CurveResults(NamedTuple):
    """Hold where a rule stops D curves of losses and the gain it keeps; each array is (D,)."""

    stop: np.ndarray                                          # number of the evaluation at which it stops, or the last
    stops: np.ndarray                                         # whether it ever said stop
    kept: np.ndarray                                          # number of the evaluation whose checkpoint it gives
    gain: np.ndarray                                          # of that checkpoint, as a share of the best one's


def apply_rule(rule: Rule, run: Run) -> RuleResult:
    """Apply a rule to a finished run: to the mean loss, and to that of every resample of the pictures."""
    held = run.validations["validation"]
    losses = np.nan_to_num(held.losses.astype(np.float64).mean(axis=2).T, nan=np.inf)
    of_mean = apply_to_curves(rule, losses.mean(axis=0, keepdims=True))
    low, high = np.quantile(apply_to_curves(rule, resampled_means(losses)).gain, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    stopped = float(held.steps[of_mean.stop[0]]) if of_mean.stops[0] else math.inf
    gain = float(of_mean.gain[0]), float(low), float(high)
    return RuleResult(rule.name, stopped, int(held.steps[of_mean.kept[0]]), gain)


def apply_to_curves(rule: Rule, means: np.ndarray) -> CurveResults:
    """Apply a rule to curves of losses (D, T), each from the untouched base on."""
    says_stop, row = rule.says_stop(means), np.arange(len(means))
    stops = np.asarray(says_stop.any(axis=1))
    stop = np.where(stops, says_stop.argmax(axis=1), means.shape[1] - 1)
    kept = _best_so_far(means)[row, stop] if rule.restores else stop
    best = means[:, 0] - means.min(axis=1)
    gain = np.where(best > 0, (means[:, 0] - means[row, kept]) / np.where(best > 0, best, 1), 1.0)
    return CurveResults(stop, stops, kept, gain)


def _best_so_far(losses: np.ndarray) -> np.ndarray:
    """Return the number of the best evaluation so far (D, T)."""
    lowest = np.minimum.accumulate(losses, axis=1)
    before = np.hstack([np.full((len(losses), 1), np.inf), lowest[:, :-1]])
    return np.maximum.accumulate(np.where(losses < before, np.arange(losses.shape[1]), 0), axis=1)
