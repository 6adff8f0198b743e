"""One look for every figure: palette, sizes, words for numbers, and a Figure that Jupyter shows by itself."""

import io
import threading

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.view.text_fit import fitted

# Widths are a notebook's output column; colours are readable on white and told apart by people who see no red or no
# green (Okabe and Ito 2008, the light ones darkened). Nothing is told by colour alone: every line has a label and a
# marker.
STYLE = {
    "width": 9.0, "height": 4.2, "dpi": 100, "retina": 1.2,  # inches, dots per inch, factor for sharp screens
    "text": "#222222", "faint": "#767676", "grid": "#E4E4E4",
    "margins": (1.0, 1.95, 0.55),                            # inches at left, right (for labels), bottom
    "title": 12.0, "label": 10.0, "small": 9.0,              # points
    "line": 1.8, "marker": 5.0, "band": 0.16,                # points, points, opacity
}
DRAWING = threading.Lock()  # matplotlib's renderer is not made for several threads
MARKERS = "osD^vPXh<>"
LINES = ("-", (0, (6, 1.5)), (0, (3, 1.2)), (0, (1, 1)), (0, (6, 1.2, 1, 1.2)))
VERDICTS = {  # symbol, colour
    "healthy": ("●", "#00785A"),
    "stagnating": ("▬", "#0072B2"),
    "overshooting": ("▲", "#6E4A00"),
    "overfitting": ("◆", "#A3487F"),
    "diverged": ("✖", "#C44601"),
    "not enough evidence": ("?", "#5F5F5F"),
}
PINNED = ("v", "#5D00D0")  # marker and colour of a run that others are held against: no verdict's


# By kind of file, what its encoder is told: several grids of pictures have to fit into a kept notebook.
ENCODED = {"jpeg": {"quality": 60, "optimize": True, "progressive": True}, "webp": {"quality": 50, "method": 6}}


class LabFigure(Figure):
    """A matplotlib Figure that a notebook displays without pyplot, with its summary as alternative text.

    pyplot keeps state per process and breaks when callbacks run in other threads, so the kit never imports it.
    `photographic` figures are sent as JPEG: a grid of pictures is four times smaller that way.
    """

    def __init__(self, width=STYLE["width"], height=STYLE["height"], *, photographic=False, summary=""):
        """Begin an empty figure of `width` by `height` inches; `summary` is its alternative text."""
        super().__init__(figsize=(width, height), dpi=STYLE["dpi"], facecolor="white")
        self.photographic, self.summary = photographic, summary

    def place_axes(self, left, bottom, width, height):
        """Add axes at a place given in inches from the lower left corner."""
        all_width, all_height = self.get_size_inches()
        place = (left / all_width, bottom / all_height, width / all_width, height / all_height)
        return self.add_axes(place, axes_class=LabAxes)

    def encoded(self, kind: str | None = None, scale: float = STYLE["retina"]) -> bytes:
        """Return the drawing as bytes of a PNG, JPEG or WebP, `scale` times the nominal size."""
        kind = kind or ("jpeg" if self.photographic else "png")
        buffer = io.BytesIO()
        options = {"pil_kwargs": ENCODED[kind]} if kind in ENCODED else {}
        with DRAWING:
            self.savefig(buffer, format=kind, dpi=STYLE["dpi"] * scale, **options)
        return buffer.getvalue()

    def _display(self, kind, scale: float = STYLE["retina"]):
        width, height = (int(side * STYLE["dpi"]) for side in self.get_size_inches())
        return light(self.encoded(kind, scale)), {"width": width, "height": height, "alt": self.summary}

    def _repr_png_(self):
        return None if self.photographic else self._display("png")

    def _repr_jpeg_(self):
        return self._display("jpeg") if self.photographic else None


