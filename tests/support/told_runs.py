"""Events of runs that nobody trained, and a way to record them."""

import numpy as np

from labkit.design.config import RunConfig, run_id
from labkit.store import runs
from labkit.store.events import Checkpoint, Sample, Step, Stopped, Validation

CONFIG = RunConfig(max_train_steps=4).resolved(8)
ID = run_id(CONFIG, "base", "data")
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


def validation(step, loss, name="validation", grade="monitor", run=ID):
    losses = np.full((3, 2), loss, dtype=np.float32)
    return Validation(run, step, 4 * step, name, grade, losses, np.array([[10, 500]] * 3))


def checkpoint(step, run=ID):
    down, up = "down.to_q.lora_A.weight", "down.to_q.lora_B.weight"
    adapter = {down: np.full((8, 4), step, np.float32), up: np.ones((6, 8), np.float32)}
    optimizer = {f"{down}.exp_avg": np.full((8, 4), 0.5, np.float32), "step": np.array(step)}
    return Checkpoint(run, step, 4 * step, adapter, optimizer)


def some_events(last=4, reason="finished", run=ID, first=0):
    if not first:
        yield validation(0, 0.2, run=run)
    for step in range(first + 1, last + 1):
        yield Step(run, step, 4 * step, 1 / step, 1e-3, 0.5, 0.01)
        if step == 2:
            yield Sample(run, step, 4 * step, PICTURES, ("a pool", "a maze"), (1, 2), 5.0)
            yield checkpoint(step, run=run)
    yield validation(last, 0.1, run=run)
    yield checkpoint(last, run=run)
    if reason:
        yield Stopped(run, last, 4 * last, reason)


def keep(store, events, config=CONFIG, run=ID, **options):
    return list(runs.record(store, events, {run: config}, **options))
