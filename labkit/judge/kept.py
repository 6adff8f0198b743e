"""Cache the findings of each run, so that no run is judged twice.

A file is named by the content of the configuration and journal that it was made of: runs of a store that was moved or
copied are recognized, and a run whose files have changed is judged anew. A file that is damaged or belongs to other
content counts as absent. Each state of the code that decides about findings has a folder of its own; when one is made,
those of other states are removed.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from labkit.errors import LabError
from labkit.files import sources
from labkit.files.atomic import write_file
from labkit.files.regular import read_regular
from labkit.files.tensor_files import opened, sealed
from labkit.judge import findings as making
from labkit.judge.findings import Findings
from labkit.judge.stats import Interval
from labkit.settings import cache_dir
from labkit.store.events import Event, Stopped
from labkit.store.runs import RunFolder, Store

# These modules, with what they import, decide what is kept.
DECIDING = (making, sys.modules[RunFolder.__module__], sys.modules[__name__])


@dataclass(frozen=True, eq=False)
class Known:
    """Hold what a listing needs of a run: its settings and what its losses say."""

    config: dict  # as `RunConfig.to_dict` gives it, with the scaling of the adapter
    findings: Findings


def cached_findings(folder: RunFolder) -> Known:
    """Return the cached settings and findings of a run, else make and cache them; LabError as `RunFolder.load`."""
    content = _content(folder)
    file = cache_dir() / "findings" / _code()[:32] / f"{content[:32]}.safetensors"
    entry = _read(file, content)
    if entry is None:
        run = folder.load()
        entry = Known(run.config.to_dict() | {"scaling": run.config.scaling}, making.findings(run))
        has_ended = run.stopped is not None or run.status != "running"
        if has_ended and _content(folder) == content:         # else each line of the journal would soon have its file
            _keep(file, content, entry)
    return entry


def with_cached_findings(store: Store, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
    """Pass the recorded events of a store through; when a run ends, cache its findings for later listings."""
    with closing(events):
        for event in events:
            if isinstance(event, Stopped):
                with suppress(LabError):                      # a damaged folder is told by who reads it next
                    cached_findings(store.run(event.run_id))
            yield event


def _content(folder: RunFolder) -> str:
    """Return the hash of everything that findings are made of; LabError when a file cannot be read."""
    config, journal = read_regular(folder.path / "config.json"), read_regular(folder.events_path, absent=b"")
    return hashlib.sha256(b"%d\n" % len(config) + config + journal).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    return sources.checksum(*DECIDING)


def _keep(file: Path, content: str, entry: Known) -> None:
    arrays = {name: value for name, value in vars(entry.findings).items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in vars(entry.findings).items() if name not in arrays}
    words = {"content": content, "config": json.dumps(entry.config), "plain": json.dumps(plain)}
    is_first = not file.parent.exists()
    with suppress(LabError):                                  # a full disk costs only the time to judge again
        write_file(file, sealed(arrays, words), durable=False)
        if is_first:
            _remove_others(file.parent)


def _remove_others(folder: Path) -> None:
    """Remove what other states of the code cached; a process that is reading it finds it absent and judges anew."""
    for other in folder.parent.iterdir():
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
        elif other != folder:
            other.unlink(missing_ok=True)


def _read(file: Path, content: str) -> Known | None:
    if not file.exists():
        return None
    try:
        arrays, words = opened(file)
        if words["content"] != content:
            return None
        values = json.loads(words["plain"]) | arrays
        evidence = values["evidence"].items()
        values["evidence"] = {name: Interval(*value) if isinstance(value, list) else value for name, value in evidence}
        return Known(json.loads(words["config"]), Findings(**values))
    except (LabError, KeyError, TypeError, ValueError, AttributeError):
        return None
