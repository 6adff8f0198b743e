"""One pass over the pictures that settings name: which folders, how often each is shown, and so how many updates.

Where a trainer is told repeats: kohya's by the names of folders in train_data_dir (`10_sks room`) or num_repeats of a
subset, ai-toolkit's num_repeats, OneTrainer's balancing of a concept, SimpleTuner's repeats, of which 0 shows each
picture once (documentation/DATALOADER.md).
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labkit.design.trainers.reading import plain
from labkit.errors import LabError
from labkit.files import json_text
from labkit.reading import BUCKETS
from labkit.text import shown

MOST = 10**7                                                  # repeats, or pictures of a pass
CONCEPTS, BACKENDS = "concept_file_name", "data_backend_config"      # settings that name a file of folders
SUBSET = ("image_dir", "folder_path", "path", "instance_data_dir")


class Source(NamedTuple):
    """Hold where pictures of a pass lie and how often they are shown, as settings state it."""

    place: str
    repeats: float = 1                            # of each picture
    samples: int | None = None                    # pictures shown whatever is there, where it is told so
    in_names: bool = False                        # names of folders in it may say repeats, as `10_sks room`


class Shown(NamedTuple):
    """Hold the pictures of one folder, how often a pass shows each, and how often its name says."""

    name: str
    pictures: int
    repeats: float = 1
    by_name: int = 1
    split: float = 0.0                            # share that is held out and never shown

    @property
    def kept(self) -> int:
        """Return how many of the pictures are trained on, by split_train_val of sd-scripts."""
        return math.ceil(self.pictures * (1 - self.split))

    @property
    def views(self) -> int:
        """Return how many pictures of the folder a pass shows, repeats counted."""
        return round(self.kept * self.repeats)


class Pass(NamedTuple):
    """Hold what one pass over the pictures shows."""

    parts: Sequence[Shown]

    @property
    def kept(self) -> int:
        """Return how many pictures are trained on."""
        return sum(part.kept for part in self.parts)

    @property
    def views(self) -> int:
        """Return how many pictures are shown, repeats counted."""
        return sum(part.views for part in self.parts)

    def held_out(self, split: float) -> "Pass":
        """Return the pass of a trainer that holds out a share of each folder's pictures."""
        return Pass([part._replace(split=split) for part in self.parts])

    def elsewhere(self, names_repeat: bool, repeats: float = 1, split: float = 0.0) -> "Pass":
        """Return the pass of another trainer, with `repeats` for all folders and a share that is held out.

        names_repeat    repeats in the folders' names count there, too
        """
        return Pass([part._replace(repeats=repeats * (part.by_name if names_repeat else 1), split=split)
                     for part in self.parts])


def updates(run: Mapping[str, Any], one: Pass | None, ends_pass: bool) -> int | None:
    """Return how many updates a run makes; None where it counts passes over a number of pictures that is not known.

    ends_pass    a pass ends with a batch that may not be full, and with an update; else batches go across its border
    """
    if run.get("max_train_steps"):
        return int(run["max_train_steps"])
    if one is None:
        return None
    passes, (batch, accumulated) = run["num_train_epochs"], batches(run)
    if ends_pass:
        return int(passes * math.ceil(math.ceil(one.views / batch) / accumulated))
    return math.ceil(passes * one.views / (batch * accumulated))


def batches(run: Mapping[str, Any]) -> tuple[int, int]:
    """Return the pictures of a forward pass, and the forward passes of an update."""
    return int(run.get("train_batch_size", 1)), int(run.get("gradient_accumulation_steps", 1))


def account(run: Mapping[str, Any], one: Pass, ends_pass: bool) -> str:
    """Say how the updates of a run that counts passes come about, number by number."""
    (batch, accumulated), passes, total = batches(run), run["num_train_epochs"], updates(run, one, ends_pass)
    terms = [f"{part.kept:,} x {part.repeats:g}" + (f" ({part.name})" if part.name else "") for part in one.parts]
    shown = (f"{' + '.join(terms)} = {one.views:,} pictures shown in a pass" if one.views != one.kept
             else f"{one.kept:,} pictures in a pass")
    total_pictures = sum(part.pictures for part in one.parts)
    if one.kept != total_pictures:
        shown = f"{total_pictures - one.kept:,} of {total_pictures:,} pictures are held out; {shown}"
    if not ends_pass:
        return f"{shown}; {passes} x {one.views:,} / {batch * accumulated} = {total:,} updates"
    count = math.ceil(one.views / batch)
    smaller = ", the last one smaller" if one.views % batch else ""
    each = math.ceil(count / accumulated)
    summed = f", {accumulated} to an update: {each:,} updates" if accumulated > 1 else ""
    sentence = (f"{shown}; {one.views:,} / {batch} = {count:,} batches{smaller}{summed}; "
                f"{passes} x {each:,} = {total:,} updates")
    if run.get("crop") == BUCKETS:
        sentence += "; each bucket ends with a batch of its own there, so that there may be a few more"
    return sentence


