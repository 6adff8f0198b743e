"""The panel where nobody can press a button, and in Colab."""

import re

import pytest
from panels import START, press, threads_that_train

from labkit.errors import LabError
from labkit.lessons.panel import LabPanel, Silent
from labkit.text import LINE
from labkit.view.frontend import frontend


def test_without_a_browser_the_same_cell_trains_and_says_what_came_of_it(lab, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    panel = LabPanel(lab=lab, design=START, pictures=0)
    panel._ipython_display_()
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    assert panel.result.status == "finished" and panel.verdict.sentence in words
    assert re.search(r"Trained \d+ \w+ 2\d{3} at \d\d:\d\d\.", words)
    assert max(map(len, printed.splitlines())) <= LINE
    assert isinstance(panel._view, Silent)                            # no widget was built


def test_without_a_browser_an_error_fails_the_cell(lab, monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")
    panel = LabPanel(lab=lab, design={"n_train": 2, "train_batch_size": 4}, pictures=0)
    with pytest.raises(LabError, match="train_batch_size"):
        panel._ipython_display_()


def test_on_colab_a_click_trains_in_the_callback_since_threads_cannot_update_widgets_there(panel, monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "colab")
    press(panel, "train")
    assert panel.result.status == "finished" and not threads_that_train()


def test_a_plain_interpreter_is_headless(monkeypatch):
    monkeypatch.delenv("LABKIT_FRONTEND", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "somebody's notebook")
    assert frontend() == "headless"
