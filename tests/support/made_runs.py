"""Runs that nobody trained, for everything that shows runs: smooth curves and a few pictures."""

import dataclasses
import hashlib

import numpy as np

from labkit.design.config import RunConfig
from labkit.store.events import Sample, Step, Stopped, Validation
from labkit.store.history import Run, RunBuilder, Scores

STEPS = (0, 4, 10, 30, 90, 150, 200)
MEANS = {
    "healthy": (0.200, 0.180, 0.160, 0.125, 0.105, 0.101, 0.100),
    "stagnating": (0.200, 0.19985, 0.1996, 0.1989, 0.1967, 0.1945, 0.1926),
    "overshooting": (0.200, 0.160, 0.120, 0.110, 0.150, 0.200, 0.240),
    "overfitting": (0.200, 0.170, 0.130, 0.105, 0.115, 0.123, 0.128),
    "diverged": (0.200, 0.400, 1.000, 1.000, 1.010, 1.000, 1.000),
    "blown up": (0.200, 0.400, 1.000, 1.000, np.nan, np.nan, np.nan),
}
PROMPTS = ("a still indoor swimming pool, blue tiles, bright light from above", "a maze of yellow rooms")


def made_run(kind="healthy", *, learning_rate=1e-3, seed=0, pictures=True, upto=200, **knobs):
    """Return a Run whose curves have the course of `kind`, cut after `upto` updates."""
    name = hashlib.sha256(f"{kind} {learning_rate} {seed}".encode()).hexdigest()[:16]
    config = RunConfig(learning_rate=learning_rate, seed=seed, **knobs).resolved(96)
    builder, rng = RunBuilder(name, config), np.random.default_rng(seed)
    level = rng.uniform(0.6, 1.4, (16, 1))
    timesteps = np.arange(16).reshape(16, 1) * 60
    for step in range(1, upto + 1):
        loss = float(np.interp(step, STEPS, np.nan_to_num(MEANS[kind], nan=1.0)) * rng.uniform(0.2, 2.5))
        builder.add(Step(name, step, 4 * step, loss, learning_rate, 0.5, 0.01))
    for step, mean in zip(STEPS, MEANS[kind], strict=True):
        if step > upto:
            break
        for measure, share in (("validation", 0.0), ("probe", 0.002 * step if kind == "overfitting" else 0.0)):
            losses = level * mean * (1 - share) / level.mean() + (0.001 * rng.normal(size=(16, 1)) if step else 0.0)
            builder.add(Validation(name, step, 4 * step, measure, "monitor", losses.astype(np.float32), timesteps))
        if pictures and step in (0, 30, 200):
            images = np.full((2, 32, 32, 3), step, np.uint8) + np.array([0, 40], np.uint8).reshape(2, 1, 1, 1)
            builder.add(Sample(name, step, 4 * step, images, PROMPTS, (0, 1), 5.0))
    if upto == 200:
        builder.add(Stopped(name, 200, 800, "diverged" if kind == "blown up" else "finished"))
    return builder.build()


def made_race(pictures=True):
    """Return runs at five rates, from stagnating to blown up."""
    kinds = ((3e-5, "stagnating"), (1e-3, "healthy"), (1e-2, "overshooting"), (3e-2, "diverged"), (3e-1, "blown up"))
    return [made_run(kind, learning_rate=rate, pictures=pictures) for rate, kind in kinds]


def with_score(run: Run, held_out=(0, 15), ordinary=(8, 7)) -> Run:
    """Return a run with a score: how many of 16 held-out and 8 ordinary prompts were accepted first and last.

    None stands for what was not drawn.
    """
    counts = {"validation": (16, held_out), "ordinary": (8, ordinary)}
    return dataclasses.replace(run, scores={name: _scores(n, *each) for name, (n, each) in counts.items() if each})


def _scores(n, before, after):
    drawn = [(step, np.arange(n) < count) for step, count in ((0, before), (200, after)) if count is not None]
    steps, accepted = zip(*drawn, strict=True)
    return Scores(np.array(steps), np.array(accepted), ("a pool",) * n, ("pool",) * n, "the reader")


def scored_race():
    """Return the runs of `made_race` with scores; the last, which broke, was not drawn at its end."""
    return [with_score(run, (0, after), (8, after and 7))
            for run, after in zip(made_race(), (1, 16, 4, 0, None), strict=True)]


def made_seeds():
    """Return runs at four rates, from stagnating to blown up, of three seeds each."""
    kinds = ((3e-5, "stagnating"), (1e-3, "healthy"), (1e-2, "overshooting"), (3e-1, "blown up"))
    return [made_run(kind, learning_rate=rate, seed=seed) for seed in range(3) for rate, kind in kinds]
