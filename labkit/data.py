"""Pictures with captions: image folders, their checks, and the three sets of a territory. No torch here.

A folder holds pictures and either `metadata.jsonl` or `metadata.csv` (columns `file_name`, `text`, and any attributes: the
Hugging Face image-folder convention) or one `.txt` of the same name beside each picture.
"""

import csv
import io
import json
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from labkit.content import Memo, sha256, sha256_of_texts
from labkit.errors import LabError
from labkit.paths import data_dir

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
CAPTIONS = "metadata.jsonl or metadata.csv with the columns file_name and text, or one .txt of the same name beside each picture"
HELD_OUT = 0.1                                                # of a folder without its own validation pictures
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 128
PROMPTS = 4


@dataclass(frozen=True)
class PictureFolder:
    """Hold checked pictures in the order of their captions' file, else by name."""

    folder: Path
    paths: tuple[Path, ...]
    captions: tuple[str, ...]
    attributes: tuple[dict, ...]                              # the other columns of the captions' file
    hashes: tuple[str, ...]                                   # SHA-256 of each picture's file

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def fingerprint(self) -> str:
        """Hash pictures and captions in order, whatever their names and place: 64 hex digits."""
        return sha256_of_texts(text for pair in zip(self.hashes, self.captions) for text in pair)

    def at(self, indices) -> "PictureFolder":
        """Give the pictures with these numbers, in this order."""
        indices = list(indices)
        return PictureFolder(self.folder, *(tuple(column[i] for i in indices)
                                            for column in (self.paths, self.captions, self.attributes, self.hashes)))

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

    A folder may have train/ and validation/ inside, and ordinary/. One with pictures alone is split by content: a tenth of
    them, at least 4 and at most 128, are held out, always the same ones, and identical pictures stay on one side.
    LabError: no such territory, or anything wrong in its folders.
    """
    name, attributes = filtered(name)
    if attributes:
        return territory(name).where(**attributes)
    shipped = data_dir() / "territories"
    folder = shipped / name if name in shipped_territories() else Path(name).expanduser()
    if not folder.is_dir():
        raise LabError(f"data: there is no folder {name}. Give a folder of pictures, or one of the territories that ship: "
                       f"{', '.join(shipped_territories()) or 'none are here'}.")
    if (folder / "train").is_dir() or (folder / "validation").is_dir():
        train, validation = load_folder(folder / "train"), load_folder(folder / "validation")
        if copies := [path for path, own in zip(validation.paths, validation.hashes) if own in train.hashes]:
            raise LabError(f"data: {copies[0]} is also in train ({len(copies)} such pictures), so validation could not show "
                           "overfitting. Take them out of one of the two.")
    else:
        train, validation = _split(load_folder(folder))
    ordinary = folder / "ordinary" if (folder / "ordinary").is_dir() else shipped / "ordinary" / "validation"
    return Territory(str(name), train, validation, load_folder(ordinary), _prompts(validation))


def filtered(name) -> tuple[str, dict]:
    """Cut "liminal/kind=pool,maze" into the territory and its filter; a folder of that very name is no filter."""
    parts = str(name).split("/")
    first = next((i for i, part in enumerate(parts) if i and "=" in part), len(parts))
    if not all("=" in part for part in parts[first:]) or Path(name).expanduser().is_dir():
        return str(name), {}
    pairs = (part.split("=", 1) for part in parts[first:])
    return "/".join(parts[:first]), {key: tuple(values.split(",")) for key, values in pairs}


def shipped_territories() -> list[str]:
    """Name the territories that ship with the kit."""
    return sorted(folder.parent.name for folder in (data_dir() / "territories").glob("*/train"))


def _split(pictures: PictureFolder) -> tuple[PictureFolder, PictureFolder]:
    held_out = min(max(math.ceil(HELD_OUT * len(pictures)), FEWEST_HELD_OUT), MOST_HELD_OUT)
    if len(pictures) < 2 * FEWEST_HELD_OUT:
        raise LabError(f"data: {pictures.folder} has {len(pictures)} pictures, of which {FEWEST_HELD_OUT} would be held out to see "
                       f"overfitting. Give at least {2 * FEWEST_HELD_OUT}, or make the folders train and validation inside it.")
    ranked = sorted(pictures.hashes)
    chosen = set(ranked[:held_out])                           # a set of contents: copies go together
    sides = [[i for i, own in enumerate(pictures.hashes) if (own in chosen) == held] for held in (False, True)]
    if not sides[0]:
        raise LabError(f"data: all pictures in {pictures.folder} are the same one. Give different pictures.")
    return pictures.at(sides[0]), pictures.at(sides[1])


def _prompts(validation: PictureFolder) -> tuple[str, ...]:
    """Choose captions in the order of the pictures, of different kinds first where kinds are told."""
    first = {}
    for caption, attributes in zip(validation.captions, validation.attributes):
        first.setdefault(str(attributes.get("kind", caption)), caption)
    return tuple(dict.fromkeys([*first.values(), *validation.captions]))[:PROMPTS]


def whole_path(name: str) -> str:
    """Return what names a base, a territory or a file with its whole path where it is one of this folder's; a shipped name as it is."""
    place, _ = filtered(name)
    if not place or place in ("embedded", *shipped_territories()) or not Path(place).expanduser().exists():
        return name
    return str(Path(place).expanduser().resolve()) + name.removeprefix(place)


