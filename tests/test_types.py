"""The types that the rooms state are true: mypy checks them, as pyproject.toml tells it."""

import pytest
from mypy import api

from labkit.settings import REPO


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Give a folder where mypy keeps what it learned of the libraries."""
    return tmp_path_factory.mktemp("mypy")


def test_every_function_of_the_rooms_that_the_settings_name_keeps_its_types(monkeypatch, cache):
    monkeypatch.chdir(REPO)
    report, trouble, code = api.run(["--cache-dir", str(cache)])
    assert code == 0, report + trouble


def test_a_function_without_types_is_found(monkeypatch, cache, tmp_path):
    (tmp_path / "untyped.py").write_text("def double(number):\n    return 2 * number\n")
    monkeypatch.chdir(REPO)
    report, _, code = api.run(["--cache-dir", str(cache), str(tmp_path / "untyped.py")])
    assert code == 1 and "missing a type annotation" in report
