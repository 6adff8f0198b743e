"""When a run turned, rules that would have stopped it, and the checkpoint that is kept."""

import numpy as np
import pytest
from long_runs import TURN, long_run
from made_runs import made_run
from volume_runs import turned

from labkit.errors import LabError
from labkit.judge.arms import over_seeds
from labkit.judge.early_stopping import (
    apply_rule,
    apply_to_curves,
    fixed_epochs,
    generalization_loss,
    kept_step,
    patience,
    rise_of_gain,
    time_of_lowest_loss,
)

DIP = [10, 6, 5, 5.4, 4, 4.2, 4.1, 4.3, 5, 6]


def played(rule, losses):
    at, says, kept, gain = apply_to_curves(rule, np.array([losses], dtype=float))
    return (int(at[0]) if says[0] else None), int(kept[0]), float(gain[0])


@pytest.mark.parametrize("rule, stop, kept, gain", [
    (patience(1), 3, 2, 5 / 6), (patience(3), 7, 4, 1), (patience(9), None, 4, 1),
    (generalization_loss(5), 3, 2, 5 / 6), (generalization_loss(9), 8, 4, 1), (generalization_loss(60), None, 4, 1),
    (rise_of_gain(0.07), 3, 2, 5 / 6), (rise_of_gain(0.1), 8, 4, 1), (rise_of_gain(0.3), 9, 4, 1),
])
def test_each_rule_stops_where_it_says(rule, stop, kept, gain):
    assert played(rule, DIP) == (stop, kept, pytest.approx(gain))


def test_a_run_that_only_gets_worse_is_stopped_at_once_and_given_back_untouched():
    assert played(patience(2), [1, 2, 3, 4]) == (2, 0, 1.0)
    assert played(rise_of_gain(0.1), [1, 2, 3, 4]) == (1, 0, 1.0)


def test_a_fixed_number_of_epochs_gives_what_there_is_then():
    found = apply_rule(fixed_epochs(10, long_run()), long_run())
    assert (found.stopped, found.kept) == (40, 40)                    # 30 updates of 8 pictures are 10 epochs of 24
    assert found.gain[0] < 0.95 and found.gain[1] <= found.gain[0] <= found.gain[2]


def test_the_checkpoint_of_the_lowest_loss_is_kept_and_the_last_where_it_has_not_turned():
    step, reason = kept_step(made_run("overfitting"), [10, 30, 200])
    assert step == 30 and "lowest after 30" in reason and "of then" in reason
    assert kept_step(made_run("overfitting"), [200]) == (200, reason.replace("of then", "nearest to it, after 200,"))
    step, reason = kept_step(made_run("healthy"), [200])
    assert step == 200 and "not turned" in reason


def test_the_time_of_the_lowest_loss_lies_in_its_interval_which_holds_those_of_every_seed():
    time = time_of_lowest_loss(long_run())
    assert time.step == TURN and time.low <= TURN <= time.high
    [arm] = over_seeds([turned(12, 100), turned(12, 400, seed=1)])
    time, each = time_of_lowest_loss(arm), [time_of_lowest_loss(run) for run in arm.runs]
    assert time.low <= min(one.low for one in each) and time.high >= max(one.high for one in each)


def test_a_run_that_was_hardly_measured_has_no_turn():
    with pytest.raises(LabError, match="three evaluations"):
        time_of_lowest_loss(made_run(upto=0))
