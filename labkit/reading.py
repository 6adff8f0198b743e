"""How a folder may be read: which part of each picture, captions from where, and folders named 10_NAME.

Standard library only, since a run's configuration checks it too.
"""

import re

from labkit.errors import LabError
from labkit.text import shown

# Where the square lies that is used of a picture: its share of what is left over, from the left and from the top.
# With "buckets" it is no square, but a rectangle of about the picture's own shape: `labkit.datasets.buckets`.
BUCKETS = "buckets"
CROPS = {"center": (0.5, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0), "left": (0.0, 0.5), "right": (1.0, 0.5),
         BUCKETS: (0.5, 0.5)}
NAMES, LINES, COLUMN, TEXT = "names", "lines", "column:", "text:"
SOURCES = (f"{NAMES} (captions from file names), {LINES} (each line of a .txt is a caption, one of them drawn at each "
           f"view), {COLUMN}NAME (a column of the table) or {TEXT}CAPTION (one caption for all)")
WITH_REPEATS = re.compile(r"(\d{1,4})_(\S.*)")                # folders of kohya's trainer: repeats and a caption
IMAGES = ("img", "image", "images")         # where it has them, beside log/ and model/


def is_source(captions: str) -> bool:
    """Tell whether a text names a source of captions."""
    return captions in (NAMES, LINES) or any(
        captions.startswith(start) and captions[len(start):].strip() for start in (COLUMN, TEXT))


def check(crop: str, captions: str | None) -> None:
    """Raise LabError where no crop and no source of captions are called so."""
    if crop not in CROPS:
        raise LabError(f"crop = {shown(crop)} is not possible: it must be one of {', '.join(CROPS)}.")
    if captions is not None and not is_source(captions):
        raise LabError(f"captions = {shown(captions)} is not possible: it must be {SOURCES}.")


def named(captions: str | None, start: str) -> str | None:
    """Return what follows `column:` or `text:`, None where captions have another source."""
    return captions[len(start):].strip() if captions and captions.startswith(start) else None
