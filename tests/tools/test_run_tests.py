"""The command lines that `labkit test` gives to pytest."""

from types import SimpleNamespace

import pytest

from labkit.cli.tools import load

run_tests = load("run_tests")


@pytest.mark.parametrize("at_once, everything, extra, workers", [
    (2, False, [], ["2"]), (1, False, [], [None]), (2, True, [], ["2", "2", None]),
    (1, True, [], [None] * 3), (2, False, ["-k", "loss"], [None])])
def test_fast_and_slow_tests_run_side_by_side_and_after_them_what_runs_alone(
        at_once, everything, extra, workers, monkeypatch):
    monkeypatch.setattr(run_tests, "side_by_side", lambda most: (at_once, 1))
    commands = run_tests.commands(everything, extra)
    assert [words[words.index("-n") + 1] if "-n" in words else None for words in commands] == workers
    named = [[word for word in words if word.split("/")[0] in ("tests", "notebooks")] for words in commands]
    folders = [["tests", "notebooks"], ["tests/slow"], ["tests/alone", "tests/browser"]]
    assert named == (folders if everything else folders[:1])
    assert all(words[len(words) - len(extra):] == extra for words in commands)


@pytest.mark.parametrize("codes, expected", [
    ([0, 0, 0], 0), ([1, 0, 0], 1), ([0, 1, 0], 1), ([0, 0, 1], 1), ([0, 5, 5], 0), ([5, 5, 0], 0), ([5, 5, 5], 1)])
def test_one_failed_session_fails_the_whole_and_an_empty_one_does_not(codes, expected, monkeypatch):
    ended = iter(codes)
    monkeypatch.setattr(run_tests.subprocess, "call", lambda *args, **options: next(ended))
    assert run_tests.verb(SimpleNamespace(all=True, pytest=["-k", "loss"])).code == expected
