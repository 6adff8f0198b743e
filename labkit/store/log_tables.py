"""Tables of a log: CSV, JSON lines, `trainer_state.json`, and the SQLite files of Trackio and ai-toolkit.

Each reader returns columns as they were written, {tag: (steps, values)}; `labkit.store.foreign_logs` finds out what
they mean. Trackio: table `metrics` of trackio/sqlite_backend.py (gradio-app/trackio), a row of JSON for each step of a
run. ai-toolkit: `loss_log.db`, table `metrics` of toolkit/logging_aitk.py (ostris/ai-toolkit).
"""

import codecs
import csv
import json
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from labkit.errors import LabError
from labkit.files import json_text
from labkit.store.log_tags import EPOCH, plain, step_column
from labkit.text import counted

Columns = dict[str, tuple[list[float], list[float]]]
MOST_ROWS = 2_000_000
MOST_COLUMNS = 2_000
MOST_JSON = 200_000_000                                       # bytes of a JSON file that is read as one
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
NUMBER_NAMES = ("value", "scalar")                            # of the only column beside the steps
TAG_NAMES = ("tag", "metric", "name", "key")
GROUPED = re.compile(r"[1-9]\d{0,2}(,\d{3})+")                # a whole number as people write it: 1,000


def number(value: object) -> float | None:
    """Read a cell as a number, also "NaN" and "inf"; None where it is no number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e300 or not isinstance(value, int) else None
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    if text.lower() in NOT_FINITE:
        return NOT_FINITE[text.lower()]
    for form in (text, text.replace(",", ".") if text.count(",") == 1 else ""):
        try:
            return float(form)
        except ValueError:
            continue
    return None


def step_number(name: str, value: object) -> float | None:
    """Read the cell of a column of steps; steps are whole, so that 1,000 is a thousand, but epochs may have parts."""
    if isinstance(value, str) and plain(name) != EPOCH and GROUPED.fullmatch(value.strip()):
        return float(value.replace(",", ""))
    return number(value)


def csv_columns(path: Path) -> tuple[Columns, list[str]]:
    """Return the columns of a table of text with any delimiter, and notes on what was left out."""
    with open(path, newline="", encoding=_encoding(path), errors="replace") as file:
        beginning = file.read(65_536)
        file.seek(0)
        try:
            dialect: Any = csv.Sniffer().sniff(beginning.split("\n", 1)[0], ",;\t|")
        except csv.Error:
            dialect = "excel"
        return _pivoted(path, _rows_of_csv(path, file, dialect))


def _encoding(path: Path) -> str:
    """Return how a text file is written: UTF-16 as spreadsheets and PowerShell mark it at its beginning, or UTF-8."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _rows_of_csv(path: Path, file: TextIO, dialect: Any) -> Iterator[dict[str, Any]]:
    try:
        reader = csv.DictReader(file, dialect=dialect)
        if len(reader.fieldnames or ()) > MOST_COLUMNS:
            raise LabError(f"{path} has {len(reader.fieldnames or ()):,} columns: keep those of steps and losses.")
        yield from reader
    except csv.Error as error:
        raise LabError(f"{path} cannot be read as a table ({error}): export it again as CSV.") from None


def jsonl_columns(path: Path) -> tuple[Columns, list[str]]:
    """Return the columns of a file with a JSON object on each line; lines that are none are counted and left out."""
    bad = 0

    def rows(file: TextIO) -> Iterator[dict[str, Any]]:
        nonlocal bad
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield _flat(row)
            else:
                bad += 1

    with open(path, encoding=_encoding(path), errors="replace") as file:
        columns, notes = _pivoted(path, rows(file))
    return columns, notes + ([f"{bad:,} lines of {path.name} are no JSON objects and were left out."] if bad else [])


def json_columns(path: Path) -> tuple[Columns, list[str]]:
    """Return the columns of `trainer_state.json`, or of a JSON file that is a list of objects."""
    if path.stat().st_size > MOST_JSON:
        raise LabError(f"{path} is larger than {MOST_JSON / 1e6:,.0f} MB: export its losses as CSV or JSON lines.")
    try:
        whole = json_text.read(path, object, most_bytes=MOST_JSON)
    except ValueError as error:
        raise LabError(f"{path} cannot be read as JSON ({error}): export the log again.") from None
    rows = whole.get("log_history") if isinstance(whole, dict) else whole
    if not isinstance(rows, list):
        raise LabError(f"{path} is no log: trainer_state.json with its log_history is one, or a list of objects.")
    # The last row of a finished Trainer sums the run up, under names that rows of single steps have elsewhere.
    steps = (_flat(row) for row in rows if isinstance(row, dict) and "train_runtime" not in row)
    return _pivoted(path, steps)


