"""Match the pictures of a folder with captions: of a table, of text files beside them, or as was chosen. No torch.

Where nothing is chosen, a table wins over text files; with them, pictures come in the order of their names.
"""

import functools
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labkit import reading
from labkit.datasets.pixels import is_foreign, is_picture
from labkit.datasets.tables import (
    TABLES,
    Columns,
    file_named,
    read_rows,
    read_text,
    table_in,
    take_column,
    unreadable,
)
from labkit.errors import LabError
from labkit.text import counted

CAPTIONS = ("metadata.jsonl or metadata.csv with the columns file_name and text, "
            "or one .txt of the same name beside each picture")
SUFFIXES = (".txt", ".caption")             # of texts beside pictures; the first wins
MOST_EMPTY = 0.75                           # of all captions: beyond, no words can be learned
COUNTER = re.compile(r"[\s\d()]*$")         # what tells pictures of one name apart: "a red door (2)", "a red door 03"


class Row(NamedTuple):
    """Hold a picture with its captions, of which one is shown at a time, and its other columns in a table."""

    path: Path
    captions: tuple[str, ...]
    columns: Columns = {}


class Captioned(NamedTuple):
    """Hold the pictures and captions that were found in a folder, and notes on them."""

    rows: list[Row]
    foreign: list[Path]                     # pictures that cannot be read here
    notes: list[str]
    source: str                             # where the captions are from, in words


