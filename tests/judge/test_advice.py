"""What to do next is said first, in plain words, and holds in recorded races: the advised rate learns."""

import re

import pytest
from made_runs import made_run

from labkit.judge.advice import advice
from labkit.judge.diagnose import DIVERGED, HEALTHY, OVERSHOOTING, STAGNATING, UNSURE, diagnose
from labkit.judge.stats import Interval
from labkit.store.recorded import recorded

TIMES = {"three": 3, "ten": 10, "thirty": 30, "a hundred": 100}


def factor(words):
    """Return what the rate is to be multiplied by."""
    way, times = re.search(r"(raise|lower) the rate about ([a-z ]+) times", words).groups()
    return TIMES[times] if way == "raise" else 1 / TIMES[times]


@pytest.mark.parametrize(("kind", "words"), [
    ("healthy", "Healthy: it "),
    ("overshooting", "Too fast: lower the rate about three times, then look again, or stop at update 30, where it"),
    ("overfitting", "It learns its pictures by heart: stop at update 30, where pictures it has not seen came out"),
    ("diverged", "Far too fast: lower the rate about ten times, then look again."),
    ("blown up", "Far too fast: lower the rate about ten times, then look again."),
])
def test_advice_begins_with_what_it_means_and_what_to_do(kind, words):
    verdict = diagnose(made_run(kind, pictures=False))
    assert verdict.advice.startswith(words) and verdict.sentence.startswith(words)
    assert verdict.to_dict()["advice"] == verdict.advice


@pytest.mark.parametrize("upto", [200, 90])
@pytest.mark.parametrize("kind", ["healthy", "stagnating", "overshooting", "overfitting", "diverged"])
def test_no_word_of_the_evidence_stands_in_the_advice(kind, upto):
    verdict = diagnose(made_run(kind, pictures=False, upto=upto))
    assert not re.search(r"half|interval|draws|held-out|proportion|_|\d e", verdict.advice)
    assert (" so far" in verdict.advice) == (verdict.so_far and verdict.label not in (DIVERGED, UNSURE))


@pytest.mark.parametrize(("gain", "beside", "steady", "words"), [
    (0.0072, {}, 0.9, "about ten times. Its loss fell by 3.6%, where 5% is the least to aim at."),
    (0.0006, {}, 0.9, "about thirty times. Its loss fell by 0.3%, where 5%"),
    (0.0001, {}, 0.9, "about ten times, then look again. It has learned next to nothing"),
    (-0.0001, {}, 0.9, "about ten times, then look again. It has learned next to nothing"),
    (0.0072, {"share_of_best_sibling": 0.07}, 0.9, "about thirty times. The best run beside it learned 14 times as"),
    (0.0072, {"share_of_best_sibling": 0.07}, 0.2, "about ten times, then look again. The best run beside it learned"),
    (0.0006, {"share_of_best_sibling": 0.005}, 0.9, "about a hundred times. The best run beside it learned 200 times"),
    (0.0072, {"share_of_best_sibling": 1.2}, 0.9, "about ten times. Its loss fell by 3.6%"),
])
def test_how_far_to_raise_a_rate_is_read_from_the_run_where_it_tells(gain, beside, steady, words):
    evidence = {"loss_at_start": 0.2, "gain": Interval(gain, gain, gain), "second_half_gain_per_rate": steady}
    assert advice(STAGNATING, evidence | beside, False, False).startswith(f"Too slow: raise the rate {words}")


def test_the_advised_rate_was_neither_slow_nor_broken_in_the_recorded_race():
    runs = recorded("u_curve")
    at = {(run.config.seed, f"{run.config.learning_rate:.0e}"): run for run in runs}
    labels = []
    for run in runs:
        for verdict in (diagnose(run), diagnose(run, runs)):
            if verdict.label in (STAGNATING, OVERSHOOTING, DIVERGED):
                rate = run.config.learning_rate * factor(verdict.advice)
                next_run = at.get((run.config.seed, f"{rate:.0e}"))
                labels += [diagnose(next_run).label] if next_run else []
    assert len(labels) >= 12 and not {STAGNATING, OVERSHOOTING, DIVERGED} & set(labels)
    assert labels.count(HEALTHY) >= 0.8 * len(labels)
