"""Checks of single lessons' answers, on made runs: what passes, and what gets a sentence that says what is missing."""

import dataclasses
import re

import grid_runs
import numpy as np
import pytest
from made_lab import made_lab
from own_runs import broke_early, lab_of_names, own, owned
from volume_runs import course, turned

from labkit.design.config import RunConfig
from labkit.design.design_file import write_design
from labkit.experiments.preflight import expectations
from labkit.lessons.checks import FirstChecks, SynthesisChecks, TwinChecks, VolumeChecks


def interrupted(run):
    return dataclasses.replace(run, status="interrupted")


# -- a first run

@pytest.fixture
def first():
    return FirstChecks(lab_of_names())


FALLING, FLAT = (0.2, 0.19, 0.16, 0.12, 0.1), (0.2,) * 5
BROKEN, RISEN = (0.2, 0.2, 0.3, np.nan, np.nan), (0.2, 0.5, 0.9, 0.8)


def short(held=FALLING, *, ordinary=None, **knobs):
    """Return a learner's short run with these held-out means, and these on ordinary pictures."""
    steps = [0, 3, 10, 30, 100][:len(held)]
    knobs = {"max_train_steps": steps[-1]} | knobs
    run = course(held, held, steps, **knobs)
    if ordinary:
        curve = course(ordinary, ordinary, steps, **knobs).validations["validation"]
        run = dataclasses.replace(run, validations=run.validations | {"ordinary": curve})
    return owned(run)


STEADY = (0.1,) * 5


@pytest.mark.parametrize("answer, ordinary", [
    ("rises", (0.1, 0.1, 0.1, 0.11, 0.12)), ("falls", (0.12, 0.1, 0.1, 0.1, 0.1)), ("stays", STEADY)])
def test_what_became_of_ordinary_pictures_passes_when_it_is_so(first, answer, ordinary):
    result = first.forgetting(answer, short(ordinary=ordinary))
    assert result.passed and f"it {answer}" in result.sentence
    for other in {"rises", "falls", "stays"} - {answer}:
        assert not first.forgetting(other, short(ordinary=ordinary)).passed


@pytest.mark.parametrize("answer, run, words", [
    (None, short(ordinary=STEADY), "no prediction yet"),
    ("up", short(ordinary=STEADY), "'up' is none of"),
    ("rises", None, "no run yet"),
    ("rises", short(), "without measuring ordinary pictures"),
    ("rises", interrupted(short(ordinary=STEADY)), "is unfinished")])
def test_any_other_word_about_ordinary_pictures_gets_a_sentence(first, answer, run, words):
    result = first.forgetting(answer, run)
    assert not result.passed and words in result.sentence


def test_half_of_the_way_lies_between_the_evaluations_that_surely_were_before_and_after_it(first):
    assert [step for step in (3, 10, 11, 20, 30, 31, 100) if first.half_way(step, short()).passed] == [11, 20, 30]
    assert "after update 10 and by update 30, of 100" in first.half_way("25", short()).sentence


@pytest.mark.parametrize("answer, run, words", [
    (None, short(), "no answer yet"),
    ("soon", short(), "'soon' is not a number"),
    (100, short(), "not half of the way down"),
    (20, short(FLAT), "has not fallen"),
    (20, short(BROKEN), "has not fallen")])
def test_any_other_reading_of_the_curve_gets_a_sentence(first, answer, run, words):
    result = first.half_way(answer, run)
    assert not result.passed and words in result.sentence


@pytest.mark.parametrize("held, words", [
    (RISEN, "0.200 before and 0.800 after"), ((0.2, 0.5, np.nan, np.nan), "no number any more")])
def test_a_run_that_ends_worse_than_the_untouched_model_passes(first, held, words):
    result = first.too_hard(short(held, learning_rate=0.1), short(learning_rate=1e-3))
    assert result.passed and words in result.sentence


@pytest.mark.parametrize("broken, learned, words", [
    (None, short(), "no run yet"),
    (short(RISEN, learning_rate=0.1, rank=4), short(), "here differ: "),
    (short(), short(), "here differ: none"),
    (short((0.2, 0.19, 0.15, 0.12), learning_rate=3e-3), short(), "push harder"),
    (short((0.2, 0.2, 0.2, 0.2), learning_rate=3e-3), short(), "push harder"),
    (short(RISEN, learning_rate=0.1), short(FLAT), "should have learned")])
def test_any_other_way_to_break_a_run_gets_a_sentence(first, broken, learned, words):
    result = first.too_hard(broken, learned)
    assert not result.passed and words in result.sentence


def test_a_run_that_broke_ends_worse_whatever_it_was_last_measured_at(first):
    broken = broke_early(short((0.2, 0.19, 0.15, 0.12), learning_rate=0.1))
    result = first.too_hard(broken, short(learning_rate=1e-3))
    assert result.passed and "no number any more" in result.sentence
    assert "broke" in first.forgetting("stays", broke_early(short(ordinary=STEADY))).sentence
    assert "has not fallen" in first.half_way(20, broke_early(short())).sentence


# -- twin runs

@pytest.fixture
def twins():
    return TwinChecks(lab_of_names())


def test_two_runs_of_other_alpha_and_rate_that_end_alike_are_twins(twins):
    result = twins.twins(own("healthy", 1e-3), own("healthy", 3e-4, alpha=32, end=0.005))
    assert result.passed and "Scaling 1 and 4 learned alike at rates 0.001 and 0.0003" in result.sentence


