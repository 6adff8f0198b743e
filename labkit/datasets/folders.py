"""Pictures with captions: image folders, their checks, and the three sets of a territory. No torch here.

A folder holds pictures and either `metadata.jsonl` or `metadata.csv` (columns `file_name`, `text`, and any attributes:
the Hugging Face image-folder convention) or one `.txt` of the same name beside each picture.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit.datasets import copies
from labkit.datasets import notes as folder_notes
from labkit.datasets.captions import captioned
from labkit.datasets.pixels import Look, look
from labkit.datasets.pixels import load_picture as load_picture  # where everyone looks for it
from labkit.errors import LabError
from labkit.files.content import Memo, sha256, sha256_of_texts
from labkit.settings import data_dir, given_path
from labkit.text import counted

HELD_OUT = 0.1                                                # of a folder without its own validation pictures
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 128
VALIDATION = ("validation", "valid", "val", "test")           # names of the held-out part, the first that is there
PROMPTS = 4


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

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.paths)

    @property
    def fingerprint(self) -> str:
        """Hash pictures and captions in order, whatever their names and place: 64 hex digits."""
        return sha256_of_texts(text for pair in zip(self.hashes, self.captions, strict=True) for text in pair)

    def at(self, indices: Iterable[int]) -> "PictureFolder":
        """Return the pictures with these numbers, in this order."""
        numbers = list(indices)
        return replace(
            self, paths=tuple(self.paths[i] for i in numbers), captions=tuple(self.captions[i] for i in numbers),
            attributes=tuple(self.attributes[i] for i in numbers), hashes=tuple(self.hashes[i] for i in numbers),
            looks=tuple(self.looks[i] for i in numbers if self.looks))

    def take(self, n: int) -> "PictureFolder":
        """Return the first n pictures."""
        return self.at(range(min(n, len(self))))

    def select(self, **attributes: Any) -> "PictureFolder":
        """Return the pictures with all these attributes, as in `select(kind=("pool", "maze"), light="dim light")`."""
        wanted = {name: _texts(values) for name, values in attributes.items()}

        def fits(columns: dict[str, Any]) -> bool:
            return all(str(columns.get(name)) in values for name, values in wanted.items())

        return self.at(i for i, columns in enumerate(self.attributes) if fits(columns))


@dataclass(frozen=True)
class Territory:
    """Hold what an adapter is trained on and measured by."""

    name: str
    train: PictureFolder
    validation: PictureFolder                                 # held out, of the same territory
    ordinary: PictureFolder                                   # what the base knew before: forgetting is measured on it
    prompts: tuple[str, ...]                                  # captions worth drawing while training
    notes: tuple[str, ...] = ()                               # what a person should know before training on it

    @property
    def summary(self) -> str:
        """Say how many pictures are trained on and held out."""
        trained = counted(len(self.train), "picture")
        return f"{self.name}: {trained} to train on, {len(self.validation)} held out to judge by"

    @property
    def fingerprint(self) -> str:
        """Hash what a run is trained on; what it is measured by is recorded with it, not hashed.

        Captions of a folder's own ordinary/ belong to it: with prior_loss_weight the base draws them, and a run is
        trained on what it drew.
        """
        if data_dir() / "territories" in self.ordinary.folder.parents:        # what ships belongs to the base
            return self.train.fingerprint
        return sha256_of_texts([self.train.fingerprint, *self.ordinary.captions])

    def where(self, **attributes: Any) -> "Territory":
        """Keep the pictures that have these attributes; what the base knew before stays whole.

        `territory("liminal").where(kind=("pool", "maze"))` is `territory("liminal/kind=pool,maze")`: the filter is
        part of the name, so that a configuration, a design file and the command line can carry it. LabError: nothing
        is left.
        """
        wanted = {name: _texts(values) for name, values in attributes.items()}
        for name, values in wanted.items():
            self._check_attribute(name, values)
        filters = [f"{name}={','.join(values)}" for name, values in wanted.items()]
        name, train = "/".join([self.name, *filters]), self.train.select(**attributes)
        validation = self.validation.select(**attributes)
        if not len(train) or not len(validation):
            raise LabError(f"data: {name} leaves {len(train)} training and {len(validation)} held-out pictures. "
                           "Ask for less at once.")
        return replace(self, name=name, train=train, validation=validation, prompts=_prompts(validation))

    def _check_attribute(self, name: str, values: tuple[str, ...]) -> None:
        """Raise LabError where no training picture has an attribute, or one of these values of it."""
        known = sorted({str(columns[name]) for columns in self.train.attributes if name in columns})
        if not known:
            names = sorted({key for columns in self.train.attributes for key in columns})
            raise LabError(f"data: no picture of {self.name} tells its {name}. "
                           f"The attributes are: {', '.join(names) or 'none; add columns to its metadata.jsonl'}.")
        if odd := [value for value in values if value not in known or set(value) & set(",/")]:
            raise LabError(f"data: {name} = {odd[0]} is not one of {', '.join(known)}.")


def _texts(values: Any) -> tuple[str, ...]:
    """Write one value, or several, as texts: attributes of a file and of a name are the same then."""
    return tuple(map(str, values)) if isinstance(values, list | tuple | set) else (str(values),)


def territory(name: str = "liminal") -> Territory:
    """Open a territory: a name that ships with the kit, or an image folder.

    Attributes behind it select pictures, as in "liminal/kind=pool,maze". A folder may have train/ and validation/
    inside, and ordinary/. One with pictures alone, or with train/ alone, is split by content: a tenth of them, at
    least 4 and at most 128, are held out, always the same ones, and copies stay on one side.
    LabError: no such territory, or anything wrong in its folders.
    """
    name, attributes = filtered(name)
    if attributes:
        return territory(name).where(**attributes)
    shipped = data_dir() / "territories"
    folder = shipped / name if name in shipped_territories() else given_path(name)
    if not folder.is_dir():
        names = ", ".join(shipped_territories()) or "none are here"
        raise LabError(f"data: there is no folder {name}. "
                       f"Give a folder of pictures, or one of the territories that ship: {names}.")
    held_out = next((folder / part for part in VALIDATION if (folder / part).is_dir()), None)
    if held_out and ((folder / "train").is_dir() or held_out == folder / "validation"):
        train, validation = load_folder(folder / "train"), load_folder(held_out)
        notes = _shared(train, validation)
    else:
        train, validation, notes = _split(load_folder(folder / "train" if (folder / "train").is_dir() else folder))
    has_ordinary = (folder / "ordinary").is_dir()
    ordinary = load_folder(folder / "ordinary" if has_ordinary else shipped / "ordinary" / "validation")
    if shipped not in folder.parents:
        parts = (train, validation, ordinary)
        notes = [*folder_notes.unused(folder, parts), *(note for part in parts for note in part.notes), *notes]
    return Territory(str(name), train, validation, ordinary, _prompts(validation), tuple(dict.fromkeys(notes)))


def filtered(name: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Cut "liminal/kind=pool,maze" into the territory and its filter; a folder of that very name is no filter."""
    parts = str(name).split("/")
    first = next((i for i, part in enumerate(parts) if i and "=" in part), len(parts))
    if not all("=" in part for part in parts[first:]) or given_path(name).is_dir():
        return str(name), {}
    filters: dict[str, tuple[str, ...]] = {}
    for key, values in (part.split("=", 1) for part in parts[first:]):
        if key in filters:
            raise LabError(f"data: {name} gives {key} twice. "
                           f"Write its values with commas between: {key}={','.join(filters[key])},{values}.")
        filters[key] = tuple(values.split(","))
    return "/".join(parts[:first]), filters


