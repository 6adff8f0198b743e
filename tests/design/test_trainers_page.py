"""docs/translate.md shows the tables that `labkit translate` works with, and no table has a name twice."""

import pytest
import trainers_page

from labkit.design.trainers.curves import CURVES
from labkit.design.trainers.known import TRAINERS
from labkit.design.trainers.translate import SCHEDULE
from labkit.design.trainers.words import LOST, WORDS


def test_the_page_is_what_the_tables_say():
    assert trainers_page.PAGE.read_text(encoding="utf-8") == trainers_page.page(), "python tools/trainers_page.py"


@pytest.mark.parametrize("name", TRAINERS)
def test_a_table_names_only_what_is_in_the_common_vocabulary(name):
    trainer = TRAINERS[name]
    fields = {row.ours for row in TRAINERS["labkit"].rows} | {"target_modules", "optimizer"}
    ours = {row.ours for row in trainer.rows} | {choice.ours for choice in trainer.choices} | set(trainer.fixed)
    assert ours <= fields | WORDS.keys()
    assert {curve.curve for curve in trainer.curves} <= set(CURVES)
    assert trainer.default_curve in {curve.theirs for curve in trainer.curves}
    theirs = [row.theirs for row in trainer.rows if row.write]
    assert len(theirs) == len(set(theirs))


def test_whatever_a_trainer_may_lack_has_a_sentence_that_says_what_is_lost():
    for trainer in TRAINERS.values():
        has = {row.ours for row in trainer.rows if row.write} | {choice.ours for choice in trainer.choices}
        lacks = {row.ours for row in TRAINERS["labkit"].rows} - has - set(SCHEDULE)
        assert lacks <= LOST.keys(), trainer.name
