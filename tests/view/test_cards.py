"""Verdicts and runs as cards and tables: what stands in them, in which order, and what cannot become markup."""

import re
import time

from made_runs import made_race, made_run

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.judge.diagnose import diagnose
from labkit.store.events import Step
from labkit.store.history import RunBuilder
from labkit.view import cards


def test_when_a_run_was_trained_is_told_by_the_clock():
    builder = RunBuilder("a" * 16, RunConfig(max_train_steps=1))
    builder.add(Step("a" * 16, 1, 4, 0.1, 1e-3, 1.0, 0.1))
    run = builder.build()
    assert cards.trained_at(run) == time.strftime("%H:%M", time.localtime(run.time_s))
    assert abs(run.time_s - time.time()) < 60
    assert re.fullmatch(r"Trained \d+ \w+ \d{4} at \d\d:\d\d\.", run.provenance)


def test_the_outcome_of_a_run_stands_left_of_its_settings_which_scroll_where_a_page_is_narrow():
    table = cards.shelf_table(made_race(pictures=False), [diagnose(run) for run in made_race(pictures=False)])
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", table)
    assert heads.index("verdict") < heads.index("held-out loss") < heads.index("learning rate")
    assert "overflow-x:auto" in table


def test_only_fields_that_differ_get_a_column():
    runs = [made_run(learning_rate=1e-3, rank=4), made_run(learning_rate=1e-3, rank=8)]
    assert set(cards.differing(runs)) == {"rank", "alpha", "learning_rate"}


def test_words_from_outside_cannot_become_markup():
    assert "<script>" not in cards.error_card(LabError("<script>alert(1)</script>"))
