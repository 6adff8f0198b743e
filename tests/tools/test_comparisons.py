"""Comparisons on recorded runs: seeds alone are no difference, and no choice promises what it cannot keep."""

import importlib.util
from pathlib import Path

import pytest

from labkit.experiments.rank import capacity
from labkit.judge.arms import over_seeds
from labkit.judge.seed_spread import caution, recorded_noise
from labkit.store.recorded import recorded

STUDY = Path(__file__).parents[2] / "tools" / "comparisons_study.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("comparisons_study", STUDY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_of_recorded_pairs_that_differ_by_the_seed_alone_at_most_one_in_twenty_is_told_apart(study):
    """Over pictures alone it was one in five of those that had not broken: 35 of 180 when that was found."""
    pairs = [pair for pair in study.recorded_pairs() if pair[0] > float("-inf")]
    assert len(pairs) >= 180 and sum(pair[1] for pair in pairs) / len(pairs) > 0.15
    learned = [pair[2] for pair in pairs if pair[0] >= study.LIKE and pair[2] is not None]
    assert len(learned) > 140 and sum(learned) / len(learned) <= 0.05


@pytest.mark.parametrize("name", ["near", "liminal"])
def test_what_two_seeds_leave_open_holds_what_each_of_them_would_have_answered(name):
    runs = recorded(f"ranks_{name}") + recorded(f"full_{name}")
    low, high = capacity(runs).open
    for seed in (0, 1):
        assert low <= capacity([run for run in runs if run.config.seed == seed]).enough <= (high or 64)
    best = capacity(runs).share(capacity(runs).best)
    assert best.mean == 1 and best.low < 1


def test_simulated_comparisons_keep_what_they_say(study):
    assert study.two_arms(150, 2, 5)[1] <= 0.06 < study.two_arms(150, 2, 5)[0]
    assert study.best_of_five(100)[1] <= 0.05
    assert study.ranks(30)[1] <= 0.05
    before, after, _ = study.strengths(150, 16)
    assert after <= 0.05 and before > 0.15
    assert study.knobs(30)[1] <= 0.05


def test_a_run_of_one_seed_is_told_how_far_recorded_seeds_lie_apart_where_base_and_pictures_are_the_same():
    run = recorded("u_curve")[0]
    noise = recorded_noise(run)
    assert noise == over_seeds(recorded("u_curve"))[0].noise and noise.degrees == 8
    assert f"standard deviation of {noise.deviation:.4f}" in caution(run)
    run.meta["data_fingerprint"] = "others"
    assert recorded_noise(run) is None and "not recorded" in caution(run)
