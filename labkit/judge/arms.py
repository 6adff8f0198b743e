"""Arms of a comparison: runs that differ by the seed alone are one arm, compared over pictures and over seeds.

m seeds, n pictures. A difference between arms of one seed each says nothing of another seed: `basis` puts it in words.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from labkit.design.config import RunConfig
from labkit.judge.stats import Interval, SeedNoise, by_picture, level_among, pooled_noise, seed_noise, seeds_difference
from labkit.store.history import Curve, Run

LIKE = 0.5  # of the best gain of an experiment: runs that broke are noisier than those that count


@dataclass(frozen=True, eq=False)
class Arm(Run):
    """Hold the runs of one design as one Run, its losses the mean over seeds."""

    runs: tuple[Run, ...] = ()
    noise: SeedNoise | None = None  # between seeds, of the experiment that it belongs to


def over_seeds(runs: Iterable[Run], name: str = "n_train") -> list[Arm]:
    """Return one arm for each design, ordered by the field `name`, each with the noise of the arms that learned."""
    designs: dict[RunConfig, list[Run]] = {}
    for run in runs:
        designs.setdefault(run.config.replace(seed=0), []).append(run)
    arms = [_arm(sorted(group, key=lambda run: run.config.seed)) for group in designs.values()]
    noise = noise_of(arms)
    return sorted((dataclasses.replace(arm, noise=noise) for arm in arms), key=lambda arm: getattr(arm.config, name))


def _arm(runs: list[Run]) -> Arm:
    first = runs[0]
    if any(
        not np.array_equal(first.validations[name].steps, run.validations[name].steps)
        for run in runs
        for name in first.validations
    ):
        # One of them broke off: no mean goes through all, and that one is what they share.
        first = min(runs, key=lambda run: run.validations["validation"].steps[-1])
        runs = [first]
    values = {field.name: getattr(first, field.name) for field in dataclasses.fields(Run)}
    curves = {
        name: Curve(curve.steps, np.mean([run.validations[name].losses for run in runs], axis=0))
        for name, curve in first.validations.items()
    }
    status = "diverged" if any(run.status == "diverged" for run in runs) else first.status
    return Arm(**values | {"validations": curves, "status": status}, runs=tuple(runs))


def with_common_noise(experiments: Sequence[Sequence[Arm]]) -> list[list[Arm]]:
    """Return the arms of several experiments, all with the seed noise pooled over them."""
    noise = _pooled([arm.noise for arms in experiments for arm in arms[:1]])
    return [[dataclasses.replace(arm, noise=noise) for arm in arms] for arms in experiments]


def noise_of(arms: Sequence[Run]) -> SeedNoise | None:
    """Pool the noise between seeds over the arms of an experiment that learned; None where all have one seed."""
    return noise_among([losses(arm) for arm in arms], [losses(arm, 0).mean() for arm in arms])


def noise_among(ends: Sequence[np.ndarray], starts: Sequence[float]) -> SeedNoise | None:
    """Pool the noise between seeds over arms given as final losses, each (m, n), and mean losses at the start.

    Arms count whose gain is at least LIKE of the best. None where all have one seed.
    """
    gains = [float(start - end.mean()) for end, start in zip(ends, starts, strict=True)]
    best = max((gain for gain in gains if math.isfinite(gain)), default=math.nan)
    return seed_noise([end for end, gain in zip(ends, gains, strict=True) if gain >= LIKE * best])


def losses(run: Run, at: int = -1, name: str = "validation") -> np.ndarray:
    """Return the losses (m, n) of an arm, or of one run (1, n), at one evaluation.

    All losses of a run are infinite where one of them is not finite, and at the end of a run that broke (status
    "diverged"), whatever its last measurement: in every comparison, a run that broke is worse than any other.
    """
    return np.stack([_losses_of_one(member, at, name) for member in runs_of(run)])


def _losses_of_one(run: Run, at: int, name: str) -> np.ndarray:
    values = by_picture(run.validations[name].losses[at])
    broke = at == -1 and run.status == "diverged" or not np.isfinite(values).all()
    return np.full_like(values, np.inf) if broke else values


def broke(run: Run) -> bool:
    """Tell whether a run, or one of an arm's, broke: its final losses are not numbers."""
    return not np.isfinite(losses(run)).all()


def runs_of(run: Run) -> tuple[Run, ...]:
    """Return the runs of an arm, one for each seed; of a single run itself."""
    return run.runs if isinstance(run, Arm) else (run,)


def nearest(run: Run, share: float) -> int:
    """Return the number of the evaluation nearest to a share of the updates."""
    steps, last = run.validations["validation"].steps, run.config.max_train_steps
    assert last is not None                                   # as of every configuration that was trained
    return min(range(len(steps)), key=lambda i: abs(steps[i] - share * last))


def difference(run: Run, other: Run, among: int = 1, noise: SeedNoise | None = None) -> Interval:
    """Return how much higher an arm (or a run) ends than another.

    among    number of such differences where one of the two was chosen as the best of several: the intervals of all
             differences then hold together with 95 % (Bonferroni), whichever was chosen
    noise    between seeds; None takes that of the arms
    """
    noise = noise or _pooled([getattr(run, "noise", None), getattr(other, "noise", None)])
    return seeds_difference(losses(run), losses(other), noise, level_among(among))


def rise(run: Run, at: int, name: str = "validation") -> Interval:
    """Return how much higher an arm (or a run) ends than it was at an evaluation; not a number where it broke."""
    return seeds_difference(losses(run, name=name), losses(run, at, name))


def seeds(*runs: Run) -> int:
    """Return the number of seeds of the arm that has fewest."""
    return min(len(runs_of(run)) for run in runs)


def basis(*runs: Run) -> str:
    """Say what an interval of these arms is over: "over pictures, one seed" or "over pictures and 2 seeds"."""
    count = seeds(*runs)
    return "over pictures, one seed" if count == 1 else f"over pictures and {count} seeds"


def _pooled(noises: Iterable[SeedNoise | None]) -> SeedNoise | None:
    """Pool the seed noises of several experiments, each counted once; None without any."""
    return pooled_noise([noise for noise in dict.fromkeys(noises) if noise])
