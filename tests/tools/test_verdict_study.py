"""The study of the verdicts in small: on simulated and recorded runs they are right as often as they say."""

import dataclasses
import functools
import math
from types import SimpleNamespace

import numpy as np
import verdict_study

from labkit.judge import diagnose
from labkit.store.history import Curve

BANDS = ((0.8, 0.85), (0.85, 0.95), (0.95, 1.01))  # of confidence: around 0.8, around 0.9, 0.95 and more
CHANCE = 0.01  # how rare so many wrong verdicts must be before a test fails


def broken_promises(pairs, allowance=0.0):
    """Return the bands of confidence in which more verdicts are wrong than they say, beyond what chance explains.

    pairs: (true label, verdict) of many runs, some in every band.
    allowance: a share of wrong ones on top of what they say.
    """
    broken = []
    pairs = [(label, verdict) for label, verdict in pairs if verdict.label != diagnose.UNSURE]
    results = [(label == verdict.label, verdict.confidence) for label, verdict in pairs]
    for low, high in BANDS:
        right, stated = np.array([result for result in results if low <= result[1] < high]).T
        wrong, share = int((right == 0).sum()), 1 - stated.mean() + allowance
        fewer = sum(math.comb(len(right), k) * share**k * (1 - share) ** (len(right) - k) for k in range(wrong))
        if 1 - fewer < CHANCE:
            broken.append(f"{low:g}: {wrong} of {len(right)} wrong, {share:.1%} allowed")
    return broken


@functools.cache
def recorded_designs():
    """Return the recorded runs of several seeds, whole and as they stood after a half and a quarter of the updates."""
    whole = [runs for runs in verdict_study.configurations() if len(runs) > 1]
    return whole + [cut for share in (0.5, 0.25) for runs in whole if len(cut := stood_at(runs, share)) > 1]


def stood_at(runs, share):
    """Return runs, those with five evaluations by then, as they stood when a share of the updates was made."""
    earlier = []
    for run in runs:
        steps = run.validations["validation"].steps
        at = int(np.searchsorted(steps, share * steps[-1]))
        if at >= 4:
            earlier.append(verdict_study.part_of(run, upto=steps[at]))
    return earlier


def thinned(run):
    """Return a run without every second evaluation; the first and the last stay."""

    def less(curve):
        kept = [0, *range(len(curve.steps) - 1, 0, -2)[::-1]]
        return Curve(curve.steps[kept], curve.losses[kept])

    return dataclasses.replace(run, validations={name: less(curve) for name, curve in run.validations.items()})


def given_confidence(verdict):
    """Return the confidence of a verdict that was given, 0 where a run was left undecided."""
    return verdict.confidence * (verdict.label != diagnose.UNSURE)


def test_verdicts_on_simulated_runs_are_right_as_often_as_they_say():
    # The surest ones, above 0.97, are known to be right some two points less often than they say (LOG.md, Verdicts).
    assert broken_promises(verdict_study.population(diagnose, 300, 11), allowance=0.02) == []


def test_verdicts_on_recorded_runs_are_right_as_often_as_they_say():
    assert broken_promises(verdict_study.other_half(diagnose, recorded_designs())) == []


def test_verdicts_on_recorded_runs_are_surer_with_all_evaluations_than_with_half_of_them():
    runs = [run for design in recorded_designs() for run in design if len(run.validations["validation"].steps) >= 8]
    whole = np.mean([given_confidence(diagnose.diagnose(run)) for run in runs])
    half = np.mean([given_confidence(diagnose.diagnose(thinned(run))) for run in runs])
    assert whole > half


def test_a_jittery_plateau_is_surer_to_be_one_with_more_evaluations():
    def confidence(evaluations):
        verdicts = verdict_study.plateau(diagnose, 40, evaluations, 0.06, 2)
        return np.mean([verdict.confidence * (verdict.label == diagnose.HEALTHY) for verdict in verdicts])

    few, more, most = map(confidence, (8, 31, 56))
    assert most > few and more > few - 0.1  # in between it dips a little (LOG.md, Verdicts)


def test_too_many_wrong_verdicts_break_the_promise():
    def judged(wrong, confidence):
        verdict = SimpleNamespace(label=diagnose.HEALTHY, confidence=confidence)
        return [(diagnose.HEALTHY if i >= wrong else diagnose.DIVERGED, verdict) for i in range(100)]

    assert broken_promises(judged(20, 0.82) + judged(10, 0.9) + judged(3, 0.98)) == []
    broken = broken_promises(judged(30, 0.82) + judged(10, 0.9) + judged(9, 0.98))
    assert broken == ["0.8: 30 of 100 wrong, 18.0% allowed", "0.95: 9 of 100 wrong, 2.0% allowed"]


def test_a_plateau_is_hardly_ever_surely_called_a_turn():
    turns = (diagnose.OVERSHOOTING, diagnose.OVERFITTING)
    assert not any(verdict.label in turns for verdict in verdict_study.plateau(diagnose, 15, 8, 0.0, 1))
    jittery = verdict_study.plateau(diagnose, 30, 8, 0.12, 1)
    assert sum(verdict.label in turns and verdict.confidence >= 0.95 for verdict in jittery) <= 1


def test_a_small_gain_is_seen():
    labels = [verdict.label for verdict in verdict_study.small_gain(diagnose, 15, 0.009, 0, 3)]
    assert labels.count(diagnose.HEALTHY) >= 14
