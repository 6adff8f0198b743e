"""Pictures with captions: image folders, their checks, and the three sets of a territory. No torch here.

A folder holds pictures and either `metadata.jsonl` or `metadata.csv` (columns `file_name`, `text`, and any attributes:
the Hugging Face image-folder convention) or one `.txt` of the same name beside each picture. docs/folders.md has all
forms that are read.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from labkit.datasets import copies
from labkit.datasets import notes as folder_notes
from labkit.datasets.concepts import has_none, load_part
from labkit.datasets.picture_folder import PictureFolder, as_texts
from labkit.datasets.picture_folder import load_folder as load_folder  # where everyone looks for them
from labkit.datasets.pixels import load_picture as load_picture
from labkit.errors import LabError
from labkit.files.content import sha256_of_texts
from labkit.settings import data_dir, given_path
from labkit.text import counted

HELD_OUT = 0.1                                                # of a folder without its own validation pictures
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 128
VALIDATION = ("validation", "valid", "val", "test")           # names of the held-out part, the first that is there
ORDINARY = "ordinary"                                         # one's own pictures of what the base knew before
OWN_PRIOR = ("class", "reg")                                  # and of what it should keep
PROMPTS = 4
LINES = 3                                                     # in which a folder is told of before training


@dataclass(frozen=True)
class Territory:
    """Hold what an adapter is trained on and measured by."""

    name: str
    train: PictureFolder
    validation: PictureFolder                                 # held out, of the same territory
    ordinary: PictureFolder                                   # what the base knew before: forgetting is measured on it
    prompts: tuple[str, ...]                                  # captions worth drawing while training
    notes: tuple[str, ...] = ()                               # what a person should know before training on it
    prior: PictureFolder | None = None                        # one's own class pictures, in place of drawn ones
    crop: str = "center"                                      # which part of each picture is used
    captions: str | None = None                               # where captions come from; None as the folder has them

    @property
    def is_held_out(self) -> bool:
        """Tell whether the pictures that are measured on are not trained on; of fewer than eight none are held out."""
        return not set(self.train.hashes).intersection(self.validation.hashes)

    @property
    def summary(self) -> str:
        """Say how many pictures are trained on and held out."""
        held_out = f"{len(self.validation)} held out to judge by"
        if not self.is_held_out:
            held_out = "none held out, so that overfitting cannot be seen"
        return f"{self.name}: {counted(len(self.train), 'picture')} to train on, {held_out}"

    @property
    def told(self) -> list[str]:
        """Say in at most three lines what a person should know before training on it."""
        lines = [self.summary, *self.notes]
        if left := lines[LINES:]:
            lines[LINES - 1 :] = [f"{counted(len(left) + 1, 'more note')}: `labkit inspect FOLDER` has them"]
        return lines

    @property
    def fingerprint(self) -> str:
        """Hash what a run is trained on; what it is measured by is recorded with it, not hashed.

        Captions of a folder's own ordinary/ belong to it: with prior_loss_weight the base draws them, and a run is
        trained on what it drew; or on class pictures of one's own.
        """
        ships = data_dir() / "territories" in self.ordinary.folder.parents    # what ships belongs to the base
        more = [] if ships else [*self.ordinary.captions]
        more += [self.prior.fingerprint] if self.prior else []
        return sha256_of_texts([self.train.fingerprint, *more]) if more or not ships else self.train.fingerprint

    def where(self, **attributes: Any) -> "Territory":
        """Keep the pictures that have these attributes; what the base knew before stays whole.

        `territory("liminal").where(kind=("pool", "maze"))` is `territory("liminal/kind=pool,maze")`: the filter is
        part of the name, so that a configuration, a design file and the command line can carry it. LabError: nothing
        is left.
        """
        wanted = {name: as_texts(values) for name, values in attributes.items()}
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


def territory(name: str = "liminal", *, crop: str = "center", captions: str | None = None,
              held_out: Path | str | None = None) -> Territory:
    """Open a territory: a name that ships with the kit, or an image folder.

    Attributes behind it select pictures, as in "liminal/kind=pool,maze". A folder may have train/ and validation/
    inside, ordinary/, and class/ with pictures of what the base should keep. One with pictures alone, or with train/
    alone, is split by content: a tenth of them, at least 4 and at most 128, are held out, always the same ones, and
    copies stay on one side. Of fewer than 8 none are.

    crop        which square of each picture is used: center, top, bottom, left, right; or buckets, of its own shape
    captions    where captions come from, as `reading.SOURCES` says; None takes what the folder has
    held_out    another folder, whose pictures are measured on whatever this one holds out; attributes do not select
                among them

    LabError: no such territory, or anything wrong in its folders.
    """
    name, attributes = filtered(name)
    if attributes:
        whole = territory(name, crop=crop, captions=captions, held_out=held_out)
        if held_out is None:
            return whole.where(**attributes)
        some = replace(whole, validation=whole.train).where(**attributes)
        return replace(some, validation=whole.validation, prompts=whole.prompts)
    shipped = data_dir() / "territories"
    folder = shipped / name if name in shipped_territories() else given_path(name)
    if not folder.is_dir():
        names = ", ".join(shipped_territories()) or "none are here"
        raise LabError(f"data: there is no folder {name}. "
                       f"Give a folder of pictures, or one of the territories that ship: {names}.")
    load = partial(load_part, crop=crop, captions=captions)
    own_held_out = next((folder / part for part in VALIDATION if (folder / part).is_dir()), None)
    has_train = (folder / "train").is_dir()
    if held_out is not None:
        train = load(folder / "train", takes_all=True) if has_train else load(folder)
        validation = load(held_out)
        notes = _shared(train, validation)
    elif own_held_out and (has_train or own_held_out == folder / "validation"):
        train, validation = load(folder / "train", takes_all=True), load(own_held_out, takes_all=True)
        notes = _shared(train, validation)
    else:
        train, validation, notes = _split(load(folder / "train", takes_all=True) if has_train else load(folder))
    there = {name: folder / name for name in (ORDINARY, *OWN_PRIOR) if (folder / name).is_dir()}
    empty = [name for name in there if has_none(there[name])]
    notes += [f"no pictures in {there.pop(name)}, which is taken as if it were not there" for name in empty]
    ordinary = load_part(there.get(ORDINARY, shipped / "ordinary" / "validation"), crop=crop,
                         fallback="" if ORDINARY in there else None)
    prior = next((load_part(there[name], crop=crop, fallback="", takes_all=True)
                  for name in OWN_PRIOR if name in there), None)
    parts = [part for part in (train, validation, ordinary, prior) if part]
    notes = [*(note for part in parts for note in part.notes), *folder_notes.of_squares(parts, crop), *notes]
    if shipped not in folder.parents:
        notes = folder_notes.unused(folder, parts) + notes
        notes += [f"{counted(len(prior), 'picture')} in {prior.folder} shown with prior_loss_weight, in place of what "
                  "the base draws itself"] if prior else []
    return Territory(str(name), train, replace(validation, repeats=()), ordinary, _prompts(validation),
                     tuple(dict.fromkeys(notes)), prior and replace(prior, repeats=()), crop, captions)


def filtered(name: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Split "liminal/kind=pool,maze" into the territory and its filter, unless a folder has that whole name."""
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
        raise LabError(f"data: {both[0]} is also among the pictures trained on ({len(both)} such pictures), so its "
                       "loss could not show overfitting. Take them out of one of the two.")
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
        return pictures, pictures, [
            f"nothing held out of {counted(len(pictures), 'picture')}: losses are measured on those that are trained "
            f"on, and there will be no verdict on overfitting; give {2 * FEWEST_HELD_OUT} or more, or others in a "
            "folder validation beside train"]
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
    """Choose groups by the lowest hash of a file in each until `wanted` pictures are held out.

    Groups that are too large wait, and may fill what is missing, up to half of all.
    """
    ranked = sorted(groups, key=lambda group: min(pictures.looks[i].sha256 for i in group))
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
    """Return the name of a base, a territory or a file as a whole path; the name of one that ships stays as it is.

    So does the name of one that is not found from the current folder.
    """
    place, _ = filtered(name)
    if not place or place in ("embedded", *shipped_territories()) or not given_path(place).exists():
        return name
    return str(given_path(place).resolve()) + name.removeprefix(place)
