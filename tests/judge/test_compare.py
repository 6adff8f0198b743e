"""Where runs ended, which is best and which as good: a run that broke is infinitely bad in all of it."""

import math

import numpy as np
import pytest
from volume_runs import ended, turned

from labkit.errors import LabError
from labkit.judge import arms, compare

RATES = (1e-4, 1e-3, 1e-2)


def rated(*ends, seeds=(0, 1), rates=RATES):
    """Return arms that end where they are told, one a rate; None broke."""
    runs = [
        ended(0.1 if end is None else end, seed=seed, learning_rate=rate,
              status="diverged" if end is None else "finished")
        for end, rate in zip(ends, rates, strict=True) for seed in seeds
    ]
    return arms.over_seeds(runs, "learning_rate")


def test_a_run_that_broke_ends_infinitely_high_whatever_it_was_last_measured_at():
    broke, whole = ended(0.1, status="diverged"), ended(0.12)
    assert np.isposinf(compare.final_losses(broke)).all() and np.isposinf(compare.final_losses(broke, "probe")).all()
    assert compare.share_left(broke) == math.inf and compare.has_failed(broke) and not compare.has_failed(whole)
    assert compare.best_of([broke, whole]) is whole
    assert math.isnan(arms.difference(broke, whole).mean) and math.isnan(arms.difference(broke, broke).mean)


def test_an_end_that_is_no_number_counts_as_broken():
    run = ended(0.1)
    run.validations["validation"].losses[-1, 0] = np.nan
    assert np.isposinf(compare.final_losses(run)).all()


def test_the_best_has_the_lowest_mean_and_none_is_best_where_all_broke():
    runs = rated(0.15, 0.1, 0.12)
    assert compare.best_of(runs) is runs[1] and compare.final_losses(runs[1]).mean() == pytest.approx(0.1, abs=1e-3)
    with pytest.raises(LabError, match="ended with a number: record lower rates"):
        compare.best_of(rated(None, None, None))


def test_runs_as_good_as_the_best_are_told_and_those_that_failed_are_not_among_them():
    runs = rated(0.1, 0.1, 0.15)
    best = compare.best_of(runs)
    assert compare.as_good(runs) == [run for run in runs[:2] if run is not best]
    assert compare.as_good(rated(0.1, None, 0.3)) == []


def test_a_best_rate_at_either_end_is_at_the_edge():
    races = ((1, 2, 3), (2, 1, 3), (3, 2, 1), (2, 1, None))
    edges = [compare.at_edge(compare.ends_by_rate(rated(*ends))) for ends in races]
    assert edges == [True, False, True, False]
    assert compare.best_rate({1e-3: np.full((2, 4), 0.2), 1e-2: np.full((2, 4), np.inf)}) == 1e-3


def test_a_shift_of_the_best_rate_is_as_wide_as_the_rates_that_noise_cannot_tell_apart():
    low, high = rated(0.15, 0.1, 0.15), rated(0.15, 0.1, 0.15, rates=(1e-3, 1e-2, 1e-1))
    assert compare.rate_shift(low, high) == pytest.approx((10, 10, 10))
    level = rated(0.10001, 0.1, 0.10001)
    assert compare.rate_shift(low, level) == pytest.approx((1, 0.1, 10))
    assert compare.rate_shift(level, level) == pytest.approx((1, 0.01, 100))
    with pytest.raises(LabError, match="at the edge of those tried"):
        compare.rate_shift(low, rated(0.1, 0.15, 0.2))


def test_views_count_epochs_and_the_gap_counts_from_the_start():
    run = turned(12, 100)
    assert compare.views(run, 300) == 300 * run.config.effective_batch_size / 12
    gap, probe = compare.gap(run), run.validations["probe"]
    assert gap == pytest.approx(0.09, abs=0.002)
    run.validations["probe"] = probe._replace(losses=probe.losses + np.float32(0.3))
    assert compare.gap(run) == pytest.approx(gap, abs=1e-6)    # the two sets need not be equally hard to begin with
