"""Tables of captions, line by line: JSON lines, or values between commas, semicolons, tabs or bars. No torch here."""

import codecs
import csv
import io
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.files import json_text

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.tsv")
ALSO_CALLED = {
    "file_name": ("filename", "file", "image", "path"),
    "text": ("caption", "captions", "prompt", "description"),
}
DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 200_000_000                    # of a file of captions: a million of them
Columns = dict[str, Any]                    # a line of a table
Lines = Iterator[tuple[str, Columns]]       # file and number of a line, for messages; what it holds


def table_in(place: Path) -> Path | None:
    """Return the table of captions in a folder, the first that is there."""
    return next((place / name for name in TABLES if (place / name).is_file()), None)


def read_rows(table: Path) -> Lines:
    """Return the lines of a table; LabError names the line that is none."""
    return _jsonl(table) if table.suffix == ".jsonl" else _csv(table)


def file_named(row: Columns) -> str:
    """Return the file that a row names, in the one form of a path; "" where it names none."""
    names = ("file_name", *ALSO_CALLED["file_name"])
    return posixpath.normpath(next((str(row[name]) for name in names if name in row), "").replace("\\", "/"))


def take_column(row: Columns, column: str) -> tuple[str, ...]:
    """Take the file's name or the caption out of a row: a text, or a list of them; () where there is none.

    A column goes by its own name or by the one other name for it that the row has.
    """
    names = [column] if column in row else [name for name in ALSO_CALLED.get(column, ()) if name in row]
    if len(names) != 1:
        return ()
    value = row[names[0]]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return ()
    del row[names[0]]
    return tuple(texts)


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 where it says so, as spreadsheets write it.

    LabError: it is neither, it may not be read, or it is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(min(MOST_BYTES, os.fstat(file.fileno()).st_size) + 1)
        if len(data) > MOST_BYTES:
            raise LabError(f"data: {path} has more than {MOST_BYTES // 10**6} MB. Write shorter captions.")
        encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise LabError(f"data: {path} is not UTF-8 text ({reason}). Save it as UTF-8.") from None


def unreadable(path: Path, error: OSError) -> LabError:
    """Return the LabError for a file or a folder that may not be read."""
    return LabError(f"data: {path} cannot be read ({error.strerror}). "
                    "Change its permissions, or give another folder.")


def _jsonl(table: Path) -> Lines:
    for number, line in enumerate(read_text(table).split("\n"), 1):
        if line.strip():
            where = f"{table}, line {number},"
            try:
                row = json_text.parse(line)
            except ValueError as error:
                example = '{"file_name": "a.png", "text": "..."}'
                raise LabError(f"data: {where} is not a JSON object such as {example} ({error}).") from None
            yield where, row


def _csv(table: Path) -> Lines:
    text = read_text(table)
    delimiter = _delimiter(text.split("\n", 1)[0])
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=delimiter)
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        for row in reader:
            where = f"{table}, line {reader.line_num},"
            if None in row:                 # values beyond the last column
                values = len(columns) + len(row[None])
                called = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter]
                raise LabError(f"data: {where} has {values} values for {len(columns)} columns ({', '.join(columns)}). "
                               f"Put quotation marks around a caption that holds {called}.")
            yield where, row
    except csv.Error as error:
        where = f"{table}, line {reader.line_num},"
        raise LabError(f"data: {where} is no CSV ({error}): mend its quotation marks.") from None


def _delimiter(header: str) -> str:
    """Return the delimiter that occurs most often between the names of the columns, a comma where none does."""
    return max(DELIMITERS, key=header.count)
