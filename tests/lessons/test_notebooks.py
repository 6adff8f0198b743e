"""The lessons as files: their shape, their generated cells, and README's tables of them."""

import json
import re

import pytest

from labkit.cli.tools import load
from labkit.design.parameters import CHECKS, checked
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.settings import REPO

readme = load("readme")
LESSONS = notebooks.lessons()


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param.stem, notebooks.read(request.param)


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_lessons():
    assert [path.stem for path in LESSONS][:2] == ["00_start", "01_learning_rate"]


def test_generated_cells_are_fresh(lesson):
    name, notebook = lesson
    assert ["".join(cell["source"]) for cell in notebooks.tagged(notebook, "badges")] == [readme.top_cell(name)]
    assert ["".join(cell["source"]) for cell in notebooks.tagged(notebook, "setup")] == [readme.setup_cell()]


def test_a_reader_sees_the_title_of_the_set_up_cell_and_its_code_at_a_click(lesson):
    _, notebook = lesson
    [cell] = notebooks.tagged(notebook, "setup")
    assert cell["metadata"] == {"tags": ["setup"], "jupyter": {"source_hidden": True}, "cellView": "form"}
    assert notebooks.source(cell).startswith("# @title ")


def test_parameters_are_at_most_eight_plain_values(lesson):
    _, notebook = lesson
    [cell] = notebooks.tagged(notebook, "parameters")
    values = notebooks.assigned(notebooks.source(cell))
    assert 1 <= len(values) <= 8
    assert all(value is not ... and isinstance(value, str | int | float | bool | None) for value in values.values())


@pytest.mark.parametrize("bad", ["often", "0", "-1"])
def test_every_parameter_passes_a_check_and_numbers_that_are_not_possible_are_refused(lesson, bad):
    (path,) = notebooks.choose([lesson[0]])
    for name, default in notebooks.parameters(path).items():
        assert name in CHECKS and checked(name, default, default) == default
        if name not in ("base", "data", "near", "design", "student") and (name, bad) != ("seed", "0"):
            with pytest.raises(LabError, match=f"{name} = '{bad}' is not possible"):
                checked(name, bad, default)


def test_a_lesson_begins_by_refusing_strange_parameters_and_ends_by_accounting(lesson):
    _, notebook = lesson
    cells = code(notebook)
    at = next(i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", ()))
    assert "session.begin()" in notebooks.source(cells[at + 1])
    assert notebooks.source(cells[-1]).strip() == "session.finish()"


def test_a_lesson_opens_with_a_recorded_race_before_anything_is_trained(lesson):
    _, notebook = lesson
    cells = code(notebook)
    begin = next(i for i, cell in enumerate(cells) if "session.begin()" in notebooks.source(cell))
    opening = cells[begin + 1]
    assert "RaceView.replay" in notebooks.source(opening)
    [shown] = [output["data"] for output in opening["outputs"] if "data" in output]
    page = "".join(shown["text/html"])
    assert "lab-race" in page and "it was not trained here" in page


def test_cells_are_short_and_define_nothing(lesson):
    _, notebook = lesson
    for cell in code(notebook):
        if "setup" not in cell["metadata"].get("tags", ()):
            lines = notebooks.source(cell).splitlines()
            assert len(lines) <= 15, lines[0]
            assert not any(line.startswith(("def ", "class ", "!", "%")) for line in lines), lines[0]


def test_every_check_is_tagged_and_followed_by_an_assert_of_its_own(lesson):
    _, notebook = lesson
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    checks = [at for at, cell in enumerate(cells) if "check" in cell["metadata"].get("tags", ())]
    asserts = [at for at, cell in enumerate(cells) if "assert " in notebooks.source(cell)]
    assert len(checks) >= 3 and asserts == [at + 1 for at in checks]
    assert all("assert" in cells[at]["metadata"].get("tags", ()) for at in asserts)  # a student's copy has none


def test_no_widget_state_and_no_path_of_a_machine_is_committed(lesson):
    _, notebook = lesson
    text = json.dumps(notebook)
    assert "widget-state" not in text and "papermill" not in notebook["metadata"]
    assert str(REPO) not in text


def test_every_lesson_tells_what_carries_over(lesson):
    name, notebook = lesson
    if name != "00_start":
        words = " ".join(notebooks.source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        assert "What carries over" in words and "What the chapter says" in words


def test_the_chapters_sentences_come_in_the_order_of_their_verdicts(lesson):
    _, notebook = lesson
    order = ("holds", "holds if", "measured otherwise", "an image")
    for cell, after in zip(notebook["cells"], notebook["cells"][1:], strict=False):
        if "## What the chapter says" in notebooks.source(cell):
            if re.search(r"claims_(\w+\.)?table\(", notebooks.source(after)):  # computed: the order is the table's
                continue
            found = [line.split("**")[1] for line in notebooks.source(cell).splitlines() if line.startswith("| **")]
            assert found == sorted(found, key=order.index) and set(found) == set(order)


def test_a_design_given_to_a_lesson_is_not_overridden_by_the_lessons_own_defaults(lesson):
    (path,) = notebooks.choose([lesson[0]])
    defaults = notebooks.parameters(path)
    if "design" in defaults:
        assert {value for name, value in defaults.items() if name != "student"} == {None}


def test_sentences_are_said_in_lines_that_a_page_shows_whole(lesson):
    _, notebook = lesson
    lines = [line for cell in code(notebook) for line in notebooks.source(cell).splitlines() if "print(" in line]
    for name in ("sentence", "summary", "provenance", "predictions", "reason"):
        assert not [line for line in lines if name in line]


@pytest.mark.parametrize("metadata, seconds", [
    ({"labkit": {"seconds": {"cpu": 158, "gpu": "?"}}}, {"cpu": 158}), ({"labkit": {"seconds": 9}}, {}),
    ({"labkit": 9}, {}), ({}, {})])
def test_the_time_that_a_lesson_took_is_told_where_it_is_known(metadata, seconds):
    assert notebooks.seconds({"metadata": metadata}) == seconds


ODD_PARTS = ({"source": [["a"]]}, {"metadata": {"tags": 5}}, {"cell_type": 1}, {"outputs": [[]]}, {"outputs": 3},
             {"outputs": [{"output_type": "error"}]})
ODD_CELLS = [{"cell_type": "code", "metadata": {}, "source": ""} | odd for odd in ODD_PARTS]


@pytest.mark.parametrize("change", [{"metadata": None}, {"cells": {}}, {"cells": [3]},
                                    *({"cells": [cell]} for cell in ODD_CELLS)], ids=str)
def test_a_file_with_parts_that_no_notebook_has_is_refused(tmp_path, change):
    cell = {"cell_type": "markdown", "metadata": {"tags": ["a"]}, "source": "words", "outputs": None}
    whole = {"nbformat": 4, "metadata": {}, "cells": [cell]}
    (tmp_path / "own.ipynb").write_text(json.dumps(whole))
    assert notebooks.failure(notebooks.read(tmp_path / "own.ipynb")) is None
    (tmp_path / "own.ipynb").write_text(json.dumps(whole | change))
    with pytest.raises(LabError, match="own.ipynb cannot be read as a notebook: give one that JupyterLab opens"):
        notebooks.read(tmp_path / "own.ipynb")
