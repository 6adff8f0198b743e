"""Runs of a learner, put into a store without training, and the lab that they belong to."""

import dataclasses
from types import SimpleNamespace

import numpy as np
from made_runs import made_run

from labkit.design.config import run_id
from labkit.lab import Lab

BASE, DATA = "base", "pictures"


def lab_of_names():
    """Give a lab whose base and pictures are names only."""
    base = SimpleNamespace(name="base", fingerprint=BASE)
    territory = SimpleNamespace(name="pictures", train=range(96), crop="center", captions=None)
    return Lab(base, territory, cache=SimpleNamespace(fingerprint=DATA))


def owned(run):
    """Give a run the id that its configuration, base and pictures give it."""
    return dataclasses.replace(run, run_id=run_id(run.config, BASE, DATA))


def broke_early(run):
    """Return a run as real ones break: between two measurements, so that the last measured loss is a number."""
    cut = {name: curve._replace(steps=curve.steps[:-1], losses=curve.losses[:-1])
           for name, curve in run.validations.items()}
    loss = np.append(run.steps["loss"][:-1], np.nan)
    return dataclasses.replace(run, status="diverged", validations=cut, steps=run.steps | {"loss": loss})


def own(kind="healthy", rate=1e-3, seed=0, *, end=0.0, **knobs):
    """Make a learner's run; `end` is added to its last held-out losses."""
    knobs = {"target_modules": "attention", "max_train_steps": 200} | knobs          # as on a base of another name
    run = made_run(kind, learning_rate=rate, seed=seed, pictures=False, **knobs)
    held = run.validations["validation"]
    losses = np.concatenate([held.losses[:-1], held.losses[-1:] + np.float32(end)])
    return owned(dataclasses.replace(run, validations=run.validations | {"validation": held._replace(losses=losses)}))
