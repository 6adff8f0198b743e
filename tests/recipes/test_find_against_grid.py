"""The measurement of `find` against a grid: a race played on stored runs is the live one, and the study goes on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from labkit.errors import LabError
from labkit.experiments import find_rate as finding
from labkit.experiments.find_rate import Race, find_rate, found
from labkit.experiments.race_track import LabTrack
from recipes.ship import find_against_grid as study

RUNGS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 30.0)


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Let the study open labs of a few thousand weights; give its options."""
    monkeypatch.setattr("labkit.lab.Lab", lambda *places, **asked: tiny.lab(
        **{"monitor": {"images": 4}} | {name: value for name, value in asked.items() if name == "store"}))
    monkeypatch.setattr(study, "LADDER", (1e-3, 1e-2))
    monkeypatch.setattr(finding, "LADDER", (1e-3, 1e-2))
    monkeypatch.setattr(study, "TERRITORIES", ("liminal",))
    return SimpleNamespace(repetitions=2, updates=8, work=tmp_path / "work", out=tmp_path / "kept.json", again=False)


def test_a_race_played_on_stored_runs_is_the_live_race(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "LADDER", RUNGS)

    def opened(name):
        lab = tiny.lab(store=tmp_path / name, monitor={"images": 8})
        return lab, lab.config({"max_train_steps": 16, "train_batch_size": 2}), study.monitor_of(lab, 16)

    live = find_rate(Race(LabTrack(*opened("live")), 16), 3e-3)
    grid = opened("grid")
    LabTrack(*grid).advance(RUNGS, 16)
    played = study.played(*grid)
    assert played.spent == live.spent < 16 * len(live.racers)
    assert {racer.left for racer in live.racers.values()} >= {"", "broken", "too slow"}
    assert [(rate, racer.step, racer.left) for rate, racer in played.racers.items()] == \
        [(rate, racer.step, racer.left) for rate, racer in live.racers.items()]
    for rate, racer in live.racers.items():
        losses = [each.run.validations["validation"] for each in (racer, played.racers[rate])]
        assert losses[0].steps.tolist() == losses[1].steps.tolist()
        np.testing.assert_allclose(losses[0].losses, losses[1].losses, rtol=1e-3)
    ends = [(ended.rate, ended.low, ended.high, ended.is_bracketed) for ended in map(found, (played, live))]
    assert ends[0] == ends[1]


def test_what_another_base_or_length_gave_is_in_no_table(monkeypatch):
    monkeypatch.setattr(study, "find_base", lambda: SimpleNamespace(fingerprint=lambda: "ours"))
    lines = [{"base": base, "updates": updates} for base in ("ours", "theirs") for updates in (50, 80)]
    ours = study.of_this_base({"near": lines + [{"updates": 50}], "far": lines[2:]})
    assert study.of(ours, 50) == {"near": lines[:1]}


def test_a_played_race_trains_nothing(tmp_path):
    lab = tiny.lab(store=tmp_path)
    with pytest.raises(LabError):
        study.played(lab, lab.config({"max_train_steps": 24}), study.monitor_of(lab, 24))
    assert not lab.store.runs()


def test_a_study_keeps_each_repetition_and_goes_on_with_the_next(options, monkeypatch):
    results = {}
    assert "2 of 2 repetitions are missing" in study.needs(results, options) and "32" in study.needs(results, options)
    study.measure(results, SimpleNamespace(**vars(options) | {"repetitions": 1}))
    assert study.kept(options.out) == results and len(results["liminal"]) == 1
    again = study.kept(options.out)
    assert "at most 16 run-steps" in study.needs(again, options)
    study.measure(again, options)
    lines = again["liminal"]
    assert [line["seed"] for line in lines] == [0, 1] and lines[0] == results["liminal"][0]
    assert all(line["grid_updates"] == 16 >= line["race_updates"] > 0 for line in lines)
    assert all(line["grid_best"] in (1e-3, 1e-2) for line in lines)
    anew = {}
    study.measure(anew, SimpleNamespace(**vars(options) | {"again": True}))
    assert anew == again


def test_the_table_has_shares_with_intervals():
    line = {"seed": 0, "updates": 100, "grid_best": 1e-3, "grid_alike": [1e-3], "rate": 1e-3, "low": 1e-3,
            "high": 1e-3, "is_bracketed": True, "lost": 0.0, "race_updates": 250, "grid_updates": 1000,
            "race_rungs": 4}
    other = line | {"seed": 1, "rate": 3e-3, "low": 3e-3, "high": 1e-2, "race_updates": 350, "lost": 0.1}
    text = study.summary(json.loads(json.dumps({"near": [line, other]})))
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells[:3] == ["near", "2", "50 % (9 to 91)"] and cells[5].startswith("70 %")
    assert cells[6].startswith("3.4 (") and cells[7].startswith("4.0 (")
