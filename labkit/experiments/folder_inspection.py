"""What a folder of pictures is and what would happen to it in training, before a base is loaded."""

from types import SimpleNamespace

from labkit.datasets.folders import Territory, territory
from labkit.datasets.notes import cut_texts, token_counts
from labkit.datasets.pixels import Look
from labkit.engine.base_files import find_base
from labkit.engine.loading import load_tokenizer
from labkit.errors import LabError
from labkit.machine import Finding
from labkit.text import counted


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
    return [Finding("data", "good", opened.summary), _pictures(opened), *_captions(opened, base), *notes]


def _parts(opened: Territory) -> list:
    return [opened.train, opened.validation] if opened.is_held_out else [opened.train]


def _pictures(opened: Territory) -> Finding:
    """Say how large the pictures are, which square of them is used, and whose colours are converted."""
    looks: list[Look] = sorted((look for part in _parts(opened) for look in part.looks),
                               key=lambda look: look.width * look.height)
    sizes = dict.fromkeys(f"{look.width} x {look.height}" for look in (looks[0], looks[-1]))
    square = "their middle square" if opened.crop == "center" else f"the square at their {opened.crop}"
    used = f"of which {square} is used" if any(look.lost for look in looks) else "all square"
    words = [f"{' to '.join(sizes)} pixels, {used}"]
    if converted := sum(look.profile == "converted" for look in looks):
        words.append(f"{converted} with a colour profile, converted to sRGB")
    return Finding("pictures", "good", "; ".join(words))


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
