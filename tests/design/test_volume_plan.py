"""The arithmetic before a run is that of the chapter, of a DataLoader and of the engine."""

import pytest
import torch
from torch.utils.data import DataLoader

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.engine.batches import pictures
from labkit.errors import LabError


@pytest.mark.parametrize("n, batch", [(5000, 32), (5000, 4), (48, 32), (96, 32), (10, 4), (3, 4)])
def test_updates_of_an_epoch_equal_the_lengths_of_a_data_loader(n, batch):
    pictures = torch.zeros(n, 1)
    assert volume.updates(n, batch, 1, last_batch="keep") == len(DataLoader(pictures, batch))
    assert volume.updates(n, batch, 1, last_batch="drop") == len(DataLoader(pictures, batch, drop_last=True))


def test_the_chapters_volumes_come_out():
    assert volume.updates(5000, 32, 10, last_batch="drop") == 1560
    assert volume.updates(5000, 32, 10, last_batch="keep") == 1570
    assert volume.updates(5000, 4, 10, last_batch="drop") == 12_500
    assert volume.exposures(156, 32) == 4992 and volume.exposures(5 * 156, 32) == 24_960
    assert volume.views(1560, 32, 5000) == pytest.approx(9.984)
    assert volume.epochs_for(50_000, 32, 5000) == 320 and volume.epochs_for(50_000, 4, 5000) == 40


def test_batches_across_epochs_show_each_picture_as_often_as_asked():
    for n, batch, epochs in [(10, 4, 3), (48, 5, 7), (5000, 32, 10)]:
        updates = volume.updates(n, batch, epochs)
        assert 0 <= volume.exposures(updates, batch) - n * epochs < batch
        assert RunConfig(train_batch_size=batch, num_train_epochs=epochs).resolved(n).max_train_steps == updates


@pytest.mark.parametrize("knobs", [
    {"num_train_epochs": 10}, {"num_train_epochs": 7, "gradient_accumulation_steps": 3}, {"max_train_steps": 60},
])
def test_a_volume_says_what_the_engine_will_do(knobs):
    planned = volume.volume(48, train_batch_size=4, learning_rate=1e-3, **knobs)
    shown = pictures(0, 48, 0, planned.updates * planned.batch)
    assert len(shown) == planned.exposures and planned.epochs == len(shown) / 48
    assert planned.updates == RunConfig(train_batch_size=4, **knobs).resolved(48).max_train_steps
    assert planned.lr_sum == pytest.approx(planned.updates * 1e-3)


def test_epochs_and_updates_of_a_volume_give_each_other():
    by_epochs = volume.volume(96, train_batch_size=8, num_train_epochs=20)
    assert by_epochs == volume.volume(96, train_batch_size=8, max_train_steps=by_epochs.updates)
    assert (by_epochs.updates, by_epochs.epochs, by_epochs.exposures) == (240, 20, 1920)


@pytest.mark.parametrize("n, knobs, words", [
    (12, {"train_batch_size": 32}, "at most 12"), (48, {"num_train_epochs": 2, "max_train_steps": 5}, "keep one"),
    (0, {}, "n_images"), (None, {}, "n_images"), (2.5, {}, "n_images"),
    (48, {"num_train_epochs": 0}, "num_train_epochs"), (48, {"epochs": 3}, "num_train_epochs"),
])
def test_an_impossible_volume_is_refused_by_name(n, knobs, words):
    with pytest.raises(LabError, match=words):
        volume.volume(n, **knobs)


def test_an_unknown_rule_is_refused():
    with pytest.raises(LabError, match="last_batch"):
        volume.updates(10, 4, 1, last_batch="sometimes")
    with pytest.raises(LabError, match="rule"):
        volume.scaled_learning_rate(1e-3, 4, 8, "cubic")


@pytest.mark.parametrize("rule, factor", [("none", 1), ("sqrt", 32**0.5), ("linear", 32)])
def test_a_rate_is_scaled_with_the_batch(rule, factor):
    assert volume.scaled_learning_rate(1e-4, 4, 128, rule) == pytest.approx(1e-4 * factor)


def test_the_chapters_two_rules_compensate_twice():
    """Linear scaling alone makes the sum of the rate equal; eight times the epochs on top makes it eightfold."""
    big = volume.lr_sum(RunConfig(train_batch_size=32, num_train_epochs=10, learning_rate=8e-4).resolved(5000))
    small = RunConfig(train_batch_size=4, num_train_epochs=10, learning_rate=1e-4)
    sums = [volume.lr_sum(config.resolved(5000)) for config in (small, small.replace(num_train_epochs=80))]
    assert sums == pytest.approx([big, 8 * big], rel=1e-3)


def test_the_sum_of_the_chapters_schedule():
    assert volume.lr_sum(RunConfig(lr_scheduler="three_phase", max_train_steps=5100)) == pytest.approx(1.980, abs=5e-4)


