"""Six runs to train side by side, unlike each other, and what tests read of the events of a pass."""

import numpy as np

from labkit.design.config import RunConfig
from labkit.engine.monitor import Monitor
from labkit.store.events import Step

QUIET = Monitor(images=0)
# Rates over two decades and ranks 1 to 8 (in two passes, padding being limited to four times): runs that are equal or
# unscaled by mistake can't pass.
SIX = [
    RunConfig(learning_rate=rate, rank=rank, alpha=alpha, seed=seed, max_train_steps=20, snr_gamma=gamma,
              max_grad_norm=clip)
    for rate, rank, alpha, seed, gamma, clip in (
        (1e-4, 1, 4, 0, None, 1),
        (1e-3, 2, 2, 1, 5.0, 0),
        (1e-2, 4, 1, 2, None, 0.01),
        (1e-2, 2, 8, 3, None, 0),
        (3e-3, 8, 8, 4, 1.0, 0.02),
        (3e-3, 8, 2, 5, None, 1),
    )
]


def losses(events, K=1):
    """Return the step losses (K, steps) in the order of the runs."""
    by_run = {}
    for event in events:
        if isinstance(event, Step):
            by_run.setdefault(event.run_id, []).append(event.loss)
    assert len(by_run) == K
    return np.array(list(by_run.values()))


def of(kind, events):
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def equal_states(a, b):
    """Tell whether two checkpoints hold the same adapter and the same state of the optimizer, bit for bit."""
    pairs = ((a.adapter, b.adapter), (a.optimizer, b.optimizer))
    return all(np.array_equal(x[name], y[name]) for x, y in pairs for name in x)
