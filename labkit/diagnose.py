"""Judge a run from its fixed-noise losses: a label, since when, the numbers behind it and how sure it is.

Not the evaluations as they came out are judged but the course behind them (`labkit.course`): 2,000 draws of it that agree
with the pictures, the jitter of the run and its evaluations. One rule is applied to each draw. The label is the one that
most draws get, and the confidence is their share; under MIN_CONFIDENCE the verdict is "not enough evidence". Losses of
single steps are never judged: each has a new timestep, which moves it more than learning does.
"""

import math
from dataclasses import dataclass

import numpy as np

from labkit.course import course, resampled
from labkit.stats import LEVEL, Interval
from labkit.verdict_text import DIVERGED, HEALTHY, LABELS, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE, doubt, sentence

__all__ = ["DIVERGED", "HEALTHY", "LABELS", "OVERFITTING", "OVERSHOOTING", "STAGNATING", "UNSURE", "Verdict", "diagnose"]

DIVERGED_FACTOR = 1.5  # of the loss at step 0, at the last two evaluations
RISE_OF_GAIN = 0.10  # a rise from the minimum counts above this share of what had been gained
SHARED_RISE = 0.25  # overfitting: the probe takes part in less than this share of the rise
NEGLIGIBLE = 0.002  # of the loss at step 0: an eighth of what a fine-tune of Stable Diffusion 1.5 has to gain at all
LITTLE = 0.05  # of the loss at step 0: without siblings a proportional gain is called slow below this share
PROPORTIONAL = 0.7  # gain per unit of rate in the second half, over that in the first
OF_BEST_SIBLING = 0.5  # a proportional gain is slow below this share of the best sibling's ...
FAR_BELOW_SIBLING = 0.15  # ... and any gain below this share
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
    so_far: bool = False  # the run has not come to its last update: what it will do next is not judged

    def to_dict(self) -> dict:
        """Return the verdict in a form that strict JSON keeps."""
        return {name: _jsonable(value) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Draws:
    """Hold what the rules look at: one row for each drawn course, losses as changes since step 0."""

    steps: np.ndarray  # (T,)
    start: float  # mean held-out loss at step 0
    validation: np.ndarray  # (D, T)
    halfway: np.ndarray  # (D,) where half of the rate was spent
    late: np.ndarray  # (D,) after three quarters of the updates
    probe: np.ndarray | None  # (D, T)
    probe_start: float
    seen: np.ndarray  # (T,) the evaluations themselves, mean over pictures
    siblings: np.ndarray | None  # (D,) what the best sibling had gained at the last of these steps


def diagnose(history, siblings=()) -> Verdict:
    """Judge a run, against siblings on the same base and pictures where there are any.

    history: a `labkit.history.History`. Evidence holds [mean, low, high] of losses in 95 % intervals over pictures and jitter.
    """
    broken = _first_non_finite(history)
    curve = history.validations.get("validation")
    so_far = _is_unfinished(history)
    if broken is not None:
        evidence = {"first_non_finite_step": broken} | _updates(history)
        return Verdict(DIVERGED, broken, evidence, 1.0, f"Diverged: at step {broken} the loss or its gradient is no longer a number.")
    seen = 0 if curve is None else len(curve.steps)
    pictures = 0 if curve is None else curve.losses.shape[1]
    if seen < MIN_EVALUATIONS or pictures < 2:
        evidence = {"evaluations": seen, "pictures": pictures} | _updates(history)
        return Verdict(UNSURE, None, evidence, 0.0, doubt(evidence, MIN_EVALUATIONS), so_far=so_far)
    draws = _draws(history, siblings)
    labels = rule(draws)
    if _rise_is_seen_once(draws):
        labels[np.isin(labels, (OVERSHOOTING, OVERFITTING))] = UNSURE
    shares = {name: float(np.mean(labels == name)) for name in LABELS}
    label = max(LABELS, key=shares.get)
    evidence = _evidence(draws, pictures) | _updates(history)
    why = _undecided(draws, labels, shares[label], label)
    if why:
        evidence["leaning"] = max((name for name in LABELS if name != UNSURE), key=shares.get)
        evidence["why"] = why
        return Verdict(UNSURE, None, evidence, shares[evidence["leaning"]], doubt(evidence, MIN_EVALUATIONS), so_far=so_far)
    if draws.siblings is not None and (alone := _alone(draws)) != label:
        evidence["alone"] = alone
    improving = label == HEALTHY and evidence["change_in_last_quarter"].high < 0
    since = {DIVERGED: _diverged_since(draws), OVERSHOOTING: evidence["best_step"], OVERFITTING: evidence["best_step"]}.get(label, 0)
    return Verdict(label, since, evidence, shares[label], sentence(label, since, evidence, improving, so_far), improving, so_far)


def rule(draws, alone=False) -> np.ndarray:
    """Return the label (D,) of every drawn course; the first that applies. alone: as if there were no siblings."""
    losses = draws.validation
    gain, end = -losses.min(axis=1), losses[:, -1]
    rise, negligible = end + gain, NEGLIGIBLE * draws.start
    rises = _rises(draws, rise)
    overfits, overshoots = _kind_of_rise(draws, rise)
    diverged = np.full(len(losses), bool((draws.seen[-2:] > DIVERGED_FACTOR * draws.start).all()))
    flat = np.maximum(np.abs(end), gain) < negligible
    proportional = (draws.halfway - end >= PROPORTIONAL * -draws.halfway) & (end < 0)
    slow = proportional & (-end < _slow_below(draws, alone))
    if draws.siblings is not None and not alone:
        slow |= -end < FAR_BELOW_SIBLING * draws.siblings
    too_early = (flat | proportional | slow) & bool(draws.steps[-1] < MIN_UPDATES)
    rules = [diverged, rises & overfits, rises & overshoots, rises, too_early, flat | slow, end < -negligible]
    return np.select(rules, [DIVERGED, OVERFITTING, OVERSHOOTING, UNSURE, UNSURE, STAGNATING, HEALTHY], UNSURE)


def _rises(draws, rise) -> np.ndarray:
    """Tell which drawn courses end above their lowest by more than a share of what they had gained."""
    return rise > np.maximum(RISE_OF_GAIN * (rise - draws.validation[:, -1]), NEGLIGIBLE * draws.start)


def _slow_below(draws, alone) -> np.ndarray | float:
    """Return the gain under which a proportional one is slow. A run that is itself the best of its siblings is judged as if alone."""
    little = LITTLE * draws.start
    if alone or draws.siblings is None:
        return little
    own = -draws.validation[:, -1]
    return np.where(draws.siblings > own, OF_BEST_SIBLING * draws.siblings, little)


def _kind_of_rise(draws, rise):
    """Tell whether the training pictures stay out of a rise of validation (overfitting) or take part in it (overshooting)."""
    if draws.probe is None:
        return np.zeros_like(rise, bool), np.zeros_like(rise, bool)
    probe, rows = draws.probe, np.arange(len(rise))
    since = probe[:, -1] - probe[rows, draws.validation.argmin(axis=1)]
    gain = -probe.min(axis=1)
    overfits = since < SHARED_RISE * rise
    return overfits, ~overfits & (probe[:, -1] + gain > np.maximum(RISE_OF_GAIN * gain, NEGLIGIBLE * draws.probe_start))


def _rise_is_seen_once(draws) -> bool:
    """Tell whether only the last evaluation lies above the lowest: it may be a spike that the next takes back."""
    best = int(draws.seen.argmin())
    rises = draws.seen[best + 1 :] - draws.seen[best]
    counts = max(RISE_OF_GAIN * (draws.start - draws.seen[best]), NEGLIGIBLE * draws.start)
    return len(rises) < 2 or bool((rises[:-1] < min(counts, rises[-1] / 4)).all())


def _undecided(draws, labels, share, label) -> str:
    """Return why the most frequent label cannot be given, by the name that `verdict_text.doubt` knows, or nothing."""
    if label != UNSURE and share >= MIN_CONFIDENCE:
        return ""
    rises = -draws.validation.min(axis=1) + draws.validation[:, -1] > NEGLIGIBLE * draws.start
    if label == UNSURE and rises.mean() > 0.5:
        ends_lowest = draws.seen.argmin() == len(draws.seen) - 1
        return "no probe" if draws.probe is None else "seen once" if _rise_is_seen_once(draws) and not ends_lowest else "uncertain"
    return "early" if label == UNSURE and draws.steps[-1] < MIN_UPDATES else "uncertain"


def _alone(draws) -> str:
    labels = rule(draws, alone=True)
    return max(LABELS, key=lambda name: float(np.mean(labels == name)))


def _draws(history, siblings) -> Draws:
    """Draw the courses of a run's losses from its evaluations."""
    curve, probe = history.validations["validation"], history.validations.get("probe")
    steps = curve.steps
    if probe is not None and len(common := np.intersect1d(steps, probe.steps)) >= MIN_EVALUATIONS:
        steps = common
    losses = curve.losses[np.isin(curve.steps, steps)]
    spent = _rate_sums(history, steps)
    places = [*steps, np.interp(spent[-1] / 2, spent, steps), 0.75 * steps[-1]]
    weights = resampled(history.timesteps["validation"])
    changes = _changes(losses, weights)
    drawn = course(steps, changes, places)
    probe_draws, probe_start = None, math.nan
    if probe is not None and len(probe.steps) >= MIN_EVALUATIONS:
        of_probe = probe.losses[np.isin(probe.steps, steps)]
        # Jitter moves both sets of pictures together, so what is drawn beside the held-out loss is the gap between the two.
        # Read backwards, since sets of equal size would otherwise be resampled in step, as if they were paired.
        gap = _changes(of_probe, resampled(history.timesteps["probe"]))[::-1] - changes
        probe_draws, probe_start = drawn[:, :-2] + course(steps, gap, steps, stream=1), float(of_probe[0].mean())
    gains = [gain for other in siblings if (gain := _sibling_gain(history, other, steps[-1])) is not None]
    best = max(gains, key=np.mean, default=None)
    seen = losses.astype(np.float64).mean(axis=(1, 2))
    return Draws(steps, float(seen[0]), drawn[:, :-2], drawn[:, -2], drawn[:, -1], probe_draws, probe_start, seen, None if best is None else weights @ best)


def _changes(losses, weights) -> np.ndarray:
    """Return the change since step 0 of the mean loss over resampled pictures: (D, T) of losses (T, images, strata)."""
    pictures = losses.astype(np.float64).mean(axis=2)  # the strata of one picture are not independent
    return weights @ (pictures - pictures[0]).T


def _rate_sums(history, steps) -> np.ndarray:
    """Return the sum of the learning rate applied up to each of steps; the steps themselves where rates are unknown."""
    known = history.steps.get("global_step", np.zeros(0))
    if not len(known) or not np.sum(history.steps["learning_rate"]) > 0:
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
    pictures = curve.losses.astype(np.float64).mean(axis=2)  # (T, images)
    right = int(np.clip(np.searchsorted(curve.steps, step), 1, len(curve.steps) - 1))
    share = (step - curve.steps[right - 1]) / (curve.steps[right] - curve.steps[right - 1])
    return pictures[0] - (pictures[right - 1] * (1 - share) + pictures[right] * share)


def _evidence(draws, pictures) -> dict:
    """Return the numbers behind a verdict; intervals are over pictures and the run's own jitter."""
    best, end = int(draws.seen.argmin()), draws.validation[:, -1]
    rise = end - draws.validation.min(axis=1)
    first = -float(draws.halfway.mean())
    evidence = {
        "evaluations": len(draws.steps), "pictures": pictures, "last_step": int(draws.steps[-1]), "best_step": int(draws.steps[best]),
        "loss_at_start": draws.start, "loss_at_best": float(draws.seen[best]), "loss_at_end": float(draws.seen[-1]),
        "gain": _interval(-end), "rise": _interval(rise), "share_of_draws_that_rise": float(_rises(draws, rise).mean()),
        "change_in_last_quarter": _interval(end - draws.late),
        "second_half_gain_per_rate": float((draws.halfway - end).mean() / first) if first else math.nan,
    }
    if draws.probe is not None:
        evidence["probe_gain"] = _interval(-draws.probe[:, -1])
        evidence["probe_since_best"] = _interval(draws.probe[:, -1] - draws.probe[:, best])
    if draws.siblings is not None:
        share = float(evidence["gain"].mean / draws.siblings.mean()) if draws.siblings.mean() else math.nan
        evidence["share_of_best_sibling"] = share
    return evidence


def _interval(values) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))


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


def _is_unfinished(history) -> bool:
    """Tell whether a run has not made all of its updates."""
    steps, config = history.steps.get("global_step", ()), history.config
    last = config.max_train_steps if config is not None and config.is_resolved else None
    return last is not None and (int(steps[-1]) if len(steps) else 0) < last


def _diverged_since(draws) -> int:
    return int(draws.steps[np.argmax(draws.seen > DIVERGED_FACTOR * draws.start)])


def _jsonable(value):
    if isinstance(value, dict):
        return {name: _jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