def shipped_territories() -> list[str]:
    """Return the names of the territories that ship with the kit."""
    return sorted(folder.parent.name for folder in (data_dir() / "territories").glob("*/train"))


def _shared(train: PictureFolder, validation: PictureFolder) -> list[str]:
    """Refuse pictures that are in both parts, by their files or their pixels, and tell of those that look alike."""
    known = {*train.hashes, *(look.pixels for look in train.looks)}
    pixels = [look.pixels for look in validation.looks] or [""] * len(validation)       # none of what ships
    columns = zip(validation.paths, validation.hashes, pixels, strict=True)
    both = [path for path, *hashes in columns if known.intersection(hashes)]
    if both:
        raise LabError(f"data: {both[0]} is also in train ({len(both)} such pictures), so validation could not show "
                       "overfitting. Take them out of one of the two.")
    near = copies.near_pairs(validation.looks, train.looks)
    if not near:
        return []
    alike = counted(len({i for i, _ in near}), "held-out picture")
    first, second = validation.paths[near[0][0]].name, train.paths[near[0][1]].name
    return [f"{alike} very like training pictures, {first} like {second} for one: copies would hide overfitting; "
            "take them out of one of the two"]


def _split(pictures: PictureFolder) -> tuple[PictureFolder, PictureFolder, list[str]]:
    """Hold out the pictures of the lowest hashes, copies together; too large a set of copies is trained on."""
    wanted = min(max(math.ceil(HELD_OUT * len(pictures)), FEWEST_HELD_OUT), MOST_HELD_OUT)
    if len(pictures) < 2 * FEWEST_HELD_OUT:
        raise LabError(
            f"data: {pictures.folder} has {counted(len(pictures), 'picture')}, of which {FEWEST_HELD_OUT} would be "
            f"held out to see overfitting. Give at least {2 * FEWEST_HELD_OUT}, "
            "or make the folders train and validation inside it.")
    groups = copies.groups(pictures.looks)
    held = _lowest(pictures, groups, wanted)
    alike = [group for group in groups if len(group) > 1]
    notes = []
    if alike:
        two = " and ".join(pictures.paths[i].name for i in alike[0][:2])
        effect = "held-out losses will hide overfitting"
        if held:
            effect = "none is held out while its copies are trained on"
        notes = [f"{sum(map(len, alike))} pictures are copies or near copies of each other, such as {two}: {effect}"]
    held = held or _lowest(pictures, copies.groups(pictures.looks, near=False), wanted)
    if not held:
        raise LabError(f"data: all pictures in {pictures.folder} are the same one. Give different pictures.")
    train = [i for i in range(len(pictures)) if i not in held]
    return pictures.at(train), pictures.at(sorted(held)), notes


