"""The command line that `labkit test` gives to pytest."""

import pytest

from labkit import testing


@pytest.mark.parametrize("at_once, everything, extra, workers", [(2, False, [], "2"), (1, False, [], None), (2, True, [], None), (2, False, ["-k", "loss"], None)])
def test_files_are_tested_side_by_side_unless_all_or_an_option_of_pytest_is_asked_for(at_once, everything, extra, workers, monkeypatch):
    monkeypatch.setattr(testing, "side_by_side", lambda most: (at_once, 1))
    words = testing.command(everything, extra)
    assert (words[words.index("-n") + 1] if "-n" in words else None) == workers
    assert words[-len(extra) or None:] == extra if extra else words[-2:] == ["tests", "notebooks"]
