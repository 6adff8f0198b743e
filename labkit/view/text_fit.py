"""How wide words are, measured from the font before anything is drawn, and where to break them."""

import functools

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

HINTING = 1.04  # letters drawn on pixels are set a little wider than the font says


@functools.lru_cache(maxsize=1024)
def text_size(text: str, size: float) -> tuple[float, float]:
    """Return width and height that one line of text of a font size takes at most, all in points."""
    width, height, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return HINTING * width, height


def fitted(text: str, room: float, size: float) -> str:
    """Break the lines of a text that are wider than `room` points: first at two spaces, then at single ones.

    A single word that is wider stays whole.
    """
    lines = []
    for line in text.split("\n"):
        is_narrow = text_size(line, size)[0] <= room
        pieces = [line] if is_narrow else [part for piece in line.split("  ") for part in _broken(piece, room, size)]
        lines += pieces
    return "\n".join(lines)


def _broken(piece, room, size):
    lines = [""]
    for word in piece.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_size(longer, size)[0] > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
