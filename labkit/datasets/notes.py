"""What a person should know of a folder of pictures before training on it, as sentences without their stop."""

from pathlib import Path

from labkit.datasets.pixels import SUFFIXES, is_foreign, is_picture
from labkit.text import counted

DEPTH = 2  # folders below the one given that are looked into
MOST_NAMED = 6
ENDLESS = 10**6  # tokens: without a length of ours, transformers remarks on stderr
CUT = 0.1  # of a picture: less is lost by the middle square without a word


def left_out(foreign, of: int) -> list[str]:
    """Tell of pictures that cannot be read here, `of` there being in all."""
    if not foreign:
        return []
    kinds = {}
    for path in foreign:
        kinds.setdefault(path.suffix.lower() or path.name, []).append(path.name)
    named = ", ".join(f"{len(names)} {kind} ({names[0]})" for kind, names in sorted(kinds.items()))
    return [
        f"{len(foreign)} of {counted(of, 'picture')} left out, since Pillow cannot read their kind here: {named}; "
        "save them as PNG or JPEG"
    ]


def of_pixels(paths, looks) -> list[str]:
    """Tell what the middle squares leave of pictures, and of colour profiles that could not be used."""
    notes = []
    cut = [i for i, one in enumerate(looks) if one.lost > CUT]
    if cut:
        most = max(cut, key=lambda i: looks[i].lost)
        notes.append(
            f"{len(cut)} of {counted(len(looks), 'picture')} lose more than {CUT:.0%} outside their middle square, "
            f"which alone is used; {paths[most].name} ({looks[most].width} x {looks[most].height}) loses "
            f"{looks[most].lost:.0%}: crop them to squares yourself where that matters"
        )
    unreadable = [path.name for path, one in zip(paths, looks) if one.profile == "unreadable"]
    if unreadable:
        notes.append(
            f"{counted(len(unreadable), 'picture')} with a colour profile that cannot be used, "
            f"{unreadable[0]} for one: taken as sRGB"
        )
    return notes


def cut_texts(base, texts, noun: str = "caption") -> str | None:
    """Tell of captions, or prompts, longer than what the base's text encoder reads; None where there are none."""
    limit = base.tokenizer.model_max_length
    whole = base.tokenizer(list(texts), truncation=True, max_length=ENDLESS).input_ids
    long = [len(ids) for ids in whole if len(ids) > limit]
    if not long:
        return None
    return (
        f"{len(long)} of {counted(len(texts), noun)} cut: {base.name} reads {limit} tokens, "
        f"the longest has {max(long)}; shorten them, or put first what matters"
    )


def unused(folder: Path, parts) -> list[str]:
    """Tell of pictures in and below a folder that none of its parts uses; what a part left out it has told itself."""
    used = {path.resolve() for part in parts for path in part.paths}
    own = {part.folder.resolve() for part in parts}
    notes = []
    for place in [folder, *_below(folder)]:
        pictures = [path for path in _inside(place) if is_picture(path) and _shown(path) and path.is_file()]
        pictures += (
            [path for path in _inside(place) if is_foreign(path) and _shown(path)]
            if place.resolve() not in own
            else []
        )
        if more := [path for path in pictures if path.resolve() not in used]:
            notes.append(
                f"{counted(len(more), 'picture')} in {place} not used, {min(path.name for path in more)} for one: "
                "give that folder, or move them"
            )
    return notes[:MOST_NAMED] + (
        [f"pictures in {counted(len(notes) - MOST_NAMED, 'more folder')} not used either"]
        if len(notes) > MOST_NAMED
        else []
    )


def candidates(folder: Path) -> str:
    """Say which folders below have pictures, where a folder itself has none."""
    found = []
    for place in _below(folder):
        if any(is_picture(path) and _shown(path) for path in _inside(place)):
            found.append(place.parent if (place.parent / "train").is_dir() and place.parent != folder else place)
    found = list(dict.fromkeys(map(str, found)))
    if not found:
        return f" Pictures are files named {', '.join(SUFFIXES)}."
    if len(found) == 1:
        return f" Did you mean {found[0]}?"
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f" Give one of the folders below that have some: {', '.join(found[:MOST_NAMED])}{more}."


def _below(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return the folders below a folder, hidden ones and what archives of a Mac leave behind apart, by name."""
    found = []
    for place in _inside(folder) if depth else ():
        if place.is_dir() and _shown(place) and not place.is_symlink():
            found += [place, *_below(place, depth - 1)]
    return found


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing where it may not be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _shown(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))