def sources(trainer: str, settings: Mapping[str, Any], beside: Path) -> list[Source]:
    """Return the folders of pictures that a trainer's settings name; none where they name none.

    beside    the folder of the settings' file, in which files that it names are looked for
    """
    flat = {name.removeprefix("config.process.0.").lstrip("-"): plain(value) for name, value in settings.items()}
    if trainer in ("onetrainer", "simpletuner"):
        named = flat.get(CONCEPTS if trainer == "onetrainer" else BACKENDS)
        entries = _listed(flat, "concepts.") or _file(beside, str(named or ""))
    else:
        entries = _listed(flat, "datasets.")
    folders = [_source(entry) for entry in entries if _counts(entry)]
    last = {name.rsplit(".", 1)[-1]: value for name, value in flat.items() if not name.startswith("datasets.")}
    folder = next((last[name] for name in ("train_data_dir", "instance_data_dir", "data") if last.get(name)), None)
    if folder is not None and (trainer in ("kohya", "kohya_ss", "diffusers", "labkit")
                               or trainer.startswith("dreambooth")):
        repeats = _number(last, "dataset_repeats", 0) or _number(last, "repeats", 0)
        is_named = trainer in ("kohya", "kohya_ss", "labkit") and not repeats
        folders.insert(0, Source(str(folder), repeats or 1, in_names=is_named))
    return folders


def crops(settings: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """Return what SimpleTuner's file of data sets says of crops, where the settings name one that is there.

    beside    the folder of the settings' file
    """
    named = next((value for name, value in settings.items() if name.lstrip("-") == BACKENDS), None)
    first = next((entry for entry in _file(beside, str(named or "")) if _counts(entry)), None)
    names = ("crop", "crop_style", "crop_aspect", "crop_aspect_buckets")
    return {} if first is None else {"crop": False} | {name: first[name] for name in names if name in first}


def _listed(flat: Mapping[str, Any], start: str) -> list[dict[str, Any]]:
    """Return the numbered entries below `start`, each with its own settings; a subset is an entry of its own."""
    entries: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        if name.startswith(start):
            place, _, setting = name.rpartition(".")
            place = place.removesuffix(".image").removesuffix(".text")
            entries.setdefault(place, {})[setting] = value
    return list(entries.values())


def _file(beside: Path, name: str) -> list[dict[str, Any]]:
    """Return the entries of a JSON file that settings name; none where it is not there."""
    places = (Path(name), beside / name, beside / Path(name).name) if name else ()
    path = next((place for place in places if os.path.isfile(place)), None)
    if path is None:
        return []
    try:
        entries = json_text.read(path, list)
    except ValueError as error:
        raise LabError(f"{path}, which the settings name, cannot be read as JSON: {error}.") from None
    return [entry for entry in entries if isinstance(entry, dict)]


def _counts(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry is of pictures that are trained on."""
    kinds = {str(entry.get(name) or "image").lower() for name in ("dataset_type", "type")}
    is_off = entry.get("enabled") is False or entry.get("disabled") or entry.get("disable")
    is_aside = entry.get("is_reg") or entry.get("validation_concept") or kinds & {"validation", "prior_prediction"}
    is_picture = str(entry.get("dataset_type") or "image") == "image"
    return bool(is_picture and not is_off and not is_aside and any(entry.get(name) for name in SUBSET))


def _source(entry: Mapping[str, Any]) -> Source:
    place = str(next(entry[name] for name in SUBSET if entry.get(name)))
    if "instance_data_dir" in entry:
        return Source(place, _number(entry, "repeats", 0) + 1)
    if str(entry.get("balancing_strategy", "REPEATS")).upper() == "SAMPLES":
        return Source(place, samples=int(_number(entry, "balancing", 0)))
    return Source(place, _number(entry, "num_repeats", 0) or _number(entry, "balancing", 1))


def _number(entry: Mapping[str, Any], name: str, unsaid: float) -> float:
    """Return how often something is shown; LabError where that is no number."""
    value = plain(entry.get(name))
    if value is None or value is False:
        return unsaid
    if not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise LabError(f"{name} = {shown(value)} is not possible: it must be a number from 0 to {MOST:,}.")
    return float(value)
