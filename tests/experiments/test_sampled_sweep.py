"""Trials are drawn a pass at a time, losing ones leave, and an interrupted study goes on to the same trials."""

import json
import math
import pickle
import sys

import pytest

from labkit.cli.requirements import requirements
from labkit.design.search_space import search_space
from labkit.errors import LabError
from labkit.experiments.sampled_sweep import Study, load, looks, run_trials

pytest.importorskip("optuna")
MEASURED = (0, 4, 8, 15, 28, 54, 104, 150, 200)
SPACE = search_space({"learning_rate": "1e-5..1e-1", "lr_scheduler": "constant,cosine", "rank": "4..64"})[1]
LISTS = search_space({"rank": "4,8,16", "lr_scheduler": "constant,cosine"})[1]
LAST = 200


class Interruption(Exception):
    """Stand for whatever ends a process."""


class MadeTrack:
    """Stand for training: the loss has a valley at 1e-3, falls with updates, and breaks above a rate of 3e-2."""

    def __init__(self, passes=math.inf):
        self.passes, self.asked, self.together = passes, {}, []

    def advance(self, trials, step):
        if self.passes <= 0:
            raise Interruption
        self.passes -= 1
        self.asked |= {trial.number: step or LAST for trial in trials}
        self.together.append([trial.number for trial in trials])

    def losses(self, trial, step):
        assert self.asked[trial.number] >= (step or LAST)
        rate, rank = trial.values.get("learning_rate", 1e-3), int(trial.values["rank"])
        if rate > 3e-2:
            return {4: 0.3, 11: math.inf}
        away = abs(math.log10(rate) + 3) + 0.01 * rank + 0.1 * (trial.values["lr_scheduler"] == "cosine")
        return {at: 0.1 + 0.05 * away + 0.1 * math.exp(-at / 50) for at in MEASURED[1:] if at <= (step or LAST)}


def opened(path, sampler="tpe", pruner="median", seed=0):
    space = LISTS if sampler == "grid" else SPACE
    return Study(path, space, sampler=sampler, pruner=pruner, seed=seed, first_look=looks(MEASURED)[0])


def told(study):
    return [(trial.number, trial.values, trial.left) for trial in study.trials]


def ended(study):
    return [(frozen.state.name, frozen.value) for frozen in study.study.get_trials()]


def swept(path, count=12, track=None, beside=4, **options):
    study, track = opened(path, **options), track or MadeTrack()
    run_trials(study, track, count, beside, looks(MEASURED) if options.get("pruner") != "none" else ())
    return study, track


def test_runs_may_leave_from_a_quarter_of_their_updates_on_and_not_at_their_end():
    assert looks(MEASURED) == (54, 104, 150) and looks(()) == () and looks((0, 4, 8)) == (4,)


def test_trials_are_drawn_within_their_ranges_and_share_a_pass(tmp_path):
    study, track = swept(tmp_path / "study.jsonl", pruner="none")
    assert track.together == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for _, values, left in told(study):
        assert 1e-5 <= values["learning_rate"] <= 1e-1 and 4 <= values["rank"] <= 64 and left is None
        assert values["lr_scheduler"] in ("constant", "cosine")
        assert values["learning_rate"] == float(f"{values['learning_rate']:.3g}")
    decades = {math.floor(math.log10(values["learning_rate"])) for _, values, _ in told(study)}
    assert len(decades) >= 3                                  # log-uniform: evenly, more than nine tenths lay in one


@pytest.mark.parametrize("pruner", ["median", "successive-halving"])
def test_losing_trials_leave_early_and_are_trained_no_further(tmp_path, pruner):
    study, track = swept(tmp_path / "study.jsonl", count=16, pruner=pruner, sampler="random")
    left = [trial for trial in study.trials if trial.left is not None]
    assert left and all(trial.left in looks(MEASURED) and track.asked[trial.number] == trial.left for trial in left)
    best = min((frozen for frozen in study.study.get_trials() if frozen.state.name == "COMPLETE"),
               key=lambda frozen: frozen.value)
    assert track.asked[best.number] == LAST


