"""Logs of other trainers: what was logged of training loss, validation loss and learning rate, and under which tags.

Read are TensorBoard's event files, CSV, JSON lines, `trainer_state.json` and the SQLite files of Trackio and
ai-toolkit. What was odd about a log, such as steps that a resumed run wrote twice, is told and never an error; a file
that is no log at all is one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.event_files import read_scalars
from labkit.files.regular import require_regular
from labkit.store.log_epochs import FAR_BEYOND, in_steps, is_by_epoch
from labkit.store.log_series import Series, series
from labkit.store.log_tables import MOST_JSON, Columns, csv_columns, database_columns, json_columns, jsonl_columns
from labkit.store.log_tags import AITOOLKIT, TRANSFORMERS, fitting, trainer_of

EVENTS, TRACKIO = "TensorBoard event file", "Trackio"
TABLES: dict[str, tuple[str, Callable[[Path], tuple[Columns, list[str]]]]] = {
    ".csv": ("CSV", csv_columns), ".tsv": ("CSV", csv_columns),
    ".jsonl": ("JSON lines", jsonl_columns), ".ndjson": ("JSON lines", jsonl_columns),
    ".json": ("JSON", json_columns),
}
DATABASES = (".db", ".sqlite", ".sqlite3")
STATE = "trainer_state.json"
MOST_FILES, MOST_LOGS = 20_000, 200                           # looked at in a folder, and read there
OPTIONS = {"train": "--train-tag", "validation": "--val-tag"}
NAMES = {"train": "training loss", "validation": "validation loss"}


@dataclass(frozen=True, eq=False)
class ForeignLog:
    """Hold one log: the series found in it, None where there is none of a kind.

    validation    loss on held-out pictures, as far as its tag tells
    probe         loss on training pictures on the same fixed noise, which few trainers log
    """

    path: Path
    form: str                                                 # "TensorBoard event file", "CSV", ...
    trainer: str                                              # as `labkit.store.log_tags` names it; "" where unknown
    tags: tuple[str, ...]                                     # all that hold numbers
    train: Series | None = None
    validation: Series | None = None
    probe: Series | None = None
    rate: Series | None = None
    run: str = ""                                             # of a file that holds several
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what to call it: its path, and the run where the file holds several."""
        return f"{self.path} ({self.run})" if self.run else str(self.path)

    @property
    def trained_to(self) -> float | None:
        """Return the last step at which a training loss or a rate was logged, None where nothing counts steps."""
        ends = [float(one.steps[-1]) for one in (self.train, self.rate) if one and not is_by_epoch(one.tag)]
        return max(ends, default=None)

    @property
    def has_one_axis(self) -> bool:
        """Tell whether validations can be held against rates: not where training went on far beyond the last of them.

        They were left off then, or count something else than steps, such as epochs.
        """
        end, curve = self.trained_to, self.validation
        return end is None or curve is None or end < FAR_BEYOND * float(curve.steps[-1])


def is_event_file(path: Path) -> bool:
    """Tell whether a file is named as TensorBoard names its event files."""
    return "tfevents" in path.name


def is_log(path: Path) -> bool:
    """Tell whether a file could be a log, by its name."""
    return is_event_file(path) or path.suffix.lower() in (*TABLES, *DATABASES)


def read_logs(path: Path, train_tag: str | None = None,
              val_tag: str | None = None) -> tuple[list[ForeignLog], list[str]]:
    """Read a log file, or all logs in a folder, where the event files of one folder are one log.

    Returns the logs, and a sentence on each file of a folder that was left out. LabError where there is no log with a
    loss in it, or none that has a tag that was asked for.
    """
    if path.is_dir():
        return _folder(path, train_tag, val_tag)
    require_regular(path)
    if not is_log(path):
        kinds = ", ".join([*TABLES, *DATABASES])
        raise LabError(f"{path} is no log that is known here: give an event file of TensorBoard (its name has "
                       f"'tfevents' in it), or a file that ends in {kinds}.")
    return _file([path], train_tag, val_tag, named=path), []


