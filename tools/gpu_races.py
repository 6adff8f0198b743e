"""A race over learning rates as the lessons train it, on a card in each precision, beside runs recorded on a CPU."""

import tempfile
import time

import numpy as np

from labkit.datasets.folders import territory
from labkit.engine.base import load_base
from labkit.engine.cache import encode
from labkit.engine.monitor import Monitor
from labkit.engine.sweep import plan, sweep
from labkit.judge.diagnose import diagnose
from labkit.store.recorded import recorded
from labkit.store.runs import Store

# recorded: eight rates, three seeds, 100 updates of 4 pictures
SET = "u_curve"
PRECISIONS = (None, "float32", "bfloat16", "float16")         # None: what a lesson takes on this device
# after so few updates rounding has not grown; of the loss
EARLY, TOLERANCE = 4, {"float32": 1e-3}
ROUGH = 0.03                                                  # elsewhere
# rates from which rounding grows at once: they are only told
CHAOTIC = 1e-2


def rows(device, rehearse: bool):
    """Give one row a precision and rate: the last held-out loss, the verdict, and both as they were recorded."""
    known = sorted((run for run in recorded(SET) if run.config.seed == 0), key=lambda run: run.config.learning_rate)
    verdicts = {run.run_id: diagnose(run, known) for run in known}
    raced = known[2:4] if rehearse else known
    done = set()
    for precision in ("float32",) if rehearse else PRECISIONS:
        base = load_base(device=device, dtype=precision)
        if base.dtype in done:
            continue
        done.add(base.dtype)
        name = str(base.dtype).removeprefix("torch.")
        chosen = " (what a lesson takes here)" if precision is None else ""
        try:
            seconds, runs = _race(base, [run.config for run in raced], rehearse)
        except Exception as error:                            # the other precisions are still worth knowing
            yield {"what": name + chosen, "ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
            continue
        for run, before in zip(runs, raced, strict=True):
            row = _row(run, runs, before, verdicts[before.run_id], name)
            yield {"what": f"{name}{chosen}, learning rate {before.config.learning_rate:g}"} | row
        yield {"what": f"{name}{chosen}: {len(runs)} runs of {len(runs[0].steps['loss'])} updates", "ok": True,
               "seconds": seconds}


def _race(base, configs, rehearse):
    """Train side by side and return seconds, validation and pictures included, and the histories."""
    cache = encode(base, territory("liminal"))
    if rehearse:
        configs = [config.replace(max_train_steps=EARLY) for config in configs]
        monitor = Monitor(validate_at=(EARLY,), sets=("validation",), prompts=cache.prompts[:1], sample_at=(EARLY,),
                          num_inference_steps=2)
    else:
        monitor = Monitor(prompts=cache.prompts[:2])
    with tempfile.TemporaryDirectory() as folder:
        store, start = Store(folder), time.perf_counter()
        for _ in sweep(base, cache, plan(base, cache, configs), store, monitor=monitor):
            pass
        return time.perf_counter() - start, sorted(store.load_runs(), key=lambda run: run.config.learning_rate)


def _row(run, siblings, before, before_verdict, precision):
    """Compare one run with its record: after EARLY updates the two must agree, at the end both are told."""
    curves = (one.validations["validation"] for one in (run, before))
    losses, was = (dict(zip(curve.steps.tolist(), curve.means, strict=True)) for curve in curves)
    tolerance = TOLERANCE.get(precision, ROUGH)
    difference = abs(losses[EARLY] / was[EARLY] - 1)
    verdict, last = diagnose(run, siblings), max(losses)
    return {"ok": bool(run.status != "error" and (difference <= tolerance or run.config.learning_rate >= CHAOTIC)),
            "difference": float(difference), "tolerance": tolerance, "status": run.status,
            "loss": _number(losses[last]),
            "recorded_loss": _number(was.get(last)), "verdict": verdict.label,
            "confidence": _number(verdict.confidence),
            "recorded_verdict": before_verdict.label}


def _number(value):
    return None if value is None or not np.isfinite(value) else round(float(value), 5)
