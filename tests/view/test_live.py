"""What grows below a running cell: curves and pictures, drawn from events as they come."""

import io

import numpy as np
import pytest
from PIL import Image

from labkit.design.config import RunConfig
from labkit.store.events import Sample, Step, Validation
from labkit.store.history import RunBuilder
from labkit.view import instead
from labkit.view import live as live_module
from labkit.view.live import ROWS, live
from labkit.view.race_view import RaceView


@pytest.fixture
def shown(monkeypatch):
    """Give the list of what is displayed, for somebody who watches and a machine that draws at once."""
    boxes = []
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    monkeypatch.setattr(live_module, "show", boxes.append)
    monkeypatch.setattr(live_module, "_can_race", lambda builders: False)
    monkeypatch.setattr(live_module, "REDRAW_S", 0.0)
    return boxes


def events(names):
    """Yield what K runs tell in four updates: measured before, after two and at the end, pictures at the same time."""
    for update in range(5):
        for name in names if update else ():
            yield Step(name, update, 4 * update, 0.2, 1e-3, 1.0, 0.01)
        for name in names if update in (0, 2, 4) else ():
            losses = np.full((8, 1), 0.2 - 0.01 * update, np.float32)
            yield Validation(name, update, 4 * update, "validation", "monitor", losses, np.zeros((8, 1), int))
            images = np.full((2, 16, 16, 3), 40 * update, np.uint8)
            yield Sample(name, update, 4 * update, images, ("a", "b"), (0, 1), 3.0)


def watched(shown, count):
    """Return what was seen at each update: its words, whether curves and pictures are there, and the pictures."""
    builders = {f"{k:016x}": RunBuilder(f"{k:016x}", RunConfig(max_train_steps=4).resolved(8)) for k in range(count)}
    seen = {}
    for event in live(events(list(builders)), builders):
        words, curves, pictures = shown[0].children
        if isinstance(event, Step):
            is_shown = [image.layout.display != "none" for image in (curves, pictures)]
            seen[event.global_step] = words.value, is_shown, pictures.value
    return seen, shown[0].children


def darkness(encoded):
    """Return the share of black or nearly black pixels of a picture."""
    return np.mean(np.asarray(Image.open(io.BytesIO(encoded)).convert("L")) < 20)


def test_pictures_of_the_base_are_there_at_the_first_update_and_newer_ones_join_them(shown):
    seen, _ = watched(shown, 1)
    assert seen[1][0].startswith("update 1 of 4") and seen[1][1] == [True, True]
    assert darkness(seen[1][2]) > 0.05 and seen[2][2] == seen[1][2]           # not drawn again without news
    assert seen[3][2] != seen[1][2] and darkness(seen[3][2]) > 0.05           # the base's stay beside them


def test_at_the_end_the_curves_stay_and_the_pictures_are_left_to_the_cells_own_figure(shown):
    _, (words, curves, pictures) = watched(shown, 1)
    assert words.value.startswith("1 run, ")
    assert (curves.layout.display, pictures.layout.display) == ("", "none")


@pytest.mark.parametrize(("count", "with_pictures"), [(ROWS, True), (ROWS + 1, False)])
def test_each_run_has_a_row_of_pictures_unless_they_would_fill_the_page(shown, count, with_pictures):
    seen, _ = watched(shown, count)
    assert seen[3][1] == [True, with_pictures]


def test_where_a_browser_has_anywidget_a_race_grows_and_a_page_that_plays_takes_its_place(monkeypatch):
    shown, anew = [], []
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    monkeypatch.setattr(live_module.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(live_module.RaceView, "widget", "the widget")
    monkeypatch.setattr(live_module, "show_anew", lambda thing: shown.append(thing) or (
        lambda other: anew.append((thing, other))))
    builder = RunBuilder("0" * 16, RunConfig(max_train_steps=4).resolved(8))
    assert len(list(live(events(["0" * 16]), {"0" * 16: builder}))) == 10
    widget, sentence = shown
    assert widget == "the widget" and instead.GROWING in sentence._repr_mimebundle_()["text/html"]
    (of_sentence, view), (of_widget, nothing) = anew
    assert (of_sentence, of_widget) == (sentence, widget)
    assert not any(nothing._repr_mimebundle_().values())
    assert len([piece for piece in view.data.pieces if piece["kind"] == "loss"]) == 3


def test_colab_and_races_of_more_runs_than_are_told_apart_stay_with_pictures_of_figures(monkeypatch):
    monkeypatch.setattr(live_module.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    assert live_module._can_race(range(8)) and not live_module._can_race(range(9))
    monkeypatch.setenv("LABKIT_FRONTEND", "colab")
    assert not live_module._can_race(range(2))


def test_where_nobody_watches_events_pass_and_nothing_is_drawn(shown, monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    builder = RunBuilder("0" * 16, RunConfig(max_train_steps=4).resolved(8))
    assert len(list(live(events(["0" * 16]), {"0" * 16: builder}))) == 10 and not shown
    assert builder.build().validations["validation"].steps.tolist() == [0, 2, 4]


def test_a_front_end_without_widgets_or_without_anywidget_is_told_once_what_to_do():
    race = RaceView.live({"a": RunBuilder("a", RunConfig(max_train_steps=4).resolved(8))})
    told = live_module._Sentence(race.name)._repr_mimebundle_()
    assert told["text/html"].count(instead.GROWING) == 1 and told["text/plain"] == instead.GROWING
    assert f'id="{instead.place(race.name)}"' in told["text/html"]
    assert "#lab-saved-${model.get(\"name\")} { display: none }" in race.widget._esm     # once the race is seen
    assert repr(race.widget) == ""                                                      # so that it is told once
