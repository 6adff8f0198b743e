"""Pictures with captions: image folders, their checks, and the three sets of a territory. No torch here.

A folder holds pictures and either `metadata.jsonl` or `metadata.csv` (columns `file_name`, `text`, and any attributes: the
Hugging Face image-folder convention) or one `.txt` of the same name beside each picture.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

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
    attributes: tuple[dict, ...]                              # the other columns of the captions' file
    hashes: tuple[str, ...]                                   # SHA-256 of each picture's file and way of reading it
    looks: tuple[Look, ...] = ()                              # what each picture is; none of what ships
    notes: tuple[str, ...] = ()                               # what a person should know: left out, cut, doubtful

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def fingerprint(self) -> str:
        """Hash pictures and captions in order, whatever their names and place: 64 hex digits."""
        return sha256_of_texts(text for pair in zip(self.hashes, self.captions) for text in pair)

    def at(self, indices) -> "PictureFolder":
        """Give the pictures with these numbers, in this order."""
        indices = list(indices)
        columns = (self.paths, self.captions, self.attributes, self.hashes, self.looks)
        chosen = (tuple(column[i] for i in indices) if column else () for column in columns)
        return PictureFolder(self.folder, *chosen, self.notes)

    def take(self, n: int) -> "PictureFolder":
        """Give the first n pictures."""
        return self.at(range(min(n, len(self))))

    def select(self, **attributes) -> "PictureFolder":
        """Give the pictures that have all these attributes, as in `select(kind=("pool", "maze"), light="dim light")`."""
        wanted = {name: _several(values) for name, values in attributes.items()}
        return self.at(i for i, own in enumerate(self.attributes) if all(str(own.get(name)) in values for name, values in wanted.items()))


@dataclass(frozen=True)
class Territory:
    """Hold what an adapter is trained on and measured by."""

    name: str
    train: PictureFolder
    validation: PictureFolder                                 # held out, of the same territory
    ordinary: PictureFolder                                   # of what the base knew before: what forgetting is measured on
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

        Captions of a folder's own ordinary/ belong to it: with prior_loss_weight the base draws them and trains on what it drew.
        """
        if data_dir() / "territories" in self.ordinary.folder.parents:  # what ships belongs to the base
            return self.train.fingerprint
        return sha256_of_texts([self.train.fingerprint, *self.ordinary.captions])

    def where(self, **attributes) -> "Territory":
        """Keep the pictures that have these attributes; what the base knew before stays whole.

        `territory("liminal").where(kind=("pool", "maze"))` is `territory("liminal/kind=pool,maze")`: the name tells the filter,
        so that a configuration, a design file and the command line can carry it. LabError: nothing is left.
        """
        for name, values in ((name, _several(values)) for name, values in attributes.items()):
            there = sorted({str(own[name]) for own in self.train.attributes if name in own})
            if not there:
                known = sorted({key for own in self.train.attributes for key in own})
                raise LabError(f"data: no picture of {self.name} tells its {name}. The attributes are: {', '.join(known) or 'none; add columns to its metadata.jsonl'}.")
            if odd := [value for value in values if value not in there or set(value) & set(",/")]:
                raise LabError(f"data: {name} = {odd[0]} is not one of {', '.join(there)}.")
        found = replace(self, train=self.train.select(**attributes), validation=self.validation.select(**attributes),
                        name="/".join([self.name, *(f"{name}={','.join(_several(values))}" for name, values in attributes.items())]))
        if not len(found.train) or not len(found.validation):
            raise LabError(f"data: {found.name} leaves {len(found.train)} training and {len(found.validation)} held-out pictures. Ask for less at once.")
        return replace(found, prompts=_prompts(found.validation))


def _several(values) -> tuple[str, ...]:
    """Write one value, or several, as texts: attributes of a file and of a name are the same then."""
    return tuple(map(str, values)) if isinstance(values, list | tuple | set) else (str(values),)


