"""Train many configurations: a grid, cut into groups that share a pass, without those the store already has."""

import platform
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import pairwise, product
from typing import Any

import torch

from labkit.design.config import RunConfig, run_id
from labkit.design.schedules import check_warmup
from labkit.engine.base import Base
from labkit.engine.cache import Cache
from labkit.engine.dtypes import MIXED, name_of
from labkit.engine.monitor import Monitor
from labkit.engine.out_of_memory import enough_memory
from labkit.engine.passes import passes
from labkit.engine.room import Room, room
from labkit.engine.train import RANK_SPREAD, pass_fields, train
from labkit.errors import LabWarning
from labkit.store.events import Event
from labkit.store.runs import COMPLETE, Store, record
from labkit.text import counted

MAX_ROWS = 64                                                 # on a CPU more gain nothing, and numbers come later


def grid(design: RunConfig | None = None, **values: Any) -> list[RunConfig]:
    """Return the configurations of all combinations, the last field changing fastest.

    design            what they have in common; the defaults if None
    values            for each field one value or a list of them
    """
    design = design or RunConfig()
    lists = [value if isinstance(value, list | tuple | range) else [value] for value in values.values()]
    return [design.replace(**dict(zip(values, combination, strict=True))) for combination in product(*lists)]


def plan(base: Base, cache: Cache, configs: Iterable[RunConfig]) -> dict[str, RunConfig]:
    """Resolve and name runs for `sweep` and `train`: {run id: resolved configuration}, a run given twice once."""
    resolved = [config.resolved(len(cache.train)) for config in configs]
    return {run_id(config, base.fingerprint, cache.fingerprint): config for config in resolved}


def groups(configs: Sequence[RunConfig], max_rows: int = MAX_ROWS) -> list[list[RunConfig]]:
    """Cut resolved configurations into groups that can share a pass, by their order and values alone.

    The same pass needs the same `pass_fields`, ranks within RANK_SPREAD of each other and at most max_rows rows;
    groups of one kind are made about equally large, since a small last pass is a slow one.
    """
    kinds: dict[tuple, list[RunConfig]] = {}
    for config in configs:
        kinds.setdefault(tuple(getattr(config, name) for name in pass_fields(config)), []).append(config)
    return [group for kind in kinds.values() for similar in _by_rank(kind) for group in _even(similar, max_rows)]


def _by_rank(configs: list[RunConfig]) -> Iterator[list[RunConfig]]:
    """Split where the largest rank would be more than RANK_SPREAD times the smallest, else keep the order."""
    while configs:
        smallest = min(config.rank for config in configs)
        near = [config for config in configs if config.rank <= RANK_SPREAD * smallest]
        yield near
        configs = [config for config in configs if config not in near]


