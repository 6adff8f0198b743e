"""How long a store of many runs takes to list: the first time, when every run is judged, and again.

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

from labkit.config import RunConfig  # noqa: E402
from labkit.events import Step, Stopped, Validation  # noqa: E402
from labkit.listing import entries  # noqa: E402
from labkit.runs import Store  # noqa: E402

META = {"base_fingerprint": "base", "data_fingerprint": "data", "measured_fingerprint": "measured"}
EVALUATED = (0, 2, 4, 7, 12, 20, 33, 50, 70, 100)


def make(store, number):
    """Record one run: loss falls, at a rate of its own."""
    rng, name = np.random.default_rng(number), f"{number:016x}"
    level, speed = rng.uniform(0.6, 1.4, (32, 1)), rng.uniform(0.2, 3)
    with store.run(name).writer(RunConfig(seed=number, max_train_steps=100).resolved(96), META) as writer:
        for step in range(101):
            if step:
                writer.write(Step(name, step, 4 * step, float(rng.uniform(0.05, 0.3)), 1e-3, 0.5, 0.01))
            for kind in ("validation", "probe") if step in EVALUATED else ():
                losses = level * (0.2 - 0.1 * -np.expm1(-speed * step / 60)) + 0.001 * rng.normal(size=(32, 1))
                writer.write(Validation(name, step, 4 * step, kind, "monitor", losses.astype(np.float32), np.arange(32).reshape(32, 1) * 31))
        writer.write(Stopped(name, 100, 400, "finished"))


def seconds(store) -> float:
    """Return the CPU time of one listing."""
    start = time.process_time()
    entries(store)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 3000], metavar="N")
    os.fsync = lambda handle: None                            # made runs may be lost
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LABKIT_CACHE"] = str(Path(folder) / "cache")
        made = 0
        print(f"{'runs':>6}  {'first time':>12}  {'again':>8}  CPU seconds")
        for count in sorted(parser.parse_args().runs):
            store = Store(Path(folder) / "runs")
            for number in range(made, count):
                make(store, number)
            made = count
            os.environ["LABKIT_CACHE"] = str(Path(folder) / f"cache {count}")
            print(f"{count:6}  {seconds(store):12.2f}  {seconds(store):8.2f}", flush=True)


if __name__ == "__main__":
    main()
