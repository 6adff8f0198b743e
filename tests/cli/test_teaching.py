"""The page for teachers: its commands are taken as they stand, its exercises are there, its files are written."""

import re
import shlex

from labkit.cli import graded, parser
from labkit.cli.requirements import pyproject
from labkit.lessons import notebooks
from labkit.settings import REPO, VARIABLES

PAGE = (REPO / "docs/teaching.md").read_text(encoding="utf-8")


def commands():
    """Return the words of every command of the kit on the page, without the variables before it."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0] for language, block in blocks if not language for line in block.splitlines()]
    lines += re.findall(r"`(python3 -m labkit[^`\n]*)`", PAGE)
    return [shlex.split(part) for line in lines for part in line.split("&&")]


def test_every_command_of_the_kit_is_taken_as_it_stands():
    words = [words[words.index("labkit") + 1:] for words in commands() if words[-1] != "labkit" and "labkit" in words]
    assert {each[0] for each in words} == {"chapter", "lab", "student", "submit", "collect", "publish"}
    for each in words:
        options = parser.parse(each)
        names = [name for name in getattr(options, "names", []) if name != "all" and not notebooks.is_path(name)]
        assert notebooks.choose(names)


def test_every_variable_and_file_on_the_page_is_one_of_the_kit():
    assert set(re.findall(r"LABKIT_[A-Z]+", PAGE)) <= set(VARIABLES)
    assert all((REPO / path).exists() for path in re.findall(r"`((?:tests|docs|notebooks|data)/[\w./]*)`", PAGE))
    assert "nbgrader_config.py" in PAGE and "ignore" in graded.COURSE


def test_the_folder_of_wheels_has_the_tested_torch():
    assert re.findall(r"torch==([\d.]+)", PAGE) == [pyproject()["tool"]["labkit"]["tested-torch"]]


def test_wrong_answers_are_told_of_every_lesson():
    for path in notebooks.lessons():
        assert f"\n| {path.stem[:2]}, " in PAGE