def captioned(folder: Path, chosen: str | None = None, fallback: str | None = None) -> Captioned:
    """Match the pictures of a folder with their captions.

    chosen      where captions come from, as `reading.SOURCES` says; None takes what the folder has
    fallback    the caption of pictures that have none; None refuses them

    LabError names the file: a picture without a caption, a line without its picture, a table that cannot be read, or
    captions nearly all empty.
    """
    try:
        inside = list(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from None
    named = [path for path in inside if not path.name.startswith(".")]
    if lost := sorted(path for path in named if path.is_symlink() and not path.exists() and _is_read(path)):
        raise LabError(f"data: {lost[0]} is a link to {os.readlink(lost[0])}, which is not there. Mend the link, or "
                       "take it out.")
    visible = [path for path in named if path.is_file()]
    files = sorted(visible, key=lambda path: path.name)
    pictures, foreign = list(filter(is_picture, files)), list(filter(is_foreign, files))
    texts, notes = _texts(files)
    column, one = (reading.named(chosen, start) for start in (reading.COLUMN, reading.TEXT))
    has_texts = bool(texts) and column is None
    table = None if one or chosen in (reading.NAMES, reading.LINES) else _table(folder, has_texts)
    if one:
        rows, source = [Row(path, (" ".join(one.split()),)) for path in pictures], "one text for all"
    elif chosen == reading.NAMES:
        rows, source = [Row(path, (from_name(path),)) for path in pictures], "the names of the files"
    elif table is None and column is not None:
        raise LabError(f"data: captions = {chosen} asks for a column, and {folder} has no metadata.jsonl or "
                       "metadata.csv. Write one, or leave captions out.")
    elif table is None:
        content = _beside(pictures, foreign, texts, chosen == reading.LINES, fallback)
        return _checked(folder, content._replace(notes=notes + content.notes), fallback)
    else:
        rows, named = _matched(folder, table, pictures, column or "text")
        foreign, source = list(dict.fromkeys(foreign + named)), table.name
    unread = [path for path in pictures + foreign if _text_of(path, texts)]
    notes = [f"captions come from {source}; the {len(unread)} .txt beside the pictures are not read"
             ] if unread else []
    return _checked(folder, Captioned(rows, foreign, notes, source), fallback)


def _is_read(path: Path) -> bool:
    """Tell by a file's name whether it would be read: a picture, a caption or a table of captions."""
    return is_picture(path) or is_foreign(path) or path.suffix.lower() in SUFFIXES or path.name in TABLES


def _checked(folder: Path, content: Captioned, fallback: str | None) -> Captioned:
    """Add a note on empty captions; LabError where nearly all are empty, unless `fallback` is the empty one."""
    empty = [row.path.name for row in content.rows if not any(row.captions)]
    if not empty or fallback == "":
        return content
    words = f"{len(empty)} of {len(content.rows)} captions"
    if len(empty) > MOST_EMPTY * len(content.rows):
        raise LabError(f"data: {words} in {folder} are empty, that of {empty[0]} for "
                       f"one, so no words could be learned. Write {CAPTIONS}.")
    return content._replace(notes=[*content.notes, f"{words} are empty, that of {empty[0]} for one"])


def _plain(name: str) -> str:
    """Write a name with its letters composed: a Mac's disk has them decomposed, its keyboard has not."""
    return unicodedata.normalize("NFC", name)


# -- captions beside pictures, or in their names


def _texts(files: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the text files of a folder by their plain names without the ending, and notes on them."""
    first, second = ({_plain(path.stem): path for path in files if path.suffix.lower() == suffix}
                     for suffix in SUFFIXES)
    both = sorted(first.keys() & second.keys())
    notes = [f"{counted(len(both), 'picture')} with {' and '.join(SUFFIXES)} beside them, {both[0]} for one: "
             f"{SUFFIXES[0]} is read"] if both else []
    return second | first, notes


def _text_of(picture: Path, texts: Mapping[str, Path]) -> Path | None:
    """Return the text beside a picture: of a.png it is a.txt, or a.png.txt."""
    return texts.get(_plain(picture.stem)) or texts.get(_plain(picture.name))


def _beside(pictures: Sequence[Path], foreign: list[Path], texts: Mapping[str, Path], is_by_lines: bool,
            fallback: str | None) -> Captioned:
    """Return the pictures with the captions of their text files, and notes on what is odd about these."""
    beside = {path: _text_of(path, texts) for path in pictures}
    without = [path for path, text in beside.items() if text is None]
    if without and fallback is None:
        raise _no_caption(without[0])
    lines = {path: _lines(text) for path, text in beside.items() if text}
    rows = [Row(path, _captions(lines.get(path), is_by_lines, fallback)) for path in pictures]
    used = set(beside.values()) | {_text_of(path, texts) for path in foreign}
    notes = []
    if rows and (alone := sorted(path.name for path in texts.values() if path not in used)):
        notes.append(f"{len(alone)} .txt without a picture of the same name, such as {alone[0]}")
    several = [path.name for path, text_lines in lines.items() if len(text_lines) > 1]
    if several and not is_by_lines:
        notes.append(f"{counted(len(several), 'caption')} of several lines, that of {several[0]} for one, read as one "
                     "line: captions = lines takes each line as a caption of its own")
    if without and pictures:
        what = f"'{fallback}', as the folder is called," if fallback else "the empty one"
        notes.append(f"{len(without)} of {counted(len(pictures), 'picture')} in {without[0].parent.name} without a "
                     f"caption, {without[0].name} for one: {what} is shown with them")
    kinds = " and ".join(sorted({path.suffix.lower() for path in beside.values() if path})) or "nowhere"
    return Captioned(rows, foreign, notes, f"the {kinds} beside them" if lines else "the folder's name")


def _captions(lines: list[str] | None, is_by_lines: bool, fallback: str | None) -> tuple[str, ...]:
    if lines is None:
        return (fallback or "",)
    return tuple(lines) if is_by_lines and lines else (" ".join(lines),)


def _lines(text: Path) -> list[str]:
    """Return the lines of a text that are not empty, each with single spaces."""
    return [" ".join(line.split()) for line in read_text(text).split("\n") if line.strip()]


def _no_caption(picture: Path) -> LabError:
    offered = from_name(picture)
    return LabError(f"data: {picture} has no caption. Write {CAPTIONS}; or choose captions=names, which makes "
                    f"'{offered}' of its name, or captions=text:CAPTION, one for all."
                    f"{_other_table(picture.parent)}")


def from_name(picture: Path) -> str:
    """Make a caption of a picture's name: its words, without a counter at the end, as of a-red-door_02.png."""
    words = " ".join(re.sub(r"[_\-]+", " ", _plain(picture.stem)).split())
    return COUNTER.sub("", words) or words


# -- captions in a table


def _table(folder: Path, has_texts: bool) -> Path | None:
    """Find the table of a folder: in it; without texts also above it, if that names its pictures, as train/a.png."""
    inside, above = (table_in(place) for place in (folder, folder.parent))
    if inside or has_texts or not above:
        return inside
    names = (file_named(row) for _, row in read_rows(above))
    return above if any((folder.parent / name).parent == folder for name in names) else None


def _matched(folder: Path, table: Path, pictures: list[Path], column: str) -> tuple[list[Row], list[Path]]:
    """Return the rows of a folder's own pictures, and the files that the table names but that cannot be read here."""
    rows: dict[Path, Row] = {}
    unread: list[Path] = []
    picture_set = set(pictures)
    listed = {_plain(path.name).casefold(): path for path in pictures if path.parent == folder}

    @functools.cache
    def files_below() -> dict[str, Path]:
        """Return all files by their plain names; needed only where a name is written otherwise than on the disk."""
        files = [path for path in table.parent.rglob("*") if path.is_file()]
        return {_plain(path.relative_to(table.parent).as_posix()): path for path in files}

    for where, row in read_rows(table):
        columns = [name if isinstance(value, str) else f"{name} (not a text)" for name, value in row.items()]
        names, texts = take_column(row, "file_name"), take_column(row, column)
        if len(names) != 1 or not texts:
            raise LabError(f"data: {where} needs file_name and {column}, both texts. "
                           f"Its columns are: {', '.join(columns) or 'none'}.{_which(column)}")
        name = names[0]
        path = _find(table.parent, name, files_below)
        if path is None:
            short = posixpath.basename(name.replace("\\", "/"))
            hint = " Add the picture or delete the line."
            if os.path.isfile(folder / short):
                hint = f" {short} is there: names are counted from the table's own folder."
            raise LabError(f"data: {where} names {name}, which is not in {table.parent}.{hint}")
        if path.parent == folder and path not in picture_set:
            # macOS finds a file by other forms and case of its name
            same = listed.get(_plain(path.name).casefold())
            path = same if same is not None and os.path.samefile(same, path) else path
        if table.parent != folder and folder not in path.parents:
            continue                        # a picture of another part, such as validation/
        if path in rows or path in unread:
            raise LabError(f"data: {where} names {name} a second time. Delete one of the lines.")
        if is_picture(path):
            rows[path] = Row(path, tuple(text.strip() for text in texts), row)
        else:
            unread.append(path)
    if left := [path.name for path in pictures if path not in rows]:
        raise LabError(f"data: {left[0]} ({len(left)} in all) has no line in {table}. "
                       "Add a caption, or take the picture out.")
    return list(rows.values()), unread


def _which(column: str) -> str:
    return " Choose the one of the captions with captions = column:NAME." if column == "text" else ""


def _find(base: Path, name: str, files_below: Callable[[], Mapping[str, Path]]) -> Path | None:
    """Find a file by its name, whichever form its letters and slashes have."""
    if os.path.isfile(base / name):         # False too for what no file can be called: too long, or with a null in it
        return base / name
    return files_below().get(_plain(posixpath.normpath(name.replace("\\", "/"))))


def _other_table(folder: Path) -> str:
    """Return a question about a table of another name in a folder or above it, "" without one."""
    for path in (*sorted(folder.glob("*")), *sorted(folder.parent.glob("*"))):
        if path.suffix.lower().startswith((".csv", ".json")):
            table = "metadata.csv" if path.suffix.lower() == ".csv" else "metadata.jsonl"
            return f" {path} is not read: is it meant to be {folder / table}?"
    return ""
