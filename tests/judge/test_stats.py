"""Intervals hold the truth as often as they say, over pictures and over seeds."""

import math

import numpy as np
import pytest

from labkit.judge import stats


@pytest.mark.parametrize("degrees, table", [
    (1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (31, 2.040), (127, 1.979),
])
def test_quantiles_of_t_equal_the_printed_table(degrees, table):
    assert stats.t_quantile(0.975, degrees) == pytest.approx(table, abs=1.5e-3 if degrees > 3 else 5e-3)


@pytest.mark.parametrize("n", [5, 32])
def test_an_interval_misses_the_truth_about_once_in_twenty(n):
    rng = np.random.default_rng(n)
    misses = np.mean([stats.interval_of(rng.normal(size=n)).excludes_zero for _ in range(600)])
    assert 0.025 < misses < 0.08


def test_an_interval_agrees_with_students_t():
    values = np.random.default_rng(0).normal(1, 2, 50)
    mean, low, high = stats.interval_of(values)
    half = stats.t_quantile(0.975, 49) * values.std(ddof=1) / math.sqrt(50)
    assert mean == pytest.approx(values.mean()) and [mean - low, high - mean] == pytest.approx([half, half], rel=0.08)


def test_differences_are_paired_so_that_hard_pictures_do_not_widen_them():
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 1, (32, 8))
    after = before - 0.01 + rng.normal(0, 0.001, (32, 8))
    difference = stats.paired_difference(after, before)
    assert difference.mean == pytest.approx(-0.01, abs=1e-3)
    assert difference.high < 0 and difference.high - difference.low < 0.001


def test_strata_of_a_picture_are_one_observation():
    """Eight copies of the same difference are no more evidence than one."""
    one = np.random.default_rng(0).normal(size=(16, 1))
    repeated = stats.paired_difference(np.repeat(one, 8, axis=1), np.zeros((16, 8)))
    assert repeated == pytest.approx(stats.paired_difference(one, np.zeros((16, 1))))


def test_one_picture_proves_nothing_and_a_number_that_is_none_stays_none():
    assert stats.interval_of([3.0]) == (3.0, -math.inf, math.inf)
    broken = stats.interval_of([1.0, math.nan, 2.0])
    assert math.isnan(broken.low) and not broken.excludes_zero


def test_an_interval_is_the_same_each_time_and_leaves_the_global_generator_alone():
    state = np.random.get_state()[1].copy()
    values = np.arange(10.0)
    assert stats.interval_of(values) == stats.interval_of(values)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_resampled_means_keep_the_shape_behind_the_pictures():
    values = np.random.default_rng(0).normal(size=(12, 5))
    drawn = stats.resampled_means(values)
    assert drawn.shape == (stats.DRAWS, 5)
    np.testing.assert_allclose(drawn.mean(axis=0), values.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(drawn[:, 0], stats.resampled_means(values[:, 0]))


def made_arms(rng, arms, seeds, *, pictures=32, apart=1.0, far=None):
    """Make arms (seeds, pictures) of equal loss: pictures, seeds `apart` (the first arm `far`) and the rest vary."""
    spread = np.full((arms, 1, 1), apart)
    spread[0] = apart if far is None else far
    by_picture = rng.normal(0, 4, (arms, 1, pictures))
    return by_picture + spread * rng.normal(size=(arms, seeds, 1)) + rng.normal(0, 4, (arms, seeds, pictures))


@pytest.mark.parametrize("arms, seeds", [(2, 2), (2, 3), (20, 2)])
def test_a_difference_between_arms_of_several_seeds_misses_the_truth_about_once_in_twenty(arms, seeds):
    rng = np.random.default_rng(0)
    misses = {"pictures": 0, "both": 0}
    for _ in range(400):
        made = made_arms(rng, arms, seeds)
        noise = stats.seed_noise(made) if arms > 2 else None
        misses["both"] += stats.seeds_difference(made[0], made[1], noise).excludes_zero
        misses["pictures"] += stats.interval_of(made[0].mean(axis=0) - made[1].mean(axis=0)).excludes_zero
    assert misses["both"] / 400 < 0.065 < 0.08 < misses["pictures"] / 400


def test_one_seed_beside_runs_like_it_counts_what_their_seeds_show():
    rng = np.random.default_rng(0)
    missed = [stats.seeds_difference(made[0], made[1], stats.seed_noise(others)).excludes_zero
              for made, others in ((made_arms(rng, 2, 1), made_arms(rng, 12, 2)) for _ in range(400))]
    assert 0.01 < np.mean(missed) < 0.065


def test_an_arm_whose_own_seeds_lie_far_apart_counts_with_its_own():
    rng = np.random.default_rng(0)
    missed = []
    for _ in range(300):
        made = made_arms(rng, 20, 2, far=20.0)
        missed.append(stats.seeds_difference(made[0], made[1], stats.seed_noise(made[1:])).excludes_zero)
    assert np.mean(missed) < 0.25                                       # without its own it would be nine in ten


def test_without_a_second_seed_a_difference_is_over_pictures_and_broken_arms_stay_not_finite():
    one, other = np.random.default_rng(0).normal(size=(2, 1, 16))
    assert stats.seeds_difference(one, other) == stats.interval_of((one - other)[0])
    assert stats.seed_noise([one, other]) is None
    broken = stats.seeds_difference(np.full((2, 16), np.nan), np.ones((2, 16)))
    assert math.isnan(broken.mean) and not broken.excludes_zero


def test_a_difference_of_paired_shares_holds_the_true_one_and_has_a_width_where_all_are_alike():
    rng, held = np.random.default_rng(0), []
    for _ in range(500):
        before = rng.random(16) < 0.95
        after = before & (rng.random(16) < 0.9)
        difference = stats.shares_difference(before.astype(float), after.astype(float))
        held.append(difference.low <= 0.095 <= difference.high)
    assert np.mean(held) > 0.93
    alike = stats.shares_difference(np.ones(16), np.ones(16))
    assert alike.mean == 0 and alike.low < -0.1 and alike.high > 0.1