def load_folder(path) -> PictureFolder:
    """Open an image folder and check every file in it.

    LabError names the file: no pictures, a picture without a caption or a caption without its picture, a file that is
    truncated or no picture.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise LabError(f"data: there is no folder {folder}.")
    rows = _rows(folder)
    if not rows:
        inside = next((sub.name for sub in sorted(folder.iterdir()) if sub.is_dir() and any(map(_is_picture, sub.iterdir()))), None)
        raise LabError(f"data: {folder} has no pictures ({', '.join(SUFFIXES)})." + (f" Did you mean {folder / inside}?" if inside else ""))
    paths, captions, attributes = zip(*rows)
    shipped = data_dir().resolve() in folder.resolve().parents          # decoded by a test instead, for speed at the first click
    with Memo("sha256", sha256) if shipped else Memo("picture", _checked) as of:
        return PictureFolder(folder, paths, captions, attributes, tuple(of(path) for path in paths))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")


def _rows(folder: Path) -> list[tuple[Path, str, dict]]:
    """Match pictures with captions: (picture, caption, attributes) each."""
    pictures = sorted(filter(_is_picture, folder.iterdir()), key=lambda path: path.name)
    table = next((folder / name for name in ("metadata.jsonl", "metadata.csv") if (folder / name).is_file()), None)
    if table is None:
        return [(path, _text(path), {}) for path in pictures]
    rows = {}
    for where, row in (_jsonl(table) if table.suffix == ".jsonl" else _csv(table)):
        name, text = row.pop("file_name", None), row.pop("text", None)
        if not isinstance(name, str) or not isinstance(text, str):
            raise LabError(f"data: {where} needs file_name and text, both texts.")
        path = folder / name
        if not path.is_file():
            raise LabError(f"data: {where} names {name}, which is not in {folder}. Add the picture or delete the line.")
        if path in rows:
            raise LabError(f"data: {where} names {name} a second time. Delete one of the lines.")
        rows[path] = (path, text.strip(), row)
    if left := [path.name for path in pictures if path not in rows]:
        raise LabError(f"data: {left[0]} ({len(left)} in all) has no line in {table}. Add a caption, or take the picture out.")
    return list(rows.values())


def _text(picture: Path) -> str:
    beside = picture.with_suffix(".txt")
    if not beside.is_file():
        raise LabError(f"data: {picture} has no caption. Write {CAPTIONS}.")
    return " ".join(_read(beside).split())


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabError(f"data: {path} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None


def _jsonl(table: Path):
    for number, line in enumerate(_read(table).split("\n"), 1):
        if line.strip():
            where = f"{table}, line {number},"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise LabError(f"data: {where} is not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise LabError(f"data: {where} is not a JSON object such as {{\"file_name\": \"a.png\", \"text\": \"...\"}}.")
            yield where, row


def _csv(table: Path):
    reader = csv.DictReader(io.StringIO(_read(table), newline=""))
    try:
        for row in reader:
            yield f"{table}, line {reader.line_num},", {name: value for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise LabError(f"data: {table}, line {reader.line_num}, is no CSV ({error}): mend its quotation marks.") from None


def _checked(path: Path) -> str:
    """Decode a picture wholly, then hash its file."""
    _rgb(_open(path), path)
    return sha256(path)


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning)        # remarks on odd metadata are no concern of the pixels
        try:
            with Image.open(path) as picture:
                picture.load()
                return ImageOps.exif_transpose(picture)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise LabError(f"data: {path} has more than {Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels. Scale it down first.") from None
        except (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError) as error:
            raise LabError(f"data: {path} is truncated or not a picture ({error}). Replace it or take it out.") from None


def load_picture(path, size: int) -> np.ndarray:
    """Read one picture as uint8 (size, size, 3): upright, on white, its middle square, scaled by Lanczos."""
    picture = _rgb(_open(Path(path)), path)
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS))


def _rgb(picture: Image.Image, path) -> Image.Image:
    if picture.mode.startswith("I"):                          # 16 bits of grey: PIL's own conversion clips them to 8
        values = np.asarray(picture).astype(np.float64)
        return Image.fromarray((values.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise LabError(f"data: {path} holds floating-point values without a known white. Save it as PNG or JPEG.")
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")
