"""What `import labkit as lk` gives: every name once, to editors too, with a page and ten lines that are current."""

import ast
import functools
import importlib
import types

import api  # a tool of the repository, not of the package
import pytest

import labkit as lk
from labkit.settings import REPO


def names_for_editors():
    """Return the names that `labkit/__init__.py` imports where only type checkers and editors read it."""
    tree = ast.parse((REPO / "labkit" / "__init__.py").read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.name: node.module for node in block.body for alias in node.names}


def ten_lines():
    """Return the code under the README's heading of that name."""
    page = (REPO / "README.md").read_text(encoding="utf-8")
    return page.split("## In ten lines\n\n```python\n")[1].split("```")[0]


def test_what_is_exported_what_is_loaded_and_what_editors_read_are_the_same_names():
    assert sorted(lk.__all__) == sorted(lk._HOMES) == sorted(names_for_editors())
    assert names_for_editors() == {name: f"labkit.{module}" for name, module in lk._HOMES.items()}
    assert set(lk.__all__) <= set(dir(lk))


@pytest.mark.parametrize("name", lk.__all__)
def test_every_name_is_the_one_that_its_module_defines(name):
    found = getattr(lk, name)
    assert found is getattr(importlib.import_module(f"labkit.{lk._HOMES[name]}"), name)
    assert found.__module__ == f"labkit.{lk._HOMES[name]}" and found.__doc__


def test_no_name_is_shadowed_by_a_module():
    assert not [name for name in lk.__all__ if (REPO / "labkit" / name).exists()
                or (REPO / "labkit" / f"{name}.py").exists()]


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'labkit' has no attribute 'tarin'"):
        _ = lk.tarin


def test_the_page_of_the_public_face_is_current():
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run `python tools/api.py`"


@pytest.mark.parametrize("name", [name for name in lk.__all__ if isinstance(getattr(lk, name), type)])
def test_the_page_lists_what_a_class_has_of_its_bases_too(name):
    entry = api.entry(name)
    listed = types.FunctionType, property, functools.cached_property, classmethod, staticmethod
    owners = [owner for owner in getattr(lk, name).__mro__ if owner.__module__.startswith("labkit")]
    members = {member for owner in owners for member, value in vars(owner).items() if isinstance(value, listed)}
    missing = [member for member in members if not member.startswith("_") and f"\n- `.{member}" not in entry]
    assert not missing


def test_the_ten_lines_of_the_readme_run(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_STORE", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    assert "max_train_steps=150" in ten_lines() and len([line for line in ten_lines().splitlines() if line]) <= 10
    exec(ten_lines().replace("max_train_steps=150", "max_train_steps=4"), {})
    assert (tmp_path / "race.png").stat().st_size > 10_000
