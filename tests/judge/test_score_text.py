"""A score in words: how many prompts are accepted, before and after, and where that and the loss disagree."""

import dataclasses
import json

import pytest
from made_runs import made_run, scored_race, with_score

from labkit.judge.diagnose import diagnose
from labkit.judge.score_text import disagreement, score, short, told, words
from labkit.view.tables import table


def scored(held_out=(0, 15), ordinary=(8, 7), **meta):
    """Return a made run with a score."""
    return dataclasses.replace(with_score(made_run(pictures=False), held_out, ordinary), meta=meta)


def test_a_score_tells_both_shares_and_the_interval_of_the_later_one():
    assert words(score(scored())) == ("15 of 16 prompts accepted (72 to 99 %), 0 of 16 untouched; "
                                      "ordinary 7 of 8, 8 untouched")
    assert short(score(scored())) == "15 of 16" and short(score(scored()), when="before") == "0 of 16"


def test_what_was_not_drawn_is_not_told():
    assert words(score(scored(held_out=(0, None), ordinary=None))) == (
        "0 of 16 prompts accepted untouched, none drawn since")
    assert words(score(scored(held_out=(None, 16), ordinary=(None, 8)))) == (
        "16 of 16 prompts accepted (81 to 100 %); ordinary 8 of 8")
    assert words(score(scored(held_out=None, ordinary=None))) == "" and short({}) == ""


def test_without_a_reader_the_score_is_left_out_with_one_sentence_and_ordinary_prompts_keep_theirs():
    run = scored(held_out=None, ordinary=None, no_score="no reader for these pictures")
    assert told("healthy", score(run)) == "No score: no reader for these pictures."
    assert diagnose(run).sentence.endswith("No score: no reader for these pictures.")
    run = scored(held_out=None, no_score="no reader for these pictures")
    assert words(score(run)) == "No score: no reader for these pictures; ordinary 7 of 8, 8 untouched"


@pytest.mark.parametrize(("label", "counts", "begins"), [
    ("healthy", (0, 15), ""), ("healthy", (0, 1), "The loss fell, but the pictures do not show it"),
    ("healthy", (15, 16), ""),                                # there was nothing more to gain
    ("healthy", (5, 4), "The loss fell, but"), ("stagnating", (0, 1), ""),
    ("stagnating", (0, 14), "That is what the loss says; the pictures are what was asked for"),
    ("overshooting", (0, 12), "That is what the loss says"), ("overshooting", (12, 12), ""),
    ("overfitting", (0, 16), ""), ("diverged", (0, None), ""),
])
def test_where_loss_and_score_disagree_the_sentence_says_so(label, counts, begins):
    said = disagreement(label, score(scored(held_out=counts)))
    assert said.startswith(begins) if begins else said == ""


def test_the_label_follows_from_losses_alone_and_the_verdict_shows_the_score_beside_it():
    plain, good, bad = (diagnose(run) for run in (made_run(), scored(), scored(held_out=(0, 0))))
    assert (plain.label, plain.confidence, plain.seen) == (good.label, good.confidence, good.seen)
    assert bad.label == good.label == "healthy" and "15 of 16" in good.sentence
    assert "do not show it" in bad.sentence and "do not show it" not in good.sentence
    assert good.to_dict()["score"]["validation"]["after"] == 15
    json.dumps(good.to_dict(), allow_nan=False)


def test_a_table_has_columns_for_scores_where_a_run_has_one_and_says_why_there_is_none():
    shown = table(scored_race())
    assert shown.heads[-3:] == ["accepted before", "accepted after", "ordinary"]
    assert shown.rows[1][-3:] == ["0 of 16", "16 of 16", "7 of 8"] and shown.rows[-1][-3:] == ["0 of 16", "", ""]
    assert "accepted before" not in table([made_run()]).heads and not table([made_run()]).note
    without = table([dataclasses.replace(made_run(), meta={"no_score": "no reader for these pictures"})])
    assert repr(without).endswith("No score: no reader for these pictures.")
    assert "No score: no reader for these pictures." in without._repr_html_()
