"""What section 11.1 of the chapter says of schedules: judged by runs, and its worked schedule by its own numbers."""

import math

import numpy as np

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.design.schedules import rates, three_phases
from labkit.experiments.rank import ENOUGH
from labkit.judge.arms import basis, difference, over_seeds, rise, with_common_noise
from labkit.judge.compare import at_edge, best_of, ends_by_rate, final_losses
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim
from labkit.lessons.worked_examples import PICTURES
from labkit.text import rate_text, with_interval

# The chapter's worked examples: a linear fall, and warm-up, exponential fall and rest.
LINEAR = RunConfig(lr_scheduler="linear", learning_rate=1e-3, lr_end=1e-4, max_train_steps=1000)
WORKED = RunConfig(lr_scheduler="three_phase", learning_rate=1e-3, max_train_steps=5100)
STEP, FACTOR = 9e-7, 0.999  # by which the rate falls at each update
NEARLY_ZERO, SEVERAL = 0.01, 0.03  # shares of the peak, and of the updates: what may pass for these words
TESTS = (100, 500)  # updates of a short test
TARGETS = (50_000, 200_000)  # updates for typical models
CLOSE = 0.05  # of a number: what rounding in the text may hide
CONSTANT, EXPONENTIAL, THREE_PHASE = "constant", "exponential", "three phase"  # names of arms


# -- by runs, each schedule at its own best peak; schedules: arms of `best_rate.read`

def _arms(schedules) -> dict:
    """Return the arms of each schedule, one a peak, with the noise between seeds pooled over all."""
    arms = with_common_noise([over_seeds(runs, "learning_rate") for runs in schedules.values()])
    return dict(zip(schedules, arms, strict=True))


def _bests(arms) -> dict:
    return {name: best_of(of_peaks) for name, of_peaks in arms.items()}


def _lowest(bests, *without):
    """Return name and arm of the schedule that ends lowest, some left out."""
    left = {name: best for name, best in bests.items() if name not in without}
    return min(left.items(), key=lambda item: final_losses(item[1]).mean())


def _edge(arms) -> str:
    """Say which schedules' best peaks lie at the edge of those tried; nothing where none does."""
    names = [name for name, of_peaks in arms.items() if at_edge(ends_by_rate(of_peaks))]
    return f" The best peak of {', '.join(names)} is at the edge of those tried." if names else ""


def decay_helps(schedules):
    """Judge: a rate that stays the same is worse than one that falls."""
    arms = _arms(schedules)
    bests, among = _bests(arms), len(arms) - 1
    name, lowest = _lowest(bests, CONSTANT)
    rate = bests[CONSTANT].config.learning_rate
    same_peak = {other: next(arm for arm in arms[other] if arm.config.learning_rate == rate)
                 for other in arms if any(arm.config.learning_rate == rate for arm in arms[other])}
    other, there = _lowest(same_peak, CONSTANT)
    own, common = difference(bests[CONSTANT], lowest, among), difference(bests[CONSTANT], there, among)
    verdict = OPEN
    if not _edge(arms):
        is_alike = own.high < -ENOUGH * rise(lowest, 0).mean
        verdict = OTHERWISE if is_alike else OPEN if own.low <= 0 else HOLDS if common.low > 0 else IF
    return verdict, (
        f"Each at its own best peak, the constant rate ends {with_interval(own)} against {name}; all at "
        f"{rate_text(rate)}, the best constant one, {with_interval(common)} against {other} "
        f"({basis(*bests.values())}).{_edge(arms)}" + " It holds if each has its own peak." * (verdict == IF))


def pattern(schedules):
    """Judge: warm-up, then decay, is the schedule to use: the worked example ends lowest or nearly so."""
    arms = _arms(schedules)
    bests = _bests(arms)
    name, lowest = _lowest(bests, THREE_PHASE)
    above, gain = difference(bests[THREE_PHASE], lowest, len(arms) - 1), -rise(lowest, 0).mean
    verdict = OPEN if _edge(arms) else HOLDS if above.high < ENOUGH * gain else (
        OTHERWISE if above.low > ENOUGH * gain else OPEN)
    return verdict, (
        f"At its own best peak, {rate_text(bests[THREE_PHASE].config.learning_rate)}, the chapter's three phases end "
        f"{with_interval(above)} against {name}, the lowest of the others, which gains {gain:.3f} "
        f"({basis(*bests.values())}).{_edge(arms)}")


