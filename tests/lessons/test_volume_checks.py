"""Checks of plans and turning points, on runs made of thin air."""

import dataclasses
from types import SimpleNamespace

import pytest
from volume_runs import course, turned

from labkit.design.config import run_id
from labkit.lab import Lab
from labkit.lessons.volume_checks import VolumeChecks

BASE, DATA = "base", "pictures"


@pytest.fixture
def checks():
    lab = Lab()
    lab.__dict__ |= {"base": SimpleNamespace(fingerprint=BASE), "cache": SimpleNamespace(fingerprint=DATA), "territory": SimpleNamespace(train=range(96))}
    return VolumeChecks(lab)


def own(history):
    """Give a run the id that its configuration, base and pictures give it."""
    return dataclasses.replace(history, run_id=run_id(history.config, BASE, DATA))


def planned(**knobs):
    return own(course([0.2, 0.15, 0.1], [0.2, 0.15, 0.1], **{"n_train": 12, "train_batch_size": 2, "num_train_epochs": 8} | knobs))


def test_a_plan_that_came_true_passes_with_its_numbers(checks):
    result = checks.volume(48, planned(), n_train=12, views=8, batch=2)
    assert result.passed and "48 updates of 2 showed 96 pictures, each of 12 exactly 8 times" in result.sentence
    assert checks.volume("48", planned(train_batch_size=1, gradient_accumulation_steps=2), n_train=12, views=8, batch=2).passed


@pytest.mark.parametrize("updates, run, words", [
    (None, planned(), "no prediction yet"), (48, None, "no run yet"), (96, planned(), "You said 96; the run made 48"), ("many", planned(), "You said many"),
    (48, planned(n_train=24, num_train_epochs=4), "used 24 pictures, not 12"), (40, planned(num_train_epochs=5), "each 5 times, not 8"),
    (48, dataclasses.replace(planned(), status="interrupted"), "is unfinished"), (48, dataclasses.replace(planned(), status="error"), "failed"),
    (48, course([0.2, 0.1], [0.2, 0.1], steps=[0, 48], max_train_steps=48), "another base or other pictures")])
def test_any_other_plan_gets_a_sentence(checks, updates, run, words):
    result = checks.volume(updates, run, n_train=12, views=8, batch=2)
    assert not result.passed and words in result.sentence


def test_the_lowest_point_passes_within_its_interval(checks):
    run = own(turned(4, 100))
    assert checks.turning(100, run).passed and checks.turning("50", run).passed
    assert "lowest at update 100 (50 to 200), after 100 epochs" in checks.turning(100, run).sentence


@pytest.mark.parametrize("answer, run, words", [
    (1500, own(turned(4, 100)), "not where this run turned"), ("late", own(turned(4, 100)), "late is not where"), (None, own(turned(4, 100)), "no answer yet"),
    (1500, own(turned(4, None)), "has not turned"), (100, None, "no run yet"),
    (3, own(course([0.2, 0.1], [0.2, 0.1], steps=[0, 6], n_train=4, max_train_steps=6)), "fewer than three evaluations")])
def test_any_other_turn_gets_a_sentence(checks, answer, run, words):
    result = checks.turning(answer, run)
    assert not result.passed and words in result.sentence
