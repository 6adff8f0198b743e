"""Three times of one long run, and rules that would have stopped it."""

import math

import numpy as np
import pytest
from figures import assert_bands_are_whole, assert_words_keep_apart
from long_runs import BEST, ONSET, STEPS, TURN, copies, long_run, scores

from labkit.errors import LabError
from labkit.experiments import turning_points
from labkit.experiments.turning_points import Scored


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


def test_what_had_not_happened_by_the_end_is_not_reached():
    times = turning_points.boundary(long_run(turn=3000, noise=0.001), copies=Scored(STEPS, np.zeros((len(STEPS), 24))))
    assert times["validation"].step == times["validation"].high == math.inf and times["validation"].low == STEPS[-2]
    assert times["copying"].step == times["copying"].high == math.inf
    assert times["copying"].text() == "not reached (3,000 or later)"


def test_a_flicker_of_copies_is_no_onset():
    """Two of 24 may look copied by chance, and a burst that ends again is none either."""
    assert turning_points.chance_copies(24) == 4 and turning_points.chance_copies(16) == 3
    values = np.zeros((len(STEPS), 24))
    values[3, :12], values[8:, :4], values[10:, :9] = 1, 1, 1
    assert turning_points.boundary(long_run(), copies=Scored(STEPS, values))["copying"].step == STEPS[10]


def played(rule, losses):
    at, says, kept, gain = turning_points._played(rule, np.array([losses], dtype=float))
    return (int(at[0]) if says[0] else None), int(kept[0]), float(gain[0])


DIP = [10, 6, 5, 5.4, 4, 4.2, 4.1, 4.3, 5, 6]


@pytest.mark.parametrize("rule, stop, kept, gain", [
    (turning_points.patience(1), 3, 2, 5 / 6), (turning_points.patience(3), 7, 4, 1), (turning_points.patience(9), None, 4, 1),
    (turning_points.generalization_loss(5), 3, 2, 5 / 6), (turning_points.generalization_loss(9), 8, 4, 1), (turning_points.generalization_loss(60), None, 4, 1),
    (turning_points.rise_of_gain(0.07), 3, 2, 5 / 6), (turning_points.rise_of_gain(0.1), 8, 4, 1), (turning_points.rise_of_gain(0.3), 9, 4, 1),
])
def test_each_rule_stops_where_it_says(rule, stop, kept, gain):
    assert played(rule, DIP) == (stop, kept, pytest.approx(gain))


def test_a_run_that_only_gets_worse_is_stopped_at_once_and_given_back_untouched():
    assert played(turning_points.patience(2), [1, 2, 3, 4]) == (2, 0, 1.0)
    assert played(turning_points.rise_of_gain(0.1), [1, 2, 3, 4]) == (1, 0, 1.0)


def test_a_fixed_number_of_epochs_gives_what_there_is_then():
    found = turning_points.score(turning_points.fixed_epochs(10, long_run()), long_run())
    assert (found.stopped, found.kept) == (40, 40)                    # 30 updates of 8 pictures are 10 epochs of 24
    assert found.gain[0] < 0.95 and found.gain[1] <= found.gain[0] <= found.gain[2]


def test_the_table_has_one_row_a_rule():
    found = turning_points.stopping_table(long_run())
    assert len(found.rows) == len(turning_points.usual_rules(long_run())) and len({row[0] for row in found.rows}) == len(found.rows)


def test_scores_of_another_shape_and_a_run_without_evaluations_are_refused():
    with pytest.raises(LabError, match="scores"):
        turning_points.boundary(long_run(), Scored(STEPS, np.zeros(3)))
    short = long_run()
    short.validations.clear()
    with pytest.raises(LabError, match="three evaluations"):
        turning_points.boundary(short)


@pytest.mark.parametrize("turn, words", [(TURN, "160 (80 to 320)"), (3000, "not reached (2,000 or later)")])
@pytest.mark.parametrize("given", [(), (scores(),), (scores(), copies())])
def test_the_words_of_the_figure_keep_apart(given, turn, words):
    history = long_run(turn=turn, noise=0.001)
    figure = turning_points.plot_boundary(history, turning_points.boundary(history, *given), *given)
    assert_words_keep_apart(figure)
    assert_bands_are_whole(figure)
    assert f"lowest held-out loss: {words}" in figure.summary
