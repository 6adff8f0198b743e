"""Runs about epochs and batches that nobody trained: they turn, end or break off where a test says."""

import hashlib

import numpy as np

from labkit.design.config import RunConfig
from labkit.store.events import Sample, Step, Stopped, Validation
from labkit.store.history import RunBuilder

PICTURES = 24


def ended(end=0.1, *, seed=0, status="finished", probe=None, update=0.01, ordinary=None, **knobs):
    """Return a run whose held-out loss goes from 0.2 to `end`, its updates of relative length `update`.

    ordinary    the loss on ordinary pictures at the end, if it is measured; 0.2 before
    """
    held, probes = [0.2, (0.2 + end) / 2, end], [0.2, 0.15, end if probe is None else probe]
    measured = {} if ordinary is None else {"ordinary": [0.2, 0.2, ordinary]}
    return course(held, probes, seed=seed, status=status, update=update, measured=measured, **knobs)


def turned(n, at, *, last=1500, depth=0.1, rise=0.04, seed=0, pictures=(), **knobs):
    """Return a long run on n pictures whose held-out loss is lowest at update `at`; None: at the end.

    pictures    {step: (images, prompts)} drawn on the way
    """
    steps = [0, 12, 25, 50, 100, 200, 400, 800, last]
    low = steps.index(last if at is None else at)
    end = len(steps) - 1
    held = np.interp(range(len(steps)), [0, low, end + (low == end)], [0.2, depth, depth + rise])
    probe = np.linspace(0.2, depth - 0.05, len(steps))
    knobs |= {"n_train": n, "max_train_steps": last}
    return course(held, probe, steps, seed=seed, pictures=pictures, **knobs)


def course(held, probe, steps=None, *, seed=0, status="finished", update=0.01, single=0.1, pictures=(), measured=(),
           **knobs):
    """Return a run of given mean losses on held-out and training pictures at given steps.

    single      the loss of every single step
    measured    {name: mean losses at these steps} of other pictures
    """
    curves = {"validation": held, "probe": probe} | dict(measured)
    config = RunConfig(seed=seed, **knobs).resolved(96)
    name = hashlib.sha256(config.share().encode()).hexdigest()[:16]
    last, batch = config.max_train_steps, config.effective_batch_size
    steps = [0, last // 2, last] if steps is None else steps
    builder = RunBuilder(name, config, origin="recorded", meta={"made_by": "a test"})
    rng, level = np.random.default_rng(seed), np.linspace(0.7, 1.3, PICTURES)[:, None]
    for step in sorted({1, *steps[1:]}):
        builder.add(Step(name, step, step * batch, single, config.learning_rate, 1.0, update))
    for step, *means in zip(steps, *curves.values(), strict=True):
        for measure, mean in zip(curves, means, strict=True):
            losses = (level * mean + 0.001 * rng.normal(size=level.shape) * (step > 0)).astype(np.float32)
            timesteps = np.full(level.shape, 500)
            builder.add(Validation(name, step, step * batch, measure, "monitor", losses, timesteps))
    for step, (images, prompts) in dict(pictures).items():
        builder.add(Sample(name, step, step * batch, images, tuple(prompts), tuple(range(len(prompts))), 5.0))
    builder.add(Stopped(name, last, last * batch, status))
    return builder.build()


def race(*, power=0.0):
    """Return a race of batches 1, 4, 16 by the three rules.

    The length of an update is the rate times the batch to a power.
    """
    from labkit.experiments.batch_size import at_equal_epochs  # not at the top: it loads matplotlib

    design = RunConfig(learning_rate=1e-3, max_train_steps=120).resolved(96)
    return [_ended_of(config, power) for config in at_equal_epochs(design, [1, 4, 16])]


def _ended_of(config, power):
    rate, batch = config.learning_rate, config.train_batch_size
    knobs = {"learning_rate": rate, "train_batch_size": batch, "max_train_steps": config.max_train_steps}
    return ended(0.08 + 0.02 * abs(np.log10(rate / 1e-3)), update=rate * batch**power, **knobs)


def valleys(bests, seeds=(0, 1), **knobs):
    """Return runs at five rates for each batch, the lowest at its best rate."""
    rates = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    return [
        ended(0.1 + 0.03 * abs(np.log(rate / best)) + 0.0005 * seed,
              seed=seed, train_batch_size=batch, learning_rate=rate, **knobs)
        for batch, best in bests.items() for rate in rates for seed in seeds
    ]


def eightfold(small=0.1, over=0.12, large=((3e-3, 0.1),)):
    """Return the designs of 'batch 4 instead of 32'.

    A large batch with its ends by rate, a small one that ends at `small` at its best rate, and the small one 8
    times as long, at `over`.
    """
    designs = (                                               # end, batch, rate, passes
        *((end, 32, rate, 20) for rate, end in large),
        (small + 0.03, 4, 3e-3, 20), (small, 4, 1.06e-3, 20), (small + 0.01, 4, 3.75e-4, 20),
        (over + 0.05, 4, 3e-3, 160), (over, 4, 3.75e-4, 160),
    )
    return [ended(end, seed=seed, train_batch_size=batch, learning_rate=rate, num_train_epochs=passes, n_train=48)
            for seed in (0, 1) for end, batch, rate, passes in designs]
