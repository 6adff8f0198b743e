"""What a folder of pictures is and what would happen to it in training, before a base is loaded."""

from types import SimpleNamespace

from labkit.datasets import buckets
from labkit.datasets.folders import Territory, territory
from labkit.datasets.notes import cut_texts, token_counts
from labkit.datasets.pixels import Look
from labkit.engine.base_files import find_base, resolution_and_step
from labkit.engine.loading import load_tokenizer
from labkit.errors import LabError
from labkit.machine import Finding
from labkit.reading import BUCKETS
from labkit.text import counted

NO_PICTURES = "has no pictures"                               # what `load_folder` says of a folder that holds others


def inspect_folder(data: str, base: str = "embedded", *, crop: str = "center",
                   captions: str | None = None) -> list[Finding]:
    """Return the findings on a folder of pictures: what is used of it, held out and left out, and what is odd.

    base              whose tokenizer counts the captions
    crop, captions    how it is read, as `territory` takes them
    """
    try:
        opened = territory(data, crop=crop, captions=captions)
    except LabError as error:
        return [Finding("data", "bad", str(error).removeprefix("data: "))]
    notes = [Finding("data", "note", note) for note in opened.notes]
    if not opened.train.looks:                                # what ships is square, and its captions fit
        return [Finding("data", "good", opened.summary), *notes]
    told = [_pictures(opened), *_buckets(opened, base), *_captions(opened, base)]
    return [Finding("data", "good", opened.summary), *told, *notes]


def _parts(opened: Territory) -> list:
    return [opened.train, opened.validation] if opened.is_held_out else [opened.train]


def _pictures(opened: Territory) -> Finding:
    """Say how large the pictures are, which square of them is used, and whose colours are converted."""
    looks: list[Look] = sorted((look for part in _parts(opened) for look in part.looks),
                               key=lambda look: look.width * look.height)
    sizes = dict.fromkeys(f"{look.width} x {look.height}" for look in (looks[0], looks[-1]))
    square = {"center": "of which their middle square is used", BUCKETS: "each used in the bucket of its shape"}
    chosen = square.get(opened.crop, f"of which the square at their {opened.crop} is used")
    used = chosen if any(look.lost for look in looks) else "all square"
    words = [f"{' to '.join(sizes)} pixels, {used}"]
    if converted := sum(look.profile == "converted" for look in looks):
        words.append(f"{converted} with a colour profile, converted to sRGB")
    return Finding("pictures", "good", "; ".join(words))


def _buckets(opened: Territory, base: str) -> list[Finding]:
    """Say which buckets the pictures are in at the base's own resolution, and which pictures fit none of them."""
    if opened.crop != BUCKETS:
        return []
    try:
        sizes = resolution_and_step(find_base(base))
        if sizes is None:
            return []
        words = f"at resolution {sizes[0]}, sides in steps of {sizes[1]}: {buckets.table(_parts(opened), *sizes)}"
        if opened.prior:
            words += f"; class pictures: {buckets.table([opened.prior], *sizes)}"
        notes = buckets.notes(opened.train, *sizes, opened.prior)
    except LabError as error:
        return [Finding("buckets", "bad", str(error).removeprefix("base: "))]
    return [Finding("buckets", "good", words), *(Finding("buckets", "note", note) for note in notes)]


def _captions(opened: Territory, base: str) -> list[Finding]:
    """Say where the captions are from and how long they are, and which are cut."""
    texts = [text for part in _parts(opened) for text in part.every_caption]
    words = f"{counted(len(texts), 'caption')}, from {opened.train.source}"
    try:
        reader = SimpleNamespace(name=base, tokenizer=load_tokenizer(find_base(base)))
    except LabError:                                          # told of where the base itself is looked at
        return [Finding("captions", "good", words)]
    counts, cut = token_counts(reader, texts), cut_texts(reader, texts)
    length = " to ".join(dict.fromkeys((str(min(counts)), str(max(counts)))))
    words += f"; {length} tokens, of {reader.tokenizer.model_max_length} that {base} reads"
    return [Finding("captions", "good", words)] + ([Finding("captions", "note", cut)] if cut else [])