def database_columns(path: Path) -> list[tuple[str, Columns, list[str]]]:
    """Return (run, columns, notes) for each run of Trackio's SQLite file, or the one of ai-toolkit's loss_log.db."""
    fault: sqlite3.Error | None = None
    for how in ("mode=ro", "mode=ro&immutable=1"):            # the second where the folder may not be written
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5.0)) as base:
                return _runs_of_database(path, base)
        except sqlite3.Error as error:
            fault = fault or error
    raise LabError(f"{path} cannot be read as an SQLite file ({fault}): export the log as CSV.")


def _runs_of_database(path: Path, base: sqlite3.Connection) -> list[tuple[str, Columns, list[str]]]:
    names = {row[1] for row in base.execute("PRAGMA table_info(metrics)")}
    if {"step", "key", "value_real"} <= names:
        cells = base.execute("SELECT step, key, value_real FROM metrics ORDER BY step LIMIT ?", [MOST_ROWS])
        return [("", *_pivoted(path, ({"step": step, str(key): value} for step, key, value in cells)))]
    if {"run_name", "step", "metrics"} <= names:
        key = "run_id" if "run_id" in names else "run_name"   # newer versions: two runs may have one name
        runs = base.execute(f"SELECT {key}, MIN(run_name) FROM metrics GROUP BY {key} ORDER BY MIN(run_name), MIN(id)")
        pairs = [(run, str(name)) for run, name in runs]
        taken = Counter(name for _, name in pairs)
        return [(name if taken[name] == 1 else f"{name} ({str(run)[:8]})",
                 *_pivoted(path, _rows_of_trackio(base, key, run))) for run, name in pairs]
    raise LabError(f"{path} is no log that is known here: the SQLite files of Trackio and ai-toolkit have a table "
                   "metrics.")


def _rows_of_trackio(base: sqlite3.Connection, key: str, run: str) -> Iterator[dict[str, Any]]:
    for step, metrics in base.execute(f"SELECT step, metrics FROM metrics WHERE {key} = ? ORDER BY id", [run]):
        try:
            row = json.loads(metrics)
        except (TypeError, ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield _flat({name: value for name, value in row.items() if name != "step"}) | {"step": step}


def _flat(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return a row with the names of nested objects joined by "/"."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and depth < 4:
            flat |= _flat(value, f"{prefix}{name}/", depth + 1)
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _pivoted(path: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[Columns, list[str]]:
    """Return the columns of rows, each beside the steps it was written at."""
    columns: Columns = {}
    notes: list[str] = []
    step_name: str | None = None
    reached: float | None = None                              # the last step of a row that counts steps
    counts_steps, numbered, placed = False, False, 0
    for at, row in enumerate(rows):
        if at >= MOST_ROWS:
            notes.append(f"Only the first {MOST_ROWS:,} rows of {path.name} were read.")
            break
        if not counts_steps or step_name not in row:
            found = step_column([name for name in row if isinstance(name, str)])
            if found and (not counts_steps or plain(found) != EPOCH):
                step_name, counts_steps = found, plain(found) != EPOCH
        step = step_number(step_name, row.get(step_name)) if step_name else None
        if step_name is None:
            numbered, step = True, float(at)
        elif counts_steps:
            if step is None and reached is not None and _epoch(row) is not None:
                step, placed = reached, placed + 1
            reached = step if step is not None else reached
        for tag, value in _cells(path, row, step_name):
            if (numeric := number(value)) is not None and (tag in columns or len(columns) < MOST_COLUMNS):
                steps, values = columns.setdefault(tag, ([], []))
                steps.append(math.nan if step is None else step)
                values.append(numeric)
    if numbered:
        notes.append(f"{path.name} has no column of steps: its rows were counted.")
    elif step_name and not counts_steps:
        notes.append(f"{path.name} has no column of steps: epochs stand in their place.")
    if placed:
        notes.append(f"{counted(placed, 'row')} of {path.name} with an epoch and no step: put at the step before.")
    return columns, notes


def _epoch(row: Mapping[str, Any]) -> float | None:
    """Return the epoch that a row tells, None where it tells none."""
    return next((number(value) for name, value in row.items() if isinstance(name, str) and plain(name) == EPOCH), None)


def _cells(path: Path, row: Mapping[str, Any], step_name: str | None) -> Iterator[tuple[str, Any]]:
    """Yield tags and values of a row; a single column of values has its tag in another column, or from the file."""
    forms = {plain(name): name for name in row if isinstance(name, str)}
    value_name = next((forms[name] for name in NUMBER_NAMES if name in forms), None)
    if value_name is None:
        yield from ((name, value) for name, value in row.items() if isinstance(name, str) and name != step_name)
        return
    tag_name = next((forms[name] for name in TAG_NAMES if name in forms), None)
    tag = str(row[tag_name]) if tag_name else path.stem.rpartition("tag-")[2]   # as TensorBoard names its downloads
    yield tag, row[value_name]
