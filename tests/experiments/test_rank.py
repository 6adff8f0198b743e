"""What rank buys, on made runs: shares of the gain, the smallest rank that is enough, and figures that can be read."""

import dataclasses

import numpy as np
import pytest
from figures import assert_bands_are_whole, assert_words_keep_apart
from made_runs import made_run

from labkit.errors import LabError
from labkit.experiments.best_rate import by_scaling, plot_scalings
from labkit.experiments.rank import FULL, capacity, capacity_table, plot_capacity, predictions
from labkit.lessons import session

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def ended(end, rate, seed=0, **knobs):
    """Make a run whose held-out loss ends at a mean; None breaks it before its end."""
    run = made_run(learning_rate=rate, seed=seed, pictures=False, max_train_steps=200, **knobs)
    held = run.validations["validation"]
    if end is None:
        held = held._replace(steps=held.steps[:2], losses=held.losses[:2])
        return dataclasses.replace(run, status="diverged", validations=run.validations | {"validation": held})
    losses = held.losses.copy()
    losses[-1] *= end / losses[-1].mean()
    return dataclasses.replace(run, validations=run.validations | {"validation": held._replace(losses=losses)})


def made(floors, *, whole=0.10, break_at=None, apart=0.0):
    """Make runs that end at floors[rank] at a best rate that falls as the rank grows, and runs of whole matrices.

    Each has two seeds, which end `apart`.
    """
    runs = []
    for i, (rank, floor) in enumerate(floors.items()):
        best = len(RATES) - 2 - i * (len(RATES) - 3) // max(len(floors) - 1, 1)
        for j, rate in enumerate(RATES):
            end = None if break_at == rate else min(floor + 0.01 * (j - best) ** 2, 0.5)
            runs += [ended(end and end + apart * (seed - 0.5), rate, seed, rank=rank) for seed in (0, 1)]
    ends = {rate: whole + 0.01 * abs(i - 1) for i, rate in enumerate((1e-4, 3e-4, 1e-3))}
    return runs + [ended(end, rate, seed, adapter="full") for seed in (0, 1) for rate, end in ends.items()]


FLAT = made({1: 0.104, 4: 0.1, 16: 0.1, 64: 0.1})
STEEP = made({1: 0.15, 4: 0.13, 16: 0.1, 64: 0.1})


def test_the_smallest_rank_that_is_enough_lacks_at_most_a_twentieth_at_its_own_best_rate():
    flat, steep = capacity(FLAT), capacity(STEEP)
    assert (flat.enough, steep.enough) == (1, 16)
    assert flat.best_rate(1) == 1e-2 and flat.best_rate(64) == 1e-3 and not flat.at_edge(1)
    assert "rank 1 is the smallest" in flat.sentence and "2 seeds" in flat.sentence


def test_shares_run_from_the_base_to_the_best_and_whole_matrices_are_the_ceiling():
    found = capacity(made({1: 0.15, 16: 0.12}))
    assert found.share(FULL).mean == pytest.approx(1) and found.sizes == [1, 16, FULL]
    assert found.share(1).mean == pytest.approx(0.5, abs=0.05) and found.share(16).mean == pytest.approx(0.8, abs=0.05)
    assert found.share(1).low <= found.share(1).mean <= found.share(1).high


def test_one_rate_for_all_may_order_the_ranks_otherwise_than_their_own_best_does():
    flat = capacity(FLAT)
    assert flat.share(1, 3e-4).mean < flat.share(64, 3e-4).mean
    assert flat.share(1, 3e-2).mean > flat.share(64, 3e-2).mean
    assert flat.share(1).mean == pytest.approx(flat.share(64).mean, abs=0.05)


def test_a_best_rate_at_the_edge_of_its_grid_is_told():
    edge = capacity([ended(0.1 + 0.01 * i, rate, seed, rank=8) for seed in (0, 1) for i, rate in enumerate(RATES)])
    assert edge.at_edge(8) and "the last one tried" in repr(capacity_table(edge))


