"""What one update does, by its rate, by the rank and by the width of a layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import random_lab
from figures import assert_words_keep_apart

from labkit.design.config import RunConfig
from labkit.experiments.updates import change_by_rank, change_by_width, plot_change_by_rank, plot_one_update


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


def test_an_update_of_equal_rate_moves_the_output_further_at_a_higher_rank_unless_alpha_is_held():
    lab, config = random_lab.lab(), RunConfig(rank=4, learning_rate=1e-3).resolved(8)
    found = change_by_rank(lab.base, lab.cache, config, ranks=(2, 8, 32), n=8)
    assert found.power["alpha = rank"] > 0.7 > found.power["alpha / √rank"] > 0.3 > found.power["alpha = 8"]
    at_rank_8 = [change[1] for change in found.change.values()]           # where the rules agree
    assert np.ptp(at_rank_8) < 1e-6 * at_rank_8[0]
    figure = plot_change_by_rank(found).figure
    assert_words_keep_apart(figure)
    assert "with alpha = 8" in figure.summary


def test_an_update_of_equal_rate_moves_wide_layers_more_not_less():
    lab, config = random_lab.lab(), RunConfig(rank=4, learning_rate=1e-3).resolved(8)
    full = change_by_width(lab.base, lab.cache, config.replace(adapter="full"), n=8)
    assert len(set(full.d_in)) >= 3
    assert full.interval[0] > 0
    lora = change_by_width(lab.base, lab.cache, config, n=8)
    assert lora.slope < full.slope
