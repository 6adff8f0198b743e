"""The study of the verdicts in small: what it simulates is judged as surely as it claims."""

import sys

import numpy as np
import pytest

from labkit import diagnose
from labkit.paths import REPO

sys.path.insert(0, str(REPO / "tools"))

import verdict_study  # noqa: E402


def test_verdicts_on_simulated_runs_are_right_as_often_as_their_confidence_says():
    given = [(label == verdict.label, verdict.confidence) for label, verdict in verdict_study.population(diagnose, 150, 11) if verdict.label != diagnose.UNSURE]
    assert len(given) > 90
    right, confidence = np.mean(given, axis=0)
    assert right == pytest.approx(confidence, abs=0.06)


def test_a_plateau_is_hardly_ever_surely_called_a_turn():
    turns = (diagnose.OVERSHOOTING, diagnose.OVERFITTING)
    assert not any(verdict.label in turns for verdict in verdict_study.plateau(diagnose, 15, 8, 0.0, 1))
    jittery = verdict_study.plateau(diagnose, 30, 8, 0.12, 1)
    assert sum(verdict.label in turns and verdict.confidence >= 0.95 for verdict in jittery) <= 1


def test_a_small_gain_is_seen():
    labels = [verdict.label for verdict in verdict_study.small_gain(diagnose, 15, 0.009, 0, 3)]
    assert labels.count(diagnose.HEALTHY) >= 14
