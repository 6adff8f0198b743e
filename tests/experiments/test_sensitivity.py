"""What each knob explains: known effects come back as their shares."""

import numpy as np
import pytest
from grid_runs import runs

from labkit.errors import LabError
from labkit.experiments.sensitivity import Chance, plot_effects, plot_shares, sensitivity


def test_what_adds_up_is_explained_by_single_knobs_alone():
    found = sensitivity(runs(lambda i, j, k: 0.1 + 0.04 * i + 0.02 * j))
    assert set(found.levels) == {"learning_rate", "rank", "train_batch_size"}
    rate, rank = 0.04 ** 2 * 2 / 3, 0.02 ** 2 / 4
    assert found.alone["learning_rate"].mean == pytest.approx(rate / (rate + rank), abs=1e-6)
    assert found.alone["rank"].mean == pytest.approx(rank / (rate + rank), abs=1e-6)
    assert found.together.mean == pytest.approx(0, abs=1e-9) and found.rest == pytest.approx(0, abs=1e-9)
    for words in ("learning_rate alone explains", "beyond chance", "one seed"):
        assert words in found.sentence


def test_what_only_acts_together_is_explained_by_the_pair():
    found = sensitivity(runs(lambda i, j, k: 0.2 + 0.05 * (2 * j - 1) * (2 * k - 1)))
    assert found.pairs["train_batch_size", "rank"].mean == pytest.approx(1, abs=1e-6)
    assert max(share.mean for share in found.alone.values()) < 1e-6


def test_pictures_that_differ_widen_the_intervals():
    def width(noise):
        share = sensitivity(runs(lambda i, j, k: 0.1 + 0.01 * i, noise)).alone["learning_rate"]
        return share.high - share.low

    assert width(0.02) > 5 * width(0.0005)


def test_a_run_that_broke_or_got_worse_has_gained_nothing():
    spoilt = runs(lambda i, j, k: 0.1 if i < 2 else -5.0)
    for run in spoilt[-2:]:
        run.status = "diverged"
    found = sensitivity(spoilt)
    assert found.alone["learning_rate"].mean == pytest.approx(1, abs=1e-6)
    assert [round(level.mean, 3) for level in found.effects["learning_rate"]] == [0.1, 0.1, 0.0]


def test_half_a_grid_is_refused_and_so_are_runs_that_do_not_differ():
    whole = runs(lambda i, j, k: 0.1 + 0.01 * i)
    alike = runs(lambda i, j, k: 0.1)
    for refused, words in ((whole[:-1], "not one whole grid"), (whole[:1], "not one whole grid"),
                           (alike, "nothing to explain")):
        with pytest.raises(LabError, match=words):
            sensitivity(refused)


def test_the_figures_say_what_explains_most_and_where_most_is_gained():
    found = sensitivity(runs(lambda i, j, k: 0.1 + 0.04 * i + 0.02 * j, 0.01))
    assert "learning_rate" in plot_shares(found).figure.summary
    summary = plot_effects(found).figure.summary
    assert "learning_rate 3e-3" in summary and "rank 16" in summary


def noise(rng, shape):
    """Return the chance of runs and of 32 pictures, (32, *shape)."""
    return 0.005 * rng.normal(size=shape) + 0.02 * rng.normal(size=(32, *shape))


def test_a_knob_without_effect_is_told_from_none_about_once_in_twenty_at_most():
    rng, shape = np.random.default_rng(0), (3, 2, 2, 2)
    effect, above_zero = 0.02 * np.arange(3).reshape(3, 1, 1, 1), []
    for _ in range(60):
        chance = Chance(0.1 + effect + noise(rng, shape))
        above_zero += [chance.share((knob,)).low > 0 for knob in (1, 2, 3)]
        assert chance.share((0,)).low > 0
    assert np.mean(above_zero) <= 0.05


def test_a_share_lies_in_its_interval_about_as_often_as_it_says():
    rng, shape, held = np.random.default_rng(0), (3, 2, 2, 2), []
    effect = 0.02 * np.arange(3).reshape(3, 1, 1, 1) + 0.01 * np.arange(2).reshape(1, 2, 1, 1)
    true = np.var([0, 0.02, 0.04]) / (np.var([0, 0.02, 0.04]) + np.var([0, 0.01]) + 0.005**2 + 0.02**2 / 32)
    for _ in range(100):
        share = Chance(0.1 + effect + noise(rng, shape)).share((0,))
        held.append(share.low <= true <= share.high)
    assert np.mean(held) > 0.9
