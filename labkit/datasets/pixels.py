"""One picture file as pixels: opened whole, upright, in sRGB, on white. No torch here."""

import base64
import functools
import hashlib
import importlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, features

from labkit.errors import LabError
from labkit.files.content import sha256, sha256_of_texts
from labkit.reading import BUCKETS, CROPS

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".jp2",
            ".tga")
LIBRARIES = {".webp": "webp", ".avif": "avif", ".jp2": "jpg_2000"}      # that a build of Pillow may lack
# Plug-ins that teach Pillow a kind of pictures where they are installed: the module, and the package that brings it.
PLUGINS = {".heic": ("pillow_heif", "pillow-heif"), ".heif": ("pillow_heif", "pillow-heif"),
           ".jxl": ("pillow_jxl", "pillow-jxl-plugin"), ".avif": ("pillow_avif", "pillow-avif-plugin")}
# Pictures that Pillow alone cannot read.
FOREIGN = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".psd", ".svg")
# What Pillow raises on files that are no whole pictures; a false length asks for gigabytes.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, MemoryError)
THUMB = 16                                  # pixels a side of the thumbnails by which copies are recognized
SAME_COLOURS = 2                            # of 255: a profile that changes no colour by more is sRGB by another name
# The modes of a picture that a profile of each kind is for.
PROFILED = {"RGB": ("RGB", "RGBA", "P", "PA", "L", "LA", "1"), "L": ("L", "LA", "1"), "CMYK": ("CMYK",)}
# What puts a picture upright, by the orientation in its EXIF data; those that lie on a side change width and height.
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}
LYING = {TURNS[orientation] for orientation in (5, 6, 7, 8)}
# What becomes of colours that an earlier labkit read otherwise, and what then belongs to the picture's name.
READ_ANEW = {"converted": "sRGB", "Lab": "Lab"}
PNG, PNG_TEXT = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt")


class Look(NamedTuple):
    """Hold what was seen of a picture when it was decoded; plain values, so that a Memo can keep them."""

    sha256: str                             # of the file, and of how its colours are read
    width: int                              # pixels, upright
    height: int
    pixels: str                             # SHA-256 of the decoded pixels
    thumb: str                              # base64 of uint8 (THUMB, THUMB, 3)
    profile: str                            # "", "converted", "Lab" or "unreadable"

    @property
    def lost(self) -> float:
        """Return the share of the picture outside the square that is used of it."""
        return 1 - min(self.width, self.height) / max(self.width, self.height)

    def is_moved_by(self, crop: str) -> bool:
        """Tell whether a crop takes another part of this picture than the square in the middle."""
        if crop == BUCKETS:
            return self.width != self.height
        left, top = CROPS[crop]
        return left != 0.5 and self.width > self.height or top != 0.5 and self.height > self.width


def is_picture(path: Path) -> bool:
    """Tell by a file's name whether it is a picture that can be read here."""
    suffix = path.suffix.lower()
    is_built_in = suffix in SUFFIXES and (suffix not in LIBRARIES or _has(LIBRARIES[suffix]))
    return is_built_in or suffix in PLUGINS and _has_plugin(PLUGINS[suffix][0])


@functools.cache
def _has_plugin(module: str) -> bool:
    """Load a plug-in of Pillow, which makes its kind of pictures known; False where it is not installed."""
    try:
        loaded = importlib.import_module(module)
    except (ImportError, OSError):          # OSError: one of its own libraries is missing
        return False
    if hasattr(loaded, "register_heif_opener"):               # the others make themselves known on import
        loaded.register_heif_opener()
    return True


@functools.cache
def _has(library: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # an older Pillow remarks on what it has never heard of
        return features.check(library)


def is_foreign(path: Path) -> bool:
    """Tell by a file's name whether it is a picture that cannot be read here."""
    suffix = path.suffix.lower()
    return suffix in (*FOREIGN, *SUFFIXES) and not is_picture(path)


def look(path: Path | str) -> Look:
    """Decode a picture wholly and return its Look; LabError names a file that is truncated or no picture."""
    path = Path(path)
    picture, profile = _open(path)
    thumb = np.asarray(picture.resize((THUMB, THUMB), Image.Resampling.BOX))
    name = sha256(path)
    if profile in READ_ANEW:                # other pixels than an earlier labkit took from the same file
        name = sha256_of_texts([name, READ_ANEW[profile]])
    pixels = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
    width, height = picture.size
    return Look(name, width, height, pixels, base64.b64encode(thumb.tobytes()).decode(), profile)


def thumbs(looks: Iterable[Look]) -> np.ndarray:
    """Return the small versions of n pictures as float32 (n, THUMB * THUMB * 3)."""
    small = b"".join(base64.b64decode(look.thumb) for look in looks)
    return np.frombuffer(small, np.uint8).reshape(-1, 3 * THUMB**2).astype(np.float32)


def load_picture(path: Path | str, size: int | tuple[int, int], crop: str = "center") -> np.ndarray:
    """Read one picture as uint8 (height, width, 3): upright, in sRGB, on white, cut to shape, scaled by Lanczos.

    size    (height, width) in pixels, or the side of a square
    crop    one of CROPS: where the part of that shape lies, as large as the picture allows
    """
    picture, _ = _open(Path(path))
    height, width = (size, size) if isinstance(size, int) else size
    return np.asarray(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS, centering=CROPS[crop]))


