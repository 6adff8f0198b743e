"""How often comparisons of runs claim what is not there: pictures alone against pictures, seeds and choice together.

    python tools/comparisons_study.py [--repetitions 400]

Prints one table. 'Pictures alone' is how the kit compared runs before it counted seeds and choices. On recorded runs
the truth is known where two differ by the seed alone; everything else is simulated, with noise as large as recorded
runs have it.
"""

import argparse
import math
import sys
from itertools import combinations
from pathlib import Path
from statistics import NormalDist

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit import settings  # noqa: E402
from labkit.engine.seeding import seed63  # noqa: E402
from labkit.experiments import rank  # noqa: E402
from labkit.experiments.frontier import Frontier  # noqa: E402
from labkit.experiments.sensitivity import Chance, parts  # noqa: E402
from labkit.judge.arms import LIKE, losses, over_seeds  # noqa: E402
from labkit.judge.compare import FAILED_AT  # noqa: E402
from labkit.judge.stats import (  # noqa: E402
    interval_of,
    resampled_means,
    seed_noise,
    seeds_difference,
    share_interval,
    spread,
)
from labkit.store.recorded import recorded  # noqa: E402

PICTURES, SEEDS = 32, 2
# Of recorded runs: the gain; deviations of a mean loss between seeds, of what is left, of a design's own pictures.
GAIN, BETWEEN, REST, OWN = 0.012, 0.0006, 0.0005, 0.0007


def numbers(purpose):
    """Return the generator of one experiment."""
    return np.random.default_rng(seed63(0, "comparisons_study", purpose) % 2**32)


# -- recorded pairs that differ by the seed alone


def recorded_pairs():
    """Yield (gain, told apart over pictures, told apart with the others' noise) of each pair.

    The gain is a share of the set's best, or -inf where a run broke.
    """
    for file in sorted((settings.data_dir() / "runs").glob("*.zip")):
        arms = [arm for arm in over_seeds(recorded(file.stem)) if len(arm.runs) > 1]
        gains = np.array([losses(arm, 0).mean() - losses(arm).mean() for arm in arms])
        for arm, gain in zip(arms, gains, strict=True):
            noise = seed_noise(
                [losses(other) for other, gain_of_other in zip(arms, gains, strict=True)
                 if gain_of_other >= LIKE * max(gains) and other is not arm]
            )
            for one, other in combinations(losses(arm), 2):
                broke = max(one.mean(), other.mean()) > FAILED_AT * losses(arm, 0).mean()
                both = seeds_difference(one[None], other[None], noise).excludes_zero if noise else None
                yield -math.inf if broke else gain / max(gains), interval_of(one - other).excludes_zero, both


# -- simulated arms


def made(rng, truth, seeds=SEEDS, uneven=0.0):
    """Return losses (arms, seeds, pictures) of arms with true means; seeds deviate unequally, by exp(uneven)."""
    arms, root = len(truth), math.sqrt(PICTURES)
    between = BETWEEN * np.exp(uneven * rng.normal(size=(arms, 1, 1)) - uneven**2)
    own = OWN / math.sqrt(2) * root * rng.normal(size=(arms, 1, PICTURES))
    return (
        np.asarray(truth)[:, None, None]
        + own
        + between * rng.normal(size=(arms, seeds, 1))
        + REST * root * rng.normal(size=(arms, seeds, PICTURES))
    )


def two_arms(repetitions, seeds, arms, uneven=0.0):
    """Return how often two equal arms of an experiment are told apart."""
    rng, before, after = numbers(f"two_arms {seeds} {arms} {uneven}"), 0, 0
    for _ in range(repetitions):
        ends = made(rng, [0.14] * arms, seeds, uneven)
        before += interval_of(ends[0].mean(axis=0) - ends[1].mean(axis=0)).excludes_zero
        after += seeds_difference(ends[0], ends[1], seed_noise(ends)).excludes_zero
    return before / repetitions, after / repetitions


