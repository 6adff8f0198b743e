"""The verb that judges runs and shows the evidence; of other trainers' logs `labkit.cli.foreign_log` tells."""

from labkit.cli import foreign_log
from labkit.cli.listing import nothing_in
from labkit.cli.parser import Outcome
from labkit.cli.runs import find, indented
from labkit.errors import LabError
from labkit.judge import listing
from labkit.settings import given_path
from labkit.store.runs import Store
from labkit.text import printable

# What `diagnose` says of a run in JSON, beside its path: these names stay.
JUDGED = ("id", "status", "label", "since_step", "confidence", "evidence", "advice", "score", "sentence")


def diagnose(options):
    """Judge runs, all runs of a store, or logs of other trainers, and show the evidence."""
    if are_logs(options):
        return foreign_log.diagnose(options)
    folders = [folder for name in options.paths for folder in runs_at(name, options.store)]
    folders = folders or Store(options.store).runs()
    roots = {folder.path.parent for folder in folders}
    accounts = {(root, account["id"]): account for root in roots for account in listing.entries(Store(root))}
    data, lines = [], []
    for folder in folders:
        account = accounts.get((folder.path.parent, folder.run_id))
        if account is None and not options.paths:             # its fault was said; a run that was named is an error
            continue
        if account is None:
            folder.load()                                     # raises what is wrong with it
        data.append({"path": str(folder.path)} | {name: account[name] for name in JUDGED})
        lines += [f"{folder.run_id}: {account['label']}", *indented(account)]
        lines += [f"    {name}: {number(value)}" for name, value in account["evidence"].items()]
    return Outcome(0, "\n".join(map(printable, lines)) or nothing_in(Store(options.store)), data)


def are_logs(options):
    """Tell whether the paths given are logs; LabError where only some are, or runs come with options of logs."""
    foreign = [foreign_log.is_foreign(name) for name in options.paths]
    if any(foreign) and not all(foreign):
        log, other = (options.paths[foreign.index(kind)] for kind in (True, False))
        raise LabError(f"{log} is another trainer's log and {other} is none, or is not there: diagnose logs and runs "
                       "one after the other.")
    given = [name for name in ("train_tag", "val_tag", "plot") if getattr(options, name)]
    if given and not any(foreign):
        raise LabError(f"--{given[0].replace('_', '-')} is for other trainers' logs: give the path of one.")
    return any(foreign)


def runs_at(name, store):
    """Return the folders of runs that a name stands for: a run, or all of a store that is given by its folder."""
    path = given_path(name)
    if foreign_log.is_store(path):
        return Store(path).runs()
    return [find(name, store)]


def number(value):
    """Write a piece of evidence: numbers with four digits, an interval as mean [low, high]."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) == 3 and all(isinstance(item, float) for item in value):
        return "{:.4g} [{:.4g}, {:.4g}]".format(*value)
    return str(value)
