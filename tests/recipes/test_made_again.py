"""What is made again notices another reader and another training, and what the thresholds are held against."""

import json
from types import SimpleNamespace

import numpy as np
from told_runs import CONFIG, ID, keep, some_events

from labkit.judge import diagnose, findings
from labkit.store.events import Score
from labkit.store.runs import Store
from recipes.model.training import keep_log, log
from recipes.ship import recorded, thresholds


def test_runs_that_another_reader_scored_are_made_again(tmp_path):
    store, other = Store(tmp_path), "b" * 16
    for name, reader in ((ID, "ours"), (other, "theirs")):
        score = Score(name, 2, 8, "validation", np.ones(2, bool), ("a pool", "a maze"), ("pool", "maze"), reader)
        keep(store, [*some_events(reason="", run=name), score], CONFIG, name)
    lab = SimpleNamespace(store=store, plan=lambda configs: {ID: CONFIG, other: CONFIG, "c" * 16: CONFIG},
                          scored_prompts=[SimpleNamespace(scored_by="ours")])
    recorded.forget_other_readers(lab, [CONFIG])
    assert [folder.run_id for folder in store.runs()] == [ID]


def test_a_log_goes_on_from_the_checkpoint_and_holds_one_training(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (100, 200, 300):
        log(path, step=step, loss=0.1)
    keep_log(path, 200)                                       # killed after 300, where the last checkpoint is of 200
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [100, 200]
    keep_log(path, 0)
    assert path.read_text() == ""
    log(path, step=100, loss=0.1)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"step": 2')                              # by a kill
    keep_log(path, 100)
    assert len(path.read_text().splitlines()) == 1
    keep_log(tmp_path / "none.jsonl", 0)


def test_each_threshold_that_is_changed_is_one_that_the_verdicts_are_made_with(monkeypatch):
    assert all(hasattr(diagnose, name) or hasattr(findings, name) for name in thresholds.THRESHOLDS)
    monkeypatch.setattr(thresholds, "verdicts", dict)
    assert thresholds.changed({}).count("| 0 | 0 |") == len(thresholds.THRESHOLDS)