def best_of_five(repetitions):
    """Return how often a true best of five rates, of which two are, is called worse than the one that ended lowest."""
    rng, before, after, truth = numbers("best_of_five"), 0, 0, 0.128 + np.array([0.004, 0.0, 0.0, 0.002, 0.006])
    for _ in range(repetitions):
        ends = made(rng, truth)
        lowest, noise = ends.mean(axis=(1, 2)).argmin(), seed_noise(ends)
        before += any(
            interval_of(ends[i].mean(axis=0) - ends[lowest].mean(axis=0)).low > 0 for i in (1, 2) if i != lowest
        )
        after += any(
            seeds_difference(ends[i], ends[lowest], noise, 1 - 0.05 / 4).low > 0 for i in (1, 2) if i != lowest
        )
    return before / repetitions, after / repetitions


def ranks(repetitions):
    """Return how often the smallest sufficient rank is not named, not left open, and how many are left open."""
    rng, names, before, after, left = numbers("ranks"), (1, 2, 4, 8, 16, 32, 64), 0, 0, []
    lacks = GAIN * np.array([0.14, 0.08, 0.035, 0.02, 0.01, 0.0, 0.0])
    for _ in range(repetitions):
        ends = made(rng, [0.14 - GAIN + lack + worse for lack in lacks for worse in (0.003, 0.0, 0.0015)])
        rates = (1e-3, 3e-3, 1e-2)
        by_rank = {size: dict(zip(rates, ends[3 * i : 3 * i + 3], strict=True)) for i, size in enumerate(names)}
        capacity = rank.Capacity("simulated", np.full(PICTURES, 0.14), by_rank, by_rank, SEEDS)
        low, high = capacity.open
        before += capacity.enough != 4
        after += not low <= 4 <= (high or 64)
        left.append(sum(low <= size <= (high or 64) for size in names))
    return before / repetitions, after / repetitions, float(np.mean(left))


# -- the choice of a strength


def strengths(repetitions, pictures):
    """Return how often the sentence on the chosen strength promises too much, before and now, and at all now."""
    rng, before, after, promised = numbers(f"strengths {pictures}"), 0, 0, 0
    target, kept = np.array([0.05, 0.5, 0.7, 0.75, 0.5]), np.array([0.95, 0.92, 0.88, 0.82, 0.5])
    for _ in range(repetitions):
        drawn = [_drawn(rng, shares, pictures) for shares in (target, kept)]
        frontier = Frontier(
            "simulated", (0.0, 0.5, 0.75, 1.0, 2.0), *drawn, 0.1, np.zeros((2, 5, 2, 2, 3), np.uint8), ("", "")
        )
        k, lost = frontier.chosen, frontier.lost
        true = kept[0] - kept[k]
        before += k > 0 and true > 0.1 + 1e-9 or share_interval(frontier.target[k]).low > target[k]
        after += (k > 0 and not lost.low <= true <= lost.high) or share_interval(
            frontier.target[k], frontier.level
        ).low > target[k]
        promised += k > 0 and lost.high <= 0.1
    return before / repetitions, after / repetitions, promised / repetitions


def _drawn(rng, shares, pictures):
    """Return scores (K, pictures) of 0 and 1, alike over strengths as those of one prompt and seed are."""
    common = rng.normal(size=pictures)
    hard = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.normal(size=(len(shares), pictures))
    return (hard < np.array([_quantile(share) for share in shares])[:, None]).astype(float)


def _quantile(share):
    return NormalDist().inv_cdf(share)


# -- knobs without effect


