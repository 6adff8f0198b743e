"""What recorded runs tell of seeds, for comparisons of runs that have one seed each and cannot tell it themselves."""

import math

from labkit.judge.arms import losses, nearest, noise_among, over_seeds
from labkit.judge.stats import SeedNoise
from labkit.store.recorded import recorded_or_none


def recorded_noise(history, name="u_curve", share=1.0) -> SeedNoise | None:
    """Return how far seeds lie apart in a recorded set on the same base and pictures, at a share of the updates.

    None where there is no such set. Comparisons of one seed each that count it are wrong no more often than they say, on recorded
    pairs that differ by the seed alone, each left out of the noise that judges it (`tools/comparisons_study.py`).
    """
    recorded = recorded_or_none(name) or []
    same = all(
        run.meta.get(key) == history.meta.get(key)
        for run in recorded[:1]
        for key in ("base_fingerprint", "data_fingerprint")
    )
    if not recorded or not same:
        return None
    arms = over_seeds(recorded)
    return noise_among([losses(arm, nearest(arm, share)) for arm in arms], [losses(arm, 0).mean() for arm in arms])


def caution(run, name="u_curve") -> str:
    """Say in one sentence what a comparison with this run of one seed cannot show."""
    noise = recorded_noise(run, name)
    if noise is None:
        return "One seed each: another may say otherwise, and how far seeds lie apart here was not recorded."
    return (
        "One seed each. Recorded runs of this base and these pictures that differ by the seed alone have a standard "
        f"deviation of {noise.deviation:.4f}: two runs have to lie {2 * math.sqrt(2) * noise.deviation:.3f} or so apart "
        "before it is not the seed's."
    )
