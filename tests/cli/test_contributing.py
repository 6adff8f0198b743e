"""The pages for those who work on the kit name commands, paths and files that are there."""

import importlib.metadata
import re
import shlex

import pytest

from labkit.cli import parser
from labkit.cli.requirements import requirements, split
from labkit.lessons import notebooks
from labkit.settings import REPO

PAGES = {name: (REPO / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "AGENTS.md")}
FORMS = ("NN_name.ipynb", "NAME")  # stand for a name that is chosen by whoever reads


def commands(page):
    """Return the words of every command of a page: lines of its blocks without their remarks, and code in its text."""
    blocks = re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    lines += re.findall(r"`((?:python3? |\.ci/)[^`\n]+)`", text)
    return [shlex.split(part) for line in lines for part in line.split("&&")]


def paths(page):
    """Return what a page names in the form of a path of the checkout, outside its blocks of commands."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    codes = re.findall(r"`(\S*/\S*|\S+\.(?:py|md|toml|txt|cff))`", text) + re.findall(r"\]\(([^)#:]+)\)", text)
    return [code for code in codes if not any(form in code for form in FORMS)]


@pytest.mark.parametrize("name", PAGES)
def test_every_path_is_there(name):
    named = paths(PAGES[name])
    assert len(named) > 10
    assert [path for path in named if not (REPO / path).exists() and not (REPO / "labkit" / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_verb_is_called_as_the_command_line_takes_it(name):
    called = [words[3:] for words in commands(PAGES[name]) if words[1:3] == ["-m", "labkit"]]
    assert len(called) >= 3
    for words in called:
        options = parser.parse(words)
        lessons = [lesson for lesson in getattr(options, "names", []) if lesson != "NAME"]
        assert notebooks.choose(lessons)
        assert all((REPO / word).exists() for word in getattr(options, "pytest", []) if "/" in word)


@pytest.mark.parametrize("name", PAGES)
def test_every_other_program_belongs_to_the_extra_for_tests(name):
    brought = {split(text)[0].replace("-", "_") for text in requirements(("test",))}
    scripts = {script.name: script.dist.name for script in importlib.metadata.entry_points(group="console_scripts")}
    known = {"cd", "git", "pre-commit"}
    for words in commands(PAGES[name]):
        program = words[0].removeprefix(".venv/bin/")
        if program in ("python", "python3") and words[1] == "-m":
            recipe = REPO / "data" / (words[2].replace(".", "/") + ".py")
            assert words[2] in {"labkit", *brought} or recipe.is_file(), words
        elif program in ("python", "python3"):
            assert (REPO / words[1]).is_file(), words
        elif program.startswith("."):
            assert (REPO / program).is_file(), words
        else:
            assert program in known or scripts[program].replace("-", "_") in brought, words


def test_the_page_for_coding_agents_is_short():
    assert len(PAGES["AGENTS.md"].splitlines()) < 60
