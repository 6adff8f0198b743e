"""How far one update of equal rate moves layers of different width, on a small U-Net."""

import random_lab

from labkit.design.config import RunConfig
from labkit.experiments.layer_width import change_by_width

CONFIG = RunConfig(rank=4, learning_rate=1e-3).resolved(8)


def test_an_update_of_equal_rate_moves_wide_layers_more_not_less():
    lab = random_lab.lab()
    full = change_by_width(lab.base, lab.cache, CONFIG.replace(adapter="full"), n=8)
    assert len(set(full.d_in)) >= 3
    assert full.interval[0] > 0
    lora = change_by_width(lab.base, lab.cache, CONFIG, n=8)
    assert lora.slope < full.slope
