"""Pictures in folders of folders: `10_sks room/` as kohya's trainer has them, and what lies in folders of train/.

There a folder `N_NAME` is shown N times in an epoch, and NAME is the caption of pictures without one; `0_NAME` is left
out (sd-scripts, `generate_dreambooth_subsets_config_by_subdirs`). Here pictures are shown in rounds, each as often as
its repeats say, divided by what all have in common.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from labkit.datasets.notes import inside, is_visible
from labkit.datasets.picture_folder import PictureFolder, load_folder
from labkit.datasets.pixels import is_foreign, is_picture
from labkit.datasets.tables import table_in
from labkit.errors import LabError
from labkit.reading import IMAGES, WITH_REPEATS
from labkit.settings import given_path
from labkit.text import counted

YEARS = range(1900, 2100)                   # repeats that nobody gives: the folder is of that year


class Concept(NamedTuple):
    """Hold one folder of pictures that are used together with those of others."""

    place: Path
    repeats: int
    name: str | None                        # the caption of pictures without one; None where they need their own


def load_part(path: Path | str, *, crop: str = "center", captions: str | None = None, fallback: str | None = None,
              takes_all: bool = False) -> PictureFolder:
    """Open a folder of pictures or, where it has none itself, the folders of pictures in it, as one.

    takes_all    folders without a number before their names are used too, as in train/
    The other arguments are those of `load_folder`.
    LabError: as `load_folder` raises it, or a year before a folder's name would be taken for repeats.
    """
    folder = given_path(path)
    concepts = [concept_of(folder)] if _has_pictures(folder) or table_in(folder) else _below(folder, takes_all)
    if not concepts:
        return load_folder(folder, crop=crop, captions=captions, fallback=fallback)
    parts = [load_folder(concept.place, crop=crop, captions=captions, fallback=concept.name or fallback)
             for concept in concepts]
    return _joined(folder, concepts, parts)


def concept_of(place: Path) -> Concept:
    """Read repeats and a caption out of a folder's name, as of `10_sks room`."""
    match = WITH_REPEATS.fullmatch(place.name)
    return Concept(place, max(1, int(match[1])), match[2].strip()) if match else Concept(place, 1, None)


def _is_off(place: Path) -> bool:
    match = WITH_REPEATS.fullmatch(place.name)
    return match is not None and int(match[1]) == 0


def has_none(folder: Path) -> bool:
    """Tell whether a folder has no pictures at all, nor a table of some."""
    return not table_in(folder) and not _pictures(folder.rglob("*"))


def census(path: Path | str, *, takes_names: bool) -> list[tuple[Concept, int]]:
    """Return the folders in which a folder's pictures lie, each with their number; no picture is opened.

    takes_names    as kohya's trainer reads train_data_dir: repeats from folders `N_NAME`. Else all pictures are one
                   folder's: those that lie in it or, where none does, in the folders below.
    """
    folder = given_path(path)
    if takes_names:
        concepts = [concept_of(folder)] if _has_pictures(folder) else _below(folder, takes_all=False)
        return [(concept, len(_pictures(inside(concept.place)))) for concept in concepts]
    pictures = _pictures(inside(folder)) or _pictures(folder.rglob("*"))
    return [(Concept(folder, 1, None), len(pictures))]


def _below(folder: Path, takes_all: bool) -> list[Concept]:
    """Return the folders of pictures in a folder: those with repeats above 0, or all; else those in its img/."""
    for place in (folder, *(folder / name for name in IMAGES)):
        inner = [concept_of(each) for each in inside(place) if each.is_dir() and is_visible(each)]
        concepts = [each for each in inner
                    if (takes_all or each.name) and not _is_off(each.place) and _has_pictures(each.place)]
        if concepts:                        # by what they show: other repeats are no other order
            return sorted(concepts, key=lambda each: each.name or each.place.name)
    return []


def _has_pictures(folder: Path) -> bool:
    return bool(_pictures(inside(folder)))


def _pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the pictures among some paths, and the links to pictures that are gone, which are named when read."""
    return [path for path in paths if (is_picture(path) or is_foreign(path)) and is_visible(path)
            and (path.is_file() or path.is_symlink())]


def _joined(folder: Path, concepts: Sequence[Concept], parts: Sequence[PictureFolder]) -> PictureFolder:
    """Put the pictures of several folders one after another, each with its repeats, and say so."""
    common = math.gcd(*(concept.repeats for concept in concepts))
    repeats = [concept.repeats // common for concept, part in zip(concepts, parts, strict=True) for _ in part.paths]
    years = [concept for concept in concepts if concept.name and concept.repeats in YEARS]
    if years and max(repeats) > 1:
        raise LabError(f"data: {years[0].place} begins with a number that would be {years[0].repeats:,} repeats and "
                       f"looks like a year: call it {years[0].name}_{years[0].repeats} if it is one, else give fewer "
                       "repeats to all folders beside it.")
    notes = [note for part in parts for note in part.notes]
    if any(concept.repeats > 1 for concept in concepts) or len(concepts) > 1:
        notes.insert(0, _told(concepts, [len(part) for part in parts], max(repeats) > 1))
    if len(parts) == 1:
        return PictureFolder(**vars(parts[0]) | {"notes": tuple(notes)})
    more = tuple(row for part in parts for row in part.more or ((),) * len(part))
    attributes = [{"concept": concept.name or concept.place.name} | columns
                  for concept, part in zip(concepts, parts, strict=True) for columns in part.attributes]
    joined = {name: tuple(item for part in parts for item in getattr(part, name))
              for name in ("paths", "captions", "hashes", "looks")}
    return PictureFolder(folder=folder, **joined, attributes=tuple(attributes), notes=tuple(notes),
                         more=more if any(more) else (), repeats=tuple(repeats) if max(repeats) > 1 else (),
                         crop=parts[0].crop, source=" and ".join(dict.fromkeys(part.source for part in parts)))


def _told(concepts: Sequence[Concept], counts: Sequence[int], is_uneven: bool) -> str:
    """Say which folders are used together, and what their repeats are here."""
    pictures, views = sum(counts), sum(n * concept.repeats for n, concept in zip(counts, concepts, strict=True))
    named = ", ".join(f"{concept.place.name} ({counted(n, 'picture')})"
                      for concept, n in zip(concepts, counts, strict=True))
    if views == pictures:
        return f"{counted(len(concepts), 'folder')} used together: {named}"
    uneven = "; each picture is shown as often as its repeats say" if is_uneven else ""
    return (f"repeats of {named}: {views:,} views, which kohya's trainer calls an epoch, are {views / pictures:.3g} "
            f"epochs here{uneven}")
