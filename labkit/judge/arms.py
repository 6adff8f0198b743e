"""Arms of a comparison: runs that differ by the seed alone are one arm, compared over pictures and over seeds.

m seeds, n pictures. A difference between arms of one seed each says nothing of another seed, and has to be told so.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from labkit.judge.stats import LEVEL, Interval, SeedNoise, by_picture, pooled_noise, seed_noise, seeds_difference
from labkit.store.history import Curve, Run

LIKE = 0.5  # of the best gain of an experiment: runs that broke are noisier than those that count


@dataclass(frozen=True, eq=False)
class Arm(Run):
    """Hold the runs of one design as one history, its losses the mean over seeds."""

    runs: tuple[Run, ...] = ()
    noise: SeedNoise | None = None  # of the experiment that it belongs to


def over_seeds(histories, name="n_train") -> list[Arm]:
    """Return one arm for each design, ordered by the field `name`, each with the noise of seeds of those that learned."""
    groups = {}
    for history in histories:
        groups.setdefault(history.config.replace(seed=0), []).append(history)
    arms = [_arm(sorted(runs, key=lambda run: run.config.seed)) for runs in groups.values()]
    noise = noise_of(arms)
    return sorted((dataclasses.replace(arm, noise=noise) for arm in arms), key=lambda arm: getattr(arm.config, name))


def _arm(runs) -> Arm:
    first = runs[0]
    if any(
        not np.array_equal(first.validations[name].steps, run.validations[name].steps)
        for run in runs
        for name in first.validations
    ):
        # One of them broke off: no mean goes through all, and that one is what they share.
        first = min(runs, key=lambda run: run.validations["validation"].steps[-1])
        runs = [first]
    held = {field.name: getattr(first, field.name) for field in dataclasses.fields(Run)}
    curves = {
        name: Curve(curve.steps, np.mean([run.validations[name].losses for run in runs], axis=0))
        for name, curve in first.validations.items()
    }
    status = "diverged" if any(run.status == "diverged" for run in runs) else first.status
    return Arm(**held | {"validations": curves, "status": status}, runs=tuple(runs))


def together(experiments) -> list[list[Arm]]:
    """Return arms of several experiments, each knowing how far seeds lie apart in all of them."""
    noise = _pooled([arm.noise for arms in experiments for arm in arms[:1]])
    return [[dataclasses.replace(arm, noise=noise) for arm in arms] for arms in experiments]


def noise_of(arms) -> SeedNoise | None:
    """Return how far seeds lie apart among the arms of an experiment that learned; None where all have one seed."""
    return noise_among([losses(arm) for arm in arms], [losses(arm, 0).mean() for arm in arms])


def noise_among(ends, starts) -> SeedNoise | None:
    """Return the same of final losses, each (m, n), and mean losses at the start: of arms with LIKE of the best gain."""
    gains = [float(start - end.mean()) for end, start in zip(ends, starts)]
    best = max((gain for gain in gains if math.isfinite(gain)), default=math.nan)
    return seed_noise([end for end, gain in zip(ends, gains) if gain >= LIKE * best])


def losses(run, at=-1, name="validation") -> np.ndarray:
    """Return the losses (m, n) of an arm, or of one run (1, n), at one evaluation; no numbers at the end of a broken run."""
    held = [(one, by_picture(one.validations[name].losses[at])) for one in getattr(run, "runs", (run,))]
    return np.stack(
        [np.full_like(found, np.nan) if at == -1 and one.status == "diverged" else found for one, found in held]
    )


def nearest(run, share) -> int:
    """Return the number of the evaluation nearest to a share of the updates."""
    steps = run.validations["validation"].steps
    return min(range(len(steps)), key=lambda i: abs(steps[i] - share * run.config.max_train_steps))


def difference(run, other, among: int = 1, noise: SeedNoise | None = None) -> Interval:
    """Return how much higher an arm (or a run) ends than another.

    among    of how many such differences this is one, if one of the two was chosen as the best of them: then all hold
             together with 95 % (Bonferroni), which choosing cannot spoil
    noise    of seeds; None takes what the arms know
    """
    noise = noise or _pooled([getattr(run, "noise", None), getattr(other, "noise", None)])
    return seeds_difference(losses(run), losses(other), noise, 1 - (1 - LEVEL) / max(among, 1))


def rise(run, at) -> Interval:
    """Return how much higher an arm (or a run) ends than it stood at an evaluation."""
    return seeds_difference(losses(run), losses(run, at))


def seeds(*runs) -> int:
    """Return the number of seeds of the arm that has fewest."""
    return min(len(getattr(run, "runs", (run,))) for run in runs)


def basis(*runs) -> str:
    """Say what an interval of these arms is over: "over pictures, one seed" or "over pictures and 2 seeds"."""
    count = seeds(*runs)
    return "over pictures, one seed" if count == 1 else f"over pictures and {count} seeds"


def _pooled(noises) -> SeedNoise | None:
    """Return what several experiments say of the noise of seeds, each counted once; None where none does."""
    return pooled_noise([noise for noise in dict.fromkeys(noises) if noise])
