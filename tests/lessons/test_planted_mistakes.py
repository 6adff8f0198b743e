"""The six planted mistakes: each is found, by its own name."""

import pytest
from made_lab import made_lab

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.experiments.preflight import expectations
from labkit.lessons.planted_mistakes import caught


def test_all_six_are_found_before_anything_is_trained():
    lab = made_lab()
    config = RunConfig(rank=4, alpha=8, max_train_steps=30).resolved(len(lab.territory.train))
    expected = expectations(lab, config, short_test_rate=1e-3, epochs=10)
    table = caught(lab, config, expected)
    assert [row[3] for row in table.rows] == ["rate", "alpha", "use_rslora", "drop_last", "schedule", "stale adapter"]
    assert all(row[4] for row in table.rows) and not lab.store.runs()


def test_without_an_intention_there_is_no_mistake():
    with pytest.raises(LabError, match="short_test_rate"):
        caught(made_lab(), RunConfig(max_train_steps=30), {"scaling": 1.0})
