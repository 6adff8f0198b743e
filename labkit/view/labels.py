"""Words beside the points of a figure, where they touch neither each other nor another point."""

import math

from labkit.view.style import STYLE
from labkit.view.text_fit import text_size

NEAR, FAR, STEP, TURNS = 10, 60, 3, 16  # points from the point that is named; directions tried
CLEAR = 2  # points kept free around words


def name_points(ax, points, names) -> None:
    """Write a name beside each point (x, y) of a line, as near as there is room inside the axes.

    A name that had to go far is joined to its point by a thin line. The axes' limits must be set by then.
    """
    inches = ax.figure.dpi / 72
    centres = [tuple(ax.transData.transform(point) / inches) for point in points]
    edges = [edge / inches for edge in ax.bbox.extents]
    leader = {"arrowstyle": "-", "color": STYLE["faint"], "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4}
    taken = [(x, y, 2 * NEAR - 2, 2 * NEAR - 2) for x, y in centres]  # boxes: x and y of the centre, width, height
    for (x, y), (u, v) in zip(centres, centres[1:], strict=False):  # the line itself
        parts = math.ceil(math.dist((x, y), (u, v)) / STEP) or 1
        taken += [(x + (u - x) * i / parts, y + (v - y) * i / parts, 1, 1) for i in range(parts)]
    for (x, y), name in zip(centres, names, strict=True):
        width, height = text_size(name, STYLE["small"])
        places = list(_places_around(x, y, width, height))
        free = [place for place in places
                if _inside(place, edges) and not any(_overlap(place, other) for other in taken)]
        place = (free or places)[0]
        taken.append(place)
        is_far = math.dist(place[:2], (x, y)) > 2 * NEAR + width / 2
        ax.annotate(name, (x, y), place[:2], xycoords="figure points", textcoords="figure points", ha="center",
                    va="center", fontsize=STYLE["small"], color=STYLE["text"], annotation_clip=False,
                    arrowprops=leader if is_far else None)


def _places_around(x, y, width, height):
    """Yield boxes for words of a size around a point, nearest first, in all directions."""
    for reach in range(NEAR, FAR, STEP):
        for angle in (2 * math.pi * turn / TURNS for turn in range(TURNS)):
            yield (x + (reach + width / 2) * math.cos(angle), y + (reach + height / 2) * math.sin(angle),
                   width + 2 * CLEAR, height + 2 * CLEAR)


def _inside(box, edges) -> bool:
    x, y, width, height = box
    left, bottom, right, top = edges
    return left <= x - width / 2 and x + width / 2 <= right and bottom <= y - height / 2 and y + height / 2 <= top


def _overlap(box, other) -> bool:
    x, y, width, height = box
    return 2 * abs(x - other[0]) < width + other[2] and 2 * abs(y - other[1]) < height + other[3]
