"""Runs of a grid of knobs whose effects are known."""

from types import SimpleNamespace

import numpy as np

from labkit.design.config import RunConfig

RATES, RANKS, BATCHES = (3e-4, 1e-3, 3e-3), (4, 16), (2, 8)


def runs(gain, noise=0.0):
    """Runs over rate x rank x batch that gain what `gain` says of their numbers 0, 1, 2 on the ladders."""
    made, rng = [], np.random.default_rng(0)
    for i, rate in enumerate(RATES):
        for j, rank in enumerate(RANKS):
            for k, batch in enumerate(BATCHES):
                start = np.full((24, 1), 0.3) + 0.01 * rng.normal(size=(24, 1))
                end = start - gain(i, j, k) + noise * rng.normal(size=(24, 1))
                config = RunConfig(learning_rate=rate, rank=rank, train_batch_size=batch).resolved(96)
                validations = {"validation": SimpleNamespace(losses=np.stack([start, end]))}
                made.append(SimpleNamespace(config=config.replace(alpha=8.0), status="finished",
                                            validations=validations))
    return made
