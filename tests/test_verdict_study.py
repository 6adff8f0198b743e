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


def test_a_plateau_is_not_called_a_turn():
    for jitter in (0.0, 0.12):
        verdicts = verdict_study.plateau(diagnose, 30, 8, jitter, 1)
        assert sum(verdict.label in (diagnose.OVERSHOOTING, diagnose.OVERFITTING) for verdict in verdicts) <= (3 if jitter else 0)


def test_a_small_gain_is_seen():
    labels = [verdict.label for verdict in verdict_study.small_gain(diagnose, 15, 0.009, 0, 3)]
    assert labels.count(diagnose.HEALTHY) >= 14
