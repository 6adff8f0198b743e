"""Judge a run of another trainer by its log: how large its noise is, and what is seen beyond that.

Where the log has a validation loss on fixed noise, courses that agree with its points are drawn
(`labkit.judge.log_course`), one rule is applied to each, and a label is given where enough of them get it. Every
size is held against what the log itself shows, its noise and the gain of this run: on Stable Diffusion 1.5 all that a
fine-tune has to gain is about 1.6 % of the loss, on other bases it is something else. The one size that is given is
what counts as nothing at all, where no gain can be measured.

Where there is the training loss alone, only a run that broke is called so. Each of its steps has new pictures, new
noise and a new timestep, which move it more than learning does.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from labkit.judge.diagnose import jsonable
from labkit.judge.findings import DIVERGED_FACTOR, NEGLIGIBLE
from labkit.judge.foreign_text import advice, seen
from labkit.judge.log_course import LogCourse, log_course
from labkit.judge.next_log import next_log
from labkit.judge.stats import LEVEL, Interval
from labkit.judge.training_loss import TrainingLoss, broke_at, training_loss
from labkit.judge.verdict_text import DIVERGED, HEALTHY, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE
from labkit.store.foreign_logs import ForeignLog, rate_at
from labkit.store.log_epochs import is_by_epoch
from labkit.store.log_series import Series
from labkit.store.log_tags import plain

MIN_POINTS = 5                                                # of fewer, noise and course cannot be told apart
MIN_CONFIDENCE = 0.8                                          # share of the courses that must get the label
MEASURED = 0.975                                              # share of the courses in which a gain must be one
LOST = 1 / 3                                                  # of what was gained: losing more again is a rise
STILL_FALLING = 0.4                                           # gain of the second half over the first: has not slowed
SHARED = 0.5                                                  # of a rise: training pictures take part in that much
RISES = (OVERFITTING, OVERSHOOTING)
CAUTIONS = {  # by tag in plain form; kohya sd-scripts: train_network.py, LossRecorder of library/train_util.py
    "loss_validation_step_average": "kohya's step average keeps the validations of the first epoch in it to the end: "
                                    "changes are larger than the curve shows.",
}
FAR_LOST = 8.0                                                # times the gain: more than overfitting is likely to lose


@dataclass(frozen=True)
class LogVerdict:
    """Hold a judgement on a log.

    For "not enough evidence" the confidence is that of evidence["leaning"], 0 where there is none. What `labkit
    diagnose --json` gives of a log is described in docs/logs.md; those names stay.
    """

    label: str
    confidence: float
    since_step: int | None
    evidence: dict
    advice: str
    seen: str
    cautions: tuple[str, ...] = ()
    course: LogCourse | None = field(default=None, compare=False, repr=False)

    @property
    def sentence(self) -> str:
        """Return advice and observation as one text."""
        return " ".join(part for part in (self.advice, self.seen) if part)

    def to_dict(self) -> dict:
        """Return the verdict in a form that strict JSON keeps."""
        plain = {"label": self.label, "confidence": self.confidence, "since_step": self.since_step}
        evidence = {name: jsonable(value) for name, value in self.evidence.items()}
        return plain | {"evidence": evidence, "advice": self.advice, "sentence": self.sentence,
                        "cautions": list(self.cautions)}


def judge_log(log: ForeignLog) -> LogVerdict:
    """Judge a log by its validation loss, or, where it has none, say whether it broke and what is missing."""
    training = training_loss(log.train) if log.train is not None else None
    evidence = training.evidence if training is not None else {}
    ends = (broke_at(log.validation), None if training is None else training.broke_at)
    broken = [step for step in ends if step is not None]
    if broken:
        return _verdict(log, DIVERGED, 1.0, min(broken), {"reason": "not finite"} | evidence)
    if log.validation is None:
        if training is not None and training.exploded_at is not None:
            return _verdict(log, DIVERGED, 1.0, training.exploded_at, {"reason": "explosion"} | evidence)
        return _verdict(log, UNSURE, 0.0, None, {"reason": "training loss alone"} | evidence)
    return _judge_validation(log, log.validation, training)


def _judge_validation(log: ForeignLog, curve: Series, training: TrainingLoss | None) -> LogVerdict:
    finite = np.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite]
    evidence: dict = {"evaluations": len(steps)} | (training.evidence if training is not None else {})
    if len(steps) < MIN_POINTS:
        return _verdict(log, UNSURE, 0.0, None, {"reason": "few points"} | evidence)
    course = log_course(steps, values, np.array([_halfway(log, steps)]))
    evidence |= _evidence(course, steps, values)
    learned_by_heart = log.probe is not None and len(log.probe) and log.probe.values[-1] < log.probe.values[0]
    # A multiple of a loss is a bound only where it is above 0, which some weighted losses are not.
    if values[0] > 0 and (values[-2:] > DIVERGED_FACTOR * values[0]).all() and not learned_by_heart:
        since = int(steps[np.argmax(values > DIVERGED_FACTOR * values[0])])
        return _verdict(log, DIVERGED, 1.0, since, {"reason": "explosion"} | evidence, course)
    probe = _probe_rise(log, course)
    if probe is not None:
        evidence["probe_since_best"] = _interval(probe)
    shares = _shares(course, values, probe)
    label = max(shares, key=lambda name: shares[name])
    # How sure a rise is does not depend on what it is called: of its two names, the likelier.
    sure = sum(shares[name] for name in RISES) if label in RISES else shares[label]
    best = int(course.steps[course.best])
    if label == UNSURE or sure < MIN_CONFIDENCE or _is_seen_once(label, course, values, steps):
        leaning = max((name for name in shares if name != UNSURE), key=lambda name: shares[name])
        unsure = {"reason": "uncertain", "leaning": leaning if shares[leaning] else None}
        return _verdict(log, UNSURE, shares[leaning], None, unsure | evidence, course)
    return _verdict(log, label, sure, best if label in RISES else int(steps[0]), evidence, course)


def _shares(course: LogCourse, values: np.ndarray, probe: np.ndarray | None) -> dict[str, float]:
    """Return the share of the drawn courses that get each label."""
    first, best, end, half = (course.draws[:, at] for at in (0, course.best, len(course.steps) - 1, -1))
    gain, rise, start = first - best, end - best, abs(float(values[0]))
    is_gain = float((gain > 0).mean()) >= MEASURED and float(gain.mean()) > 2 * course.noises[0]
    if not is_gain:
        lost = rise > np.maximum(NEGLIGIBLE * start, 2 * course.noise)
        shared = np.ones(len(rise), bool) if probe is None else probe > SHARED * rise
        flat = ~lost & (np.abs(end - first) <= NEGLIGIBLE * start)
        return _shared({OVERSHOOTING: lost & shared, OVERFITTING: lost & ~shared, STAGNATING: flat,
                        UNSURE: ~(lost | flat)})
    lost = rise > LOST * gain
    shared = rise > FAR_LOST * gain if probe is None else probe > SHARED * rise
    falling = ~lost & (half - end > STILL_FALLING * (first - half))
    return _shared({OVERFITTING: lost & ~shared, OVERSHOOTING: lost & shared, STAGNATING: falling,
                    HEALTHY: ~(lost | falling)})


def _shared(labels: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(draws.mean()) for name, draws in labels.items()}


def _is_seen_once(label: str, course: LogCourse, values: np.ndarray, steps: np.ndarray) -> bool:
    """Tell whether only the last point shows a rise, which the next may take back."""
    if label not in RISES:
        return False
    best = float(course.mean[course.best])
    after = values[steps > course.steps[course.best]]
    return len(after) < 2 or bool(after[-2] - best < LOST * (after[-1] - best))


def _halfway(log: ForeignLog, steps: np.ndarray) -> float:
    """Return the step by which half of the learning rate was spent; half of the steps where no rates are logged."""
    spent = rate_at(log, steps)
    if spent is None or not spent[-1] > spent[0]:
        return float(steps[0] + steps[-1]) / 2
    half = float(np.interp((spent[0] + spent[-1]) / 2, spent, steps))
    return min(max(half, float(steps[1])), float(steps[-2]))


def _probe_rise(log: ForeignLog, course: LogCourse) -> np.ndarray | None:
    """Return how much the loss on training pictures rose since the best validation (DRAWS,)."""
    probe = log.probe
    if probe is None or len(probe) < MIN_POINTS or not np.isfinite(probe.values).all():
        return None
    drawn = log_course(probe.steps, probe.values, np.array([course.steps[course.best], course.steps[-1]]))
    return drawn.draws[:, -1] - drawn.draws[:, -2]


def _evidence(course: LogCourse, steps: np.ndarray, values: np.ndarray) -> dict:
    """Return the numbers behind a verdict; intervals are over the courses that agree with the points."""
    first, best, end, half = (course.draws[:, at] for at in (0, course.best, len(course.steps) - 1, -1))
    gain = float((first - best).mean())
    before = float((first - half).mean())
    return {
        "first_step": int(steps[0]), "last_step": int(steps[-1]), "best_step": int(course.steps[course.best]),
        "loss_at_start": float(first.mean()), "loss_at_best": float(best.mean()), "loss_at_end": float(end.mean()),
        "noise": course.noise, "noise_to_gain": course.noise / gain if gain > 0 else math.inf,
        "gain": _interval(first - best), "rise": _interval(end - best),
        "second_half_gain": float((half - end).mean()) / before if before > 0 else math.nan,
    }


def _interval(draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(draws.mean()), float(low), float(high))


def _verdict(log: ForeignLog, label: str, confidence: float, since: int | None, evidence: dict,
             course: LogCourse | None = None) -> LogVerdict:
    reason = evidence.get("reason", "")
    missing = next_log(log.trainer) if label == UNSURE and reason != "uncertain" else ""
    what_to_do = " ".join(part for part in (advice(label, evidence, log.probe is not None), missing) if part)
    what_was_seen = seen(label, since, evidence)
    return LogVerdict(label, confidence, since, evidence, what_to_do, what_was_seen, _cautions(log), course)


def _cautions(log: ForeignLog) -> tuple[str, ...]:
    """Return the known weaknesses of the log's tags and steps, by which they tell less than they seem to."""
    if log.validation is None or not len(log.validation):
        return ()
    tag, last, end = log.validation.tag, float(log.validation.steps[-1]), log.trained_to
    cautions = [CAUTIONS[plain(tag)]] if plain(tag) in CAUTIONS else []
    if end is None and is_by_epoch(tag):
        cautions.append(f"{tag} is logged by epochs, and nothing in this log counts steps: what is called a step here "
                        "may be an epoch.")
    if end is not None and not log.has_one_axis:
        unused = ", so that learning rates were not used" if log.rate else ""
        cautions.append(f"{tag} ends at step {last:,.0f} and the training at step {end:,.0f}: it may count something "
                        f"else than steps, such as epochs{unused}.")
    return tuple(cautions)
