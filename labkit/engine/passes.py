"""Decide from which checkpoints the runs of a group go on, and which of them share a pass for that."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace

from labkit.design.config import RunConfig
from labkit.design.schedules import rates
from labkit.errors import LabError, LabWarning
from labkit.store.events import Checkpoint
from labkit.store.runs import COMPLETE, RunFolder, Store

# What a fork may have otherwise than its parent; the first three are places, of which a run's name does not speak.
FORKED = ("base", "revision", "data", "lr_edits", "parent", "max_train_steps")
Runs = Mapping[str, RunConfig]                                # by run id


def passes(store: Store, group: Runs) -> Iterator[tuple[Runs, list[Checkpoint] | None]]:
    """Yield, for each pass a group still needs, its members {run id: configuration} and their checkpoints or None.

    Runs with checkpoints go on with those that they were begun with, forks of a parent by themselves, and runs without
    a checkpoint begin together. A damaged checkpoint is named in a warning, and the one before it is taken. LabError,
    before the first pass, where the folder of one that must be trained is damaged.
    """
    todo = {name: config for name, config in group.items() if not _is_complete(store.run(name))}
    companies: dict[tuple[str, ...], dict[str, set[int]]] = {}      # who shared a pass -> steps of each run
    for name, config in todo.items():
        own_steps = store.run(name).checkpoints()
        starts = own_steps or _parents(store, config)
        company = tuple(store.run(name).group) if own_steps else ()
        if starts:
            companies.setdefault(company, {})[name] = set(starts)
    begun: set[str] = set()
    for company, steps in companies.items():
        while checkpoints := _shared(store, todo, steps):
            begun |= set(checkpoints)
            steps = {name: left for name, left in steps.items() if name not in checkpoints}
            yield _with_complete(store, company, todo, checkpoints)
    if beginning := {name: config for name, config in todo.items() if name not in begun}:
        yield beginning, None


def _shared(store: Store, configs: Runs, steps: Mapping[str, set[int]]) -> dict[str, Checkpoint]:
    """Return the checkpoints of runs that can go on from one step, by run id; none where no run has a whole one.

    The step is the latest that all share, else the first run's latest. `steps` loses those with a damaged checkpoint.
    """
    while able := {name: left for name, left in steps.items() if left}:
        first, *_ = able.values()
        at = max(set.intersection(*able.values()) or first)
        checkpoints = {name: _whole(store, name, configs[name], at, steps[name]) for name in able if at in able[name]}
        whole = {name: checkpoint for name, checkpoint in checkpoints.items() if checkpoint is not None}
        if len(whole) == len(checkpoints):
            return whole
    return {}


def _whole(store: Store, name: str, config: RunConfig, step: int, steps: set[int]) -> Checkpoint | None:
    """Return a run's own checkpoint, or its parent's under its name; None, with a warning, where it is damaged."""
    folder = store.run(name)
    try:
        if folder.checkpoints() or config.parent is None:
            return folder.checkpoint(step)
        return replace(store.run(config.parent).checkpoint(step), run_id=name)
    except LabError as error:
        steps.remove(step)
        go_on = f"goes on from step {max(steps)}" if steps else "begins again from step 0"
        warnings.warn(f"{error} The run {name} {go_on}.", LabWarning, stacklevel=2)
        return None


def _with_complete(store: Store, company: tuple[str, ...], configs: Runs,
                   checkpoints: Mapping[str, Checkpoint]) -> tuple[Runs, list[Checkpoint]]:
    """Add the complete members of the pass that runs were begun in, where they were by then.

    The others are then computed as they were before.
    """
    at = max(checkpoint.global_step for checkpoint in checkpoints.values())
    members, states = {name: configs[name] for name in checkpoints}, dict(checkpoints)
    for name in company:
        if name in configs:
            continue
        folder = store.run(name)
        try:
            earlier = [step for step in folder.checkpoints() if step <= at] if _is_complete(folder) else []
            if earlier:
                members[name] = folder.load().config.replace(**_places(configs))
                states[name] = folder.checkpoint(max(earlier))
        except LabError as error:
            warnings.warn(f"{error} It is left out of the pass that it shared, so the last digits of the others may "
                          "differ.", LabWarning, stacklevel=2)
    names = [name for name in company if name in states] + [name for name in states if name not in company]
    return {name: members[name] for name in names}, [states[name] for name in names]


def _places(configs: Runs) -> dict[str, str | None]:
    """Return the places of base and pictures in these runs; a complete run may still have older ones."""
    first = next(iter(configs.values()))
    return {name: getattr(first, name) for name in FORKED[:3]}


def _parents(store: Store, config: RunConfig) -> list[int]:
    """Return the steps at which a fork can leave its parent: checkpoints up to the first update that differs."""
    if not config.parent:
        return []
    folder = store.run(config.parent)
    if not folder.path.exists():
        raise LabError(f"parent: there is no run {config.parent} in the store {store.root}: give one that is, "
                       "or leave parent out to train from the beginning.")
    parent = folder.load().config
    taken = {name: getattr(parent, name) for name in FORKED if name != "max_train_steps"}
    if config.steps >= parent.steps:                          # a longer run has the same beginning
        taken["max_train_steps"] = parent.max_train_steps
    if config.replace(**taken) != parent:
        raise LabError(f"parent: {config.parent} differs from this run in more than lr_edits and a lower "
                       "max_train_steps, so nothing of it can be taken over: leave parent out.")
    differ = [step for step, (a, b) in enumerate(zip(rates(config), rates(parent), strict=False)) if a != b]
    return [step for step in folder.checkpoints() if not differ or step <= differ[0]]


def _is_complete(folder: RunFolder) -> bool:
    return folder.path.exists() and folder.status in COMPLETE