@pytest.mark.parametrize("other, words", [
    (own("stagnating", 3e-4, alpha=0.8), "Not alike yet.*Raise the second run's rate"),
    (own("healthy", 3e-4, alpha=32, end=-0.05), "Not alike yet.*Change the second"),
    (own("healthy", 1e-3, alpha=32), "differ in alpha and in the rate"),
    (own("healthy", 3e-4), "here differ: learning_rate"),
    (own("healthy", 3e-4, alpha=10), "too near to each other"),
    (own("blown up", 3e-4, alpha=32), "stay finite"),
    (broke_early(own("healthy", 3e-4, alpha=32)), "stay finite"),
    (None, "no run yet"),
    (own("healthy", 3e-4, alpha=32, seed=40), "somebody else's")])
def test_any_other_pair_gets_a_sentence(twins, other, words):
    result = twins.twins(own("healthy", 1e-3), other)
    assert not result.passed and re.search(words, result.sentence), result


# -- epochs and batches

@pytest.fixture
def epochs():
    return VolumeChecks(lab_of_names())


def planned(**knobs):
    knobs = {"n_train": 12, "train_batch_size": 2, "num_train_epochs": 8} | knobs
    return owned(course([0.2, 0.15, 0.1], [0.2, 0.15, 0.1], **knobs))


def test_a_plan_that_came_true_passes_with_its_numbers(epochs):
    result = epochs.volume(48, planned(), n_train=12, views=8, batch=2)
    assert result.passed and "48 updates of 2 showed 96 pictures, each of 12 exactly 8 times" in result.sentence
    accumulated = planned(train_batch_size=1, gradient_accumulation_steps=2)
    assert epochs.volume("48", accumulated, n_train=12, views=8, batch=2).passed


@pytest.mark.parametrize("updates, run, words", [
    (None, planned(), "no prediction yet"),
    (48, None, "no run yet"),
    (96, planned(), "You said 96; the run made 48"),
    ("many", planned(), "You said many"),
    (48, planned(n_train=24, num_train_epochs=4), "used 24 pictures, not 12"),
    (40, planned(num_train_epochs=5), "each 5 times, not 8"),
    (48, interrupted(planned()), "is unfinished"),
    (48, dataclasses.replace(planned(), status="error"), "failed"),
    (48, course([0.2, 0.1], [0.2, 0.1], steps=[0, 48], max_train_steps=48), "another base or other pictures")])
def test_any_other_plan_gets_a_sentence(epochs, updates, run, words):
    result = epochs.volume(updates, run, n_train=12, views=8, batch=2)
    assert not result.passed and words in result.sentence


def test_the_lowest_point_passes_within_its_interval(epochs):
    run = owned(turned(4, 100))
    assert epochs.turning(100, run).passed and epochs.turning("50", run).passed
    assert "lowest at update 100 (50 to 200), after 100 epochs" in epochs.turning(100, run).sentence


@pytest.mark.parametrize("answer, run, words", [
    (1500, owned(turned(4, 100)), "not where this run turned"),
    ("late", owned(turned(4, 100)), "late is not where"),
    (None, owned(turned(4, 100)), "no answer yet"),
    (1500, owned(turned(4, None)), "has not turned"),
    (100, None, "no run yet"),
    (3, owned(course([0.2, 0.1], [0.2, 0.1], steps=[0, 6], n_train=4, max_train_steps=6)),
     "fewer than three evaluations")])
def test_any_other_turn_gets_a_sentence(epochs, answer, run, words):
    result = epochs.turning(answer, run)
    assert not result.passed and words in result.sentence


# -- whole designs

@pytest.fixture
def designs():
    return SynthesisChecks(made_lab())


def test_the_knob_that_explains_most_passes_and_no_other(designs):
    grid = grid_runs.runs(lambda i, j, k: 0.1 + 0.04 * i + 0.02 * j)
    assert designs.explains("learning_rate", grid).passed
    for answer, words in (("rank", "another knob more"), (None, "no answer yet"), ("colour", "none of the knobs"),
                          ("alpha", "another knob more")):
        result = designs.explains(answer, grid)
        assert not result.passed and words in result.sentence


def test_a_design_is_ready_when_it_says_what_it_expects_and_that_is_so(designs, tmp_path):
    config = designs.lab.config(RunConfig(rank=4, max_train_steps=28, n_train=11))
    expected = expectations(designs.lab, config, short_test_rate=1e-3, epochs=10)
    reasons = {"learning_rate": "the short test", "stop": "at the lowest held-out loss"}
    required = {"n_train": 11, "rank": 4, "num_train_epochs": 10}
    good = write_design(tmp_path / "good.yaml", config, reasons, expected)
    assert designs.ready(good, **required).passed
    longer = designs.ready(good, num_train_epochs=20)
    assert "max_train_steps is 28 in the design, where 55 is asked for 20 epochs" in longer.sentence
    assert "no reasons" in designs.ready(write_design(tmp_path / "bare.yaml", config, {}, expected)).sentence
    for number, (changed, stated, words) in enumerate((
            (config, {}, "does not say what it expects"),
            (config.replace(learning_rate=1e-2), expected, "checklist would stop it"),
            (config.replace(n_train=10), expected, "n_train is 10 in the design, where 11 is asked"),
            (config.replace(rank=16), expected | {"scaling": 0.5}, "rank is 16"))):
        result = designs.ready(write_design(tmp_path / f"{number}.yaml", changed, reasons, stated), **required)
        assert not result.passed and words in result.sentence
    assert "no design yet" in designs.ready(None).sentence
    assert "no file" in designs.ready(tmp_path / "x.yaml").sentence
