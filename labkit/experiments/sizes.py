"""What an adapter costs by its rank: numbers trained, share of the matrix, bytes of the file, time of an update."""

import time
from contextlib import closing
from statistics import median
from typing import NamedTuple

from labkit.engine.adapters import LoRAStack
from labkit.engine.monitor import Monitor
from labkit.engine.train import train
from labkit.store.adapter_files import adapter_bytes
from labkit.store.events import Step
from labkit.view.tables import Table

UPDATES = 4                                                   # timed of each; one more before them warms up


class Size(NamedTuple):
    """Hold what one configuration's adapter costs."""

    name: str
    trained: int                                              # numbers
    freedom: int                                              # of the products B A: r (in + out - r) a matrix
    of_width: float                                           # rank over the narrowest adapted matrix's smaller side
    file_bytes: int
    seconds: float                                            # of an update, alone in its pass


def sizes(lab, configs) -> list[Size]:
    """Measure one adapter for each configuration, on the lab's base and pictures; nothing of it is kept."""
    return [_size(lab, lab.config(config)) for config in configs]


def _size(lab, config) -> Size:
    with lab.base.lock:
        stack = LoRAStack(lab.base.unet, [config]).initialize()
    matrices = [(layer.module.weight.shape[0], layer.module.weight[0].numel()) for layer in stack.layers]
    if config.adapter == "full":
        name, freedom = "the whole matrices", sum(out * into for out, into in matrices)
    else:
        name, freedom = f"rank {config.rank}", sum(min(config.rank, *sides) * (sum(sides) - min(config.rank, *sides)) for sides in matrices)
    narrowest = min(min(sides) for sides in matrices)
    of_width = 1.0 if config.adapter == "full" else config.rank / narrowest
    return Size(name, stack.theta.shape[1], freedom, of_width, len(adapter_bytes(stack.tensors(0), config)), _seconds(lab, config))


def _seconds(lab, config) -> float:
    """Return the median time of an update; the first, which warms up, is left out."""
    times = []
    short, again = config.replace(max_train_steps=1 + UPDATES), bool(lab.gradient_checkpointing)
    events = train(lab.base, lab.cache, [short], monitor=Monitor(images=0), gradient_checkpointing=again)
    with closing(events):
        for event in events:
            if isinstance(event, Step):
                times.append(time.perf_counter())
    return median(after - before for before, after in zip(times, times[1:]))


def sizes_table(found: list[Size]) -> Table:
    """Return one row an adapter."""
    rows = [[size.name, f"{size.trained:,}", f"{size.freedom:,}", f"{size.of_width:.1%}", f"{size.file_bytes / 1000:,.0f} kB", f"{1000 * size.seconds:.0f} ms"] for size in found]
    return Table(["", "numbers trained", "degrees of freedom", "rank, as a share of the narrowest width", "file", "one update, alone"], rows)
