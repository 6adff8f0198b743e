"""Runs that differ by their batch: rates by rule, best rates, both compensations together, what a batch costs."""

import math

import numpy as np
import pytest
import tiny
from figures import assert_bands_are_whole, assert_words_keep_apart
from volume_runs import course, eightfold, ended, race, valleys

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.experiments import batch_size, updates
from labkit.text import rate_text

DESIGN = RunConfig(learning_rate=1e-3, max_train_steps=120).resolved(96)


def test_every_batch_is_shown_as_many_pictures_and_its_own_batch_has_one_rate():
    configs = batch_size.at_equal_epochs(DESIGN, [1, 4, 16])
    assert len(configs) == 7
    assert {config.train_batch_size * config.max_train_steps for config in configs} == {480}
    assert {config.learning_rate for config in configs if config.train_batch_size == 16} == {1e-3, 2e-3, 4e-3}
    assert {config.learning_rate for config in configs if config.train_batch_size == 1} == {1e-3, 5e-4, 2.5e-4}


def test_pictures_shown_are_counted_with_those_that_accumulate():
    design = DESIGN.replace(gradient_accumulation_steps=2)
    configs = batch_size.at_equal_epochs(design, [1, 4, 16], ["none"])
    assert {config.effective_batch_size * config.max_train_steps for config in configs} == {960}


def test_of_two_batches_one_is_held_against_the_other():
    runs = list({run.config.train_batch_size: run for run in race()}.values())[1:]
    assert "Held-out loss of batch 16 against batch 4" in batch_size.both_ways(runs)


def test_a_rule_is_read_back_from_the_rate_and_the_reference_belongs_to_all():
    configs = batch_size.at_equal_epochs(DESIGN, [4, 16])
    assert batch_size.rules_of(DESIGN, DESIGN) == ["none", "sqrt", "linear"]
    assert [batch_size.rules_of(config, DESIGN) for config in configs[1:]] == [["none"], ["sqrt"], ["linear"]]


def test_the_race_has_a_line_for_each_rule_and_a_row_for_each_run():
    runs = race()
    axes = batch_size.plot_rules(runs)
    assert_words_keep_apart(axes.figure)
    assert_bands_are_whole(axes.figure)
    assert len(axes.lines) >= 3 and "rate × √batch" in axes.figure.summary
    table = batch_size.rules_table(runs)
    assert len(table.rows) == 7 and [row[3] for row in table.rows].count("reference") == 1
    assert [row[1] for row in table.rows if row[0] == "16"] == ["30"] * 3


def test_a_run_that_broke_off_is_not_finite_in_table_and_figure_whatever_it_was_last_measured_at():
    runs = race()
    runs[-1] = ended(0.1, status="diverged", learning_rate=4e-3, train_batch_size=16, max_train_steps=30)
    assert "not finite" in repr(batch_size.rules_table(runs))
    assert_words_keep_apart(batch_size.plot_rules(runs).figure)


def test_predictions_are_compared_with_the_runs_at_one_rate():
    words = batch_size.predictions(race(), 4, "About equal")
    assert "Longest updates at one rate: about equal. You said About equal: yes." in words
    assert "You said" not in batch_size.predictions(race())
    assert "Longest updates at one rate: 16. You said 4." in batch_size.predictions(race(power=1.0), longest=4)


def volumes():
    """Return runs of batch 2, 4 and 16, the large one as many updates as the middle one, the small one twice that."""
    starts = {2: [0.2, 0.19, 0.17, 0.15], 4: [0.2, 0.18, 0.16], 16: [0.2, 0.17, 0.14]}
    steps = {2: [0, 8, 32, 64], 4: [0, 8, 32], 16: [0, 8, 32]}
    return [course(held, held, steps[batch], train_batch_size=batch, max_train_steps=steps[batch][-1])
            for batch, held in starts.items()]


def test_a_batch_is_compared_after_as_many_updates_and_after_as_many_pictures():
    words = batch_size.both_ways(volumes(), 16)
    assert "batch 16 against batch 4: after 32 updates each -0.020" in words
    assert "after 128 pictures each +0.010" in words
    assert words.endswith("Lowest after 128 pictures: batch 2. You said 16.")
    assert batch_size.both_ways(volumes(), 2).endswith("You said 2: yes.")
    assert "You" not in batch_size.both_ways(volumes())
    axes = batch_size.plot_volumes(volumes())
    assert_words_keep_apart(axes.figure)
    assert_bands_are_whole(axes.figure)
    rings = [line.get_xdata()[0] for line in axes.lines if line.get_markersize() == 17]
    assert rings == [64, 32, 8] and axes.figure.summary == batch_size.both_ways(volumes())


ALIKE, RISING = {1: 3e-3, 4: 3e-3, 16: 3e-3}, {1: 1e-3, 4: 3e-3, 16: 1e-2}


@pytest.mark.parametrize("bests, power", [(ALIKE, 0), (RISING, 0.83)])
def test_the_best_rates_give_the_power_of_the_batch(bests, power):
    runs = valleys(bests)
    assert batch_size.exponent(runs)[0] == pytest.approx(power, abs=0.01)
    figure = batch_size.plot_best_rates(runs).figure
    assert_words_keep_apart(figure)
    assert f"to the power {power:.2f}" in figure.summary
    assert [row[3] for row in batch_size.best_rates(runs).rows] == [rate_text(rate) for rate in bests.values()]


def test_rates_as_good_within_noise_give_the_power_its_range(monkeypatch):
    runs = valleys(RISING)
    power, low, high = batch_size.exponent(runs)
    assert low <= power <= high
    monkeypatch.setattr(batch_size, "as_good", lambda arms: arms)  # as if nothing could be told apart
    power, low, high = batch_size.exponent(runs)
    assert low < 0 < 0.83 < high
    assert f"{power:.2f} ({low:.2f} to {high:.2f} within noise)" in batch_size.plot_best_rates(runs).figure.summary


def test_a_best_rate_at_the_edge_is_called_so():
    assert "3e-4 (at the edge)" in repr(batch_size.best_rates(valleys({4: 3e-4, 16: 3e-3})))


def test_a_batch_of_which_every_run_broke_has_no_best_rate():
    with pytest.raises(LabError, match="batch 4 ended with a number: record lower rates"):
        batch_size.best_rates([ended(0.3, status="diverged")])


def test_eight_times_the_epochs_stand_beside_the_large_batch():
    rows = batch_size.compensation(eightfold()).rows
    assert [row[0] for row in rows] == ["32"] + ["4"] * 5 and rows[0][6] == ""
    assert [row[3] for row in rows] == ["30", "240", "240", "240", "1,920", "1,920"]
    assert rows[-1][2] == "3.75e-4 (rate × batch)" and rows[-1][4] == "8 ×"


def test_a_larger_batch_keeps_more_for_the_gradient_and_about_as_much_a_picture():
    config = RunConfig(rank=2).resolved(12)
    cost = updates.cost_by_batch(tiny.base(), tiny.cache(), config, batch_sizes=(1, 2, 4), repeats=1)
    kept = np.array(cost.kept_bytes)
    assert (np.diff(kept) > 0).all() and kept[2] == pytest.approx(4 * kept[0], rel=0.3)
    assert all(math.isfinite(seconds) and seconds > 0 for seconds in cost.seconds)
    assert [row[0] for row in batch_size.cost_table(cost).rows] == ["1", "2", "4"]