def _lowest(pictures: PictureFolder, groups: list[list[int]], wanted: int) -> set[int]:
    """Choose groups by the lowest hash in each until `wanted` pictures are held out.

    Groups that are too large wait, and may fill what is missing, up to half of all.
    """
    ranked = sorted(groups, key=lambda group: min(pictures.hashes[i] for i in group))
    held: set[int] = set()
    for group in ranked:
        if len(held) + len(group) <= wanted:
            held |= set(group)
    for group in sorted(ranked, key=len):
        if len(held) < wanted and not held & set(group) and len(held) + len(group) <= len(pictures) // 2:
            held |= set(group)
    return held


def _prompts(validation: PictureFolder) -> tuple[str, ...]:
    """Choose captions in the order of the pictures, of different kinds first where kinds are told."""
    first: dict[str, str] = {}
    for caption, attributes in zip(validation.captions, validation.attributes, strict=True):
        first.setdefault(str(attributes.get("kind", caption)), caption)
    return tuple(dict.fromkeys([*first.values(), *validation.captions]))[:PROMPTS]


def whole_path(name: str) -> str:
    """Return what names a base, a territory or a file with its whole path; the name of one that ships as it is.

    What is not in the current folder is returned as it is, too.
    """
    place, _ = filtered(name)
    if not place or place in ("embedded", *shipped_territories()) or not given_path(place).exists():
        return name
    return str(given_path(place).resolve()) + name.removeprefix(place)


def load_folder(path: Path | str) -> PictureFolder:
    """Open an image folder and check every file in it.

    LabError names the file: no pictures, a picture without a caption or a caption without its picture, a file that is
    truncated or no picture.
    """
    folder = given_path(path)
    if not folder.is_dir():
        raise LabError(f"data: there is no folder {folder}.")
    rows, foreign, notes = captioned(folder)
    left_out = folder_notes.left_out(foreign, len(rows) + len(foreign))
    if not rows:
        why = f": {left_out[0]}" if left_out else ""
        raise LabError(f"data: {folder} has no pictures that can be read{why}.{folder_notes.candidates(folder)}")
    paths, captions, attributes = zip(*rows, strict=True)
    if data_dir().resolve() in folder.resolve().parents:      # decoded by a test instead, for speed at the first click
        with Memo("sha256", sha256) as hashed:
            return PictureFolder(folder, paths, captions, attributes, tuple(map(hashed, paths)), notes=tuple(notes))
    with Memo("look", look) as looked_at:
        looks = tuple(Look(*looked_at(path)) for path in paths)
    notes = [*left_out, *notes, *folder_notes.of_pixels(paths, looks)]
    hashes = tuple(look.sha256 for look in looks)
    return PictureFolder(folder, paths, captions, attributes, hashes, looks, tuple(notes))