def test_a_run_that_broke_before_its_end_counts_as_broken_not_as_its_last_measurement():
    found = capacity(made({1: 0.12, 16: 0.1}, break_at=3e-2))
    assert found.share(1, 3e-2).mean == -np.inf and found.best_rate(1) != 3e-2


def test_the_table_has_a_row_for_every_size_and_territory():
    text = repr(capacity_table(capacity(FLAT), capacity(STEEP)))
    assert text.count("\n") == 5 and "rank 64" in text and "the whole matrices" in text and "share of the gain" in text


def test_predictions_of_ranks_are_compared_and_none_is_not_wrong():
    steep = capacity(STEEP)
    right = predictions({"far": (16, steep)})
    assert right.endswith("16 in the mean, 16 by the intervals. You said 16: yes.")
    assert predictions({"far": (4, steep)}).endswith("You said 4.")
    assert "You said" not in predictions({"far": (None, steep)})


def test_seeds_that_lie_apart_leave_open_which_rank_is_enough_and_the_best_is_not_sure_to_be_the_best():
    near, apart = (capacity(made({1: 0.11, 4: 0.1, 16: 0.1}, apart=apart)) for apart in (0.0, 0.02))
    assert near.enough == apart.enough == 4 and near.open == (4, 4) and apart.open == (1, None)
    assert "which is sure" in near.sentence and "the intervals leave open any of those tried" in apart.sentence
    best = apart.share(apart.best)
    assert best.mean == best.high == 1 and best.low < 0.9 < near.share(near.best).low
    assert "You said 1, which the intervals leave open." in predictions({"far": (1, apart)})
    assert predictions({"far": (1, near)}).endswith("You said 1.")


def test_runs_of_one_seed_say_so():
    assert "one seed" in capacity([run for run in STEEP if run.config.seed == 0]).sentence


def test_runs_of_two_territories_and_no_runs_are_refused():
    with pytest.raises(LabError, match="liminal, near"):
        capacity([ended(0.1, 1e-3), ended(0.1, 1e-3, data="near")])
    with pytest.raises(LabError, match="no territory"):
        capacity([])


@pytest.mark.parametrize("break_at", [None, 3e-2])
def test_the_figure_can_be_read_and_says_what_it_shows(break_at):
    runs = made({rank: 0.1 + 0.02 / rank for rank in (1, 2, 4, 8, 16, 32, 64)}, break_at=break_at)
    near = [dataclasses.replace(run, config=run.config.replace(data="near")) for run in runs]
    figure = plot_capacity(capacity(runs), capacity(near))
    assert_words_keep_apart(figure)
    assert_bands_are_whole(figure)
    assert len(figure.axes) == 2 and "is the smallest" in figure.summary


def test_scalings_are_compared_at_one_rate_and_at_their_own_best():
    runs = [
        ended(0.1 + 0.01 * abs(i - best), rate, seed, alpha=8 * scaling)
        for scaling, best in ((0.1, 3), (1, 2), (10, 1)) for seed in (0, 1) for i, rate in enumerate(RATES)
    ]
    assert list(by_scaling(runs)) == [0.1, 1, 10]
    axes = plot_scalings(runs)
    assert_words_keep_apart(axes.figure)
    summary = axes.figure.summary
    assert "Against scaling 1 at its best rate 3e-3" in summary and "at its own best, 1e-2" in summary
    with pytest.raises(LabError, match="two at least"):
        by_scaling(runs[:1])


def test_a_recorded_set_that_is_not_there_is_one_sentence_with_the_command(capsys):
    assert session.recorded("u_curve") and not capsys.readouterr().out
    assert session.recorded("nowhere", "u_curve") == []
    told = " ".join(capsys.readouterr().out.split())          # as one line, however it was wrapped
    command = "python -m recipes.ship.recorded nowhere u_curve"
    assert told == f"Recorded runs are missing here: in the folder data, `{command}` makes them."
