"""What a sweep ends in: one table, best first, its curves and a sheet of pictures."""

import dataclasses

from made_runs import made_race, made_run, scored_race

from labkit.judge.ranking import ranked
from labkit.view.ranking import CURVES, SHEET, conclusion, plot_ranking, ranking_sheet, ranking_table


def distinct(count):
    """Give runs that differ in two settings, each with an id of its own."""
    runs = [made_run("healthy", learning_rate=rate, rank=rank) for rate in (1e-4, 1e-3, 1e-2, 2e-2)
            for rank in (2, 4, 8)]
    return [dataclasses.replace(run, run_id=f"{number:016x}") for number, run in enumerate(runs[:count], 1)]


def test_the_table_has_what_differs_the_loss_with_its_interval_score_and_verdict_best_first():
    table = ranking_table(ranked(scored_race()))
    assert table.heads == ["run", "learning rate", "held-out loss (95 % interval)", "accepted", "verdict"]
    assert [row[1] for row in table.rows] == ["1e-3", "3e-5", "1e-2", "3e-2", "3e-1"]
    assert table.rows[0][-1] == "● healthy" and table.rows[0][3] == "16 of 16"
    assert table.rows[-1][2] == "not finite" and len(table.rows[0][0]) == 6
    low, high = table.rows[0][2].split("(")[1].rstrip(")").split(" to ")
    assert float(low) < float(table.rows[0][2].split()[0]) < float(high)
    assert max(map(len, repr(table).split("\n")[:6])) <= 100
    assert "accepted" not in ranking_table(ranked(made_race())).heads


def test_its_last_lines_name_the_best_and_what_one_seed_cannot_show():
    words = conclusion(ranked(made_race()))
    assert words.startswith("Best: learning rate 1e-3.") and "One seed each" in words
    broken = [made_run("blown up", learning_rate=rate) for rate in (1.0, 2.0)]
    assert "None of these runs" in conclusion(ranked(broken)) and conclusion([]).startswith("None")


def test_curves_and_sheet_show_the_best_and_leave_out_what_has_no_room():
    places = ranked(distinct(12))
    ax = plot_ranking(places)
    assert len(ax.figure.summary.split("; ")) == CURVES and f"best {CURVES} of 12" in ax.get_title("left")
    sheet = ranking_sheet(places)
    assert len(sheet.summary.split("; ")) == 1 + min(SHEET, 12) and sheet.summary.startswith("the untouched base")
    assert "1. rank" in sheet.summary.split("; ")[1]
    assert sheet.encoded("jpeg", scale=0.2)


def test_runs_without_pictures_have_no_sheet():
    assert ranking_sheet(ranked(made_race(pictures=False))) is None and ranking_sheet([]) is None


def test_runs_of_which_nothing_was_held_out_are_called_by_what_they_were_measured_on():
    runs = [dataclasses.replace(run, meta=run.meta | {"nothing_held_out": True}) for run in made_race()]
    places = ranked(runs)
    table = ranking_table(places)
    assert "loss on training pictures (95 % interval)" in table.heads and "held-out" not in repr(table)
    assert "choose by the pictures" in conclusion(places) and "Best" not in conclusion(places)
    assert plot_ranking(places).get_title("left") == "Loss on training pictures"