def knobs(repetitions):
    """Return how often a null knob is said to explain, before and now, and a strong one's share is held now."""
    rng, shape, before, after, held = numbers("knobs"), (3, 2, 2, 2, 2), [], [], []
    steps = np.array([0.0, 1.0, 1.7])
    effect = 0.004 * steps.reshape(3, 1, 1, 1, 1) + 0.002 * np.arange(2).reshape(1, 2, 1, 1, 1)
    noise = BETWEEN**2 + REST**2 + OWN**2 / 2
    true = np.var(0.004 * steps) / (np.var(0.004 * steps) + np.var([0, 0.002]) + noise)
    for _ in range(repetitions):
        scale = rng.gamma(4, 0.25, PICTURES).reshape(-1, 1, 1, 1, 1, 1)
        run = BETWEEN * rng.normal(size=shape)
        rest = math.sqrt(PICTURES * (REST**2 + OWN**2 / 2)) * rng.normal(size=(PICTURES, *shape))
        gains = scale * (0.006 + effect) + run + rest
        chance, drawn = Chance(gains), _shares(resampled_means(gains))
        whole = _shares(gains.mean(axis=0, keepdims=True))
        for knob in (2, 3, 4):
            before.append(spread(float(whole[knob,][0]), drawn[knob,], PICTURES).low > 0)
            after.append(chance.share((knob,)).low > 0)
        share = chance.share((0,))
        held.append(share.low <= true <= share.high)
    return float(np.mean(before)), float(np.mean(after)), float(np.mean(held))


def _shares(values):
    variances = parts(values)
    total = sum(variances.values())
    return {key: value / total for key, value in variances.items()}


def rows(repetitions):
    """Yield (what is asked, pictures alone, now)."""
    pairs = list(recorded_pairs())
    for words, least in (
        (f"{LIKE:.0%} of the best gain or more", LIKE),
        (f"none of them above {FAILED_AT:g} times the untouched loss", -1e9),
        ("also those that broke", -math.inf),
    ):
        counted = [pair for pair in pairs if pair[0] >= least]
        known = [pair for pair in counted if pair[2] is not None]  # one design that learned cannot show its seeds
        yield (
            f"recorded pairs that differ by the seed alone, {words}: told apart",
            f"{sum(pair[1] for pair in counted)} of {len(counted)}",
            f"{sum(pair[2] for pair in known)} of {len(known)}",
        )
    for name in ("near", "liminal"):
        runs = recorded(f"ranks_{name}")
        each = [rank.capacity([run for run in runs if run.config.seed == seed]).enough for seed in (0, 1)]
        yield (
            f"smallest sufficient rank, {name}: seed 0, seed 1; both",
            f"{each[0]}, {each[1]}",
            rank.capacity(runs).range,
        )
    for seeds, arms, uneven in ((2, 2, 0.0), (2, 5, 0.0), (2, 25, 0.0), (2, 25, 0.5), (3, 4, 0.0)):
        before, after = two_arms(repetitions, seeds, arms, uneven)
        yield (
            f"equal arms of {seeds} seeds among {arms}{', seeds unevenly noisy' if uneven else ''}, told apart",
            f"{before:.1%}",
            f"{after:.1%}",
        )
    before, after = best_of_five(repetitions)
    yield "a best rate of five called worse than the lowest", f"{before:.1%}", f"{after:.1%}"
    before, after, left = ranks(repetitions)
    yield (
        f"smallest sufficient rank not named, or not among those left open ({left:.1f} of 7)",
        f"{before:.1%}",
        f"{after:.1%}",
    )
    for pictures in (8, 16, 64):
        before, after, promised = strengths(repetitions, pictures)
        yield (
            f"strength chosen on {pictures} prompts promises too much "
            f"(a small loss is promised now in {promised:.0%})",
            f"{before:.1%}",
            f"{after:.1%}",
        )
    before, after, held = knobs(repetitions)
    yield (
        "a knob without effect is said to explain something "
        f"(a strong one's share lies in its interval in {held:.0%})",
        f"{before:.1%}",
        f"{after:.1%}",
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400, help="simulations of each row")
    print("| | pictures alone | now |\n|---|---|---|")
    for row in rows(parser.parse_args().repetitions):
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
