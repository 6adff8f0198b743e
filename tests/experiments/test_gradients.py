"""What gradients say, on a small U-Net and on gradients whose noise scale is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import random_lab
import torch
from figures import assert_words_keep_apart

from labkit.design.config import RunConfig
from labkit.experiments.gradients import (
    GradientByBatch,
    NoiseScale,
    RandomDirections,
    gradient_by_batch,
    inner_products,
    noise_scale,
    plot_gradient_by_batch,
    plot_noise_scale,
    plot_random_directions,
    random_directions,
    step_zero,
)
from labkit.judge.stats import Interval, wilson

CONFIG = RunConfig(rank=4, learning_rate=1e-3).resolved(8)


@pytest.fixture(scope="module")
def lab():
    return random_lab.lab()


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_a_fresh_adapter_changes_nothing_and_only_B_has_a_gradient(lab, layers):
    found = step_zero(lab.base, lab.cache, CONFIG.replace(target_modules=layers).resolved(8))
    assert found["largest_change"] == 0
    assert found["grad_A"] == 0
    assert found["grad_B"] > 0


def test_a_step_along_the_gradient_lowers_the_loss_where_half_of_the_random_ones_do_not(lab):
    found = random_directions(lab.base, lab.cache, CONFIG, factors=(0.1,), count=64, n=4)
    assert found.along_gradient[0] < 0
    assert found.along_gradient[0] < 3 * min(found.median_change[0], 0)
    assert 0.2 < found.shares[0] < 0.8
    assert found.intervals[0][0] < found.shares[0] < found.intervals[0][1]


def test_the_figure_of_random_changes_says_what_one_of_them_gains_beside_the_real_update():
    found = RandomDirections((0.1, 1.0), (0.25, 0.5), ((0.1, 0.4), (0.3, 0.7)), (-5e-4, -5e-3), (1.2e-5, -3e-5), 32)
    summary = plot_random_directions(found).figure.summary
    assert "25 % of 32 random changes lower the loss, they change it by +1.2e-05 in the median" in summary
    assert "by -3e-05 in the median, the real one by -0.005" in summary


def test_the_figure_of_batches_says_what_is_so_by_construction():
    noise = NoiseScale(0.1, 0.9, Interval(9.0, 7.0, 12.0))
    found = GradientByBatch((1, 32), (1.0, 0.46), (1.0, 0.13), (0.3, 0.3), ((0.2, 0.4),) * 2, noise)
    figure = plot_gradient_by_batch(found).figure
    assert_words_keep_apart(figure)
    assert "falls to 0.46 of itself" in figure.summary and "by construction" in figure.summary
    assert "0.3 of 0.46 at batch 32, of 1 at batch 1" in figure.summary


def test_random_directions_are_the_same_whatever_their_company(lab):
    alone = random_directions(lab.base, lab.cache, CONFIG, factors=(1.0,), count=16, n=4)
    among = random_directions(lab.base, lab.cache, CONFIG, factors=(0.1, 1.0), count=16, n=4)
    assert alone.shares[0] == among.shares[1]
    assert np.isclose(alone.median_change[0], among.median_change[1], rtol=1e-3)


def test_single_gradients_average_to_the_gradient_of_the_batch(lab):
    found = gradient_by_batch(lab.base, lab.cache, CONFIG, batch_sizes=(1, 2, 8), draws=64)
    assert found.norm[0] > found.norm[1] > found.norm[2]
    assert np.allclose(found.along, found.along[0], rtol=1e-4)      # the same draws, only grouped otherwise
    signal = (8 * found.squared[2] - found.squared[0]) / 7
    noise = (found.squared[0] - found.squared[2]) / (1 - 1 / 8)
    assert np.isclose(found.squared[1], signal + noise / 2, rtol=0.2)
    assert found.noise.noise == pytest.approx(noise, rel=0.3) and found.noise.batch.low < found.noise.batch.mean


def test_the_noise_scale_is_the_one_that_was_put_in():
    """40 dimensions of noise of variance 0.5 on a gradient of squared length 2: the scale is 10."""
    source, found = torch.Generator().manual_seed(0), []
    mean = torch.zeros(40).index_fill(0, torch.tensor([0]), 2**0.5)
    for _ in range(60):
        found.append(noise_scale(inner_products(mean + 0.5**0.5 * torch.randn(128, 40, generator=source))))
    assert np.mean([scale.signal for scale in found]) == pytest.approx(2, rel=0.05)
    assert np.mean([scale.noise for scale in found]) == pytest.approx(20, rel=0.05)
    assert np.mean([scale.batch.low <= 10 <= scale.batch.high for scale in found]) > 0.85


def test_the_noise_scale_is_that_of_the_two_batch_sizes_of_mccandlish():
    gradients = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)) + 1
    small, large = float(gradients.square().sum(1).mean()), float(gradients.mean(0).square().sum())
    signal, noise = (16 * large - small) / 15, (small - large) / (1 - 1 / 16)
    found = noise_scale(inner_products(gradients))
    assert (found.signal, found.noise, found.batch.mean) == pytest.approx((signal, noise, noise / signal), rel=1e-5)


def test_without_a_signal_the_noise_scale_has_no_upper_end():
    found = noise_scale(inner_products(torch.randn(64, 30, generator=torch.Generator().manual_seed(1))))
    assert found.batch.high == np.inf and found.batch.low > 5


def test_the_interval_of_a_share_stays_between_none_and_all():
    assert wilson(0.0, 10)[0] == pytest.approx(0)
    assert wilson(1.0, 10)[1] == pytest.approx(1)
    assert wilson(0.5, 96) == pytest.approx((0.4019, 0.5981), abs=1e-3)


@pytest.mark.parametrize("signal, high", [(2.0, 15.0), (0.05, np.inf), (-0.05, np.inf)])
def test_the_figure_of_the_noise_scale_says_where_noise_equals_signal(signal, high):
    batch = Interval(20 / signal if signal > 0 else np.inf, 7.0, high)
    sizes = (1, 2, 4, 8)
    gradient = SimpleNamespace(batch_sizes=sizes, squared=tuple(signal + 20 / size for size in sizes),
                               noise=NoiseScale(signal, 20.0, batch))
    figure = plot_noise_scale(gradient).figure
    assert_words_keep_apart(figure)
    where = "10 (95 % interval 7 to 15)" if high < np.inf else "7 and up" if signal > 0 else "too large"
    assert where in figure.summary
