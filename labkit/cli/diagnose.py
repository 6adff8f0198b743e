"""The verb that judges runs and shows the evidence."""

from labkit.cli.listing import nothing_in
from labkit.cli.parser import Outcome
from labkit.cli.runs import find, indented
from labkit.judge import listing
from labkit.store.runs import Store
from labkit.text import printable

# What `diagnose` says of a run in JSON, beside its path: these names stay.
JUDGED = ("id", "status", "label", "since_step", "confidence", "evidence", "advice", "score", "sentence")


def diagnose(options):
    """Judge runs and show the evidence."""
    folders = [find(name, options.store) for name in options.paths] or Store(options.store).runs()
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


def number(value):
    """Write a piece of evidence: numbers with four digits, an interval as mean [low, high]."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) == 3 and all(isinstance(item, float) for item in value):
        return "{:.4g} [{:.4g}, {:.4g}]".format(*value)
    return str(value)
