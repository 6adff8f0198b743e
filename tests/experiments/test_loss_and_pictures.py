"""What loss and pictures say of each other, on made-up runs whose answer is known."""

import json
import subprocess
import sys

import numpy as np
import pytest
from figures import assert_words_keep_apart

from labkit.errors import LabError
from labkit.experiments import loss_and_pictures as asked
from labkit.experiments.loss_and_pictures import QUANTITIES
from labkit.judge.diagnose import LABELS

PROMPTS, CHECKPOINTS = 16, 4
COLUMNS = ["run", "data", "learning_rate", "step", *QUANTITIES, "accepted", "verdict"]
UNTOUCHED = {name: {"held_out": 0.15} for name in ("near", "pool")}


def bits(count):
    """Accept the first `count` prompts in an order that halves share evenly."""
    return "1" * count + "0" * (PROMPTS - count)


def written(folder, **parts):
    file = folder / "table.json"
    table = {"base": "made up", "prompts": PROMPTS, "untouched": UNTOUCHED, "columns": COLUMNS}
    file.write_text(json.dumps(table | parts))
    return file


def made(folder, course, runs=24):
    """Make runs on two territories; course(run, checkpoint) -> (values of the quantities, prompts accepted)."""
    rows = []
    for run in range(runs):
        for checkpoint in range(CHECKPOINTS):
            values, count = course(run, checkpoint)
            accepted = None if count is None else bits(count)
            rows.append([f"{run:02d}", ("near", "pool")[run % 2], 1e-3, 25 * (checkpoint + 1), *values, accepted,
                         LABELS[run % len(LABELS)]])
    return asked.study(written(folder, rows=rows))


def alike(number):
    return [number] * len(QUANTITIES)


def ordered(run, checkpoint):
    """Let all quantities fall as pictures get better, over runs and within them."""
    count = min(run // 2 + checkpoint, PROMPTS)
    return alike(0.2 - 0.01 * count), count


def reversed_order(run, checkpoint):
    values, count = ordered(run, checkpoint)
    return [0.4 - value for value in values], count


def noise(run, checkpoint):
    rng = np.random.default_rng([run, checkpoint])
    return [float(value) for value in rng.random(len(QUANTITIES))], int(rng.integers(0, PROMPTS + 1))


def broken(run, checkpoint):
    """Let every sixth run break after its second checkpoint."""
    return (alike(None), None) if run % 6 == 0 and checkpoint > 1 else ordered(run, checkpoint)


def test_equal_values_share_their_mean_rank_and_infinite_ones_are_equal():
    assert asked.ranks([3.0, 1.0, 3.0, np.inf, np.inf]).tolist() == [2.5, 1, 2.5, 4.5, 4.5]


def test_the_rank_correlation_is_that_of_the_formula_without_ties_and_of_a_worked_example_with_them():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 9))
    apart = asked.ranks(first) - asked.ranks(second)
    assert asked.spearman(first, second) == pytest.approx(1 - 6 * (apart**2).sum() / (9 * 80))
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: products of 3, squares of 4.5 and 5.
    assert asked.spearman([1, 2, 2, 3], [2, 1, 3, 4]) == pytest.approx(3 / np.sqrt(4.5 * 5))


def test_a_quantity_that_is_always_the_same_has_no_order():
    assert np.isnan(asked.spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))


@pytest.mark.parametrize("course, sign", [(ordered, -1), (reversed_order, 1)])
def test_a_perfect_order_and_its_reverse_are_found_over_runs_and_within_them(tmp_path, course, sign):
    found = made(tmp_path, course)
    over, (within, count) = (f(found, "held_out", "accepted") for f in (asked.over_runs, asked.within_runs))
    assert over == pytest.approx((sign, sign, sign)) and within.mean == pytest.approx(sign, abs=0.05)
    assert 0 < count <= len(found.settings)
    assert f"goes with {'more' if sign < 0 else 'fewer'} pictures" in asked.sentences(found)


def test_noise_has_no_order_and_the_sentence_says_so(tmp_path):
    found = made(tmp_path, noise, runs=40)
    assert not asked.over_runs(found, "held_out", "accepted").excludes_zero
    assert "no order in common beyond chance" in asked.sentences(found)


