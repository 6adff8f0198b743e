"""Lessons for nbgrader and otter: metadata by nbgrader's rules, points for what passed, no solution left open."""

import ast
import re

import nbformat
import pytest
from command_line import labkit

from labkit.cli import graded
from labkit.errors import LabError
from labkit.lessons import notebooks

# The schema of nbgrader's cell metadata, version 3, and the rules of its validator beside it (nbgraderformat/v3).
SCHEMA = {"schema_version": int, "grade": bool, "solution": bool, "locked": bool, "task": bool, "grade_id": str,
          "points": int}
LESSONS = pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)


def cell(source, *tags, kind="code", id_="c"):
    return {"cell_type": kind, "id": id_, "source": source, "metadata": {"tags": list(tags)} if tags else {},
            **({"outputs": [], "execution_count": None} if kind == "code" else {})}


def made(*cells):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}


def about(notebook):
    return [(cell, cell["metadata"]["nbgrader"]) for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]


@LESSONS
def test_the_metadata_keep_nbgraders_rules(path):
    notebook = graded.for_nbgrader(notebooks.read(path), path.stem)
    nbformat.validate(notebook)
    known = about(notebook)
    for cell_, values in known:
        assert values.keys() <= SCHEMA.keys() and all(type(values[name]) is SCHEMA[name] for name in values)
        assert values["schema_version"] == 3 and re.fullmatch(r"[a-zA-Z0-9_\-]+", values["grade_id"])
        assert values["grade"] or values["solution"] or values["locked"]
        assert ("points" in values) == values["grade"]
        if cell_["cell_type"] == "markdown":                  # graded by hand, or neither
            assert values["grade"] == values["solution"]
    for ids in ([values["grade_id"] for _, values in known], [cell_["id"] for cell_ in notebook["cells"]]):
        assert len(set(ids)) == len(ids)


@LESSONS
def test_every_check_gives_a_point_in_a_locked_cell_at_the_end_and_every_solution_lies_in_a_cell_for_it(path):
    source = notebooks.read(path)
    checks = len(notebooks.tagged(source, "check"))
    notebook = graded.for_nbgrader(source, path.stem)
    points = [(cell_, values) for cell_, values in about(notebook) if values["grade"]]
    assert len(points) == checks > 0
    assert [cell_ for cell_, _ in points] == notebook["cells"][-checks:]
    assert all(values["locked"] and not values["solution"] and values["points"] == 1 for _, values in points)
    for cell_ in notebook["cells"]:
        values = cell_["metadata"].get("nbgrader", {})
        assert ("SOLUTION" in notebooks.source(cell_)) == bool(values.get("solution"))
        tags = cell_["metadata"].get("tags", ())
        assert not {"assert", "badges", "solution"} & set(tags)
        if "setup" in tags or "check" in tags:                # restored before it is graded, whatever was made of it
            assert values["locked"]


@LESSONS
def test_what_a_point_asks_for_means_at_the_end_what_it_meant_where_it_was_asked(path):
    """The cells of points repeat a check: no later cell may give its names another meaning."""
    cells = [cell_ for cell_ in notebooks.read(path)["cells"] if cell_["cell_type"] == "code"]
    for place, check in enumerate(cells):
        if "check" not in check["metadata"].get("tags", ()):
            continue
        asked = ast.parse(notebooks.source(check)).body[0].value
        used = {node.id for node in ast.walk(asked) if isinstance(node, ast.Name)}
        later = {name for cell_ in cells[place + 1:] for name in notebooks.assigned(notebooks.source(cell_))}
        assert not used & later, f"{check['id']}: {used & later}"


def test_a_point_is_given_where_the_check_passed_and_else_its_sentence_is_raised():
    check = cell("best = my_checks.best(my_rate,\n                      design)\nbest", "check", id_="q1")
    notebook = graded.for_nbgrader(made(cell("my_rate = None\n### BEGIN SOLUTION\nmy_rate = 1\n### END SOLUTION"),
                                        check), "own")
    code = notebooks.source(notebook["cells"][-1])

    class Checks:
        """Stands in for a lesson's checks."""

        def best(self, rate, design):
            return type("Result", (), {"passed": rate == 1, "sentence": "go up the ladder"})

    exec(code, {"my_checks": Checks(), "my_rate": 1, "design": {}})
    with pytest.raises(AssertionError, match="go up the ladder"):
        exec(code, {"my_checks": Checks(), "my_rate": None, "design": {}})
    assert "fast" not in code and not code.rstrip().endswith("\nbest")  # a number shown would count as points


def test_a_check_that_cannot_be_asked_again_and_a_mark_alone_are_refused():
    with pytest.raises(LabError, match="own, cell q1: a cell tagged `check` must begin with `name = a check`"):
        graded.for_nbgrader(made(cell("my_checks.best(1)", "check", id_="q1")), "own")
    with pytest.raises(LabError, match="must come in pairs"):
        graded.for_otter(made(cell("### BEGIN SOLUTION\nx = 1")), "own")


def test_the_verb_writes_a_course_and_leaves_what_is_in_it(tmp_path, capsys):
    course = tmp_path / "course"
    course.mkdir()
    (course / "nbgrader_config.py").write_text("# the teacher's own")
    code, out, _ = labkit(capsys, "student", "00", "--form", "nbgrader", "--to", course)
    assert code == 0 and out.strip() == str(course / "source/00_start/00_start.ipynb")
    assert (course / "nbgrader_config.py").read_text() == "# the teacher's own"
    assert "is there already" in labkit(capsys, "student", "00", "--form", "nbgrader", "--to", course)[2]
    labkit(capsys, "student", "01", "--form", "nbgrader", "--to", tmp_path / "new")
    config = (tmp_path / "new/nbgrader_config.py").read_text()
    ast.parse(config)
    assert '"*.safetensors"' in config and "# Your turn" in config


@LESSONS
def test_otters_marks_come_in_pairs_and_in_the_order_that_otter_asks_for(path):
    source = notebooks.read(path)
    checks = len(notebooks.tagged(source, "check"))
    notebook = graded.for_otter(source, path.stem)
    nbformat.validate(notebook)
    raw = [notebooks.source(cell_).split("\n")[0] for cell_ in notebook["cells"] if cell_["cell_type"] == "raw"]
    question = ["# BEGIN QUESTION", "# BEGIN SOLUTION", "# END SOLUTION", "# BEGIN TESTS", "# END TESTS",
                "# END QUESTION"]
    assert raw == ["# ASSIGNMENT CONFIG", *question * checks]
    text = "\n".join(notebooks.source(cell_) for cell_ in notebook["cells"])
    assert "###  BEGIN" not in text and not re.search("### (BEGIN|END) SOLUTION", text)
    names = re.findall(r"^name: (\w+)$", text, re.M)
    assert len(set(names)) == len(names) == checks + 1        # the assignment has one too
    assert len({cell_["id"] for cell_ in notebook["cells"]}) == len(notebook["cells"])
