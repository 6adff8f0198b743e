"""The report as a page: what stands before a fold and behind it, words for what is drawn, both papers readable."""

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from made_runs import made_race, made_run

from labkit.cli.report import entry
from labkit.cli.report_page import heading, page
from labkit.cli.report_style import DARK
from labkit.errors import LabError
from labkit.store.history import Samples, Scores
from labkit.view.style import VERDICTS


def made_page(runs, name="01_learning_rate", **result):
    result = {"name": name, "ok": True, "error": None, "seconds": 12.3, "run_steps_trained": 1000, "parameters": {},
              "runs": [run.run_id for run in runs]} | result
    data = {"notebooks": [result], "runs": [entry(run, name, runs) for run in runs], "fast": False}
    return page(data, {name: {run.run_id: run for run in runs}}, "Made today.")


class Outline(HTMLParser):
    """Collect headings, tables, pictures, and words before and behind folds."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.before, self.behind = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "details" in self.open and "summary" not in self.open:
            self.behind += data
        elif "style" not in self.open:
            self.before += data


def test_advice_stands_before_the_fold_and_the_numbers_behind_it():
    runs = made_race(pictures=False)
    outline = Outline(made_page(runs))
    for run in runs:
        told = entry(run, siblings=runs)
        assert told["advice"] in outline.before and told["seen"] not in outline.before
        assert told["seen"] in outline.behind and run.config.share() in outline.behind
    assert "second half gain per rate" in outline.behind and "second half" not in outline.before
    assert "How hard should each update push" in outline.before and "What holds" in outline.before


def test_headings_descend_tables_have_captions_and_scopes_and_pictures_have_words():
    outline = Outline(made_page(made_race()))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[:2] == [1, 2] and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    count = Counter(tag for tag, _ in outline.tags)
    assert count["caption"] == count["table"] > 5
    assert all("scope" in attributes for tag, attributes in outline.tags if tag == "th")
    pictures = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(pictures) == 2 * 3 + 2 * 5 and all(attributes["alt"] for attributes in pictures)
    drawings = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert all("aria-label" in attributes or attributes.get("aria-hidden") for attributes in drawings)


def test_the_best_run_is_the_healthy_one_and_none_is_called_healthy_where_none_is():
    best = made_page(made_race(pictures=False)).split("<h3>")[1]
    assert best.startswith("Best run") and "</span> healthy</span></p>" in best and "learning rate 1e-3" in best
    assert "(no run is healthy)" in made_page([made_run("overfitting", pictures=False)])


def test_a_failed_lesson_says_so_and_one_without_runs_too():
    text = made_page([], ok=False, error="failed in cell [3]: ValueError: <script>", parameters={"data": "<b>"})
    assert "<strong>Failed:</strong> it failed in cell [3]: ValueError: &lt;script&gt;" in text
    assert "<b>" not in text and "data = &lt;b&gt;" in text and "0 of 1 lesson done" in text
    assert "No run was trained here." in made_page([])


def test_a_score_stands_beside_the_verdict_and_its_absence_leaves_nothing():
    run = made_run(pictures=False)
    assert "accepted" not in made_page([run])
    prompts = ("a pool",) * 16
    scores = Scores(np.array([0, 200]), np.arange(32).reshape(2, 16) >= 17, prompts, prompts, "a reader")
    text = made_page([dataclasses.replace(run, scores={"validation": scores}), made_run("stagnating")])
    assert "<p>15 of 16 prompts accepted (" in text and '<p class="quiet">15 of 16 accepted</p>' in text


def test_runs_on_two_territories_are_told_apart():
    text = made_page([made_run(pictures=False), made_run(pictures=False, learning_rate=1e-4, data="near")])
    assert "The run on liminal" in text and "The run on near" in text


def test_pictures_that_cannot_be_read_are_left_out(monkeypatch):
    def damaged(_samples):
        raise LabError("damaged")

    monkeypatch.setattr(Samples, "load", damaged)
    assert "<img" not in made_page(made_race())


def test_a_run_that_was_never_measured_and_one_that_blew_up_have_a_row():
    text = made_page([made_run("blown up"), made_run(upto=-1, learning_rate=1e-4)])
    assert "not finite" in text and "not measured" in text


def test_names_of_lessons_are_written_for_people():
    assert heading("02_rank_and_alpha") == "02 · Rank and alpha" and heading("my_own") == "my_own"


def luminance(color):
    parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("label", VERDICTS)
def test_every_verdict_stands_out_on_dark_paper(label):
    assert (luminance(DARK[label]) + 0.05) / (luminance("#1f2022") + 0.05) >= 4.5
