"""What the losses of one run say by themselves: courses drawn from them, and the rule applied to each.

This is the larger part of the work behind a verdict. Other runs are not looked at here: `labkit.judge.diagnose` makes
the verdict of it and of what the best sibling had gained.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from labkit.design.adapter_start import beginning, is_file, named
from labkit.files.content import sha256_of_texts
from labkit.judge.course import course, resampled
from labkit.judge.score_text import score
from labkit.judge.stats import LEVEL, Interval
from labkit.judge.verdict_text import DIVERGED, HEALTHY, LABELS, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE
from labkit.store.history import Curve, Run

FAMILY = ("base_fingerprint", "data_fingerprint", "measured_fingerprint")  # siblings are on the same base and pictures
DIVERGED_FACTOR = 1.5  # of the loss at step 0, at the last two evaluations
RISE_OF_GAIN = 0.10  # a rise from the minimum counts above this share of what had been gained
SHARED_RISE = 0.25  # overfitting: the probe takes part in less than this share of the rise
NEGLIGIBLE = 0.002  # of the loss at step 0: an eighth of what a fine-tune of Stable Diffusion 1.5 has to gain at all
LITTLE = 0.05  # of the loss at step 0: without siblings a proportional gain is called slow below this share
PROPORTIONAL = 0.7  # gain per unit of rate in the second half, over that in the first
MIN_EVALUATIONS = 3
MIN_UPDATES = 50  # before them every run is still in its first, proportional stretch
PARTS = 5  # in which all draws are computed

_nothing_drawn = partial(np.zeros, 0)


@dataclass(frozen=True, eq=False)
class Findings:
    """Hold what one run says by itself: D drawn courses, none of them where there are too few evaluations."""

    family: str | None  # the same for runs on the same base and pictures; None for a run that was never evaluated
    steps: np.ndarray | None  # (T,) of its evaluations; None where no other run may be held against it
    losses: np.ndarray | None  # (T, images) of each held-out picture at these steps
    so_far: bool  # the run has not come to its last update
    updates: dict  # evidence about the updates
    evidence: dict  # about the evaluations; intervals are over pictures and the run's own jitter
    first_non_finite_step: int | None = None
    timesteps: np.ndarray = field(default_factory=_nothing_drawn)  # (images, strata) of the held-out pictures
    labels: np.ndarray = field(default_factory=_nothing_drawn)  # (D,) as places in LABELS, unless the gain is slow
    is_open: np.ndarray = field(default_factory=_nothing_drawn)  # (D,) neither diverged nor rising: slow would decide
    is_proportional: np.ndarray = field(default_factory=_nothing_drawn)  # (D,) the gain follows the rate spent
    gains: np.ndarray = field(default_factory=_nothing_drawn)  # (D,) at the last evaluation
    diverged_since: int | None = None  # the step, where it diverged
    is_seen_once: bool = False  # only the last evaluation lies above the lowest
    why_rising: str = ""  # why a rise cannot be named, as `verdict_text.doubt` knows it; "" where few courses rise
    score: dict = field(default_factory=dict)  # of `labkit.judge.score_text.score`; the label does not follow from it
    is_held_out: bool = True  # what was measured on was not trained on

    @property
    def is_drawn(self) -> bool:
        """Tell whether there were enough evaluations to draw courses."""
        return len(self.gains) > 0

    @property
    def is_early(self) -> bool:
        """Tell whether the run is still in its first, proportional stretch."""
        return self.evidence["last_step"] < MIN_UPDATES

    @property
    def little(self) -> float:
        """Return the gain below which a run without siblings stagnates, if it gains in proportion to its rate."""
        return LITTLE * self.evidence["loss_at_start"]


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


def findings(run: Run) -> Findings:
    """Return what the losses of a run say by themselves."""
    curve = run.validations.get("validation")
    family, steps, losses = None, None, None
    if curve is not None:
        timesteps = run.timesteps["validation"].tolist()
        family = sha256_of_texts([*sibling_key(run), timesteps])
        if curve.steps[0] == 0 and np.isfinite(curve.losses).all():
            steps, losses = curve.steps, picture_losses(curve)
    results = partial(Findings, family, steps, losses, _is_unfinished(run), _updates(run), score=score(run),
                      is_held_out=run.is_held_out)
    broken = _first_non_finite(run)
    if broken is not None:
        return results({}, first_non_finite_step=broken)
    evaluations, pictures = (0, 0) if curve is None else curve.losses.shape[:2]
    if evaluations < MIN_EVALUATIONS or pictures < 2:
        return results({"evaluations": evaluations, "pictures": pictures} | _measured_on(run))
    draws = draws_of(run)
    labels, is_open, is_proportional = _ruled(draws)
    return results(_evidence(draws, pictures) | _begun(run) | _measured_on(run), timesteps=run.timesteps["validation"],
                   labels=labels, is_open=is_open, is_proportional=is_proportional, gains=-draws.validation[:, -1],
                   diverged_since=_diverged_since(draws), is_seen_once=_rise_is_seen_once(draws),
                   why_rising=_why_rising(draws))


def sibling_key(run: Run) -> tuple:
    """Return the values that two runs must share to be siblings: base, pictures, and their adapters' first file."""
    begun = run.config.init_lora_weights
    return (*(run.meta.get(name) for name in FAMILY), *([named(begun)] if is_file(begun) else []))