def last_phase(schedules):
    """Judge: a last phase at a low, fixed rate refines."""
    arms = _arms(schedules)
    bests = _bests({name: arms[name] for name in (EXPONENTIAL, THREE_PHASE)})
    change, gain = difference(bests[THREE_PHASE], bests[EXPONENTIAL]), -rise(bests[EXPONENTIAL], 0).mean
    applied, (_, _, rest) = rates(WORKED), three_phases(WORKED)
    verdict = HOLDS if change.high < 0 else OTHERWISE if change.low > -ENOUGH * gain else OPEN
    return verdict, (
        f"With it, and a warm-up as short, runs end {with_interval(change)} against the exponential fall alone "
        f"({basis(*bests.values())}). In the worked schedule it has {rest / len(applied):.1%} of the updates and "
        f"{sum(applied[-rest:]) / sum(applied):.1%} of the sum of the rate.")


# -- by its own numbers

def linear_step(linear):
    """Judge: from 0.001 to 0.0001 in 1,000 steps, the rate falls by 0.0000009 at each."""
    applied = rates(linear)
    step = applied[0] - applied[1]
    return (HOLDS if math.isclose(step, STEP, rel_tol=CLOSE) else OTHERWISE), (
        f"From {rate_text(applied[0])} to {rate_text(linear.lr_end)} in {linear.steps:,} updates: {step:.2g} each.")


def exponential_factor(worked):
    """Judge: an exponential fall multiplies by 0.999 at each step, in the worked example."""
    applied, (warmup, main, _) = rates(worked), three_phases(worked)
    factor, end = applied[warmup + 1] / applied[warmup], worked.learning_rate * FACTOR**main
    return (HOLDS if math.isclose(end, applied[-1], rel_tol=CLOSE) else OTHERWISE), (
        f"The worked schedule falls from {rate_text(worked.learning_rate)} to {rate_text(applied[-1])} in {main:,} "
        f"updates, which is {factor:.5f} at each; {FACTOR} would end at {rate_text(end)}.")


def warm_up(worked):
    """Judge: a warm-up begins at nearly zero and takes the first several per cent, as in the worked example."""
    applied, (warmup, *_) = rates(worked), three_phases(worked)
    start, share = applied[0] / worked.learning_rate, warmup / len(applied)
    return (HOLDS if start <= NEARLY_ZERO and share >= SEVERAL else OTHERWISE), (
        f"The worked one begins at {start:.0%} of the peak and takes {share:.1%} of the updates.")


def budgets(worked):
    """Judge: the worked schedule has as many updates as a worked run, or as are aimed at."""
    counts = [volume.updates(PICTURES, batch, 10, last_batch="drop") for batch in (32, 4)]
    total, applied = len(rates(worked)), rates(worked)
    fewest = min(counts[0], total)
    times = ", ".join(f"{count:,} are {count / total:.2g} times that" for count in (*counts, *TARGETS))
    return (HOLDS if total in counts or TARGETS[0] <= total <= TARGETS[1] else OTHERWISE), (
        f"It has {total:,} updates: {times}. Cut off after {fewest:,} the rate would stand at "
        f"{rate_text(applied[fewest - 1])}.")


def tested_in_warm_up(worked):
    """Judge: a test of 100 to 500 updates shows what the rate does, with that schedule."""
    applied, (warmup, *_) = np.array(rates(worked)) / worked.learning_rate, three_phases(worked)
    seen = "; ".join(f"in {count} updates the rate is {applied[:count].mean():.0%} of the peak in the mean, "
                     f"{applied[:count].max():.0%} at most" for count in TESTS)
    return (HOLDS if warmup < min(TESTS) / 10 else OTHERWISE), f"The warm-up takes {warmup:,} updates: {seen}."


EVIDENCE = {"linear": LINEAR, "worked": WORKED}
CLAIMS = (
    Claim(("SCHED-01", "SCHED-06"), "A fixed rate is worse for nearly all systems: it has to fall.", decay_helps,
          "schedules"),
    Claim(("SCHED-12",), "Warm-up followed by decay, in three phases, is the pattern to use.", pattern, "schedules"),
    Claim(("SCHED-13",), "A last phase at a low, fixed rate refines what was learned.", last_phase, "schedules"),
    Claim(("SCHED-07",), "From 0.001 to 0.0001 in 1,000 steps, a linear fall is 0.0000009 a step.", linear_step,
          "linear"),
    Claim(("SCHED-09", "SCHED-12"),
          "An exponential fall multiplies the rate by a constant such as 0.999 at each step.",
          exponential_factor, "worked"),
    Claim(("SCHED-11", "SCHED-12"), "A warm-up begins at nearly zero and takes the first several per cent.", warm_up,
          "worked"),
    Claim(("SCHED-12", "VOL-07", "VOL-10"), "One worked schedule goes with the worked numbers of updates.", budgets,
          "worked"),
    Claim(("LR-22", "SCHED-12"), "A test of 100 to 500 updates, with warm-up, shows what the rate does.",
          tested_in_warm_up, "worked"),
)
