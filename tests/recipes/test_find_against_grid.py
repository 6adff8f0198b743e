"""The measurement of `find` against a grid: resumable, and its table counts what was measured."""

import json
from types import SimpleNamespace

import pytest
import tiny

from recipes.ship import find_against_grid as study


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Let the study open labs of a few thousand weights; give its options."""
    monkeypatch.setattr("labkit.lab.Lab", lambda *places, **asked: tiny.lab(
        **{"monitor": {"images": 4}} | {name: value for name, value in asked.items() if name == "store"}))
    monkeypatch.setattr(study, "LADDER", (1e-3, 1e-2))
    monkeypatch.setattr(study, "TERRITORIES", ("liminal",))
    return SimpleNamespace(repetitions=2, updates=8, work=tmp_path / "work", out=tmp_path / "kept.json")


def test_a_study_keeps_each_repetition_and_goes_on_with_the_next(options, monkeypatch, capsys):
    results = {}
    study.measure(results, SimpleNamespace(**vars(options) | {"repetitions": 1}))
    assert study.kept(options.out) == results and len(results["liminal"]) == 1
    again = study.kept(options.out)
    study.measure(again, options)
    lines = again["liminal"]
    assert [line["seed"] for line in lines] == [0, 1] and lines[0] == results["liminal"][0]
    assert all(line["grid_updates"] == 16 and line["race_updates"] > 8 for line in lines)
    assert all(line["grid_best"] in (1e-3, 1e-2) and line["race_s"] > 0 for line in lines)


def test_the_table_has_shares_with_intervals(capsys):
    line = {"seed": 0, "updates": 100, "grid_best": 1e-3, "grid_alike": [1e-3], "rate": 1e-3, "low": 1e-3,
            "high": 1e-3, "is_bracketed": True, "lost": 0.0, "race_updates": 250, "grid_updates": 1000, "race_s": 10.0,
            "grid_s": 30.0, "alone_s": 6.0}
    other = line | {"seed": 1, "rate": 3e-3, "low": 3e-3, "high": 1e-2, "race_updates": 350, "lost": 0.1}
    text = study.summary(json.loads(json.dumps({"liminal": [line, other]})))
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells[:3] == ["liminal", "2", "50 % (9 to 91)"] and cells[5].startswith("70 %")
    assert cells[6].startswith("3.0 (") and cells[7].startswith("6.0 (")
