"""Judge a run from its fixed-noise losses: a label, since when, the numbers behind it and how sure it is.

What is judged is not the evaluations themselves but the course behind them (`labkit.judge.course`): 2,000 draws of it
that agree with the pictures, the jitter of the run and its evaluations. One rule is applied to each draw. The label is
the one that most draws get, and the confidence is their share; under MIN_CONFIDENCE the verdict is "not enough
evidence". Losses of single steps are never judged: each has a new timestep, which moves it more than learning does.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from labkit.judge.advice import advice
from labkit.judge.course import resampled
from labkit.judge.findings import MIN_EVALUATIONS, Findings, findings, picture_losses, sibling_key, with_stagnation
from labkit.judge.score_text import told
from labkit.judge.verdict_text import (
    DIVERGED,
    HEALTHY,
    LABELS,
    NOTHING_HELD_OUT,
    OVERFITTING,
    OVERSHOOTING,
    STAGNATING,
    UNSURE,
    doubt,
    sentence,
)
from labkit.store.history import Run

__all__ = [
    "DIVERGED", "HEALTHY", "LABELS", "OVERFITTING", "OVERSHOOTING", "STAGNATING", "UNSURE",
    "Verdict", "diagnose", "verdict",
]

OF_BEST_SIBLING = 0.5  # a proportional gain is slow below this share of the best sibling's ...
FAR_BELOW_SIBLING = 0.15  # ... and any gain below this share
MIN_CONFIDENCE = 0.8


@dataclass(frozen=True)
class Verdict:
    """Hold a judgement and what to do; for "not enough evidence" the confidence is that of evidence["leaning"].

    `labkit diagnose --json` gives of each run its path, id and status, and from here label, since_step, confidence,
    evidence, advice, score and sentence. These names stay.
    """

    label: str
    since_step: int | None
    evidence: dict
    confidence: float
    advice: str  # what it means and what to do, in plain words
    seen: str  # what was seen, in one sentence with its numbers
    still_improving: bool = False
    so_far: bool = False  # the run has not come to its last update: what it will do next is not judged
    score: dict = field(default_factory=dict)  # of drawn prompts, as `labkit.judge.score_text.score` gives it

    @property
    def pictures(self) -> str:
        """Say how many prompts are accepted, and where that and the loss disagree; nothing without a score."""
        return told(self.label, self.score)

    @property
    def sentence(self) -> str:
        """Say what to do, what was seen of the losses, and what of the pictures."""
        return " ".join(part for part in (self.advice, self.seen, self.pictures) if part)

    def to_dict(self) -> dict:
        """Return the verdict in a form that strict JSON keeps."""
        return {name: jsonable(value) for name, value in vars(self).items()} | {"sentence": self.sentence}


def diagnose(run: Run, siblings: Iterable[Run] = ()) -> Verdict:
    """Judge a run, against siblings on the same base and pictures where there are any.

    The evidence holds [mean, low, high] of losses in 95 % intervals over pictures and jitter.
    """
    results = findings(run)
    if not results.is_drawn:
        return verdict(results)
    gains = [_sibling_gain(run, other, results.evidence["last_step"]) for other in siblings]
    return verdict(results, max((gain for gain in gains if gain is not None), key=np.mean, default=None))


def verdict(results: Findings, best: np.ndarray | None = None) -> Verdict:
    """Judge a run from what its own losses say.

    best    (images,) what its best sibling had gained on each held-out picture by the run's last evaluation
    """
    return replace(_judged(results, best), score=results.score)


def _judged(results: Findings, best: np.ndarray | None) -> Verdict:
    if results.first_non_finite_step is not None:
        broken = results.first_non_finite_step
        evidence = {"first_non_finite_step": broken} | results.updates
        seen = f"Diverged: at step {broken} the loss or its gradient is no longer a number."
        return Verdict(DIVERGED, broken, evidence, 1.0, advice(DIVERGED, evidence, False, False), seen)
    if not results.is_drawn:
        known = {} if results.is_held_out else {"why": NOTHING_HELD_OUT}
        return _unsure(results, results.evidence | known | results.updates, 0.0)
    siblings = None if best is None else resampled(results.timesteps) @ best
    labels = _labels(results, siblings)
    if results.is_seen_once:
        labels[np.isin(labels, [LABELS.index(OVERSHOOTING), LABELS.index(OVERFITTING)])] = LABELS.index(UNSURE)
    if not results.is_held_out:  # whether it copies cannot be seen, so it is not called healthy either
        labels[np.isin(labels, [LABELS.index(HEALTHY), LABELS.index(OVERFITTING)])] = LABELS.index(UNSURE)
    shares = _shares(labels)
    label = _most_frequent(shares)
    evidence = results.evidence | _beside(results, siblings) | results.updates
    why = _undecided(results, label, shares[label])
    if why:
        evidence["leaning"] = _most_frequent({name: share for name, share in shares.items() if name != UNSURE})
        evidence["why"] = why
        if why == NOTHING_HELD_OUT:
            return _unsure(results, evidence | {"leaning": HEALTHY}, 0.0)
        return _unsure(results, evidence, shares[evidence["leaning"]])
    if siblings is not None and (alone := _most_frequent(_shares(_labels(results, None)))) != label:
        evidence["alone"] = alone
    improving = label == HEALTHY and evidence["change_in_last_quarter"].high < 0
    turn = evidence["best_step"]
    since = {DIVERGED: results.diverged_since, OVERSHOOTING: turn, OVERFITTING: turn}.get(label, 0)
    seen = sentence(label, since, evidence, improving, results.so_far)
    what_to_do = advice(label, evidence, improving, results.so_far)
    return Verdict(label, since, evidence, shares[label], what_to_do, seen, improving, results.so_far)


def _unsure(results: Findings, evidence: dict, confidence: float) -> Verdict:
    what_to_do, seen = advice(UNSURE, evidence, False, results.so_far), doubt(evidence, MIN_EVALUATIONS)
    return Verdict(UNSURE, None, evidence, confidence, what_to_do, seen, so_far=results.so_far)


def _labels(results: Findings, siblings: np.ndarray | None) -> np.ndarray:
    """Return the label (D,) of every drawn course, as places in LABELS. siblings: (D,) gains of the best, if any."""
    return with_stagnation(results.labels, results.is_open & _is_slow(results, siblings), results.is_early)


def _is_slow(results: Findings, siblings: np.ndarray | None) -> np.ndarray:
    """Tell which drawn courses gain too slowly. A run that is the best of its siblings is judged as if alone."""
    gains = results.gains
    if siblings is None:
        return results.is_proportional & (gains < results.little)
    slow_below = np.where(siblings > gains, OF_BEST_SIBLING * siblings, results.little)
    return results.is_proportional & (gains < slow_below) | (gains < FAR_BELOW_SIBLING * siblings)


def _shares(labels: np.ndarray) -> dict[str, float]:
    """Return the share of the drawn courses that got each label."""
    counts = np.bincount(labels, minlength=len(LABELS))
    return dict(zip(LABELS, (counts / len(labels)).tolist(), strict=True))


def _most_frequent(shares: dict[str, float]) -> str:
    return max(shares, key=lambda label: shares[label])


def _beside(results: Findings, siblings: np.ndarray | None) -> dict[str, float]:
    """Return the evidence that compares the run's gain with its best sibling's; none without siblings."""
    if siblings is None:
        return {}
    best = float(siblings.mean())
    return {"share_of_best_sibling": results.evidence["gain"].mean / best if best else math.nan}


def _undecided(results: Findings, label: str, share: float) -> str:
    """Return why the most frequent label cannot be given, as a name that `verdict_text.doubt` knows, or ""."""
    if label != UNSURE:
        return "" if share >= MIN_CONFIDENCE else "uncertain"
    if not results.is_held_out and not results.is_early:
        return NOTHING_HELD_OUT
    return results.why_rising or ("early" if results.is_early else "uncertain")


def _sibling_gain(run: Run, other: Run, step: int) -> np.ndarray | None:
    """Return what a sibling had gained on each picture at a step, or None when it cannot be compared."""
    curve = other.validations.get("validation")
    if other.run_id == run.run_id or sibling_key(run) != sibling_key(other):
        return None
    if curve is None or curve.steps[-1] < step or curve.steps[0] != 0:
        return None
    if not np.array_equal(run.timesteps["validation"], other.timesteps["validation"]):
        return None
    if not np.isfinite(curve.losses).all():
        return None
    return gain_at(step, curve.steps, picture_losses(curve))


def gain_at(step: float, steps: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return what a run had gained on each picture (images,) at a step: losses (T, images) at steps (T,)."""
    right = int(np.clip(np.searchsorted(steps, step), 1, len(steps) - 1))
    share = (step - steps[right - 1]) / (steps[right] - steps[right - 1])
    return losses[0] - (losses[right - 1] * (1 - share) + losses[right] * share)


def jsonable(value: object) -> object:
    """Return a value in a form that strict JSON keeps: tuples as lists, numbers that are not finite as None."""
    if isinstance(value, dict):
        return {name: jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
