"""Measure speed: K runs in one pass, and one run, against a plain diffusers + PEFT loop on the same cached inputs.

Everything is timed in one process, in alternation, so that a busy machine slows all of it alike. The plain loop is
tools/reference_loop.py.
"""

import copy
import json
import statistics
import sys
import time
from contextlib import closing

import psutil  # PEFT brings it
import torch
from torch.utils.flop_counter import FlopCounterMode

from labkit.cli.parser import Outcome
from labkit.cli.tools import load
from labkit.datasets.folders import territory
from labkit.design.config import RunConfig, run_id
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.batches import Batches
from labkit.engine.cache import encode
from labkit.engine.loss import per_sample_loss
from labkit.engine.monitor import Monitor
from labkit.engine.sweep import circumstances
from labkit.engine.train import train
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.settings import REPO, given_path
from labkit.store.events import Step

reference_loop = load("reference_loop")

RUNS, BATCHES, ROUNDS = (1, 2, 4, 8), (1, 4), 5
MORE_LAYERS = ("linear", "all")                               # sets that are timed beside attention, 8 runs at batch 4
ORDER = 2048                                                  # of the matrices whose product measures the machine


def verb(options):
    """Run the bench on the embedded base, print its table and write its figures."""
    out = given_path(options.out or REPO / "out" / "bench.json")
    if out.is_dir():
        raise LabError(f"--out {out} is a folder: give the name of a file, such as {out / 'bench.json'}.")
    base = load_base()
    cache = encode(base, territory("liminal"))
    figures = bench(base, cache)
    write_file(out, json.dumps(figures, indent=1).encode(), choose="--out")
    return Outcome(0, f"{table(figures)}\nThe figures are in {out}.", figures)


def progress(text):
    """Print to stderr: stdout belongs to the table."""
    print(text, file=sys.stderr, flush=True)


def bench(base, cache, rounds: int = ROUNDS, steps: int = 10, tell=progress) -> dict:
    """Return all figures as {min, median, max} over rounds; `steps` updates are timed in each cell of each round."""
    bench_ = _Bench(base, cache, steps)
    rows = []
    for i in range(rounds):
        tell(f"bench: round {i + 1} of {rounds}")
        rows.append(bench_.round())
    return {"machine": circumstances(base, cache, []), "rounds": rounds, "steps": steps} | _figures(rows)


class _Bench:
    """Time cells; a cell is (what, K, batch) and gives seconds per update of all its runs."""

    def __init__(self, base, cache, steps):
        self.base, self.cache, self.steps = base, cache, steps
        # A GPU's numbers come in blocks of ten: cells begin and end with one.
        self.warm = 2 if base.device.type == "cpu" else 10
        self.config = RunConfig(max_train_steps=self.warm + steps, rank=8).resolved(len(cache.train))
        self.unet = copy.deepcopy(base.unet)
        self.trained = reference_loop.add_adapter(self.unet, self.config)
        self.flops = self._count()

    def round(self) -> dict:
        """Time every cell once."""
        cells = {}
        for B in BATCHES:
            cells["reference", 1, B] = self._reference(B)
            for K in RUNS:
                cells["pass", K, B] = self._pass(K, B)
        cells["base", 8, 4] = self._base()
        for layers in MORE_LAYERS:
            cells[layers] = self._base(layers), self._pass(8, 4, layers)
        cells["product"] = self._product()
        cells["resident_mib"] = _resident_mib()
        return cells

    def _configs(self, K, B, layers="attention"):
        return [self.config.replace(train_batch_size=B, seed=k, learning_rate=1e-3 / (k + 1), target_modules=layers)
                for k in range(K)]

    def _pass(self, K, B, layers="attention"):
        """Time updates as a caller of `train` sees them, from event to event."""
        configs = self._configs(K, B, layers)
        last = run_id(configs[-1], self.base.fingerprint, self.cache.fingerprint)
        with closing(train(self.base, self.cache, configs, monitor=Monitor(images=0))) as events:
            return self._timed(event for event in events if isinstance(event, Step) and event.run_id == last)

    def _timed(self, updates):
        """Return the seconds per update of an iterator that yields once an update."""
        for _ in range(self.warm):
            next(updates)
        start = time.perf_counter()
        for _ in range(self.steps):
            next(updates)
        return (time.perf_counter() - start) / self.steps

    def _reference(self, B):
        """Time the plain loop on one run; its `loss.item()` waits for the device each step."""
        (config,) = self._configs(1, B)
        draws = reference_loop.draws(self.cache.train, config)
        batches = ([self._on_device(part) for part in draw] for draw in draws)
        return self._timed(reference_loop.steps(self.unet, self.base.noise_scheduler, self.trained, config, batches))

    def _on_device(self, part):
        return part.to(self.base.device, self.base.dtype if part.is_floating_point() else None)

    def _base(self, layers="attention"):
        """Time the frozen base's own forward and backward, down to the first layers that a run would adapt."""
        K, B = 8, 4
        stack = LoRAStack(self.base.unet, self._configs(K, B, layers))
        batches = Batches(self.cache.train, self.cache.null_cond, self._configs(K, B), self.base.device)

        def differentiable(module, inputs, output):
            return output if output.requires_grad else output.requires_grad_()

        hooks = [layer.module.register_forward_hook(differentiable) for layer in stack.layers]
        (batch,) = batches(0)
        start = None
        for i in range(self.warm + self.steps):
            if i == self.warm:
                start = self._now()
            self._backward(batch)
        seconds = (self._now() - start) / self.steps
        for hook in hooks:
            hook.remove()
        return seconds

    def _backward(self, batch):
        losses = per_sample_loss(self.base.denoiser, batch.latents, batch.noise, batch.timesteps, batch.cond)
        losses.sum().backward()

    def _now(self):
        if self.base.device.type == "cuda":
            torch.cuda.synchronize(self.base.device)
        return time.perf_counter()

    def _count(self):
        """Count the floating-point operations of one update of 8 runs at batch 4."""
        stack = LoRAStack(self.base.unet, self._configs(8, 4)).initialize()
        (batch,) = Batches(self.cache.train, self.cache.null_cond, self._configs(8, 4), self.base.device)(0)
        with FlopCounterMode(display=False) as counter, stack.attached():
            self._backward(batch)
        return counter.get_total_flops()

    def _product(self):
        """Measure the machine's rate of matrix products in the base's precision, in operations a second."""
        a, b = torch.randn(2, ORDER, ORDER, device=self.base.device, dtype=self.base.dtype)
        a @ b
        start = self._now()
        for _ in range(3):
            a @ b
        return 3 * 2 * ORDER**3 / (self._now() - start), self.flops