def test_a_trial_that_broke_ends_infinite_and_is_not_trained_on(tmp_path):
    study, track = swept(tmp_path / "study.jsonl", count=16, sampler="random")
    broke = [trial.number for trial in study.trials if trial.values["learning_rate"] > 3e-2]
    assert broke and {ended(study)[number] for number in broke} == {("COMPLETE", math.inf)}
    assert all(track.asked[number] == 54 for number in broke)


@pytest.mark.parametrize("sampler, pruner, after", [
    ("tpe", "median", 3), ("tpe", "median", 10), ("random", "successive-halving", 6), ("grid", "median", 5)])
def test_an_interrupted_study_goes_on_to_the_trials_of_one_that_was_not(tmp_path, sampler, pruner, after):
    count = 6 if sampler == "grid" else 16
    whole, _ = swept(tmp_path / "whole.jsonl", count, sampler=sampler, pruner=pruner)
    with pytest.raises(Interruption):
        swept(tmp_path / "cut.jsonl", count, MadeTrack(after), sampler=sampler, pruner=pruner)
    begun = opened(tmp_path / "cut.jsonl", sampler, pruner)
    assert "RUNNING" in {state for state, _ in ended(begun)}
    gone_on, track = swept(tmp_path / "cut.jsonl", count, sampler=sampler, pruner=pruner)
    assert told(gone_on) == told(whole) and ended(gone_on) == ended(whole) and len(told(whole)) == count
    again, idle = swept(tmp_path / "cut.jsonl", count, sampler=sampler, pruner=pruner)
    assert told(again) == told(whole) and not idle.together   # nothing is drawn twice


def test_what_is_drawn_follows_from_the_seed(tmp_path):
    first, second = (swept(tmp_path / f"{seed}.jsonl", seed=seed)[0] for seed in (0, 1))
    assert told(first) == told(swept(tmp_path / "again.jsonl", seed=0)[0]) != told(second)


def test_more_trials_go_on_from_those_that_are_there(tmp_path):
    few = told(swept(tmp_path / "study.jsonl", 8)[0])
    more, track = swept(tmp_path / "study.jsonl", 12)
    assert told(more)[:8] == few and track.together[0] == [8, 9, 10, 11]


def test_a_grid_is_walked_through_once(tmp_path):
    study, _ = swept(tmp_path / "study.jsonl", 6, sampler="grid", pruner="none")
    pairs = {(values["rank"], values["lr_scheduler"]) for _, values, _ in told(study)}
    assert len(told(study)) == len(pairs) == 6


def test_a_study_is_lines_of_json_and_nothing_of_it_is_pickled(tmp_path, monkeypatch):
    for name in ("loads", "load", "dumps", "dump"):
        monkeypatch.setattr(pickle, name, None)
    path = tmp_path / "study.jsonl"
    swept(path, 4)
    assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())
    with path.open("a") as file:
        file.write('{"op_code": 4, "wor')                     # as a kill leaves it
    study, _ = swept(path, 8)
    assert len(told(study)) == 8


@pytest.mark.parametrize("damage", ["[1]\n", "{}\n", "half\nmore\n", '{"op_code": 99, "worker_id": "x"}\n'])
def test_a_damaged_study_is_named_with_what_to_do(tmp_path, damage):
    path = tmp_path / "study.jsonl"
    swept(path, 4)
    path.write_text(damage + path.read_text())
    with pytest.raises(LabError, match="study.jsonl is damaged: move it away"):
        opened(path)


def test_without_optuna_the_remedy_is_told_and_it_names_the_tested_range(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(LabError, match="Optuna is not installed here") as raised:
        load()
    [text] = [text for text in requirements(("optuna",)) if text.startswith("optuna")]
    assert f'pip install "{text}"' in str(raised.value)
