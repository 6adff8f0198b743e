"""What a person should know of a folder of pictures before training on it, as sentences without their stop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from labkit.datasets.pixels import PLUGINS, SUFFIXES, Look, is_foreign, is_picture
from labkit.reading import BUCKETS, CROPS, IMAGES, WITH_REPEATS
from labkit.text import counted

DEPTH = 2                                   # folders below the one given that are looked into
MOST_NAMED = 6
ENDLESS = 10**6                             # tokens: without a length of ours, transformers remarks on stderr
CUT = 0.1                                   # of a picture: a middle square that loses less is not worth a note


class Part(Protocol):
    """Interface of a PictureFolder, whose own module imports this one and so cannot be imported here."""

    @property
    def folder(self) -> Path:
        """Return the folder of the pictures."""
        ...

    @property
    def paths(self) -> Sequence[Path]:
        """Return the pictures that are used."""
        ...

    @property
    def looks(self) -> Sequence[Look]:
        """Return the Look of each picture; none of pictures that ship."""
        ...


def left_out(foreign: Sequence[Path], n_pictures: int) -> list[str]:
    """Tell of pictures that cannot be read here, among n_pictures in all."""
    if not foreign:
        return []
    kinds: dict[str, list[str]] = {}
    for path in foreign:
        kinds.setdefault(path.suffix.lower() or path.name, []).append(path.name)
    named = ", ".join(f"{len(names)} {kind} ({names[0]})" for kind, names in sorted(kinds.items()))
    packages = dict.fromkeys(PLUGINS[kind][1] for kind in sorted(kinds) if kind in PLUGINS)
    install = f"pip install {' '.join(packages)}, or " if packages else ""
    return [f"{len(foreign)} of {counted(n_pictures, 'picture')} left out, since Pillow cannot read their kind here: "
            f"{named}; {install}save them as PNG or JPEG"]


def of_profiles(paths: Sequence[Path], looks: Sequence[Look]) -> list[str]:
    """Tell of pictures whose colour profile could not be used."""
    unreadable = [path.name for path, look in zip(paths, looks, strict=True) if look.profile == "unreadable"]
    if not unreadable:
        return []
    return [f"{counted(len(unreadable), 'picture')} with a colour profile that cannot be used, "
            f"{unreadable[0]} for one: taken as sRGB"]


def of_squares(parts: Sequence[Part], crop: str) -> list[str]:
    """Tell, once for all parts of a folder, how much of their pictures lies outside the chosen squares."""
    looks = {path: look for part in parts for path, look in zip(part.paths, part.looks, strict=False)}
    cut = [(look, path) for path, look in looks.items() if look.lost > CUT]
    if not cut or crop == BUCKETS:          # what buckets cut off depends on the base: `labkit.datasets.buckets`
        return []
    look, path = max(cut, key=lambda pair: pair[0].lost)
    square = "their middle square" if crop == "center" else f"the square at their {crop}"
    others = ", ".join(name for name in CROPS if name != crop)
    return [f"{len(cut)} of {counted(len(looks), 'picture')} lose more than {CUT:.0%} outside {square}, "
            f"which alone is used; {path.name} ({look.width} x {look.height}) loses {look.lost:.0%}: "
            f"crop can also be {others}, or crop them to squares yourself"]


def cut_texts(base: Any, texts: Sequence[str], noun: str = "caption") -> str | None:
    """Tell of captions, or prompts, longer than what the base's text encoder reads; None where there are none.

    base: an engine.base.Base, which belongs to a room above this one.
    """
    limit = base.tokenizer.model_max_length
    long = [count for count in token_counts(base, texts) if count > limit]
    if not long:
        return None
    return (f"{len(long)} of {counted(len(texts), noun)} cut: {base.name} reads {limit} tokens, "
            f"the longest has {max(long)}; shorten them, or put first what matters")


def token_counts(base: Any, texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text has for a base, the two at its ends included."""
    return [len(ids) for ids in base.tokenizer(list(texts), truncation=True, max_length=ENDLESS).input_ids]


def unused(folder: Path, parts: Sequence[Part]) -> list[str]:
    """Tell of pictures in and below a folder that none of its parts uses, nor has told of as left out."""
    used = {path.resolve() for part in parts for path in part.paths}
    folders_of_parts = {part.folder.resolve() for part in parts} | {path.parent for path in used}
    notes = []
    for place in [folder, *_below(folder)]:
        visible = [path for path in inside(place) if is_visible(path)]
        pictures = [path for path in visible if is_picture(path) and path.is_file()]
        if place.resolve() not in folders_of_parts:
            pictures += [path for path in visible if is_foreign(path)]
        if more := [path for path in pictures if path.resolve() not in used]:
            first = min(path.name for path in more)
            notes.append(f"{counted(len(more), 'picture')} in {place} not used, {first} for one: "
                         "give that folder, or move them")
    if len(notes) > MOST_NAMED:
        rest = counted(len(notes) - MOST_NAMED, "more folder")
        notes[MOST_NAMED:] = [f"pictures in {rest} not used either"]
    return notes


def candidates(folder: Path) -> str:
    """Say which folders below have pictures, where a folder itself has none."""
    folders = []
    for place in _below(folder, DEPTH + 2):
        if any(is_picture(path) and is_visible(path) for path in inside(place)):
            whole = _whole(place)
            if whole != folder and len(whole.relative_to(folder).parts) <= DEPTH:
                folders.append(whole)
    names = list(dict.fromkeys(map(str, folders)))
    if not names:
        return f" Pictures are files named {', '.join(SUFFIXES)}."
    if len(names) == 1:
        return f" Did you mean {names[0]}?"
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" Give one of the folders below that have some: {', '.join(names[:MOST_NAMED])}{more}."


def _whole(place: Path) -> Path:
    """Return the folder to give for one of pictures: what is around train/, or around 10_NAME and its img/."""
    if WITH_REPEATS.fullmatch(place.name):
        return place.parent.parent if place.parent.name in IMAGES else place.parent
    return place.parent if (place.parent / "train").is_dir() else place


def _below(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return the folders below a folder, hidden ones and what archives of a Mac leave behind apart, by name."""
    folders: list[Path] = []
    for place in inside(folder) if depth else ():
        if place.is_dir() and is_visible(place) and not place.is_symlink():
            folders += [place, *_below(place, depth - 1)]
    return folders


def inside(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing where it may not be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def is_visible(path: Path) -> bool:
    """Tell whether a file or folder is a person's own, not one that a system or an archive leaves behind."""
    return not path.name.startswith((".", "__MACOSX"))