def upright_size(path: Path | str) -> tuple[int, int]:
    """Return a picture's (height, width) in pixels, as one sees it; only the head of the file is read."""
    with Image.open(path) as picture:
        if picture.format == "TIFF":        # which Pillow turns by itself: wholly when it is loaded, in part before
            picture.load()
        width, height = picture.size
        is_turned = _turn(picture) in LYING
    return (width, height) if is_turned else (height, width)


def _open(path: Path) -> tuple[Image.Image, str]:
    """Return a picture as RGB and what became of its colour profile."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning)         # remarks on odd metadata, not on pixels
        try:
            return _rgb(_decoded(path), path)
        except LabError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            most = Image.MAX_IMAGE_PIXELS / 1e6
            raise LabError(f"data: {path} has more than {most:.0f} million pixels. Scale it down first.") from None
        except PermissionError as error:
            raise LabError(f"data: {path} cannot be read ({error.strerror}). "
                           "Change its permissions, or take it out.") from None
        except DAMAGED as error:
            reason = error or type(error).__name__
            raise LabError(f"data: {path} is truncated or not a picture ({reason}). "
                           "Replace it or take it out.") from None


def _decoded(path: Path) -> Image.Image:
    is_picture(path)                        # loads the plug-in that its kind needs
    try:
        return _upright(path)
    except ValueError:                      # a text above Pillow's limit: some programs write whole workflows into one
        data = path.read_bytes()
        if not data.startswith(PNG):
            raise
        return _upright(io.BytesIO(_without_text(data)))


def _upright(source: Path | io.BytesIO) -> Image.Image:
    with Image.open(source) as picture:
        picture.load()
        turn = _turn(picture)
        return picture.copy() if turn is None else picture.transpose(turn)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """Return the transposition that puts a picture upright, by its metadata; None where these tell none.

    ImageOps.exif_transpose also writes the metadata anew, and stops where that fails (Pillow #8605, #8965).
    """
    try:
        return TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:                       # each part of the metadata has errors of its own; the pixels are whole
        return None


def _without_text(data: bytes) -> bytes:
    """Take the text chunks out of a PNG file. W3C, PNG, section 5: length, type, data and checksum of each chunk."""
    kept, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in PNG_TEXT:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _rgb(picture: Image.Image, path: Path) -> tuple[Image.Image, str]:
    """Return a picture as RGB on white, and what became of its colour profile."""
    if picture.mode == "F":
        raise LabError(f"data: {path} holds floating-point values without a known white. Save it as PNG or JPEG.")
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):        # 16 bits of grey: PIL's own conversion clips them to 8
        values = np.asarray(picture).astype(np.float64)
        picture = Image.fromarray((values.clip(0, 65535) / 257).round().astype(np.uint8))
    has_alpha = "A" in picture.getbands() and picture.mode != "LAB"     # whose A is a colour
    alpha = picture.convert("RGBA") if has_alpha or "transparency" in picture.info else None
    needs_profile = profile and picture.mode != "LAB"
    unprofiled = "Lab" if picture.mode == "LAB" else ""
    colours, became = _in_srgb(picture, profile) if needs_profile else (None, unprofiled)
    if alpha is None:
        return colours or picture.convert("RGB"), became
    if colours:
        colours.putalpha(alpha.getchannel("A"))
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), colours or alpha).convert("RGB"), became


def _in_srgb(picture: Image.Image, profile: bytes) -> tuple[Image.Image | None, str]:
    """Return the colours as sRGB, or None where they stay as they are, and what became of the profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space]
        if picture.mode not in PROFILED[mode]:          # a profile of another kind of picture
            return None, "unreadable"
        convert = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK" and _changes_least(convert, mode):
            return None, ""
        return ImageCms.applyTransform(picture.convert(mode), convert), "converted"
    except (ImageCms.PyCMSError, ImportError, OSError, KeyError, ValueError, TypeError):
        return None, "unreadable"


def _changes_least(convert: Any, mode: str) -> bool:
    """Tell whether a transform of ImageCms leaves all colours as they are, SAME_COLOURS aside."""
    before, after = _ramp(mode).convert("RGB"), ImageCms.applyTransform(_ramp(mode), convert)
    return bool(np.abs(_levels(after) - _levels(before)).max() <= SAME_COLOURS)


def _ramp(mode: str) -> Image.Image:
    """Return a picture of colours from all over, to see what a profile does to them."""
    if mode == "L":
        return Image.fromarray(np.arange(0, 256, 5, dtype=np.uint8)[None])
    return Image.fromarray(np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), -1).reshape(6, 36, 3))


def _levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)
