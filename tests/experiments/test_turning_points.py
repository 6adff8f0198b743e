"""Three times of one long run: held-out loss, best pictures, copies."""

import math

import numpy as np
import pytest
from figures import assert_bands_are_whole, assert_words_keep_apart
from long_runs import BEST, ONSET, STEPS, TURN, copies, long_run, scores

from labkit.errors import LabError
from labkit.experiments import turning_points
from labkit.experiments.turning_points import Scored
from labkit.judge.early_stopping import usual_rules


def test_the_three_times_are_told_apart_each_within_its_interval():
    times = turning_points.boundary(long_run(), scores(), copies())
    assert times["validation"].step == TURN and times["copying"].step == ONSET
    for name, truth in (("validation", TURN), ("score", BEST), ("copying", ONSET)):
        assert times[name].low <= truth <= times[name].high
    assert times["validation"].high < times["copying"].low


def test_a_time_is_known_no_better_than_the_evaluations_lie_apart():
    sharp = turning_points.boundary(long_run(noise=0.0))["validation"]
    assert (sharp.low, sharp.step, sharp.high) == (80, 160, 320)


def test_more_noise_between_pictures_widens_the_interval():
    few, many = (turning_points.boundary(long_run(noise=0.05, pictures=n))["validation"] for n in (4, 256))
    assert few.high - few.low > many.high - many.low


def test_intervals_of_a_higher_level_are_no_narrower_and_some_are_wider():
    run = long_run(noise=0.05, pictures=24)
    usual, surer = (turning_points.boundary(run, scores(), copies(), level=level) for level in (0.95, 0.999))
    assert all(surer[name].low <= usual[name].low and usual[name].high <= surer[name].high for name in usual)
    assert any(surer[name] != usual[name] for name in usual)


def test_what_had_not_happened_by_the_end_is_not_reached():
    none = Scored(STEPS, np.zeros((len(STEPS), 24)))
    times = turning_points.boundary(long_run(turn=3000, noise=0.001), copies=none)
    assert times["validation"].step == times["validation"].high == math.inf
    assert times["validation"].low == STEPS[-2]
    assert times["copying"].step == times["copying"].high == math.inf
    assert times["copying"].text() == "not reached (3,000 or later)"


def test_a_flicker_of_copies_is_no_onset():
    """Two of 24 may look copied by chance, and a burst that ends again is none either."""
    assert turning_points.chance_copies(24) == 4 and turning_points.chance_copies(16) == 3
    values = np.zeros((len(STEPS), 24))
    values[3, :12], values[8:, :4], values[10:, :9] = 1, 1, 1
    assert turning_points.boundary(long_run(), copies=Scored(STEPS, values))["copying"].step == STEPS[10]


def test_the_table_has_one_row_a_rule():
    rows = turning_points.stopping_table(long_run()).rows
    assert len(rows) == len(usual_rules(long_run())) == len({row[0] for row in rows})


def test_scores_of_another_shape_and_a_run_without_evaluations_are_refused():
    with pytest.raises(LabError, match="scores"):
        turning_points.boundary(long_run(), Scored(STEPS, np.zeros(3)))
    short = long_run()
    short.validations.clear()
    with pytest.raises(LabError, match="three evaluations"):
        turning_points.boundary(short)


@pytest.mark.parametrize("turn, words", [(TURN, "160 (80 to 320)"), (3000, "not reached (2,000 or later)")])
@pytest.mark.parametrize("scored", [(), (scores(),), (scores(), copies())])
def test_the_words_of_the_figure_keep_apart(scored, turn, words):
    run = long_run(turn=turn, noise=0.001)
    figure = turning_points.plot_boundary(run, turning_points.boundary(run, *scored), *scored)
    assert_words_keep_apart(figure)
    assert_bands_are_whole(figure)
    assert f"lowest held-out loss: {words}" in figure.summary
