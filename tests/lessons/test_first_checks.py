"""Checks of a newcomer's answers, on runs made of thin air."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from volume_runs import course

from labkit.design.config import run_id
from labkit.lab import Lab
from labkit.lessons.first_checks import FirstChecks

BASE, DATA = "base", "pictures"


@pytest.fixture
def checks():
    lab = Lab()
    lab.__dict__ |= {"base": SimpleNamespace(fingerprint=BASE), "cache": SimpleNamespace(fingerprint=DATA), "territory": SimpleNamespace(train=range(96))}
    return FirstChecks(lab)


def run(held=(0.2, 0.19, 0.16, 0.12, 0.1), *, ordinary=None, **knobs):
    """Return the checks' own run with these held-out means, and these on ordinary pictures."""
    steps = [0, 3, 10, 30, 100][:len(held)]
    made = course(held, held, steps, **{"max_train_steps": steps[-1]} | knobs)
    if ordinary:
        other = course(ordinary, ordinary, steps, **{"max_train_steps": steps[-1]} | knobs).validations["validation"]
        made = dataclasses.replace(made, validations=made.validations | {"ordinary": other})
    return dataclasses.replace(made, run_id=run_id(made.config, BASE, DATA))


@pytest.mark.parametrize("answer, ordinary", [("rises", (0.1, 0.1, 0.1, 0.11, 0.12)), ("falls", (0.12, 0.1, 0.1, 0.1, 0.1)), ("stays", (0.1, 0.1, 0.1, 0.1, 0.1))])
def test_what_became_of_ordinary_pictures_passes_when_it_is_so(checks, answer, ordinary):
    result = checks.forgetting(answer, run(ordinary=ordinary))
    assert result.passed and f"it {answer}" in result.sentence
    for other in {"rises", "falls", "stays"} - {answer}:
        assert not checks.forgetting(other, run(ordinary=ordinary)).passed


@pytest.mark.parametrize("answer, made, words", [
    (None, run(ordinary=(0.1,) * 5), "no prediction yet"), ("up", run(ordinary=(0.1,) * 5), "'up' is none of"), ("rises", None, "no run yet"),
    ("rises", run(), "without measuring ordinary pictures"), ("rises", dataclasses.replace(run(ordinary=(0.1,) * 5), status="interrupted"), "is unfinished")])
def test_any_other_word_about_ordinary_pictures_gets_a_sentence(checks, answer, made, words):
    result = checks.forgetting(answer, made)
    assert not result.passed and words in result.sentence


def test_half_of_the_way_lies_between_the_evaluations_that_surely_were_before_and_after_it(checks):
    assert [step for step in (3, 10, 11, 20, 30, 31, 100) if checks.half_way(step, run()).passed] == [11, 20, 30]
    assert "after update 10 and by update 30, of 100" in checks.half_way("25", run()).sentence


@pytest.mark.parametrize("answer, made, words", [
    (None, run(), "no answer yet"), ("soon", run(), "'soon' is not a number"), (100, run(), "not half of the way down"), (20, run((0.2, 0.2, 0.2, 0.2, 0.2)), "has not fallen"),
    (20, run((0.2, 0.2, 0.3, np.nan, np.nan)), "has not fallen")])
def test_any_other_reading_of_the_curve_gets_a_sentence(checks, answer, made, words):
    result = checks.half_way(answer, made)
    assert not result.passed and words in result.sentence


@pytest.mark.parametrize("held, words", [((0.2, 0.5, 0.9, 0.8), "0.200 before and 0.800 after"), ((0.2, 0.5, np.nan, np.nan), "no number any more")])
def test_a_run_that_ends_worse_than_the_untouched_model_passes(checks, held, words):
    result = checks.too_hard(run(held, learning_rate=0.1), run(learning_rate=1e-3))
    assert result.passed and words in result.sentence


@pytest.mark.parametrize("broken, learned, words", [
    (None, run(), "no run yet"), (run((0.2, 0.5, 0.9, 0.8), learning_rate=0.1, rank=4), run(), "here differ: "), (run(), run(), "here differ: none"),
    (run((0.2, 0.19, 0.15, 0.12), learning_rate=3e-3), run(), "push harder"), (run((0.2, 0.2, 0.2, 0.2), learning_rate=3e-3), run(), "push harder"),
    (run((0.2, 0.5, 0.9, 0.8), learning_rate=0.1), run((0.2, 0.2, 0.2, 0.2, 0.2)), "should have learned")])
def test_any_other_way_to_break_it_gets_a_sentence(checks, broken, learned, words):
    result = checks.too_hard(broken, learned)
    assert not result.passed and words in result.sentence
