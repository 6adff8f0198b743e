"""Judge a run from its fixed-noise losses: a label, since when, the numbers behind it and how sure it is.

Not the evaluations as they came out are judged but the course behind them (`labkit.judge.course`): 2,000 draws of it that agree
with the pictures, the jitter of the run and its evaluations. One rule is applied to each draw. The label is the one that
most draws get, and the confidence is their share; under MIN_CONFIDENCE the verdict is "not enough evidence". Losses of
single steps are never judged: each has a new timestep, which moves it more than learning does.
"""

import math
from dataclasses import dataclass

import numpy as np

from labkit.judge.course import resampled
from labkit.judge.findings import FAMILY, MIN_EVALUATIONS, findings, picture_losses, slowed
from labkit.judge.verdict_text import (
    DIVERGED,
    HEALTHY,
    LABELS,
    OVERFITTING,
    OVERSHOOTING,
    STAGNATING,
    UNSURE,
    doubt,
    sentence,
)

__all__ = ["DIVERGED", "HEALTHY", "LABELS", "OVERFITTING", "OVERSHOOTING", "STAGNATING", "UNSURE", "Verdict", "diagnose", "verdict"]

OF_BEST_SIBLING = 0.5  # a proportional gain is slow below this share of the best sibling's ...
FAR_BELOW_SIBLING = 0.15  # ... and any gain below this share
MIN_CONFIDENCE = 0.8


@dataclass(frozen=True)
class Verdict:
    """Hold a judgement; for "not enough evidence" the confidence is that of evidence["leaning"]."""

    label: str
    since_step: int | None
    evidence: dict
    confidence: float
    sentence: str
    still_improving: bool = False
    so_far: bool = False  # the run has not come to its last update: what it will do next is not judged

    def to_dict(self) -> dict:
        """Return the verdict in a form that strict JSON keeps."""
        return {name: _jsonable(value) for name, value in vars(self).items()}


def diagnose(run, siblings=()) -> Verdict:
    """Judge a run, against siblings on the same base and pictures where there are any.

    run: a `labkit.store.history.Run`. Evidence holds [mean, low, high] of losses in 95 % intervals over pictures and jitter.
    """
    found = findings(run)
    if found.gains is None:
        return verdict(found)
    gains = [_sibling_gain(run, other, found.evidence["last_step"]) for other in siblings]
    return verdict(found, max((gain for gain in gains if gain is not None), key=np.mean, default=None))


def verdict(found, best=None) -> Verdict:
    """Judge a run from its `labkit.judge.findings.Findings`.

    best    (images,) what its best sibling had gained on each held-out picture by the run's last evaluation, if it has one
    """
    if found.first_non_finite_step is not None:
        broken = found.first_non_finite_step
        evidence = {"first_non_finite_step": broken} | found.updates
        return Verdict(DIVERGED, broken, evidence, 1.0, f"Diverged: at step {broken} the loss or its gradient is no longer a number.")
    if found.gains is None:
        evidence = found.evidence | found.updates
        return Verdict(UNSURE, None, evidence, 0.0, doubt(evidence, MIN_EVALUATIONS), so_far=found.so_far)
    siblings = None if best is None else resampled(found.timesteps) @ best
    labels = slowed(found.labels, found.is_open & _is_slow(found, siblings), found.is_early)
    if found.is_seen_once:
        labels[np.isin(labels, [LABELS.index(OVERSHOOTING), LABELS.index(OVERFITTING)])] = LABELS.index(UNSURE)
    shares = _shares(labels)
    label = max(LABELS, key=shares.get)
    evidence = found.evidence | _beside(found, siblings) | found.updates
    why = _undecided(found, label, shares[label])
    if why:
        evidence["leaning"] = max((name for name in LABELS if name != UNSURE), key=shares.get)
        evidence["why"] = why
        return Verdict(UNSURE, None, evidence, shares[evidence["leaning"]], doubt(evidence, MIN_EVALUATIONS), so_far=found.so_far)
    if siblings is not None and (alone := _alone(found)) != label:
        evidence["alone"] = alone
    improving = label == HEALTHY and evidence["change_in_last_quarter"].high < 0
    since = {DIVERGED: found.diverged_since, OVERSHOOTING: evidence["best_step"], OVERFITTING: evidence["best_step"]}.get(label, 0)
    return Verdict(label, since, evidence, shares[label], sentence(label, since, evidence, improving, found.so_far), improving, found.so_far)


def _is_slow(found, siblings) -> np.ndarray:
    """Tell which drawn courses gain too slowly. A run that is itself the best of its siblings is judged as if alone."""
    if siblings is None:
        return found.is_proportional & (found.gains < found.little)
    slow_below = np.where(siblings > found.gains, OF_BEST_SIBLING * siblings, found.little)
    return found.is_proportional & (found.gains < slow_below) | (found.gains < FAR_BELOW_SIBLING * siblings)


def _shares(labels) -> dict[str, float]:
    """Return the share of the drawn courses that got each label."""
    return dict(zip(LABELS, (np.bincount(labels, minlength=len(LABELS)) / len(labels)).tolist()))


def _beside(found, siblings) -> dict:
    """Return what is said of the gain beside that of the best sibling."""
    if siblings is None:
        return {}
    best = float(siblings.mean())
    return {"share_of_best_sibling": found.evidence["gain"].mean / best if best else math.nan}


def _undecided(found, label, share) -> str:
    """Return why the most frequent label cannot be given, by the name that `verdict_text.doubt` knows, or nothing."""
    if label != UNSURE:
        return "" if share >= MIN_CONFIDENCE else "uncertain"
    return found.why_rising or ("early" if found.is_early else "uncertain")


def _alone(found) -> str:
    shares = _shares(slowed(found.labels, found.is_open & _is_slow(found, None), found.is_early))
    return max(LABELS, key=shares.get)


def _sibling_gain(run, other, step) -> np.ndarray | None:
    """Return what a sibling had gained on each picture at a step, or None when it cannot be compared."""
    curve = other.validations.get("validation")
    same = all(run.meta.get(name) == other.meta.get(name) for name in FAMILY)
    if other.run_id == run.run_id or not same or curve is None or curve.steps[-1] < step or curve.steps[0] != 0:
        return None
    if not np.array_equal(run.timesteps["validation"], other.timesteps["validation"]) or not np.isfinite(curve.losses).all():
        return None
    return gain_at(step, curve.steps, picture_losses(curve))


def gain_at(step, steps, losses) -> np.ndarray:
    """Return what a run had gained on each picture (images,) at a step: losses (T, images) at steps (T,)."""
    right = int(np.clip(np.searchsorted(steps, step), 1, len(steps) - 1))
    share = (step - steps[right - 1]) / (steps[right] - steps[right - 1])
    return losses[0] - (losses[right - 1] * (1 - share) + losses[right] * share)


def _jsonable(value):
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
