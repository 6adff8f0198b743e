"""What one update does, by its rate and by the width of a layer, and what is left of it in bfloat16."""

from types import SimpleNamespace

import numpy as np
import pytest
import random_lab
import tiny
import torch
from figures import assert_words_keep_apart

from labkit.design.config import RunConfig
from labkit.engine.monitor import Monitor
from labkit.engine.train import train
from labkit.errors import LabError
from labkit.experiments.updates import (
    bfloat16,
    change_by_width,
    lost_in_bfloat16,
    plot_lost,
    plot_one_update,
    update_of,
)
from labkit.store.events import Checkpoint


@pytest.mark.parametrize("last, words", [(1.3, "↑ 1.3"), (np.nan, "↑")])
def test_the_gain_of_one_update_is_seen_though_high_rates_end_far_above(last, words):
    ends = {1e-4: 0.1505, 1e-3: 0.1500, 1e-2: 0.1490, 1e-1: 0.25, 1.0: last}
    axes = plot_one_update([
        SimpleNamespace(config=SimpleNamespace(learning_rate=rate),
                        validations={"validation": SimpleNamespace(means=np.array([0.1506, end]))})
        for rate, end in ends.items()])
    low, high = axes.get_ylim()
    assert low < 0.1490 and 0.1506 < high < 0.16
    assert {"↑ 0.25", words} <= {text.get_text() for text in axes.texts}
    assert "1e-2 lowers the held-out loss most" in axes.figure.summary


def test_an_update_of_equal_rate_moves_wide_layers_more_not_less():
    lab, config = random_lab.lab(), RunConfig(rank=4, learning_rate=1e-3).resolved(8)
    full = change_by_width(lab.base, lab.cache, config.replace(adapter="full"), n=8)
    assert len(set(full.d_in)) >= 3
    assert full.interval[0] > 0
    lora = change_by_width(lab.base, lab.cache, config, n=8)
    assert lora.slope < full.slope


def test_bfloat16_rounds_as_torch_does():
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-20, 20, 10_000)
    assert np.array_equal(bfloat16(values.numpy()), values.bfloat16().float().numpy())


def test_the_update_read_from_the_moments_is_the_one_that_was_made(tmp_path):
    lab = tiny.lab(store=tmp_path)
    config = RunConfig(rank=2, train_batch_size=2, max_train_steps=4).resolved(12)
    events = train(lab.base, lab.cache, [config], monitor=Monitor(images=4), checkpoint_at=(3,))
    checkpoints = {event.global_step: event for event in events if isinstance(event, Checkpoint)}
    before, after = checkpoints[3], checkpoints[4]
    update = update_of(after, config)
    for name, values in update.items():
        change = after.adapter[name] - before.adapter[name]
        # Decay took the weight before the update.
        decayed = values + config.learning_rate * config.weight_decay * change
        assert np.allclose(change, decayed, atol=1e-7)


def test_low_rates_are_lost_and_high_ones_kept_in_bfloat16(tmp_path):
    lab = tiny.lab(store=tmp_path)
    race = lab.race("learning_rate", [1e-6, 1e-2], rank=2, train_batch_size=2, max_train_steps=6, pictures=0)
    found = lost_in_bfloat16(lab, race)
    assert found.rates == (1e-6, 1e-2) and found.shares["A"][0] > 0.9 > 0.3 > found.shares["A"][1]
    assert_words_keep_apart(plot_lost(found).figure)
    falling = lab.race("learning_rate", [1e-2], rank=2, train_batch_size=2, max_train_steps=6, pictures=0,
                       lr_scheduler="linear")
    assert lost_in_bfloat16(lab, falling).shares["A"][0] < 0.3  # though its very last rate was a sixth
    with pytest.raises(LabError, match="no update is left"):
        lost_in_bfloat16(lab, [])
