"""constraints.txt: versions that can be installed together everywhere, and nothing left to the day of installation."""

import importlib.metadata
import re

import lock_versions
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from labkit.cli.requirements import pyproject, requirements, satisfies, split
from labkit.settings import REPO

LINES = [line for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
LOCKED = dict(line.split("==") for line in LINES)


def test_lines_are_names_and_versions_that_hold_on_every_system():
    wrong = [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9]+(\.[0-9]+)*(\.post[0-9]+)?", line)]
    assert not wrong and LINES == sorted(LINES, key=lambda line: line.split("==")[0]) and len(LOCKED) == len(LINES)


@pytest.mark.parametrize("text", [text for text in requirements(("test",)) if split(text)[0] != "torch"])
def test_every_direct_dependency_is_locked_inside_its_range(text):
    name, ranges = split(text)
    assert satisfies(LOCKED[name], ranges)


def test_torch_has_one_source():
    ranges = dict(map(split, requirements()))["torch"]
    assert "torch" not in LOCKED and satisfies(pyproject()["tool"]["labkit"]["tested-torch"], ranges)


def test_what_a_locked_package_needs_is_locked_too_in_a_version_that_it_allows():
    """Installed packages know their needs; one that is installed in another version would tell of other needs."""
    same = [name for name, version in LOCKED.items() if lock_versions.installed(name) == version]
    needs = [need for name in same for need in lock_versions.needed_by(Requirement(name)) if need.name != "torch"]
    wrong = [str(need) for need in needs if not need.specifier.contains(LOCKED.get(canonicalize_name(need.name), "0"))]
    assert not wrong


def test_locked_packages_run_on_the_first_release_of_every_python():
    """Debian 12 has Python 3.11.2: one package that asks for a later one would have it fall back to the ranges."""
    same = [name for name, version in LOCKED.items() if lock_versions.installed(name) == version]
    allowed = {name: SpecifierSet(importlib.metadata.metadata(name).get("Requires-Python", "")) for name in same}
    assert not [name for name in same for python in lock_versions.PYTHONS if f"{python}.0" not in allowed[name]]


def test_needs_of_other_systems_and_pythons_count_and_those_of_other_extras_do_not(monkeypatch):
    needs = ["b; sys_platform == 'win32'", "c; python_version == '3.13'", "d; extra == 'x'", "e; python_version < '3'"]
    told = {"a": needs, "d": ["f"]}
    monkeypatch.setattr(lock_versions.importlib.metadata, "requires", told.get)
    monkeypatch.setattr(lock_versions, "installed", lambda name: "1")
    assert lock_versions.reachable(["a"]) == {"a", "b", "c"}
    assert lock_versions.reachable(["a[x]"]) == {"a", "b", "c", "d", "f"}
