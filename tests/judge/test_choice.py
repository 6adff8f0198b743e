"""Which adapter to keep: the lowest, where it lies below the untouched base beyond the chance of pictures."""

import dataclasses

import numpy as np
from made_runs import made_run

from labkit.judge.choice import choose


def ended(change, seed, jitter=0.001, pictures=16):
    """Return a run of two evaluations whose loss changed by `change`, a little more or less on each picture."""
    run = made_run(seed=seed, pictures=False)
    held = run.validations["validation"]
    before = held.losses[0][:pictures]
    moved = np.random.default_rng(seed).normal(change, jitter, (pictures, 1)).astype(np.float32)
    curve = held._replace(steps=np.array([0, 1]), losses=np.stack([before, before + moved]))
    return dataclasses.replace(run, run_id=f"{change} {seed}", validations={"validation": curve})


def base_of(run):
    return run.validations["validation"].losses[0]


def beside(first, change, seed, **options):
    """Return a run on the same pictures as `first`."""
    other = ended(change, seed, **options)
    held = other.validations["validation"]
    losses = np.stack([base_of(first), base_of(first) + held.losses[1] - held.losses[0]])
    return dataclasses.replace(other, validations={"validation": held._replace(losses=losses)})


def test_the_lowest_is_kept_and_those_within_noise_are_named():
    low = ended(-0.02, 1)
    near, far = beside(low, -0.0199, 2), beside(low, -0.01, 3)
    choice = choose([far, low, near])
    assert choice.kept in (low, near) and far not in choice.as_good and len(choice.as_good) == 1
    assert choice.above[far.run_id].low > 0 and choice.change[far.run_id].high < 0
    assert choice.above[choice.kept.run_id] == (0, 0, 0)


def test_none_is_kept_where_none_is_lower_than_the_base_beyond_chance():
    first = ended(-0.0001, 1, jitter=0.01)
    choice = choose([first, beside(first, 0.02, 2)])
    assert choice.kept is None and choice.lowest is first


def test_the_intervals_of_more_candidates_are_wider_since_the_lowest_was_chosen_among_them():
    low = ended(-0.02, 1)
    others = [beside(low, -0.015, seed) for seed in range(2, 8)]
    few, many = choose([low, others[0]]), choose([low, *others])
    wide, narrow = (choice.above[others[0].run_id] for choice in (many, few))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_file_that_breaks_the_base_is_never_the_lowest_and_all_broken_keep_none():
    low = ended(-0.02, 1)
    broken = beside(low, np.nan, 2)
    choice = choose([broken, low])
    assert choice.kept is low and not choice.as_good and np.isnan(choice.above[broken.run_id].mean)
    assert choose([broken]).lowest is None and choose([broken]).kept is None
