"""Remove a run from its store, and say beforehand what it would be missed by."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from labkit.errors import LabError
from labkit.files.atomic import cannot_write
from labkit.store.journal import Journal
from labkit.store.runs import COMPLETE, RunFolder, Store


def missed_by(store: Store, chosen: Sequence[str]) -> list[str]:
    """Return a sentence for each run that stays and has to do with the chosen ids: forks and interrupted company.

    A fork has all that it needs once it was begun; a run that was interrupted goes on in the company it had, and
    without it only to the same numbers but for their last digits.
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
