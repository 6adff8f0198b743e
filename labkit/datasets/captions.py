"""The captions of a folder: a table of them, or a text file beside each picture. No torch here."""

import csv
import functools
import io
import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.datasets.pixels import is_foreign, is_picture
from labkit.errors import LabError
from labkit.files import json_text

CAPTIONS = ("metadata.jsonl or metadata.csv with the columns file_name and text, "
            "or one .txt of the same name beside each picture")
TABLES = ("metadata.jsonl", "metadata.csv")
ALSO_CALLED = {
    "file_name": ("filename", "file", "image", "path"),
    "text": ("caption", "captions", "prompt", "description"),
}
MOST_BYTES = 200_000_000                    # of a table: a million captions
MOST_EMPTY = 0.75                           # of all captions: beyond, no words can be learned
Columns = dict[str, Any]                    # a line of a table
Row = tuple[Path, str, Columns]             # picture, caption, the other columns
Lines = Iterator[tuple[str, Columns]]       # file and number of a line, for messages; what it holds


def captioned(folder: Path) -> tuple[list[Row], list[Path], list[str]]:
    """Match pictures with captions: rows in the order of the table, else by name; pictures not readable here; notes.

    LabError names the file: a picture without a caption, a line without its picture, a table that cannot be read, or
    captions nearly all empty.
    """
    try:
        inside = list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from None
    visible = [path for path in inside if path.is_file() and not path.name.startswith(".")]
    files = sorted(visible, key=lambda path: path.name)
    pictures, foreign = list(filter(is_picture, files)), list(filter(is_foreign, files))
    texts = {_plain(path.stem): path for path in files if path.suffix.lower() == ".txt"}
    alone = [texts[stem].name for stem in texts.keys() - {_plain(path.stem) for path in pictures + foreign}]
    table = _table(folder, bool(texts))
    rows: list[Row]
    notes: list[str] = []
    if table is None:
        rows = [(path, _text(path, texts.get(_plain(path.stem))), {}) for path in pictures]
        if rows and alone:
            notes.append(f"{len(alone)} .txt without a picture of the same name, such as {min(alone)}")
    else:
        rows, named = _matched(folder, table, pictures)
        foreign = list(dict.fromkeys(foreign + named))
        if unread := len(texts) - len(alone):
            notes.append(f"captions are those of {table.name}; the {unread} .txt beside the pictures are not read")
    empty = [path.name for path, text, _ in rows if not text]
    if len(empty) > MOST_EMPTY * len(rows):
        raise LabError(f"data: {len(empty)} of {len(rows)} captions in {folder} are empty, that of {empty[0]} for "
                       f"one, so no words could be learned. Write {CAPTIONS}.")
    if empty:
        notes.append(f"{len(empty)} of {len(rows)} captions are empty, that of {empty[0]} for one")
    return rows, foreign, notes


def _plain(name: str) -> str:
    """Write a name with its letters composed: a Mac's disk has them decomposed, its keyboard has not."""
    return unicodedata.normalize("NFC", name)


def _table(folder: Path, has_texts: bool) -> Path | None:
    """Find the table of a folder: in it; without texts also above it, if that names its pictures, as train/a.png."""
    inside, above = (_table_in(place) for place in (folder, folder.parent))
    if inside or has_texts or not above:
        return inside
    names = (_named(row) for _, row in _read_rows(above))
    return above if any((folder.parent / name).parent == folder for name in names) else None


def _table_in(place: Path) -> Path | None:
    return next((place / name for name in TABLES if (place / name).is_file()), None)


def _named(row: Columns) -> str:
    """Return the file that a row names, in the one form of a path; "" where it names none."""
    names = ("file_name", *ALSO_CALLED["file_name"])
    return posixpath.normpath(next((str(row[name]) for name in names if name in row), "").replace("\\", "/"))


def _read_rows(table: Path) -> Lines:
    return _jsonl(table) if table.suffix == ".jsonl" else _csv(table)


