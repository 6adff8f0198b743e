"""The chapter's arithmetic, counted."""

import re

import pytest

from labkit.design import volume as plan
from labkit.lessons import worked_examples


@pytest.fixture(scope="module")
def rows():
    return {row[0]: row[1:] for row in worked_examples.worked_examples().rows}


def row_of(rows, words):
    row, = [row for sentence, row in rows.items() if words in sentence]
    return row


def whole_numbers(text):
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?![\d.])", text)]


def test_a_data_loader_gives_what_the_planner_says():
    for n, batch, epochs in ((50, 32, 3), (48, 4, 2), (7, 8, 1)):
        assert worked_examples.count(n, batch, epochs).updates == plan.updates(n, batch, epochs, last_batch="keep")
        dropped = worked_examples.count(n, batch, epochs, drop_last=True)
        assert dropped.updates == plan.updates(n, batch, epochs, last_batch="drop")
    assert worked_examples.count(50, 32, 3) == (6, 150, 0)
    assert worked_examples.count(50, 32, 3, drop_last=True) == (3, 96, 18)


@pytest.mark.parametrize("words, counted", [
    ("10,000 exposures", [10_000]), ("156 updates", [156, 4992, 8]), ("24,960", [24_960]),
    ("about 10 views", [49_920]), ("1,560 updates", [1560, 1570]), ("12,500 updates", [12_500, 50_000, 49_920]),
    ("8 times the epochs", [100_000, 64, 8]),
])
def test_each_number_of_the_chapter_is_counted(rows, words, counted):
    assert [number for number in whole_numbers(row_of(rows, words)[2]) if number in counted] == counted


@pytest.mark.parametrize("words, given, counted", [
    ("total examples", 1_600_000, 50_000), ("updates = examples", 50_000, 1570)])
def test_the_two_wrong_formulas_are_off_by_the_batch(rows, words, given, counted):
    by_formula, _, seen, verdict = row_of(rows, words)
    assert given in whole_numbers(by_formula) and whole_numbers(seen) == [counted]
    assert verdict.startswith("wrong: 32 times")


def test_the_two_rules_together_make_the_sum_of_the_rate_eightfold(rows):
    assert "1.00 times by the rate alone, 8.00 times by both" in row_of(rows, "scale the rate")[1]


def test_a_planner_gives_the_rest_of_a_plan_and_says_why_one_is_impossible():
    good, twice, large, odd = worked_examples.planner(
        96, {"train_batch_size": 4, "num_train_epochs": 10}, {"max_train_steps": 9, "num_train_epochs": 9},
        {"train_batch_size": 128}, {"batch_size": 4}).rows
    assert good[1:] == ["96", "4", "240", "10", "960", "0.24", ""]
    assert "keep one of them" in twice[-1] and "at most 96" in large[-1] and "did you mean train_batch_size" in odd[-1]
    assert set(twice[1:-1]) == {""}
