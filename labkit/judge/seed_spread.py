"""The noise between seeds of recorded runs, for comparisons of runs of one seed each, which cannot show it."""

import math

from labkit.judge.arms import losses, nearest, noise_among, over_seeds
from labkit.judge.stats import SeedNoise
from labkit.store.history import Run
from labkit.store.recorded import recorded_or_none


def recorded_noise(run: Run, name: str = "u_curve", share: float = 1.0) -> SeedNoise | None:
    """Return the noise between seeds in a recorded set on the same base and pictures, after a share of the updates.

    None where there is no such set. Comparisons of one seed each that count this noise are wrong no more often than
    they say: `tools/comparisons_study.py` measures that on recorded pairs that differ by the seed alone, each left out
    of the noise that judges it.
    """
    recorded = recorded_or_none(name) or []
    same = all(
        recorded_run.meta.get(key) == run.meta.get(key)
        for recorded_run in recorded[:1]
        for key in ("base_fingerprint", "data_fingerprint")
    )
    if not recorded or not same:
        return None
    arms = over_seeds(recorded)
    ends = [losses(arm, nearest(arm, share)) for arm in arms]
    return noise_among(ends, [losses(arm, 0).mean() for arm in arms])


def caution(run: Run, name: str = "u_curve") -> str:
    """Say in one sentence what a comparison with this run of one seed cannot show."""
    noise = recorded_noise(run, name)
    if noise is None:
        return "One seed each: another may say otherwise, and how far seeds lie apart here was not recorded."
    return (
        "One seed each. Recorded runs of this base and these pictures that differ by the seed alone have a standard "
        f"deviation of {noise.deviation:.4f}: two runs have to lie {2 * math.sqrt(2) * noise.deviation:.3f} or so "
        "apart before it is not the seed's."
    )
