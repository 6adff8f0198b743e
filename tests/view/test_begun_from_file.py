"""A run that begins from an adapter's file starts at that file, and nothing that is shown of it says otherwise."""

import dataclasses

import pytest
from made_runs import made_race, made_run, with_score

from labkit.cli.report_run import curve, over_updates
from labkit.design.adapter_start import beginning
from labkit.judge.advice import advice
from labkit.judge.diagnose import OVERSHOOTING, diagnose
from labkit.judge.ranking import ranked
from labkit.judge.score_text import disagreement, score, words
from labkit.settings import REPO
from labkit.view.by_rate import plot_u_curve
from labkit.view.race_data import RaceData
from labkit.view.ranking import ranking_sheet

FILE = "/home/someone/mine.safetensors@0123456789abcdef"


def begun(kind="healthy", **knobs):
    return made_run(kind, init_lora_weights=FILE, **knobs)


def test_a_start_is_named_without_its_place():
    assert beginning("default", "gaussian") == "the untouched base"
    assert beginning(FILE, FILE) == "the file mine.safetensors"
    assert beginning(FILE, "default") == "the start of each run"


def test_verdicts_compare_with_the_file():
    told = diagnose(begun("diverged", pictures=False))
    assert "times that of the file mine.safetensors." in told.sentence and "someone" not in str(told.to_dict())
    assert "times that of the untrained base." in diagnose(made_run("diverged", pictures=False)).sentence
    evidence = {"best_step": 0, "loss_at_start": 0.2, "loss_at_best": 0.2}
    assert advice(OVERSHOOTING, evidence | {"begins_at": beginning(FILE)}, False, False).endswith(
        "at no time better than the file mine.safetensors.")
    assert advice(OVERSHOOTING, evidence, False, False).endswith("at no time better than the untouched base.")


@pytest.mark.parametrize("label, counts, expected", [
    ("healthy", (2, 2), "The loss fell, but the pictures do not show it: 2 of 16 prompts are accepted, 2 with the "
                        "file mine.safetensors."),
    ("stagnating", (0, 15), "That is what the loss says; the pictures are what was asked for: 15 of 16 prompts are "
                            "accepted, 0 with the file mine.safetensors.")])
def test_scores_count_what_the_file_drew(label, counts, expected):
    scored = score(with_score(begun(pictures=False), counts))
    assert f"{counts[0]} of 16 with the file mine.safetensors; ordinary 7 of 8, 8 with the file" in words(scored)
    assert disagreement(label, scored) == expected
    assert "accepted with the file mine.safetensors, none drawn since" in words(
        score(with_score(begun(pictures=False), (3, None), None)))


def test_figures_and_pages_call_the_start_what_it_is():
    run = begun()
    assert ranking_sheet(ranked([run])).summary.startswith("the file mine.safetensors; ")
    assert RaceData([run]).pieces[0]["start"] == "the file mine.safetensors"
    assert RaceData(made_race()).pieces[0]["start"] == "the untouched base"
    script = (REPO / "labkit" / "view" / "race_data.js").read_text(encoding="utf-8")
    assert f'const BARE = "{beginning("default")}"' in script         # which it calls "base", and any other "start"
    labels = [text.get_text() for text in plot_u_curve([run]).figure.findobj(lambda each: hasattr(each, "get_text"))]
    assert "where they\nbegan" in labels and "untouched\nbase" not in labels
    page = over_updates(run) + curve({"label": "healthy"}, run)
    assert "the file mine.safetensors" in page and "untouched" not in page and "someone" not in page
    assert "untouched base" in over_updates(dataclasses.replace(run, config=made_run().config))
