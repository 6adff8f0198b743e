"""The verb that removes runs from their store."""

import sys

from labkit.cli.parser import Outcome, tell
from labkit.cli.runs import find
from labkit.errors import LabError
from labkit.store.names import name_of
from labkit.store.removal import delete, missed_by
from labkit.store.runs import Store
from labkit.text import counted, printable


def verb(options):
    """Say what would go and what would miss it; remove it when that is confirmed."""
    folders = {folder.path: folder for folder in (find(text, options.store) for text in options.runs)}
    for folder in folders.values():
        if not folder.events_path.is_file():                  # a model's folder has a config.json, too
            raise LabError(f"{folder.path} is not the folder of a run, since it has no {folder.events_path.name}: "
                           "nothing is deleted.")
        if folder.status == "running":
            raise LabError(f"The run {folder.run_id} is being written by a living process: stop it first, then delete "
                           "it.")
    for folder in folders.values():
        called = f" ({name})" if (name := name_of(folder.path)) else ""
        tell(f"labkit: {folder.run_id}{called}, {folder.status}, in {folder.path}", sys.stderr)
    chosen = [folder.run_id for folder in folders.values()]
    for root in {path.parent for path in folders}:
        for sentence in missed_by(Store(root), chosen):
            tell(f"labkit: {sentence}", sys.stderr)
    if not options.yes and not is_confirmed(len(folders)):
        return Outcome(1, "Nothing was deleted.", [])
    freed = sum(delete(folder) for folder in folders.values())
    text = f"Deleted {counted(len(folders), 'run')}: {freed / 1e6:,.1f} MB are free again."
    return Outcome(0, printable(text), [{"id": name, "deleted": True} for name in chosen])


def is_confirmed(count):
    """Ask on a terminal; LabError where nobody can answer."""
    if not sys.stdin.isatty():
        raise LabError(f"delete: nobody can be asked here whether to delete {counted(count, 'run')}: say so with "
                       "--yes.")
    tell(f"Delete {'it' if count == 1 else 'them'} for good? [y/N] ", sys.stderr, end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