def _folder(path: Path, train_tag: str | None, val_tag: str | None) -> tuple[list[ForeignLog], list[str]]:
    logs, left_out = [], []
    groups, is_whole = _groups(path)
    if not is_whole:
        left_out.append(f"{path} holds more than {MOST_FILES:,} files or {MOST_LOGS} logs; only the first were read.")
    for files in groups:
        try:
            logs += _file(files, train_tag, val_tag, named=files[0].parent if is_event_file(files[0]) else files[0])
        except LabError as error:
            left_out.append(str(error))
    if not logs:
        why = f" {left_out[0]}" if len(left_out) == 1 else ""
        raise LabError(f"No log with a loss in it is in {path}: give the folder that the trainer logs to, with event "
                       f"files, CSV, JSON lines or {STATE}.{why}")
    return logs, left_out


def _groups(path: Path) -> tuple[list[list[Path]], bool]:
    """Return the logs below a folder, each as a list of its files, and whether these are all of them.

    Event files of one folder are of one run that was resumed. Each checkpoint of transformers' Trainer repeats the log
    so far, so that the last alone counts.
    """
    by_place: dict[Path, list[Path]] = {}
    states: dict[Path, tuple[tuple[int, int], Path]] = {}
    for count, file in enumerate(_walk(path)):
        if count >= MOST_FILES:
            return list(by_place.values())[:MOST_LOGS], False
        if is_event_file(file):
            by_place.setdefault(file.parent, []).append(file)
        elif file.name == STATE:
            place = file.parent.parent if file.parent.name.startswith("checkpoint-") else file.parent
            here = _reached(file), file
            states[place] = max(states.get(place, here), here, key=lambda state: state[0])
        elif is_log(file) and file.suffix.lower() != ".json":
            by_place[file] = [file]
    groups = [*by_place.values(), *([file] for _, file in states.values())]
    groups = [sorted(files) for files in sorted(groups, key=lambda files: str(files[0]))]
    return groups[:MOST_LOGS], len(groups) <= MOST_LOGS


def _walk(path: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(path):
        names.sort()
        yield from (Path(folder, name) for name in sorted(files))


def _reached(state: Path) -> tuple[int, int]:
    """Return the number of updates in a trainer's state file, -1 where it is broken, and the number of its folder."""
    digits = state.parent.name.rpartition("-")[2]
    number = int(digits) if digits.isdecimal() and len(digits) < 18 else -1
    try:
        step = json_text.read(state, dict, most_bytes=MOST_JSON).get("global_step")
    except (OSError, ValueError):
        step = -1
    return step if isinstance(step, int) else number, number


def _judgeable(path: Path, readers: Sequence[Callable[[], ForeignLog]]) -> list[ForeignLog]:
    """Return the logs of those runs of a database that have a loss, the first with a note on each other one.

    LabError: none has one.
    """
    logs: list[ForeignLog] = []
    faults: list[LabError] = []
    for reader in readers:
        try:
            logs.append(reader())
        except LabError as error:
            faults.append(error)
    if logs:
        left_out = tuple(f"a run of this file is left out: {fault}" for fault in faults)
        return [replace(logs[0], notes=(*logs[0].notes, *left_out)), *logs[1:]]
    raise faults[0] if faults else LabError(f"{path} holds no run yet: train one, and let it log a loss.")


def _file(files: list[Path], train_tag: str | None, val_tag: str | None, named: Path) -> list[ForeignLog]:
    """Read the logs in one file, or the one log in event files of one folder; `named` is the path that names them."""
    path = named
    try:
        if is_event_file(files[0]):
            columns, notes = _events(files)
            return [_log(path, EVENTS, columns, notes, train_tag, val_tag)]
        require_regular(path)
        suffix = path.suffix.lower()
        if suffix in DATABASES:
            read = database_columns(path)
            form = TRACKIO if read and read[0][0] else f"{AITOOLKIT}'s SQLite file"
            return _judgeable(path, [partial(_log, path, form, columns, notes, train_tag, val_tag,
                                             run if len(read) > 1 else "") for run, columns, notes in read])
        form, reader = TABLES[suffix]
        columns, notes = reader(path)
        return [_log(path, STATE if path.name == STATE else form, columns, notes, train_tag, val_tag)]
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror or error}).") from None


