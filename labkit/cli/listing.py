"""The verb that lists the recorded runs."""

from labkit.cli.parser import Outcome
from labkit.judge import listing
from labkit.store.runs import Store


def runs(options):
    """List the runs of the store."""
    from labkit.cli import report  # loads matplotlib, which other verbs of this file do without

    store = Store(options.store)
    entries = listing.entries(store)
    data = [{name: account[name] for name in ("id", "status", "label", "config")} for account in entries]
    return Outcome(0, report.table(entries) if entries else nothing_in(store), data)


def nothing_in(store):
    """Say why nothing is listed: there is no run, or none that can be read; each of those was named with its fault."""
    return f"No run in {store.root} can be read." if store.runs() else f"There are no runs in {store.root}."
