"""A class that nobody taught: students whose runs and notebooks are written, not trained."""

import copy
import dataclasses
import functools
import hashlib

import numpy as np
from made_runs import made_run

from labkit.cli import forms, submission
from labkit.cli.submit import _bytes
from labkit.lessons import notebooks
from labkit.lessons.exercises import own_seed
from labkit.store.events import Step, Stopped, Validation
from labkit.store.runs import Store, record

KINDS = {3e-5: "stagnating", 3e-4: "healthy", 1e-3: "healthy", 1e-2: "overshooting", 3e-2: "diverged",
         3e-1: "blown up"}


def events(run):
    """Yield what a run recorded, without pictures."""
    columns = zip(*(run.steps[name] for name in
                    ("global_step", "samples_seen", "loss", "learning_rate", "grad_norm", "update_norm")), strict=True)
    evaluations = sorted((int(step), name) for name, curve in run.validations.items() for step in curve.steps)
    for at, name in (each for each in evaluations if each[0] == 0):
        yield _validation(run, at, name)
    for step, seen, *rest in columns:
        yield Step(run.run_id, int(step), int(seen), *map(float, rest))
        for at, name in evaluations:
            if at == step:
                yield _validation(run, at, name)
    yield Stopped(run.run_id, int(step), int(seen), run.stopped.reason)


def _validation(run, at, name):
    curve = run.validations[name]
    losses = curve.losses[list(curve.steps).index(at)]
    return Validation(run.run_id, at, 4 * at, name, "monitor", losses, run.timesteps[name])


def write_run(store, kind="healthy", *, rate=1e-3, seed=0, lesson="", luck=1.0):
    """Put a run into a store as if it had been trained for a lesson; `luck` multiplies what it ends with."""
    run = made_run(kind, learning_rate=rate, seed=seed, pictures=False)
    curves = {name: curve._replace(losses=np.concatenate([curve.losses[:1], curve.losses[1:] * np.float32(luck)]))
              for name, curve in run.validations.items()}
    name = hashlib.sha256(f"{lesson} {rate} {seed}".encode()).hexdigest()[:16]
    run = dataclasses.replace(run, run_id=name, validations=curves)
    meta = {"base_fingerprint": "b", "data_fingerprint": lesson, "lesson": lesson} if lesson else {}
    for _ in record(store, events(run), {name: run.config}, meta=meta):
        pass
    return name


@functools.cache
def _copy(lesson):
    return forms.for_student(notebooks.read(lesson), lesson.stem)


def answered(lesson, passed):
    """Return a student's copy of a lesson whose first `passed` checks say so, as bytes."""
    copied = copy.deepcopy(_copy(lesson))
    for number, cell in enumerate(notebooks.tagged(copied, "check")):
        word = "passed" if number < passed else "not yet"
        shown = {"text/plain": [f"{word}: as the kit said"], "text/html": [f"<div>{word}</div>"]}
        cell |= {"execution_count": number + 1,
                 "outputs": [{"output_type": "execute_result", "execution_count": number + 1, "metadata": {},
                              "data": shown}]}
    return _bytes(copied)


def hand_in(folder, student, *, rates=tuple(KINDS), passed=2, lessons=slice(0, 2), made="2026-11-27T10:00:00+00:00",
            file=None):
    """Write one student's submission into a folder and return its path."""
    seed, chosen = own_seed(student), notebooks.lessons()[lessons]
    store = Store(folder / f".{hashlib.sha256(f'{student} {made}'.encode()).hexdigest()[:8]}")
    luck = np.random.default_rng(seed)
    ids = [write_run(store, KINDS[rate], rate=rate, seed=seed, lesson=lesson.stem, luck=luck.uniform(0.9, 1.1))
           for lesson in chosen for rate in rates]
    data, _ = submission.packed(student, made, {path.name: answered(path, passed) for path in chosen},
                             [store.root / name for name in ids])
    path = folder / (file or f"{submission.safe_name(student)}.zip")
    path.write_bytes(data)
    return path