def _events(files: list[Path]) -> tuple[Columns, list[str]]:
    """Return the columns of event files, one after the other as they were written, and what is wrong with them."""
    columns: Columns = {}
    reached: dict[str, list[float]] = {}                      # for tags that count epochs, the step they came after
    step_before = 0.0
    notes = []
    for file in files:
        require_regular(file)
        rows, trouble = read_scalars(file)
        if trouble:
            notes.append(f"{file.name}: {trouble}.")
        for tag, step, value in rows:
            steps, values = columns.setdefault(tag, ([], []))
            steps.append(float(step))
            values.append(value)
            if is_by_epoch(tag):
                reached.setdefault(tag, []).append(step_before)
            else:
                step_before = float(step)
    columns, turned = in_steps(columns, reached)
    return columns, notes + turned


def _log(path: Path, form: str, columns: Columns, notes: Iterable[str], train_tag: str | None, val_tag: str | None,
         run: str = "") -> ForeignLog:
    """Make a log of columns; LabError where no loss is among them."""
    tags = tuple(columns)
    columns, turned = in_steps(columns, {})                   # of event files it was done while they were read
    remarks = [*notes, *turned]
    trainer = TRANSFORMERS if form == STATE else AITOOLKIT if form.startswith(AITOOLKIT) else trainer_of(tags)
    requested_tags = {"train": train_tag, "validation": val_tag}
    chosen: dict[str, Series] = {}
    for role in ("validation", "probe", "train", "rate"):
        fits = [tag for tag in fitting(role, tags) if tag not in [one.tag for one in chosen.values()]]
        if (tag := requested_tags.get(role)) is not None:
            if tag not in tags:
                raise LabError(f"{path} has no tag {tag!r}, which {OPTIONS[role]} asks for: it has {_some(tags)}.")
            fits = [tag]
        if not fits or role == "probe" and "validation" not in chosen:
            continue
        chosen[role] = series(fits[0], *columns[fits[0]])
        remarks += chosen[role].notes
        # A trainer that is known logs its training loss in several forms, of which the rawest is taken.
        if role in OPTIONS and len(fits) > 1 and (role == "validation" or not trainer):
            remarks.append(f"{fits[0]} was taken for the {NAMES[role]}; {_some(fits[1:])} would fit too "
                        f"({OPTIONS[role]} TAG).")
    chosen = {role: one for role, one in chosen.items() if len(one)}
    if not {"train", "validation"} & chosen.keys():
        raise LabError(f"{path} holds no loss that is known by its name: it has {_some(tags)}. Name it with "
                       f"--train-tag or --val-tag.")
    return ForeignLog(path, form, trainer, tags, chosen.get("train"), chosen.get("validation"), chosen.get("probe"),
                      chosen.get("rate"), run, tuple(remarks))


def _some(tags: Iterable[str]) -> str:
    names = list(tags)
    listed = ", ".join(names[:6]) or "no numbers at all"
    return listed + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def rate_at(log: ForeignLog, steps: np.ndarray) -> np.ndarray | None:
    """Return the sum of learning rates applied up to each validated step, None where no rates are known for them."""
    rate = log.rate
    if rate is None or len(rate) < 2 or not np.isfinite(rate.values).all() or not rate.values.any():
        return None
    if not log.has_one_axis:
        return None
    sums = np.concatenate([[0.0], np.cumsum(rate.values[:-1] * np.diff(rate.steps))])
    return np.interp(steps, rate.steps, sums)
