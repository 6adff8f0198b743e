"""From which checkpoints the runs of a group go on, and which of them share a pass for it."""

import warnings
from collections.abc import Iterator
from dataclasses import replace

from labkit.design.schedules import rates
from labkit.errors import LabError, LabWarning
from labkit.store.runs import COMPLETE, Store


def passes(store: Store, group: dict) -> Iterator[tuple[dict, list | None]]:
    """Yield, for each pass a group still needs, its members {run id: configuration} and their checkpoints or None.

    Runs with checkpoints go on with those that they were begun with, forks of a parent by themselves, and runs without
    a checkpoint begin together. A damaged checkpoint is named in a warning, and the one before it is taken. LabError,
    before the first pass, where the folder of one that must be trained is damaged.
    """
    todo = {name: config for name, config in group.items() if not _is_complete(store.run(name))}
    companies = {}
    for name, config in todo.items():
        own = store.run(name).checkpoints()
        steps = own or _parents(store, config)
        company = tuple(store.run(name).group) if own else ()
        if steps:
            companies.setdefault(company, {})[name] = set(steps)
    begun = set()
    for company, steps in companies.items():
        while checkpoints := _shared(store, todo, steps):
            begun |= set(checkpoints)
            steps = {name: found for name, found in steps.items() if name not in checkpoints}
            yield _with_complete(store, company, todo, checkpoints)
    if beginning := {name: config for name, config in todo.items() if name not in begun}:
        yield beginning, None


def _shared(store, configs, steps) -> dict:
    """Return the checkpoints of runs that can go on from one step, by run id; none where no run has a whole one.

    The step is the latest that all share, else the first run's latest. `steps` loses those with a damaged checkpoint.
    """
    while able := {name: found for name, found in steps.items() if found}:
        first, *_ = able.values()
        at = max(set.intersection(*able.values()) or first)
        checkpoints = {name: _whole(store, name, configs[name], at, steps[name]) for name in able if at in able[name]}
        if None not in checkpoints.values():
            return checkpoints
    return {}


def _whole(store, name, config, step, steps):
    """Return a run's own checkpoint, or its parent's under its name; None, with a warning, where it is damaged."""
    folder = store.run(name)
    try:
        if folder.checkpoints():
            return folder.checkpoint(step)
        return replace(store.run(config.parent).checkpoint(step), run_id=name)
    except LabError as error:
        steps.remove(step)
        go_on = f"goes on from step {max(steps)}" if steps else "begins again from step 0"
        warnings.warn(f"{error} The run {name} {go_on}.", LabWarning, stacklevel=2)
        return None


def _with_complete(store, company, configs, checkpoints):
    """Add the complete members of the pass that runs were begun in, where they were by then.

    The others are then computed as they were before.
    """
    at = max(checkpoint.global_step for checkpoint in checkpoints.values())
    members, found = {name: configs[name] for name in checkpoints}, dict(checkpoints)
    for name in company:
        if name in configs:
            continue
        folder = store.run(name)
        try:
            earlier = [step for step in folder.checkpoints() if step <= at] if _is_complete(folder) else ()
            if earlier:
                members[name], found[name] = folder.load().config, folder.checkpoint(max(earlier))
        except LabError as error:
            warnings.warn(f"{error} It is left out of the pass that it shared, so the last digits of the others may "
                          "differ.", LabWarning, stacklevel=2)
    names = [name for name in company if name in found] + [name for name in found if name not in company]
    return {name: members[name] for name in names}, [found[name] for name in names]


def _parents(store, config):
    """Return the steps at which a fork can leave its parent: checkpoints up to the first update that differs."""
    if not config.parent:
        return []
    folder = store.run(config.parent)
    if not folder.path.exists():
        raise LabError(f"parent: there is no run {config.parent} in the store {store.root}: give one that is, "
                       "or leave parent out to train from the beginning.")
    parent = folder.load().config
    if config.replace(lr_edits=parent.lr_edits, parent=parent.parent) != parent:
        raise LabError(f"parent: {config.parent} differs from this run in more than lr_edits, "
                       "so nothing of it can be taken over: leave parent out.")
    differ = [step for step, (a, b) in enumerate(zip(rates(config), rates(parent), strict=True)) if a != b]
    return [step for step in folder.checkpoints() if not differ or step <= differ[0]]


def _is_complete(folder) -> bool:
    return folder.path.exists() and folder.status in COMPLETE
