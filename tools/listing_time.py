"""How long a store of many runs takes to list: after they were trained here, and where nothing of them was kept.

    python tools/listing_time.py [--runs 1000 3000]

Makes runs of 100 updates with 10 evaluations of 32 pictures in a temporary folder and prints a table of CPU seconds.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit.design.config import RunConfig  # noqa: E402
from labkit.judge.kept import with_cached_findings  # noqa: E402
from labkit.judge.listing import entries  # noqa: E402
from labkit.store.events import Step, Stopped, Validation  # noqa: E402
from labkit.store.runs import Store, record  # noqa: E402

META = {"base_fingerprint": "base", "data_fingerprint": "data", "measured_fingerprint": "measured"}
EVALUATED = (0, 2, 4, 7, 12, 20, 33, 50, 70, 100)


def events(name, number):
    """Yield the events of one run whose loss falls, at a rate of its own."""
    rng = np.random.default_rng(number)
    level, speed = rng.uniform(0.6, 1.4, (32, 1)), rng.uniform(0.2, 3)
    for step in range(101):
        if step:
            yield Step(name, step, 4 * step, float(rng.uniform(0.05, 0.3)), 1e-3, 0.5, 0.01)
        for kind in ("validation", "probe") if step in EVALUATED else ():
            losses = level * (0.2 - 0.1 * -np.expm1(-speed * step / 60)) + 0.001 * rng.normal(size=(32, 1))
            yield Validation(name, step, 4 * step, kind, "monitor", losses.astype(np.float32),
                             np.arange(32).reshape(32, 1) * 31)
    yield Stopped(name, 100, 400, "finished")


def make(store, number):
    """Record one run as training does."""
    name, config = f"{number:016x}", RunConfig(seed=number, max_train_steps=100).resolved(96)
    for _ in with_cached_findings(store, record(store, events(name, number), {name: config}, meta=META)):
        pass


def seconds(store) -> float:
    """Return the CPU time of one listing."""
    start = time.process_time()
    entries(store)
    return time.process_time() - start


def main():
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 3000], metavar="N")
    os.fsync = lambda handle: None                            # made runs may be lost
    with tempfile.TemporaryDirectory() as folder:
        store, made = Store(Path(folder) / "runs"), 0
        print(f"{'runs':>6}  {'after training':>14}  {'nothing kept':>12}  CPU seconds")
        for count in sorted(parser.parse_args().runs):
            os.environ["LABKIT_CACHE"] = str(Path(folder) / "cache")
            for number in range(made, count):
                make(store, number)
            made, after = count, seconds(store)
            os.environ["LABKIT_CACHE"] = str(Path(folder) / f"empty {count}")
            print(f"{count:6}  {after:14.2f}  {seconds(store):12.2f}", flush=True)


if __name__ == "__main__":
    main()