def territory(name: str = "liminal") -> Territory:
    """Open a territory: a name that ships with the kit, or an image folder; attributes behind it filter, as in "liminal/kind=pool,maze".

    A folder may have train/ and validation/ inside, and ordinary/. One with pictures alone, or with train/ alone, is
    split by content: a tenth of them, at least 4 and at most 128, are held out, always the same ones, and copies stay
    on one side.
    LabError: no such territory, or anything wrong in its folders.
    """
    name, attributes = filtered(name)
    if attributes:
        return territory(name).where(**attributes)
    shipped = data_dir() / "territories"
    folder = shipped / name if name in shipped_territories() else given_path(name)
    if not folder.is_dir():
        raise LabError(f"data: there is no folder {name}. Give a folder of pictures, or one of the territories that ship: "
                       f"{', '.join(shipped_territories()) or 'none are here'}.")
    held_out = next((folder / part for part in VALIDATION if (folder / part).is_dir()), None)
    if (folder / "train").is_dir() and held_out or held_out == folder / "validation":
        train, validation = load_folder(folder / "train"), load_folder(held_out)
        notes = _shared(train, validation)
    else:
        train, validation, notes = _split(load_folder(folder / "train" if (folder / "train").is_dir() else folder))
    own_ordinary = (folder / "ordinary").is_dir()
    ordinary = load_folder(folder / "ordinary" if own_ordinary else shipped / "ordinary" / "validation")
    if shipped not in folder.parents:
        parts = (train, validation, ordinary)
        notes = [*folder_notes.unused(folder, parts), *(note for part in parts for note in part.notes), *notes]
    return Territory(str(name), train, validation, ordinary, _prompts(validation), tuple(dict.fromkeys(notes)))


def filtered(name) -> tuple[str, dict]:
    """Cut "liminal/kind=pool,maze" into the territory and its filter; a folder of that very name is no filter."""
    parts = str(name).split("/")
    first = next((i for i, part in enumerate(parts) if i and "=" in part), len(parts))
    if not all("=" in part for part in parts[first:]) or given_path(name).is_dir():
        return str(name), {}
    found = {}
    for key, values in (part.split("=", 1) for part in parts[first:]):
        if key in found:
            raise LabError(f"data: {name} gives {key} twice. Write its values with commas between: {key}={','.join(found[key])},{values}.")
        found[key] = tuple(values.split(","))
    return "/".join(parts[:first]), found


def shipped_territories() -> list[str]:
    """Name the territories that ship with the kit."""
    return sorted(folder.parent.name for folder in (data_dir() / "territories").glob("*/train"))


def _shared(train: PictureFolder, validation: PictureFolder) -> list[str]:
    """Refuse pictures that are in both parts, by their files or their pixels, and tell of those that look alike."""
    known = {*train.hashes, *(one.pixels for one in train.looks)}
    looks = validation.looks or [None] * len(validation)
    columns = zip(validation.paths, validation.hashes, looks)
    both = [path for path, own, one in columns if own in known or one and one.pixels in known]
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
        raise LabError(f"data: {pictures.folder} has {counted(len(pictures), 'picture')}, of which {FEWEST_HELD_OUT} would be held out to see "
                       f"overfitting. Give at least {2 * FEWEST_HELD_OUT}, or make the folders train and validation inside it.")
    found = copies.groups(pictures.looks)
    held = _lowest(pictures, found, wanted)
    alike = next((group for group in found if len(group) > 1), None)
    notes = []
    if alike:
        how_many = sum(len(group) for group in found if len(group) > 1)
        two = " and ".join(pictures.paths[i].name for i in alike[:2])
        notes = [f"{how_many} pictures are copies or near copies of each other, such as {two}: "
                 + ("none is held out while its copies are trained on" if held else "held-out losses will hide overfitting")]
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
    held = set()
    for group in ranked:
        if len(held) + len(group) <= wanted:
            held |= set(group)
    for group in sorted(ranked, key=len):
        if len(held) < wanted and not held & set(group) and len(held) + len(group) <= len(pictures) // 2:
            held |= set(group)
    return held


def _prompts(validation: PictureFolder) -> tuple[str, ...]:
    """Choose captions in the order of the pictures, of different kinds first where kinds are told."""
    first = {}
    for caption, attributes in zip(validation.captions, validation.attributes):
        first.setdefault(str(attributes.get("kind", caption)), caption)
    return tuple(dict.fromkeys([*first.values(), *validation.captions]))[:PROMPTS]


def whole_path(name: str) -> str:
    """Return what names a base, a territory or a file with its whole path where it is one of this folder's; a shipped name as it is."""
    place, _ = filtered(name)
    if not place or place in ("embedded", *shipped_territories()) or not given_path(place).exists():
        return name
    return str(given_path(place).resolve()) + name.removeprefix(place)


def load_folder(path) -> PictureFolder:
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
    paths, captions, attributes = zip(*rows)
    if data_dir().resolve() in folder.resolve().parents:      # decoded by a test instead, for speed at the first click
        with Memo("sha256", sha256) as of:
            return PictureFolder(folder, paths, captions, attributes, tuple(map(of, paths)), notes=tuple(notes))
    with Memo("look", look) as of:
        looks = tuple(Look(*of(path)) for path in paths)
    notes = [*left_out, *notes, *folder_notes.of_pixels(paths, looks)]
    return PictureFolder(folder, paths, captions, attributes, tuple(one.sha256 for one in looks), looks, tuple(notes))
