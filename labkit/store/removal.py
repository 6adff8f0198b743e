"""Remove a run from its store, and say beforehand which other runs need it."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from labkit.errors import LabError
from labkit.files.atomic import cannot_write
from labkit.store.journal import Journal
from labkit.store.runs import COMPLETE, RunFolder, Store


def missed_by(store: Store, chosen: Sequence[str]) -> list[str]:
    """Return a sentence for each other run that depends on the chosen ids: a fork, or one that shared their pass.

    A fork has all that it needs once it was begun. An interrupted run goes on beside those that it was begun with;
    without them the last digits of its numbers may differ.
    """
    sentences = []
    for folder in store.runs():
        if folder.run_id in chosen:
            continue
        try:
            parent, group, status = folder.load().config.parent, folder.group, folder.status
        except LabError:                                      # who lists the runs is told what is wrong with it
            continue
        if parent in chosen:
            sentences.append(f"{folder.run_id} was forked from {parent}: it stays whole, but cannot be made again "
                             "without it.")
        company = [name for name in group if name in chosen]
        if status not in (*COMPLETE, "running") and company:
            sentences.append(f"{folder.run_id} is {status} and was begun in one pass with {', '.join(company)}: "
                             "resumed without that, the last digits of its numbers may differ.")
    return sentences


def delete(folder: RunFolder) -> int:
    """Remove a run's folder and return how many bytes it held.

    LabError: it is being written, or may not be removed.
    """
    size = sum(_size(path) for path in folder.path.rglob("*"))
    Journal(folder.events_path).close()                       # raises where another process holds it
    try:
        (folder.path / "config.json").unlink(missing_ok=True)  # from here on it is no run, should the rest fail
        shutil.rmtree(folder.path.resolve())
        if folder.path.is_symlink():
            folder.path.unlink()
    except OSError as error:
        raise cannot_write(folder.path, error) from None
    return size


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size if path.is_file() or path.is_symlink() else 0
    return 0
