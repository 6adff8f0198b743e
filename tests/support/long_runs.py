"""One long run that nobody trained: held-out loss turns, the best pictures come later, copying later still."""

import numpy as np

from labkit.design.config import RunConfig
from labkit.experiments.turning_points import Scored
from labkit.store.events import Validation
from labkit.store.history import RunBuilder

STEPS = np.array([0, 10, 20, 40, 80, 160, 320, 640, 1000, 1500, 2000, 3000])
TURN, BEST, ONSET = 160, 640, 1000


def long_run(*, pictures=32, noise=0.004, turn=TURN, seed=0):
    """Return a Run whose held-out loss is lowest at `turn` and rises from there, while the probe goes on falling."""
    rng, depth = np.random.default_rng(seed), np.log10(STEPS + 10)
    lowest = np.log10(turn + 10)
    config = RunConfig(train_batch_size=8, max_train_steps=3000).resolved(24)
    name = "0123456789abcdef"
    builder, timesteps = RunBuilder(name, config), np.full((pictures, 1), 500)
    level = rng.uniform(0.6, 1.4, (pictures, 1))
    slope = rng.normal(0, noise, (pictures, 1))
    for step, at in zip(STEPS, depth, strict=True):
        fall = 0.1 + 0.08 * ((at - lowest) / (1 - lowest)) ** 2
        for measure, mean in (("validation", fall), ("probe", 0.18 - 0.055 * (at - 1))):
            losses = level * mean + slope * (at - 1) + rng.normal(0, noise / 4, (pictures, 1)) * (step > 0)
            losses = losses.astype(np.float32)
            builder.add(Validation(name, int(step), 8 * int(step), measure, "monitor", losses, timesteps))
    return builder.build("finished")


def scores(pictures=24, best=BEST):
    """Return accepted pictures that are most at `best`."""
    rng, far = np.random.default_rng(1), np.abs(np.log10(STEPS + 10) - np.log10(best + 10))
    return Scored(STEPS, (rng.uniform(size=pictures) < (0.95 - 0.4 * far)[:, None]).astype(float))


def copies(pictures=24, onset=ONSET):
    """Return copies: hardly any before `onset`, ever more from there on."""
    rng = np.random.default_rng(2)
    share = np.where(STEPS >= onset, 0.45 + 0.5 * (STEPS - onset) / STEPS[-1], 0.03)
    return Scored(STEPS, rng.uniform(size=pictures) < share[:, None])
