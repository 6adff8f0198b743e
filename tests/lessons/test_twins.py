"""The exercise about alpha, on made runs: what passes and what does not yet, and why."""

import re
from types import SimpleNamespace

import pytest
from own_runs import BASE, DATA, own

from labkit.lab import Lab
from labkit.lessons.twins import TwinChecks


@pytest.fixture
def checks():
    lab = Lab()
    lab.__dict__ |= {"base": SimpleNamespace(fingerprint=BASE), "cache": SimpleNamespace(fingerprint=DATA), "territory": SimpleNamespace(train=range(96))}
    return TwinChecks(lab)


CALM = own("healthy", 1e-3)


def test_two_runs_of_other_alpha_and_rate_that_end_alike_are_twins(checks):
    result = checks.twins(CALM, own("healthy", 3e-4, alpha=32, end=0.005))
    assert result.passed and "Scaling 1 and 4 learned alike at rates 0.001 and 0.0003" in result.sentence


@pytest.mark.parametrize("other, words", [
    (own("stagnating", 3e-4, alpha=0.8), "Not alike yet.*Raise the second run's rate"), (own("healthy", 3e-4, alpha=32, end=-0.05), "Not alike yet.*Change the second"),
    (own("healthy", 1e-3, alpha=32), "differ in alpha and in the rate"), (own("healthy", 3e-4), "here differ: learning_rate"),
    (own("healthy", 3e-4, alpha=10), "too near to each other"), (own("blown up", 3e-4, alpha=32), "stay finite"), (None, "no run yet"),
    (own("healthy", 3e-4, alpha=32, seed=40), "somebody else's")])
def test_anything_else_gets_a_sentence_that_says_what_is_missing(checks, other, words):
    result = checks.twins(CALM, other)
    assert not result.passed and re.search(words, result.sentence), result
