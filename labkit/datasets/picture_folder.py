"""A folder of pictures with captions, read and checked: one value that training, measuring and hashing take."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labkit import reading
from labkit.datasets import notes as folder_notes
from labkit.datasets.captions import captioned
from labkit.datasets.pixels import Look, load_picture, look
from labkit.errors import LabError
from labkit.files.content import Memo, sha256, sha256_of_texts
from labkit.settings import data_dir, given_path


@dataclass(frozen=True)
class PictureFolder:
    """Hold checked pictures in the order of their captions' file, else by name."""

    folder: Path
    paths: tuple[Path, ...]
    captions: tuple[str, ...]
    attributes: tuple[dict[str, Any], ...]                    # the other columns of the captions' file
    hashes: tuple[str, ...]                                   # SHA-256 of each picture's file and way of reading it
    looks: tuple[Look, ...] = ()                              # what each picture is; none of what ships
    notes: tuple[str, ...] = ()                               # what a person should know: left out, cut, doubtful
    more: tuple[tuple[str, ...], ...] = ()                    # further captions of each; () where none has any
    repeats: tuple[int, ...] = ()                             # how often each is shown in a round; () where all once
    crop: str = "center"                                      # which part of them is used
    source: str = ""                                          # where the captions are from, in words

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.paths)

    @property
    def fingerprint(self) -> str:
        """Hash pictures and captions in order, whatever their names and place: 64 hex digits."""
        texts: list[object] = [text for pair in zip(self.hashes, self.captions, strict=True) for text in pair]
        texts += [text for i, captions in enumerate(self.more) if captions for text in ("more", i, *captions)]
        return sha256_of_texts([*texts, "repeats", *self.repeats] if self.repeats else texts)

    @property
    def every_caption(self) -> tuple[str, ...]:
        """Return all captions, further ones of a picture behind the first of all."""
        return (*self.captions, *(caption for captions in self.more for caption in captions))

    def at(self, indices: Iterable[int]) -> "PictureFolder":
        """Return the pictures with these numbers, in this order."""
        numbers = list(indices)
        return replace(
            self, paths=tuple(self.paths[i] for i in numbers), captions=tuple(self.captions[i] for i in numbers),
            attributes=tuple(self.attributes[i] for i in numbers), hashes=tuple(self.hashes[i] for i in numbers),
            looks=tuple(self.looks[i] for i in numbers if self.looks),
            more=tuple(self.more[i] for i in numbers if self.more),
            repeats=tuple(self.repeats[i] for i in numbers if self.repeats))

    def take(self, n: int) -> "PictureFolder":
        """Return the first n pictures."""
        return self.at(range(min(n, len(self))))

    def pixels(self, size: int | tuple[int, int]) -> np.ndarray:
        """Read all pictures as uint8 (n, height, width, 3), each its chosen part; size as for `load_picture`."""
        return np.stack([load_picture(path, size, self.crop) for path in self.paths])

    def select(self, **attributes: Any) -> "PictureFolder":
        """Return the pictures with all these attributes, as in `select(kind=("pool", "maze"), light="dim light")`."""
        wanted = {name: as_texts(values) for name, values in attributes.items()}

        def fits(columns: dict[str, Any]) -> bool:
            return all(str(columns.get(name)) in values for name, values in wanted.items())

        return self.at(i for i, columns in enumerate(self.attributes) if fits(columns))


def load_folder(path: Path | str, *, crop: str = "center", captions: str | None = None,
                fallback: str | None = None) -> PictureFolder:
    """Open an image folder and check every file in it.

    crop        which part of each picture is used, one of `reading.CROPS`
    captions    where captions come from, as `reading.SOURCES` says; None takes what the folder has
    fallback    the caption of pictures that have none; None refuses them

    LabError names the file: no pictures, a picture without a caption or a caption without its picture, a file that is
    truncated or no picture.
    """
    reading.check(crop, captions)
    folder = given_path(path)
    if not folder.is_dir():
        raise LabError(f"data: there is no folder {folder}.")
    rows, foreign, notes, source = captioned(folder, captions, fallback)
    left_out = folder_notes.left_out(foreign, len(rows) + len(foreign))
    if not rows:
        why = f": {left_out[0]}" if left_out else ""
        raise LabError(f"data: {folder} has no pictures that can be read{why}.{folder_notes.candidates(folder)}")
    paths, texts, attributes = zip(*rows, strict=True)
    firsts, more = tuple(text[0] for text in texts), tuple(text[1:] for text in texts)
    whole = PictureFolder(folder, paths, firsts, attributes, (), notes=tuple(notes), more=more if any(more) else (),
                          crop=crop, source=source)
    if data_dir().resolve() in folder.resolve().parents:      # square, and decoded by a test instead, for speed
        with Memo("sha256", sha256) as hashed:
            return replace(whole, hashes=tuple(map(hashed, paths)))
    with Memo("look2", look) as looked_at:                   # 2: since colours in Lab are read
        looks = tuple(Look(*looked_at(path)) for path in paths)
    all_notes = (*left_out, *notes, *folder_notes.of_profiles(paths, looks))
    return replace(whole, hashes=tuple(_name(each, crop) for each in looks), looks=looks, notes=all_notes)


def _name(seen: Look, crop: str) -> str:
    """Return the hash of a picture as it is read: another part of it is another picture."""
    return sha256_of_texts([seen.sha256, crop]) if seen.is_moved_by(crop) else seen.sha256


def as_texts(values: Any) -> tuple[str, ...]:
    """Write one value, or several, as texts: attributes of a file and of a name are the same then."""
    return tuple(map(str, values)) if isinstance(values, list | tuple | set) else (str(values),)
