"""Folders follow the environment at each call, and whatever is read from it is listed."""

import os
import re

import pytest

from labkit import settings
from labkit.errors import LabError

FOLDERS = {
    "LABKIT_STORE": settings.store_dir, "LABKIT_DATA": settings.data_dir, "LABKIT_CACHE": settings.cache_dir,
}


def test_the_environment_decides_at_each_call(monkeypatch, tmp_path):
    for variable, function in FOLDERS.items():
        monkeypatch.setenv(variable, str(tmp_path))
        assert function() == tmp_path


def test_a_relative_variable_is_meant_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_STORE", "mine")
    assert settings.store_dir() == tmp_path / "mine"


def test_the_store_is_in_the_repository_whatever_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("LABKIT_STORE")
    monkeypatch.setattr(settings, "REPO", tmp_path)
    monkeypatch.chdir("/")
    assert settings.store_dir() == tmp_path / "runs"


@pytest.mark.parametrize("system, variable, below", [
    ("linux", "XDG_DATA_HOME", ""), ("win32", "LOCALAPPDATA", ""), ("darwin", "HOME", "Library/Application Support"),
])
def test_a_read_only_repository_sends_runs_to_the_users_folder(monkeypatch, tmp_path, system, variable, below):
    monkeypatch.delenv("LABKIT_STORE")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(settings.sys, "platform", system)
    monkeypatch.setenv(variable, str(tmp_path))
    assert settings.store_dir() == tmp_path / below / settings.FOLDER / "runs"


def test_data_that_are_not_there_are_named_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(LabError, match="nowhere.*LABKIT_DATA"):
        settings.data_dir()


@pytest.mark.parametrize("text, message", [
    ("~nouser/x", "~nouser/x begins with the home folder of a user who is not known here"),
    ("x" * 5000, "cannot be the name of a file"),
    ("a/" * 3000, "cannot be the name of a file"),
])
def test_a_name_that_no_file_can_have_is_refused_wherever_a_path_is_taken(monkeypatch, text, message):
    from labkit.cli.runs import find
    from labkit.datasets.folders import load_folder, territory
    from labkit.design.config import load_design
    from labkit.engine.base_files import find_base

    for variable, function in FOLDERS.items():
        with monkeypatch.context() as patched, pytest.raises(LabError, match=message):
            patched.setenv(variable, text)
            function()
    for door in (load_design, territory, load_folder, find_base, find):
        with pytest.raises(LabError, match=message):
            door(text)


def test_every_variable_that_the_kit_knows_is_listed():
    paths = [path for room in ("labkit", "tools") for path in (settings.REPO / room).rglob("*.py")]
    names = {name for path in paths for name in re.findall("LABKIT_[A-Z_]*[A-Z]", path.read_text("utf-8"))}
    assert names == set(settings.VARIABLES)


def test_a_variable_that_is_not_listed_cannot_be_read():
    with pytest.raises(KeyError, match="LABKIT_THREAD is not listed"):
        settings.switch("LABKIT_THREAD")