def _measured_on(run: Run) -> dict[str, str]:
    """Return the evidence on which pictures were measured, where these are not held out."""
    return {} if run.is_held_out else {"measured_on": run.measured_on}


def _begun(run: Run) -> dict[str, str]:
    """Return the evidence on where a run begins, if that is not the untouched base."""
    begun = run.config.init_lora_weights
    return {"begins_at": beginning(begun)} if is_file(begun) else {}


def picture_losses(curve: Curve) -> np.ndarray:
    """Return the loss of each picture (T, images) in float64: the strata of one picture are not independent."""
    return curve.losses.astype(np.float64).mean(axis=2)


def rule(draws: Draws) -> np.ndarray:
    """Return the label (D,) of every drawn course, as that of a run without siblings."""
    labels, is_open, is_proportional = _ruled(draws)
    is_slow = is_proportional & (-draws.validation[:, -1] < LITTLE * draws.start)
    return np.array(LABELS)[with_stagnation(labels, is_open & is_slow, bool(draws.steps[-1] < MIN_UPDATES))]


def with_stagnation(labels: np.ndarray, is_slow: np.ndarray, is_early: bool) -> np.ndarray:
    """Relabel draws (D,) whose gain is too slow as stagnating, early in a run as "not enough evidence".

    labels    (D,) as places in LABELS, as are those that are returned
    """
    return np.where(is_slow, LABELS.index(UNSURE if is_early else STAGNATING), labels)


