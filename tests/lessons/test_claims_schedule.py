"""The verdicts on schedules follow from the runs, and those on the worked schedule from its own numbers."""

import pytest
from rate_runs import valley

from labkit.lessons import claims_schedule
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE

PEAKS = (1e-3, 3e-3, 1e-2, 3e-2)


def arms(constant=0.1, exponential=0.1, three_phase=0.1, at=3e-3, apart=0.0005):
    """Return arms of three schedules that end at these losses at their best peak; the falling ones have it at `at`."""
    ends = {"constant": (constant, 3e-3), "exponential": (exponential, at), "three phase": (three_phase, at)}
    return {name: valley(best, depth=depth, rates=PEAKS, apart=apart) for name, (depth, best) in ends.items()}


def test_decay_helps_at_every_peak_or_if_each_schedule_has_its_own_or_not():
    verdict, seen = claims_schedule.decay_helps(arms(exponential=0.05))
    assert verdict == HOLDS and "the constant rate ends +0.050" in seen and "against exponential" in seen
    verdict, seen = claims_schedule.decay_helps(arms(exponential=0.08, at=1e-2))
    assert verdict == IF and "It holds if each has its own peak." in seen
    assert claims_schedule.decay_helps(arms(constant=0.05))[0] == OTHERWISE
    assert claims_schedule.decay_helps(arms(exponential=0.0995, apart=0.02))[0] == OPEN
    verdict, seen = claims_schedule.decay_helps(arms(exponential=0.05, at=3e-2))
    assert verdict == OPEN and "best peak of exponential, three phase is at the edge" in seen


@pytest.mark.parametrize("changes, verdict", [
    ({"three_phase": 0.08}, HOLDS), ({"exponential": 0.05}, OTHERWISE), ({"apart": 0.02}, OPEN),
    ({"three_phase": 0.08, "at": 3e-2}, OPEN)])
def test_three_phases_are_the_pattern_if_none_ends_lower_by_a_twentieth_of_the_gain(changes, verdict):
    assert claims_schedule.pattern(arms(**changes))[0] == verdict


@pytest.mark.parametrize("changes, verdict", [
    ({"three_phase": 0.08}, HOLDS), ({"exponential": 0.08}, OTHERWISE), ({"apart": 0.02}, OPEN)])
def test_the_last_phase_refines_only_if_the_fall_alone_ends_higher(changes, verdict):
    found, seen = claims_schedule.last_phase(arms(**changes))
    assert found == verdict and "2.0% of the updates and 0.5% of the sum of the rate" in seen


def test_the_step_of_a_linear_fall_is_the_chapters():
    verdict, seen = claims_schedule.linear_step(claims_schedule.LINEAR)
    assert verdict == HOLDS and "9e-07 each" in seen
    assert claims_schedule.linear_step(claims_schedule.LINEAR.replace(max_train_steps=100))[0] == OTHERWISE


def worked(**changes):
    return claims_schedule.WORKED.replace(**changes)


@pytest.mark.parametrize("judge, other, seen", [
    (claims_schedule.exponential_factor, worked(max_train_steps=2396), "0.99953 at each; 0.999 would end at 7.43e-6"),
    (claims_schedule.warm_up, worked(lr_warmup_steps=255, lr_scheduler="cosine"), "begins at 10% of the peak"),
    (claims_schedule.tested_in_warm_up, worked(lr_warmup_steps=5), "in 100 updates the rate is 55% of the peak"),
    (claims_schedule.budgets, worked(max_train_steps=12_500), "1,560 are 0.31 times that, 12,500 are 2.5 times")])
def test_the_worked_schedule_is_judged_by_its_own_numbers(judge, other, seen):
    verdict, words = judge(claims_schedule.WORKED)
    assert verdict == OTHERWISE and seen in words
    assert judge(other)[0] == HOLDS