def _figures(rows) -> dict:
    """Turn cells into the figures of the budgets; a ratio is taken within its round."""
    def over(value):
        values = [value(row) for row in rows]
        return {"min": min(values), "median": statistics.median(values), "max": max(values)}

    def speedup(K, B):
        return over(lambda row: K * row["reference", 1, B] / row["pass", K, B])

    def share(row):
        return 1 - row["base", 8, 4] / row["pass", 8, 4]

    def above(layers):
        pairs = {"attention": lambda row: (row["base", 8, 4], row["pass", 8, 4])}
        times = pairs.get(layers, lambda row: row[layers])
        return over(lambda row: 100 * (times(row)[1] / times(row)[0] - 1))

    def floor(row):
        rate, flops = row["product"]
        return row["pass", 8, 4] * rate / flops

    return {
        "one_run_vs_reference": speedup(1, 4),
        "one_run_vs_reference_at_batch_1": speedup(1, 1),
        "k_runs": {str(K): {
            "speedup_at_batch_1": speedup(K, 1), "speedup_at_batch_4": speedup(K, 4),
            "ms_per_run_step": over(lambda row, K=K: 1000 * row["pass", K, 4] / K),
            "ms_per_run_step_at_batch_1": over(lambda row, K=K: 1000 * row["pass", K, 1] / K),
        } for K in RUNS[1:]},
        "reference_ms_per_step": {str(B): over(lambda row, B=B: 1000 * row["reference", 1, B]) for B in BATCHES},
        "overhead_fraction": over(share),
        "percent_above_base": {layers: above(layers) for layers in ("attention", *MORE_LAYERS)},
        "floor_ratio": over(floor),
        "resident_mib": over(lambda row: row["resident_mib"]),
    }


def table(figures) -> str:
    """Return the figures as lines of text, the machine first."""
    machine = figures["machine"]
    lines = [f"{machine['system']}, {machine['processor']} ({machine['device']}), {machine['threads']} threads, "
             + ", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
             f"median (lowest to highest) of {figures['rounds']} rounds of {figures['steps']} updates a cell, "
             "in alternation", ""]
    lines += [f"{name:<48} {_range(figure)}" for name, figure in _flat(figures)]
    return "\n".join(lines)


def _flat(figures, prefix=""):
    """Yield names and figures of a nested mapping."""
    for name, value in figures.items():
        if isinstance(value, dict) and "median" in value:
            yield prefix + name, value
        elif isinstance(value, dict) and name != "machine":
            yield from _flat(value, f"{prefix}{name} ")


def _range(figure) -> str:
    return f"{figure['median']:9.3g}  ({figure['min']:.3g} to {figure['max']:.3g})"


def _resident_mib() -> float:
    """Return the memory this process holds."""
    return psutil.Process().memory_info().rss / 2**20
