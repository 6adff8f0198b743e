"""Judge a run from its fixed-noise losses: a label, since when, the numbers behind it and how sure it is.

The same rule is applied to the mean losses and to 2,000 resamples of the pictures. The label is what the rule says of
the means, the confidence is the share of resamples of which it says the same. Losses of single steps are never judged:
each has a new timestep, which moves it more than learning does.
"""

import math
from dataclasses import dataclass

import numpy as np

from labkit.stats import Interval, resampled_means, spread

DIVERGED, OVERSHOOTING, STAGNATING = "diverged", "overshooting", "stagnating"
OVERFITTING, HEALTHY, UNSURE = "overfitting", "healthy", "not enough evidence"
LABELS = (DIVERGED, OVERSHOOTING, STAGNATING, OVERFITTING, HEALTHY, UNSURE)

DIVERGED_FACTOR = 1.5  # of the loss at step 0 ...
DIVERGED_EVALUATIONS = 2  # ... at so many evaluations
RISE_OF_GAIN = 0.10  # a rise from the minimum counts above this share of what had been gained ...
RISE_OF_START = 0.005  # ... and above this share of the loss at step 0
SURE_RISE = 5  # a rise seen at one evaluation only must be so many times larger
SHARED_RISE = 0.25  # overfitting: the probe takes part in less than this share of the rise
NO_CHANGE = 0.01  # of the loss at step 0; all there is to gain may be a few times this on a large base
PROPORTIONAL = 0.8  # gain per unit of rate in the second half, over that in the first
OF_BEST_SIBLING = 0.5  # a run with less than this share of the best sibling's gain is slow
MIN_EVALUATIONS = 3
MIN_UPDATES = 50  # before them every run is still in its first, proportional stretch
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

    def to_dict(self) -> dict:
        """Return the verdict in a form that strict JSON keeps."""
        return {name: _jsonable(value) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Curves:
    """Hold one curve per resample of the pictures: validation and probe at the same evaluations."""

    steps: np.ndarray  # (T,)
    rate_sums: np.ndarray  # (T,) sum of the learning rate up to each evaluation
    validation: np.ndarray  # (D, T)
    probe: np.ndarray | None  # (D, T)
    best_sibling_gain: np.ndarray | None  # (D,) at the last of these steps


def diagnose(history, siblings=()) -> Verdict:
    """Judge a run, against siblings on the same base and pictures where there are any.

    history: a `labkit.history.History`. Evidence holds [mean, low, high] of losses in 95 % intervals over pictures.
    """
    broken = _first_non_finite(history)
    curve = history.validations.get("validation")
    if broken is not None:
        evidence = {"first_non_finite_step": broken} | _updates(history)
        return Verdict(DIVERGED, broken, evidence, 1.0, f"Diverged: at step {broken} the loss or its gradient is no longer a number.")
    if curve is None or len(curve.steps) < 2:
        evidence = {"evaluations": 0 if curve is None else len(curve.steps)} | _updates(history)
        return Verdict(UNSURE, None, evidence, 0.0, "Not enough evidence: held-out pictures have been measured fewer than two times.")
    pictures = _Pictures(history, siblings)
    means, resamples = pictures.curves(np.mean), pictures.curves(resampled_means)
    label = str(_labels(means)[0])
    drawn = _labels(resamples)
    evidence = _evidence(pictures, means, resamples) | _updates(history)
    confidence = float(np.mean(drawn == label))
    doubt = _doubt(label, confidence, evidence, len(means.steps))
    if doubt:
        shares = {name: float(np.mean(drawn == name)) for name in LABELS if name != UNSURE}
        evidence["leaning"] = max(shares, key=shares.get)
        label, confidence = UNSURE, shares[evidence["leaning"]]
    improving = label == HEALTHY and evidence["change_in_last_quarter"].high < 0
    since = {DIVERGED: _diverged_since(means), OVERSHOOTING: evidence["best_step"], OVERFITTING: evidence["best_step"], UNSURE: None}.get(label, 0)
    return Verdict(label, since, evidence, confidence, doubt or _sentence(label, since, evidence, improving), improving)


def _labels(curves) -> np.ndarray:
    """Return the label (D,) of every resample, the first rule that applies."""
    losses, column = curves.validation, np.arange(len(curves.validation))
    start, last, best = losses[:, 0], losses[:, -1], losses.argmin(axis=1)
    lowest = losses[column, best]
    threshold = np.maximum(RISE_OF_GAIN * (start - lowest), RISE_OF_START * start)
    behind = np.arange(losses.shape[1]) > best[:, None]
    evaluations_above = (behind & (losses - lowest[:, None] > threshold[:, None])).sum(axis=1)
    rises = last - lowest > threshold
    rises_surely = rises & ((evaluations_above >= 2) | (last - lowest > SURE_RISE * threshold))
    overfits, overshoots = _kind_of_rise(curves, best, last - lowest)
    above = (losses > DIVERGED_FACTOR * start[:, None]).sum(axis=1)
    diverged = (above >= DIVERGED_EVALUATIONS) & (last > start)
    flat = np.maximum(np.abs(last - start), start - lowest) < NO_CHANGE * start
    slow, too_early = _proportional(curves)
    rules = [diverged, rises_surely & overfits, rises_surely & overshoots, rises, flat, slow, too_early, last < start]
    return np.select(rules, [DIVERGED, OVERFITTING, OVERSHOOTING, UNSURE, STAGNATING, STAGNATING, UNSURE, HEALTHY], UNSURE)


def _kind_of_rise(curves, best, rise):
    """Tell whether the training pictures stay out of a rise of validation (overfitting) or take part in it (overshooting)."""
    if curves.probe is None:
        return np.zeros_like(rise, bool), np.zeros_like(rise, bool)
    probe, column = curves.probe, np.arange(len(rise))
    since = probe[:, -1] - probe[column, best]
    gain, probe_rise = probe[:, 0] - probe.min(axis=1), probe[:, -1] - probe.min(axis=1)
    overfits = since < SHARED_RISE * rise
    return overfits, ~overfits & (probe_rise > np.maximum(RISE_OF_GAIN * gain, RISE_OF_START * probe[:, 0]))


def _proportional(curves):
    """Tell whether the gain is still proportional to the sum of the rate: (slow, too early to call it slow)."""
    losses = curves.validation
    half = _at(curves.rate_sums, losses, curves.rate_sums[-1] / 2)
    proportional = (half - losses[:, -1] >= PROPORTIONAL * (losses[:, 0] - half)) & (losses[:, -1] < losses[:, 0])
    if curves.best_sibling_gain is not None:
        slower = losses[:, 0] - losses[:, -1] < OF_BEST_SIBLING * curves.best_sibling_gain
        return proportional & slower, np.zeros_like(proportional)
    is_early = curves.steps[-1] < MIN_UPDATES
    return proportional & (not is_early), proportional & is_early


def _at(axis, losses, where) -> np.ndarray:
    """Interpolate losses (D, T) at one place of an axis (T,)."""
    right = int(np.clip(np.searchsorted(axis, where), 1, len(axis) - 1))
    width = axis[right] - axis[right - 1]
    share = (where - axis[right - 1]) / width if width else 1.0
    return losses[:, right - 1] * (1 - share) + losses[:, right] * share


class _Pictures:
    """Hold losses per picture, from which curves of means or of resamples are made."""

    def __init__(self, history, siblings):
        curve, probe = history.validations["validation"], history.validations.get("probe")
        self.steps, self.validation, self.probe = curve.steps, _per_picture(curve), None
        if probe is not None:
            common = np.intersect1d(curve.steps, probe.steps)
            if len(common) >= 2:
                self.steps = common
                self.validation = self.validation[:, np.isin(curve.steps, common)]
                self.probe = _per_picture(probe)[:, np.isin(probe.steps, common)]
        self.rate_sums = _rate_sums(history, self.steps)
        self.siblings = [gain for other in siblings if (gain := _sibling_gain(history, other, self.steps[-1])) is not None]

    def curves(self, average) -> Curves:
        """Return the curves under `average`, either np.mean (D = 1) or resampled_means."""

        def averaged(losses):
            return losses.mean(axis=0, keepdims=True) if average is np.mean else average(losses)

        best = max((averaged(gain[:, None])[:, 0] for gain in self.siblings), key=np.mean, default=None)
        probe = None
        if self.probe is not None:
            # Read backwards, since sets of equal size would otherwise be resampled in step, as if they were paired.
            probe = averaged(self.probe)[::-1]
        return Curves(self.steps, self.rate_sums, averaged(self.validation), probe, best)


def _per_picture(curve) -> np.ndarray:
    """Return (images, T): the mean over the strata of each picture."""
    return np.asarray(curve.losses, dtype=np.float64).mean(axis=2).T


def _rate_sums(history, steps) -> np.ndarray:
    """Return the sum of the learning rate applied up to each of steps; the steps themselves where rates are unknown."""
    known = history.steps.get("global_step", np.zeros(0))
    if not len(known):
        return steps.astype(np.float64)
    return np.interp(steps, [0, *known], [0, *np.cumsum(history.steps["learning_rate"])])


def _sibling_gain(history, other, step) -> np.ndarray | None:
    """Return what a sibling had gained on each picture at a step, or None when it cannot be compared."""
    curve = other.validations.get("validation")
    same = all(history.meta.get(name) == other.meta.get(name) for name in ("base_fingerprint", "data_fingerprint", "measured_fingerprint"))
    if other.run_id == history.run_id or not same or curve is None or curve.steps[-1] < step or curve.steps[0] != 0:
        return None
    if not np.array_equal(history.timesteps["validation"], other.timesteps["validation"]) or not np.isfinite(curve.losses).all():
        return None
    losses = _per_picture(curve)
    return losses[:, 0] - _at(curve.steps, losses, step)


def _evidence(pictures, means, resamples) -> dict:
    """Return the numbers behind a verdict; intervals are over pictures."""

    def interval(function, n):
        return spread(float(function(means)[0]), function(resamples), n)

    best, n = int(np.argmin(means.validation[0])), len(pictures.validation)
    quarter = 0.75 * means.steps[-1]
    evidence = {
        "evaluations": len(means.steps), "pictures": n, "last_step": int(means.steps[-1]), "best_step": int(means.steps[best]),
        "loss_at_start": float(means.validation[0, 0]), "loss_at_best": float(means.validation[0, best]), "loss_at_end": float(means.validation[0, -1]),
        "gain": interval(lambda c: c.validation[:, 0] - c.validation[:, -1], n),
        "rise": interval(lambda c: c.validation[:, -1] - c.validation[:, best], n),
        "change_in_last_quarter": interval(lambda c: c.validation[:, -1] - _at(c.steps, c.validation, quarter), n),
        "second_half_gain_per_rate": _ratio(means),
    }
    if means.probe is not None:
        evidence["probe_gain"] = interval(lambda c: c.probe[:, 0] - c.probe[:, -1], len(pictures.probe))
        evidence["probe_since_best"] = interval(lambda c: c.probe[:, -1] - c.probe[:, best], len(pictures.probe))
    if means.best_sibling_gain is not None:
        evidence["share_of_best_sibling"] = float(evidence["gain"].mean / means.best_sibling_gain[0]) if means.best_sibling_gain[0] else math.nan
    return evidence


def _ratio(means) -> float:
    """Return the gain per unit of rate in the second half over that in the first."""
    half = _at(means.rate_sums, means.validation, means.rate_sums[-1] / 2)[0]
    first = means.validation[0, 0] - half
    return float((half - means.validation[0, -1]) / first) if first else math.nan


def _updates(history) -> dict:
    """Return what the updates looked like: relative size near the end, and how many gradients were clipped."""
    steps = history.steps
    if not len(steps.get("update_norm", ())):
        return {}
    tail = steps["update_norm"][-max(1, len(steps["update_norm"]) // 4) :]
    evidence = {"updates": int(steps["global_step"][-1]), "relative_update_in_last_quarter": float(np.median(tail))}
    if history.config is not None and history.config.max_grad_norm:
        evidence["clipped_frac"] = float(np.mean(steps["grad_norm"] > history.config.max_grad_norm))
    return evidence


def _first_non_finite(history) -> int | None:
    """Return the first step at which a loss or a gradient was not a number."""
    found = []
    for name in ("loss", "grad_norm"):
        column = history.steps.get(name, np.zeros(0))
        found += list(history.steps["global_step"][~np.isfinite(column)][:1]) if len(column) else []
    for curve in history.validations.values():
        found += list(curve.steps[~np.isfinite(curve.losses).all(axis=(1, 2))][:1])
    if not found and history.stopped is not None and history.stopped.reason == DIVERGED:
        found = [history.stopped.global_step]
    return int(min(found)) if found else None


def _diverged_since(means) -> int:
    return int(means.steps[np.argmax(means.validation[0] > DIVERGED_FACTOR * means.validation[0, 0])])


def _doubt(label, confidence, evidence, evaluations) -> str:
    """Return why a label cannot be given, or nothing."""
    if label == DIVERGED:
        return ""
    if evaluations < MIN_EVALUATIONS:
        return f"Not enough evidence: {evaluations} evaluations of held-out pictures; {MIN_EVALUATIONS} are needed."
    if label == UNSURE and evidence["rise"].mean > 0 and "probe_gain" not in evidence:
        return "Not enough evidence: held-out loss rises, but without the loss on training pictures overfitting and overshooting look alike."
    if label == UNSURE and evidence["last_step"] < MIN_UPDATES and evidence["gain"].mean > 0 and evidence["rise"].mean == 0:
        return f"Not enough evidence: after {evidence['last_step']} updates the loss still falls in proportion to the rate, as it does early in every run."
    if label == UNSURE:
        return f"Not enough evidence: the end lies {_signed(evidence['rise'])} above the lowest loss, which neither shows a rise nor rules it out."
    effect = evidence["rise"] if label in (OVERSHOOTING, OVERFITTING) else evidence["gain"]
    is_flat = label == STAGNATING and max(-effect.low, effect.high) < NO_CHANGE * evidence["loss_at_start"]
    if confidence < MIN_CONFIDENCE or not (effect.excludes_zero or is_flat):
        return f"Not enough evidence: it looks {label}, but {_signed(effect)} over {evidence['pictures']} pictures is too uncertain."
    return ""


def _sentence(label, since, evidence, improving) -> str:
    """Say what was seen in one sentence with its numbers."""
    start, last, gain, rise = (evidence[name] for name in ("loss_at_start", "loss_at_end", "gain", "rise"))
    if label == DIVERGED:
        return f"Diverged since step {since}: held-out loss went from {start:.4g} to {last:.4g}, {last / start:.2g} times the untrained base's."
    if label == OVERSHOOTING:
        return f"Overshooting since step {since}: held-out loss rose by {_signed(rise)} from its lowest, and on training pictures by {_signed(evidence['probe_since_best'])}."
    if label == OVERFITTING:
        return f"Overfitting since step {since}: held-out loss rose by {_signed(rise)} from its lowest, while on training pictures it changed by {_signed(evidence['probe_since_best'])}."
    if label == STAGNATING and abs(gain.mean) < NO_CHANGE * start:
        return f"Stagnating: held-out loss fell by {_signed(gain)}, under {NO_CHANGE:.0%} of its {start:.4g} at the start."
    if label == STAGNATING:
        share = evidence.get("share_of_best_sibling")
        beside = f", and is {share:.0%} of the best sibling's" if share is not None else ""
        return f"Stagnating: the gain of {_signed(gain)} still grows in proportion to the rate spent ({evidence['second_half_gain_per_rate']:.2g} times the first half's in the second){beside}."
    return f"Healthy: held-out loss fell by {_signed(gain)} from {start:.4g}" + (", and still falls." if improving else ", and has levelled off.")


def _signed(interval: Interval) -> str:
    """Write an interval as "0.021 (0.015 to 0.027)"."""
    return f"{interval.mean:.2g} ({interval.low:.2g} to {interval.high:.2g})"


def _jsonable(value):
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
