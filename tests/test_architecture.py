"""The page that follows one learning rate through the package names what is there."""

import ast
import re

import pytest

from labkit.settings import REPO

PAGE = (REPO / "docs" / "architecture.md").read_text("utf-8")
SECTIONS = re.findall(r"^## \d+\. `([^`]+)`[^\n]*\n(.*?)(?=^## )", PAGE, re.M | re.S)
ELSEWHERE = re.compile(r"`([\w/]+\.py):(\w+)(?:\(\))?`")
CLASS_OR_FUNCTION = re.compile(r"`([A-Z_][\w.]*)`|`([\w.]+)\(\)`")


def defined(path):
    """Return the functions, classes and methods (Class.method) that a file defines."""
    names = set()
    for node in ast.parse((REPO / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


def test_ten_files_are_read_in_order():
    assert len({path for path, _ in SECTIONS}) == 10


def test_every_file_that_is_named_exists():
    paths = re.findall(r"`((?:labkit|tests)/[\w/]+\.py|pyproject\.toml)\b", PAGE)
    assert len(paths) > 15 and not [path for path in paths if not (REPO / path).is_file()]


@pytest.mark.parametrize(("path", "text"), SECTIONS, ids=[path for path, _ in SECTIONS])
def test_every_function_that_a_section_names_is_in_its_file(path, text):
    named = {either or other for either, other in CLASS_OR_FUNCTION.findall(text)}
    lab = {name for name in named if name.startswith("Lab.")}
    assert named and named - lab <= defined(path) and lab <= defined("labkit/lab.py")


def test_every_function_of_another_file_is_there():
    pairs = ELSEWHERE.findall(PAGE)
    assert len(pairs) > 5 and not [(path, name) for path, name in pairs if name not in defined(path)]


def test_the_readme_leads_to_the_page():
    assert "(docs/architecture.md)" in (REPO / "README.md").read_text("utf-8")