def _matched(folder: Path, table: Path, pictures: list[Path]) -> tuple[list[Row], list[Path]]:
    """Return the rows of a folder's own pictures, and the files that the table names but that cannot be read here."""
    rows: dict[Path, Row] = {}
    unread: list[Path] = []

    @functools.cache
    def files_below() -> dict[str, Path]:
        """Return all files by their plain names; needed only where a name is written otherwise than on the disk."""
        files = [path for path in table.parent.rglob("*") if path.is_file()]
        return {_plain(path.relative_to(table.parent).as_posix()): path for path in files}

    for where, row in _read_rows(table):
        columns = [name if isinstance(value, str) else f"{name} (not a text)" for name, value in row.items()]
        name, text = _column(row, "file_name"), _column(row, "text")
        if name is None or text is None:
            raise LabError(f"data: {where} needs file_name and text, both texts. "
                           f"Its columns are: {', '.join(columns) or 'none'}.")
        path = _find(table.parent, name, files_below)
        if path is None:
            short = posixpath.basename(name.replace("\\", "/"))
            hint = " Add the picture or delete the line."
            if os.path.isfile(folder / short):
                hint = f" {short} is there: names are counted from the table's own folder."
            raise LabError(f"data: {where} names {name}, which is not in {table.parent}.{hint}")
        if table.parent != folder and folder not in path.parents:
            continue                        # a picture of another part, such as validation/
        if path in rows or path in unread:
            raise LabError(f"data: {where} names {name} a second time. Delete one of the lines.")
        if is_picture(path):
            rows[path] = (path, text.strip(), row)
        else:
            unread.append(path)
    if left := [path.name for path in pictures if path not in rows]:
        raise LabError(f"data: {left[0]} ({len(left)} in all) has no line in {table}. "
                       "Add a caption, or take the picture out.")
    return list(rows.values()), unread


def _column(row: Columns, column: str) -> str | None:
    """Take the file's name or the caption out of a row, by its own name or the one other for it; None without it."""
    names = [column] if column in row else [name for name in ALSO_CALLED[column] if name in row]
    return row.pop(names[0]) if len(names) == 1 and isinstance(row[names[0]], str) else None


def _find(base: Path, name: str, files_below: Callable[[], Mapping[str, Path]]) -> Path | None:
    """Find a file by its name, whichever form its letters and slashes have."""
    if os.path.isfile(base / name):         # False too for what no file can be called: too long, or with a null in it
        return base / name
    return files_below().get(_plain(posixpath.normpath(name.replace("\\", "/"))))


def _text(picture: Path, beside: Path | None) -> str:
    if beside is None:
        raise LabError(f"data: {picture} has no caption. Write {CAPTIONS}.{_other_table(picture.parent)}")
    return " ".join(_read(beside).split())


def _other_table(folder: Path) -> str:
    """Return a question about a table of another name in a folder or above it, "" without one."""
    for path in (*sorted(folder.glob("*")), *sorted(folder.parent.glob("*"))):
        if path.suffix.lower().startswith((".csv", ".json")):
            table = TABLES[1] if path.suffix.lower() == ".csv" else TABLES[0]
            return f" {path} is not read: is it meant to be {folder / table}?"
    return ""


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(min(MOST_BYTES, os.fstat(file.fileno()).st_size) + 1)
        if len(data) > MOST_BYTES:
            raise LabError(f"data: {path} has more than {MOST_BYTES // 10**6} MB. Write {CAPTIONS}.")
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise LabError(f"data: {path} is not UTF-8 text ({reason}). Save it as UTF-8.") from None


def _unreadable(path: Path, error: OSError) -> LabError:
    return LabError(f"data: {path} cannot be read ({error.strerror}). "
                    "Change its permissions, or give another folder.")


def _jsonl(table: Path) -> Lines:
    for number, line in enumerate(_read(table).split("\n"), 1):
        if line.strip():
            where = f"{table}, line {number},"
            try:
                row = json_text.parse(line)
            except ValueError as error:
                example = '{"file_name": "a.png", "text": "..."}'
                raise LabError(f"data: {where} is not a JSON object such as {example} ({error}).") from None
            yield where, row


def _csv(table: Path) -> Lines:
    reader = csv.DictReader(io.StringIO(_read(table), newline=""), skipinitialspace=True)
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        for row in reader:
            where = f"{table}, line {reader.line_num},"
            if None in row:                 # values beyond the last column
                values = len(columns) + len(row[None])
                raise LabError(f"data: {where} has {values} values for {len(columns)} columns ({', '.join(columns)}). "
                               "Put quotation marks around a caption that holds commas.")
            yield where, row
    except csv.Error as error:
        where = f"{table}, line {reader.line_num},"
        raise LabError(f"data: {where} is no CSV ({error}): mend its quotation marks.") from None
