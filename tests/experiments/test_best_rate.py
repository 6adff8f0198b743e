"""What the best rate depends on: arms of recorded runs, published defaults, and the short test."""

import numpy as np
import pytest
from figures import assert_words_keep_apart
from made_runs import made_run
from volume_runs import ended

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.experiments import best_rate
from labkit.experiments import short_test as published
from labkit.experiments.short_test import among, short_test


def arm(best, seeds=(0, 1), **knobs):
    """Return runs at five rates, the lowest at `best`."""
    ends = {rate: 0.1 + 0.03 * abs(np.log(rate / best)) for rate in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}
    return [ended(end, seed=seed, learning_rate=rate, **knobs) for rate, end in ends.items() for seed in seeds]


def sets(monkeypatch, **there):
    monkeypatch.setattr(best_rate, "recorded_or_none", there.get)


def test_arms_are_read_with_the_seeds_they_share(monkeypatch):
    two = arm(3e-3, lr_scheduler="cosine") + arm(3e-3, lr_scheduler="three_phase")
    sets(monkeypatch, three=arm(1e-3, (0, 1, 2)), two=two)
    arms = best_rate.read({"constant": "three", "": "two"}, "lr_scheduler")
    assert list(arms) == ["constant", "cosine", "three phase"]
    assert {run.config.seed for runs in arms.values() for run in runs} == {0, 1}


def test_arms_of_layers_are_called_by_the_names_of_their_sets_and_each_gives_its_best_run(monkeypatch):
    sets(monkeypatch, layers=arm(1e-2, target_modules=("attention",)) + arm(3e-3, target_modules=("all",)))
    arms = best_rate.read({"": "layers"}, "target_modules")
    assert list(arms) == ["attention", "all"]
    assert [(run.config.learning_rate, run.config.seed) for run in best_rate.bests(arms)] == [(1e-2, 0), (3e-3, 0)]


def test_a_set_that_is_not_there_is_named_with_what_makes_it(monkeypatch):
    sets(monkeypatch)
    with pytest.raises(LabError, match="recipes.ship.recorded sgd` makes them"):
        best_rate.read({"SGD": "sgd"})
    sets(monkeypatch, one=arm(1e-3, (0,)), other=arm(1e-3, (1,)))
    with pytest.raises(LabError, match="no seed in common"):
        best_rate.read({"a": "one", "b": "other"})


def test_every_arm_has_its_best_rate_in_figure_and_table():
    arms = {"one": arm(1e-3), "two": arm(1e-2, lr_scheduler="cosine"), "three": arm(3e-2, lr_scheduler="linear")}
    axes = best_rate.plot(arms)
    assert_words_keep_apart(axes.figure)
    assert axes.figure.summary == "Lowest at, one: 1e-3; two: 1e-2; three: 3e-2."
    rows = best_rate.table(arms).rows
    assert [row[1] for row in rows] == ["1e-3", "1e-2", "3e-2 (at the edge)"]
    assert [row[5] for row in rows].count("lowest") == 1


def test_arms_on_other_pictures_are_compared_by_what_is_left_only():
    rows = best_rate.table({"all": arm(1e-3), "pools": arm(3e-3, data="liminal/kind=pool")}).rows
    assert [row[5] for row in rows] == ["other pictures", "other pictures"]


def test_a_run_that_broke_does_not_hide_the_valley():
    broken = [ended(5.0, seed=seed, learning_rate=1e-1) for seed in (0, 1)]
    axes = best_rate.plot({"one": arm(1e-3) + broken})
    assert axes.get_ylim()[1] < 2


def test_published_rates_lie_between_what_was_recorded_and_never_beyond_it():
    kinds = {1e-4: "stagnating", 1e-3: "healthy", 1e-1: "diverged"}
    known = published.by_rate([made_run(kind, learning_rate=rate) for rate, kind in kinds.items()])
    assert published.at(1e-3, known) == ("0.100", "healthy")
    between, labels = published.at(3e-4, known)
    assert 0.1 < float(between.split()[0]) < 0.186 and between.endswith("(between two)")
    assert labels == "stagnating or healthy"
    assert published.at(1e-6, known)[0] == "above 0.192" and published.at(1.0, known)[0] == "not recorded"
    with pytest.raises(LabError, match="No recorded runs"):
        published.at(1e-3, {})


def test_every_published_default_has_a_row_with_its_scaling():
    runs = [made_run("stagnating", learning_rate=1e-5), made_run("healthy", learning_rate=1e-3)]
    rows = published.defaults_table(runs).rows
    assert len(rows) == len(published.PUBLISHED)
    assert {row[0]: row[5] for row in rows}["ai-toolkit"] == "1" and rows[2][5] == "depends on the rank"


def test_the_short_test_reads_runs_that_are_there_and_names_a_rate_that_is_not():
    kinds = {1e-4: "stagnating", 3e-4: "healthy", 1e-3: "diverged"}
    runs = [made_run(kind, learning_rate=rate) for rate, kind in kinds.items()]
    trials = list(short_test(among(runs), RunConfig(), start=1e-4))
    assert trials[-1].decision.endswith("3e-4 it is")
    with pytest.raises(LabError, match="No run at 3e-3"):
        list(short_test(among(runs), RunConfig(), start=3e-3))
