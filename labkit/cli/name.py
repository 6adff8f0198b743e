"""The verb that gives a run a name of one's own."""

from labkit.cli.parser import Outcome
from labkit.cli.runs import find
from labkit.store.names import give_name, name_of
from labkit.store.runs import Store
from labkit.text import printable


def verb(options):
    """Call a run by a name, which every verb then takes for it; or take its name away."""
    folder = find(options.run, options.store)
    before = name_of(folder.path)
    give_name(folder, options.name, Store(folder.path.parent).runs())
    data = {"id": folder.run_id, "name": options.name}
    if not options.name:
        return Outcome(0, f"The run {folder.run_id} has no name now." if before else
                       f"The run {folder.run_id} had no name.", data)
    instead = f" instead of {before}" if before and before != options.name else ""
    return Outcome(0, printable(f"The run {folder.run_id} is called {options.name} now{instead}."), data)