def test_territories_are_not_compared_with_each_other(tmp_path):
    """Within each the order is perfect; of both together it would not be, since one's losses are far higher."""
    def course(run, checkpoint):
        values, count = ordered(run, checkpoint)
        return [value + run % 2 for value in values], count

    assert asked.over_runs(made(tmp_path, course), "held_out", "accepted").mean == pytest.approx(-1)


def test_the_lowest_loss_chooses_the_best_checkpoint_where_the_order_is_perfect_and_the_worst_where_reversed(tmp_path):
    for course, regret in ((ordered, 0), (reversed_order, 3 / PROMPTS)):
        shares = asked.choices(made(tmp_path, course, runs=12))
        assert (shares["the best of all"] - shares["held-out loss"]) == pytest.approx(np.full(12, regret))
        assert shares["the last one"] == pytest.approx(shares["the best of all"])


def test_checkpoints_that_are_equally_good_are_averaged(tmp_path):
    shares = asked.choices(made(tmp_path, lambda run, checkpoint: (alike(1.0), [0, 8, 0, 0][checkpoint]), runs=4))
    assert shares["held-out loss"] == pytest.approx(np.full(4, 2 / PROMPTS))


def test_a_run_that_broke_counts_as_worst_and_its_last_checkpoint_as_one_that_draws_nothing(tmp_path):
    found = made(tmp_path, broken)
    assert np.isinf(found.values["held_out"][0, 2:]).all() and not found.accepted[0, 2:].any()
    shares = asked.choices(found)
    assert shares["the last one"][6] == 0 and shares["held-out loss"][6] == shares["the best of all"][6] == 4 / PROMPTS
    over = asked.over_runs(found, "held_out", "accepted")
    assert over == pytest.approx((-1, -1, -1))
    early = asked.turned_early(found)
    assert len(early.settings) == 4
    assert "In the 4 runs that early stopping would cut short" in asked.sentences(found)


def test_choosing_by_other_prompts_gains_nothing_where_pictures_are_chance(tmp_path):
    found = made(tmp_path, noise, runs=200)
    rng = np.random.default_rng(1)
    found.accepted[:] = rng.random(found.accepted.shape) < 0.5
    shares = asked.choices(found)
    assert shares["the reader, other prompts"].mean() == pytest.approx(0.5, abs=0.03)
    assert shares["the best of all"].mean() > 0.6


def test_runs_in_which_nothing_can_be_chosen_are_left_out(tmp_path):
    found = made(tmp_path, lambda run, checkpoint: (alike(0.1 * checkpoint), 0 if run % 4 else checkpoint), runs=12)
    assert len(asked.that_differ(found).settings) == 3


def test_tables_and_figure_tell_the_same(tmp_path):
    found = made(tmp_path, broken)
    table, pairs = asked.agreement(found), asked.correlations(found)
    assert [row[0] for row in table.rows] == list(asked.choices(found)) and table.note == asked.sentences(found)
    assert table.rows[0][1].startswith("-1.00") and table.rows[-1][4] == "0 (0 to 0)"
    assert len(pairs.rows) == 15 and all(len(row) == len(pairs.heads) for row in pairs.rows)
    figure = asked.plot_choice(found)
    assert figure.summary == table.note
    assert_words_keep_apart(figure)


@pytest.mark.parametrize("change", [
    {"columns": COLUMNS[:-1]},
    {"rows": []},
    {"rows": [["a", "near", 1e-3, 25, *alike("low"), bits(1), "healthy"]]},
    {"prompts": None},
])
def test_a_damaged_table_is_refused_with_the_command_that_makes_it(tmp_path, change):
    rows = [["a", "near", 1e-3, 25, *alike(0.1), None, "healthy"]]
    with pytest.raises(LabError, match="recipes.ship.loss_pictures"):
        asked.study(written(tmp_path, **{"rows": rows} | change))


def test_runs_of_unequal_checkpoints_and_a_missing_table_are_refused(tmp_path):
    rows = [[run, "near", 1e-3, step, *alike(0.1), None, "healthy"] for run, step in (("a", 25), ("b", 25), ("b", 50))]
    with pytest.raises(LabError, match="equally many checkpoints"):
        asked.study(written(tmp_path, rows=rows))
    with pytest.raises(LabError, match="cannot be read"):
        asked.study(tmp_path / "none.json")


def test_it_is_read_and_told_without_torch():
    code = "import labkit.experiments.loss_and_pictures, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