def light(data: bytes, colors=128) -> bytes:
    """Return a PNG with a palette, a third as large, so that a notebook full of figures can be kept.

    Anything but a PNG is returned as it is.
    """
    if not data.startswith(b"\x89PNG"):
        return data
    from PIL import Image  # only where a figure is shown

    picture, buffer = Image.open(io.BytesIO(data)).convert("RGB"), io.BytesIO()
    picture.quantize(colors, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class LabAxes(Axes):
    """Axes that a notebook displays as the figure they belong to, where a cell ends with `plot_x(...)`."""

    def _repr_png_(self):
        return self.figure._repr_png_()

    def _repr_jpeg_(self):
        return self.figure._repr_jpeg_()


def new_axes(ax=None, *, width=STYLE["width"], height=STYLE["height"], top=0.4, right=None):
    """Return `ax`, or fresh axes on a figure of their own with room for labels at the right, in the shared look."""
    left, label_room, bottom = STYLE["margins"]
    right = label_room if right is None else right
    ax = ax or LabFigure(width, height).place_axes(left, bottom, width - left - right, height - bottom - top)
    ax.grid(True, color=STYLE["grid"], linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=STYLE["small"], colors=STYLE["text"], length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(STYLE["faint"])
    return ax


def name_axes(ax, x: str, y: str, title: str = "", color: str = STYLE["text"], height: float | None = None) -> None:
    """Write axis names (with units) and a title at the left.

    `height` is the title's, in fractions of the axes, where a second scale at the top needs room.
    """
    ax.set_xlabel(x, fontsize=STYLE["label"], color=STYLE["text"])
    ax.set_ylabel(y, fontsize=STYLE["label"], color=STYLE["text"])
    if title:
        ax.set_title(title, loc="left", fontsize=STYLE["title"], color=color, fontweight="bold", pad=10, y=height)


def ordered_colors(count: int) -> list:
    """Return `count` colours from dark blue (first) to orange (last), also ordered in lightness."""
    return [matplotlib.colormaps["plasma"](x) for x in numpy.linspace(0.02, 0.68, max(count, 2))][:count]


def direct_labels(ax, labels) -> None:
    """Write `(y, text, color)` labels at the right edge of the axes, broken to fit and pushed apart where they touch.

    A label that had to move is joined to its line's end by a thin leader.
    """
    room = (ax.figure.bbox.width - ax.bbox.x0 - 1.03 * ax.bbox.width) / ax.figure.dpi * 72 - 2  # points
    labels = [(y, fitted(text, room, STYLE["small"]), color) for y, text, color in labels]
    line = STYLE["small"] * 1.35 / (ax.bbox.height / ax.figure.dpi * 72)  # height of a line, in fractions of the axes
    to_fraction = (ax.transScale + ax.transLimits).transform
    wanted = [(min(max(to_fraction((1.0, y))[1], 0.0), 1.0), text, color) for y, text, color in sorted(labels)]
    placed = spread([y for y, *_ in wanted], [line * (1 + text.count("\n")) for _, text, _ in wanted])
    for (y, text, color), at in zip(wanted, placed, strict=True):
        leader = {"arrowstyle": "-", "color": color, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        ax.annotate(text, (1.0, y), (1.03, at), xycoords="axes fraction", textcoords="axes fraction",
                    va="center", ha="left", fontsize=STYLE["small"], color=color, arrowprops=leader,
                    annotation_clip=False)


def spread(centres, heights) -> list[float]:
    """Move sorted centres of boxes in 0..1 apart until none overlap, as little as possible."""
    blocks = []  # [centre, height, members]: touching boxes move as one
    for centre, height in zip(centres, heights, strict=True):
        blocks.append([centre, height, [height]])
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < (blocks[-1][1] + blocks[-2][1]) / 2:
            (above, m, upper), (below, n, lower) = blocks.pop(), blocks.pop()
            blocks.append([(above * m + below * n) / (m + n), m + n, lower + upper])
            blocks[-1][0] = min(max(blocks[-1][0], (m + n) / 2), max(1 - (m + n) / 2, (m + n) / 2))
    placed = []
    for centre, height, members in blocks:
        edge = centre - height / 2
        for member in members:
            placed.append(edge + member / 2)
            edge += member
    return placed