def _even(configs: list[RunConfig], max_rows: int) -> list[list[RunConfig]]:
    """Cut into as few parts as max_rows allows, their sizes differing by one at most."""
    parts = -(-len(configs) // max(1, max_rows // configs[0].rows))
    borders = [round(i * len(configs) / parts) for i in range(parts + 1)]
    return [configs[a:b] for a, b in pairwise(borders)]


def sweep(base: Base, cache: Cache, plan: Mapping[str, RunConfig], store: Store, *, monitor: Monitor | None = None,
          max_rows: int = MAX_ROWS, gradient_checkpointing: bool | None = None, checkpoint_at: Sequence[int] = (),
          stop: Callable[[], bool] = lambda: False, meta: dict | None = None,
          tell: Callable[[str], None] = lambda text: None) -> Generator[Event, None, None]:
    """Train the planned runs that the store does not have complete, group by group; record them, yield their events.

    Runs that were interrupted go on beside the same runs as before, from the last checkpoint they share; a run with a
    `parent` begins at the parent's last checkpoint before their rates differ. Both have passes of their own, apart
    from runs that begin. Arguments otherwise as for `train` and `record`. LabError when a pass does not fit into the
    device's memory.

    plan                      {run id: resolved configuration} of this base and cache, from `plan` or `Lab.plan`
    max_rows                  pictures that a pass may hold; fewer where memory is predicted not to hold them
    gradient_checkpointing    compute activations again in the backward pass; None: where one run does not fit without
    tell                      is called with a sentence where memory limits the rows or activations are computed again
    """
    names = {config: name for name, config in plan.items()}
    incomplete = [group for group in groups(list(names), max_rows)
                  if any(store.run(names[config]).status not in COMPLETE for config in group)]
    for group, limits in _roomy(base, cache, incomplete, max_rows, gradient_checkpointing, tell):
        for members, resume in passes(store, {names[config]: config for config in group}):
            if stop():
                return
            for config in members.values() if not resume else ():
                check_warmup(config)
            about = circumstances(base, cache, list(members)) | _execution(base, group[0], limits) | (meta or {})
            if resume:
                _warn_of_another_dtype(store, members, about["dtype"])
            at = max(checkpoint.global_step for checkpoint in resume) if resume else None
            rows = sum(config.rows for config in members.values())
            what = f"A pass of {counted(len(members), 'run')} with {counted(rows, 'picture')} in all"
            with enough_memory(what, _less(len(members), rows, limits.gradient_checkpointing)):
                events = train(base, cache, members, monitor=monitor, resume=resume, stop=stop,
                               checkpoint_at=checkpoint_at, gradient_checkpointing=limits.gradient_checkpointing)
                with closing(record(store, events, members, meta=about, resume_at=at)) as recorded:
                    yield from recorded


def _roomy(base: Base, cache: Cache, whole_groups: Iterable[list[RunConfig]], max_rows: int,
           gradient_checkpointing: bool | None,
           tell: Callable[[str], None]) -> Iterator[tuple[list[RunConfig], Room]]:
    """Yield groups cut to what the device holds, each with its Room."""
    for group in whole_groups:
        largest = max(group, key=lambda config: config.rank)
        limits = room(base, cache, largest, max_rows, gradient_checkpointing)
        if limits.said:
            tell(limits.said)
        yield from ((part, limits) for part in _even(group, limits.rows))


def _warn_of_another_dtype(store: Store, names: Iterable[str], dtype: str) -> None:
    """Warn where runs that go on were begun in another precision."""
    if before := {begun for name in names if (begun := store.run(name).dtype) and begun != dtype}:
        warnings.warn(f"Runs begun in {min(before)} go on in {dtype}, so that their second part is not what it would "
                      f"have been: choose {min(before)} with dtype=, --dtype or LABKIT_DTYPE where that matters.",
                      LabWarning, stacklevel=3)


def _execution(base: Base, config: RunConfig, limits: Room) -> dict[str, Any]:
    """Return how a pass is computed, beyond what its configurations say."""
    dtype = MIXED.get(config.mixed_precision, base.dtype)
    return {"dtype": name_of(dtype), "tf32": False, "max_rows": limits.rows,
            "gradient_checkpointing": limits.gradient_checkpointing}


def _less(runs: int, rows: int, is_checkpointed: bool) -> str:
    """Say what to change so that a pass needs less memory."""
    if runs > 1:
        half = max(1, rows // 2)
        return f"Let fewer runs share it: --rows {half} on the command line, max_rows={half} of the Lab."
    again = (", or let activations be computed again: --gradient-checkpointing on the command line, "
             "gradient_checkpointing=True of the Lab")
    return ("Take a smaller train_batch_size with more gradient_accumulation_steps, a smaller resolution or "
            f"mixed_precision='bf16'{'' if is_checkpointed else again}.")


def circumstances(base: Base, cache: Cache, group: Sequence[str]) -> dict:
    """Return inputs, machine and versions of a pass; where all are the same, it can be repeated bit for bit."""
    is_cuda = base.device.type == "cuda"
    processor = torch.cuda.get_device_name(base.device) if is_cuda else platform.processor() or platform.machine()
    versions = {name: version(name) for name in ("torch", "diffusers", "numpy")}
    return {"base_fingerprint": base.fingerprint, "data_fingerprint": cache.fingerprint,
            "measured_fingerprint": cache.measured_fingerprint, "group": list(group),
            "device": base.device.type, "processor": processor, "threads": torch.get_num_threads(),
            "system": platform.platform(), "versions": versions | {"python": platform.python_version()}}
