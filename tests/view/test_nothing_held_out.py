"""Of less than eight pictures none is held out: no figure, table or page then calls the losses held-out ones."""

import dataclasses

import pytest
from made_runs import made_race, made_run

from labkit.cli import model_card
from labkit.cli.report import entry
from labkit.cli.report_page import page
from labkit.judge.diagnose import diagnose
from labkit.view import cards, pictures, tables
from labkit.view.curves import plot_validation
from labkit.view.race_view import RaceView


def alone(run):
    """Return a run whose losses are of the pictures that it was trained on."""
    return dataclasses.replace(run, meta=run.meta | {"nothing_held_out": True})


RACE = [alone(run) for run in made_race(pictures=False)]


def report():
    data = {"notebooks": [{"name": "own", "ok": True, "error": None, "seconds": 1.0, "run_steps_trained": 10,
                           "parameters": {}, "runs": [run.run_id for run in RACE]}],
            "runs": [entry(run, "own", RACE) for run in RACE], "fast": False}
    return page(data, {"own": {run.run_id: run for run in RACE}}, "Made today.")


SHOWN = {
    "a table of verdicts": lambda: repr(tables.table(RACE)),
    "a table of seeds": lambda: repr(tables.stability(RACE)),
    "the panel's shelf": lambda: cards.shelf_table(RACE, [diagnose(run) for run in RACE]),
    "a model card": lambda: model_card.card(RACE[1], "a.safetensors", RACE[1].config, picture="curve.png"),
    "a race as a figure": lambda: pictures.plot_race(list(map(alone, made_race()))).axes[0].get_title("left"),
    "a race that is played": lambda: next(piece["measured"] for piece in RaceView(RACE).data.pieces),
    "a report": report,
}


@pytest.mark.parametrize("name", SHOWN)
def test_losses_of_training_pictures_are_called_so(name):
    shown = SHOWN[name]().lower()
    assert "training picture" in shown and "held-out" not in shown


def test_the_same_pictures_have_one_curve_and_not_two():
    labels = [text.get_text() for text in plot_validation(alone(made_run("overshooting"))).texts]
    assert sum("training pictures" in label for label in labels) == 1
    assert not any("held-out" in label for label in labels)
