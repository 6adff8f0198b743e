"""Figures of the measured passages show what their sentences say."""

from types import SimpleNamespace

import numpy as np
import pytest

from labkit.experiments.update_figures import plot_one_update


@pytest.mark.parametrize("last, words", [(1.3, "↑ 1.3"), (np.nan, "↑")])
def test_the_gain_of_one_update_is_seen_though_high_rates_end_far_above(last, words):
    ends = {1e-4: 0.1505, 1e-3: 0.1500, 1e-2: 0.1490, 1e-1: 0.25, 1.0: last}
    axes = plot_one_update([SimpleNamespace(config=SimpleNamespace(learning_rate=rate), validations={"validation": SimpleNamespace(means=np.array([0.1506, end]))})
                            for rate, end in ends.items()])
    low, high = axes.get_ylim()
    assert low < 0.1490 and 0.1506 < high < 0.16
    assert {"↑ 0.25", words} <= {text.get_text() for text in axes.texts}
    assert "1e-2 lowers the held-out loss most" in axes.figure.summary