def _ruled(draws: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `labels`, `is_open` and `is_proportional` of `Findings`; the first rule that a draw meets labels it."""
    losses = draws.validation
    gain, end = -losses.min(axis=1), losses[:, -1]
    rise, negligible = end + gain, NEGLIGIBLE * draws.start
    rises = _rises(draws, rise)
    overfits, overshoots = _kind_of_rise(draws, rise)
    # Held-out loss far above its start with training pictures still below theirs has learned those by heart.
    by_heart = np.zeros(len(losses), bool) if draws.probe is None else draws.probe[:, -1] < 0
    diverged = (draws.seen[-2:] > DIVERGED_FACTOR * draws.start).all() & ~by_heart
    flat = np.maximum(np.abs(end), gain) < negligible
    proportional = (draws.halfway - end >= PROPORTIONAL * -draws.halfway) & (end < 0)
    too_early = (flat | proportional) & bool(draws.steps[-1] < MIN_UPDATES)
    rules = [diverged, rises & overfits, rises & overshoots, rises, too_early, flat, end < -negligible]
    labels = [DIVERGED, OVERFITTING, OVERSHOOTING, UNSURE, UNSURE, STAGNATING, HEALTHY]
    places = [np.int8(LABELS.index(label)) for label in (*labels, UNSURE)]
    return np.select(rules, places[:-1], places[-1]), ~(diverged | rises), proportional


def _rises(draws: Draws, rise: np.ndarray) -> np.ndarray:
    """Tell which drawn courses end above their lowest by more than a share of what they had gained."""
    return rise > np.maximum(RISE_OF_GAIN * (rise - draws.validation[:, -1]), NEGLIGIBLE * draws.start)


def _kind_of_rise(draws: Draws, rise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell whether training pictures stay out of a rise of validation (overfitting) or rise too (overshooting)."""
    if draws.probe is None:
        return np.zeros_like(rise, bool), np.zeros_like(rise, bool)
    probe, rows = draws.probe, np.arange(len(rise))
    since = probe[:, -1] - probe[rows, draws.validation.argmin(axis=1)]
    gain = -probe.min(axis=1)
    overfits = since < SHARED_RISE * rise
    counts_above = np.maximum(RISE_OF_GAIN * gain, NEGLIGIBLE * draws.probe_start)
    return overfits, ~overfits & (probe[:, -1] + gain > counts_above)


def _rise_is_seen_once(draws: Draws) -> bool:
    """Tell whether only the last evaluation lies above the lowest: it may be a spike that the next takes back."""
    best = int(draws.seen.argmin())
    rises = draws.seen[best + 1 :] - draws.seen[best]
    counts = max(RISE_OF_GAIN * (draws.start - draws.seen[best]), NEGLIGIBLE * draws.start)
    return len(rises) < 2 or bool((rises[:-1] < min(counts, rises[-1] / 4)).all())


def _why_rising(draws: Draws) -> str:
    """Return why a rise, where most drawn courses end in one, cannot be called overfitting or overshooting."""
    rises = -draws.validation.min(axis=1) + draws.validation[:, -1] > NEGLIGIBLE * draws.start
    if not rises.mean() > 0.5:
        return ""
    ends_lowest = draws.seen.argmin() == len(draws.seen) - 1
    if draws.probe is None:
        return "no probe"
    return "seen once" if _rise_is_seen_once(draws) and not ends_lowest else "uncertain"


def draws_of(run: Run) -> Draws:
    """Draw the courses of a run's losses from its evaluations."""
    curve, probe = run.validations["validation"], run.validations.get("probe")
    steps = curve.steps
    if probe is not None and len(common := np.intersect1d(steps, probe.steps)) >= MIN_EVALUATIONS:
        steps = common
    losses = curve.losses[np.isin(curve.steps, steps)]
    spent = _rate_sums(run, steps)
    places = [*steps, np.interp(spent[-1] / 2, spent, steps), 0.75 * steps[-1]]
    weights = resampled(run.timesteps["validation"])
    changes = _changes(losses, weights)
    drawn = course(steps, changes, places)
    probe_draws, probe_start = None, math.nan
    if probe is not None and len(probe.steps) >= MIN_EVALUATIONS:
        of_probe = probe.losses[np.isin(probe.steps, steps)]
        # Jitter moves both sets of pictures together, so the gap between the two is drawn beside the held-out loss.
        # Read backwards, since sets of equal size would otherwise be resampled in step, as if they were paired.
        gap = _changes(of_probe, resampled(run.timesteps["probe"]))[::-1] - changes
        probe_draws = drawn[:, :-2] + course(steps, gap, steps, stream=1)
        probe_start = float(of_probe[0].mean())
    seen = losses.astype(np.float64).mean(axis=(1, 2))
    validation, halfway, late = drawn[:, :-2], drawn[:, -2], drawn[:, -1]
    return Draws(steps, float(seen[0]), validation, halfway, late, probe_draws, probe_start, seen)


def _changes(losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the change (D, T) since step 0 of the mean of losses (T, images, strata) over resampled pictures."""
    pictures = losses.astype(np.float64).mean(axis=2)  # the strata of one picture are not independent
    changes = (pictures - pictures[0]).T
    # In parts so small that BLAS computes each in this thread: threads for so little would cost more than they give.
    return np.concatenate([part @ changes for part in np.split(weights, PARTS)])


def _rate_sums(run: Run, steps: np.ndarray) -> np.ndarray:
    """Return the sum of the learning rate applied up to each of steps; the steps themselves without known rates."""
    known = run.steps.get("global_step", np.zeros(0))
    if not len(known) or not np.sum(run.steps["learning_rate"]) > 0:
        return steps.astype(np.float64)
    return np.interp(steps, [0, *known], [0, *np.cumsum(run.steps["learning_rate"])])


def _evidence(draws: Draws, pictures: int) -> dict:
    """Return the numbers behind a verdict; intervals are over pictures and the run's own jitter."""
    best, end = int(draws.seen.argmin()), draws.validation[:, -1]
    rise = end - draws.validation.min(axis=1)
    first = -float(draws.halfway.mean())
    measured = {"gain": -end, "rise": rise, "change_in_last_quarter": end - draws.late}
    if draws.probe is not None:
        measured |= {"probe_gain": -draws.probe[:, -1], "probe_since_best": draws.probe[:, -1] - draws.probe[:, best]}
    intervals = _intervals(measured)
    return {
        "evaluations": len(draws.steps), "pictures": pictures,
        "last_step": int(draws.steps[-1]), "best_step": int(draws.steps[best]),
        "loss_at_start": draws.start, "loss_at_best": float(draws.seen[best]), "loss_at_end": float(draws.seen[-1]),
        "gain": intervals["gain"], "rise": intervals["rise"],
        "share_of_draws_that_rise": float(_rises(draws, rise).mean()),
        "change_in_last_quarter": intervals["change_in_last_quarter"],
        "second_half_gain_per_rate": float((draws.halfway - end).mean() / first) if first else math.nan,
        **{name: intervals[name] for name in ("probe_gain", "probe_since_best") if name in intervals},
    }


def _intervals(measured: dict[str, np.ndarray]) -> dict[str, Interval]:
    """Return the interval of each measure from its draws (D,)."""
    ends = np.quantile(list(measured.values()), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1).T.tolist()
    return {name: Interval(float(draws.mean()), low, high)
            for (name, draws), (low, high) in zip(measured.items(), ends, strict=True)}


def _updates(run: Run) -> dict:
    """Return the evidence about updates: their number, relative size near the end, and share of clipped gradients."""
    steps = run.steps
    if not len(steps.get("update_norm", ())):
        return {}
    tail = steps["update_norm"][-max(1, len(steps["update_norm"]) // 4) :]
    evidence = {"updates": int(steps["global_step"][-1]), "relative_update_in_last_quarter": float(np.median(tail))}
    if run.config.max_grad_norm:
        evidence["clipped_frac"] = float(np.mean(steps["grad_norm"] > run.config.max_grad_norm))
    return evidence


def _first_non_finite(run: Run) -> int | None:
    """Return the first step at which a loss or a gradient was not a number.

    In float16 an overflow makes a run skip that update and go on: that does not count.
    """
    steps: list[int] = []
    skipped = run.steps.get("update_norm", np.zeros(0)) == 0
    for name in ("loss", "grad_norm"):
        column = run.steps.get(name, np.zeros(0))
        broken = ~np.isfinite(column) & ~skipped if len(skipped) == len(column) else ~np.isfinite(column)
        steps += list(run.steps["global_step"][broken][:1]) if len(column) else []
    for curve in run.validations.values():
        steps += list(curve.steps[~np.isfinite(curve.losses).all(axis=(1, 2))][:1])
    if not steps and run.stopped is not None and run.stopped.reason == DIVERGED:
        steps = [run.stopped.global_step]
    return int(min(steps)) if steps else None


def _is_unfinished(run: Run) -> bool:
    """Tell whether a run has not made all of its updates."""
    steps = run.steps.get("global_step", np.zeros(0))
    last = run.config.max_train_steps if run.config.is_resolved else None
    return last is not None and (int(steps[-1]) if len(steps) else 0) < last


def _diverged_since(draws: Draws) -> int:
    """Return the first evaluation at which the loss was that of a diverged run; 0 where there is none."""
    return int(draws.steps[np.argmax(draws.seen > DIVERGED_FACTOR * draws.start)])
