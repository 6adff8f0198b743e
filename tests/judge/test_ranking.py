"""Runs beside each other are ordered by where they ended, and noise that cannot tell them apart is said."""

import dataclasses

import numpy as np
import pytest
from made_runs import made_race, made_run

from labkit.design.naming import knobs
from labkit.judge.ranking import final_loss, ranked


def test_the_lowest_final_loss_comes_first_and_broken_runs_last_whatever_their_order():
    runs = made_race(pictures=False)
    for given in (runs, runs[::-1]):
        places = ranked(given)
        assert [place.run.config.learning_rate for place in places] == [1e-3, 3e-5, 1e-2, 3e-2, 3e-1]
        assert [place.verdict.label for place in places][0] == "healthy"
        assert {place.verdict.label for place in places[3:]} == {"diverged"}
    assert places[0].above is None and places[1].above.low > 0 and not any(place.is_as_good for place in places)


def test_a_run_that_ends_within_noise_of_the_best_is_as_good():
    best = made_run("healthy", learning_rate=1e-3, pictures=False)
    held = best.validations["validation"]
    worse = held._replace(losses=held.losses + np.float32(1e-5) * np.random.default_rng(0).normal(
        size=held.losses.shape).astype(np.float32))
    beside = dataclasses.replace(made_run("healthy", learning_rate=2e-3, pictures=False),
                                 validations=best.validations | {"validation": worse})
    places = ranked([beside, best])
    assert places[1].is_as_good and not places[0].is_as_good


def test_the_interval_of_a_loss_is_that_of_its_change_and_holds_it():
    run = made_run("healthy", pictures=False)
    mean, low, high = final_loss(run)
    assert mean == pytest.approx(run.validations["validation"].means[-1]) and low < mean < high
    assert final_loss(dataclasses.replace(run, validations={})) is None


def test_a_run_that_was_never_measured_is_last_and_breaks_nothing():
    runs = made_race(pictures=False)
    bare = dataclasses.replace(made_run("healthy", learning_rate=5e-3, pictures=False), validations={})
    places = ranked([bare, *runs])
    assert places[-1].run is bare and places[-1].loss is None and places[-1].above is None
    assert ranked([]) == []


def test_knobs_are_what_differs_and_the_rate_only_where_it_does():
    def run(**knobs):
        return made_run("healthy", pictures=False, **knobs)

    assert knobs([run(rank=4), run(rank=8)]) == ["rank"]      # alpha only follows
    assert knobs([run(rank=4, alpha=1), run(rank=8, alpha=1)]) == ["rank"]
    assert knobs([run(rank=8, alpha=1), run(rank=8, alpha=2)]) == ["alpha"]
    assert knobs([run(learning_rate=1e-3), run(learning_rate=1e-2)]) == ["learning_rate"]
    assert knobs([run(), run()]) == ["learning_rate"]
