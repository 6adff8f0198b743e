"""Runs that differ by the seed alone are one arm; how two arms compare counts the seeds, or says that there is one."""

import numpy as np
import pytest
from volume_runs import ended

from labkit.judge import arms

APART = (0.0, 0.01)  # of two seeds, which is all that tells them apart


def grid(ends, apart=APART):
    """Make runs at one rate for each end, two seeds each."""
    return [
        ended(end + shift, seed=seed, learning_rate=1e-3 * (i + 1))
        for i, end in enumerate(ends)
        for seed, shift in enumerate(apart)
    ]


def test_an_arm_keeps_its_seeds_and_ends_at_their_mean():
    one, other = arms.over_seeds(grid([0.1, 0.12]), "learning_rate")
    assert arms.losses(one).shape == (2, 24) and arms.seeds(one, other) == 2
    np.testing.assert_allclose(
        arms.losses(one).mean(axis=0), one.validations["validation"].losses[-1].mean(axis=1), rtol=1e-6
    )
    assert (
        arms.basis(one) == "over pictures and 2 seeds" and arms.basis(one, one.runs[0]) == "over pictures, one seed"
    )


def test_a_difference_that_seeds_may_have_made_holds_zero_though_pictures_alone_would_exclude_it():
    one, other = arms.over_seeds(grid([0.1, 0.105]), "learning_rate")
    alone = arms.difference(other.runs[0], one.runs[0])
    assert alone.low > 0 and arms.difference(other, one).low < 0 < arms.difference(other, one).mean
    assert arms.difference(*arms.over_seeds(grid([0.1, 0.105], (0.0, 0.0)), "learning_rate")[::-1]).low > 0


def test_one_chosen_among_several_has_a_wider_interval():
    one, other = arms.over_seeds(grid([0.1, 0.12]), "learning_rate")
    assert arms.difference(other, one, 5).low < arms.difference(other, one).low


def test_the_noise_of_seeds_is_that_of_runs_that_learned_and_is_shared_between_experiments():
    quiet, loud = (
        arms.over_seeds(grid([0.1, 0.11], (0, 0.001)), "learning_rate"),
        arms.over_seeds(grid([0.1, 0.11], (0, 0.02)), "learning_rate"),
    )
    assert quiet[0].noise.degrees == 2 and quiet[0].noise.variance < loud[0].noise.variance
    [[shared, _], _] = arms.with_common_noise([quiet, loud])
    assert shared.noise.degrees == 4 and shared.noise.variance == pytest.approx(
        (quiet[0].noise.variance + loud[0].noise.variance) / 2
    )
    with_a_wreck = arms.over_seeds(
        grid([0.1, 0.11], (0, 0.001)) + [ended(0.5 + seed, seed=seed, learning_rate=1.0) for seed in (0, 1)],
        "learning_rate",
    )
    assert with_a_wreck[0].noise == quiet[0].noise


def test_a_seed_that_broke_breaks_its_arm():
    runs = [ended(0.1), ended(0.1, seed=1, status="diverged")]
    [arm] = arms.over_seeds(runs)
    assert arm.status == "diverged" and np.isnan(arms.difference(arm, arm).mean)
