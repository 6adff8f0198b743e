"""What a camera sees of the things in a room, by their boxes: quick and cautious, no rendering."""

import numpy as np

_CELLS = np.stack(np.meshgrid(*[np.array([-0.8, 0.0, 0.8])] * 3), -1).reshape(-1, 3) / 2
# Share of the picture's width or height that a thing must span, and share of its box that must be in sight.
MAIN_SPAN, SPAN, SHARE = 0.27, 0.08, 0.45


def projected(scene, points):
    """Picture coordinates (N, 2) from -1 to 1 and whether each point lies before the camera."""
    eye, target = np.asarray(scene.eye), np.asarray(scene.target)
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(ahead, (0, 1, 0))
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, ahead), ahead])
    seen = (points - eye) @ axes.T
    depth = np.maximum(seen[:, 2:], 1e-3)
    return seen[:, :2] / depth / np.tan(np.radians(scene.fov) / 2), seen[:, 2] > 0.3


def hidden(eye, points, lows, highs):
    """Which points (N) lie behind any of the boxes (M)."""
    way = (points - eye)[:, None]
    way = np.where(np.abs(way) < 1e-6, 1e-6, way)
    first, second = (lows[None] - eye) / way, (highs[None] - eye) / way
    enter, leave = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    return ((enter < leave) & (enter < 0.97) & (leave > 0)).any(1)


MANY = ("sofas", "beds", "desks", "chairs", "stools", "bookshelves", "benches", "tables", "columns", "hanging lamps",
        "ceiling lights")
AIRY = ("ladder", "window", "hanging lamp", "hanging lamps", "floor lamp", "towels", "vase", "rail", "stools",
        "desk lamp", "bedside lamp")
OPEN = ("table", "tables", "coffee table", "desk", "desks", "chair", "chairs", "stools", "seats")


def body(name, low, high):
    """The part of a box that hides what is behind: three quarters of width and depth, of tables the upper part."""
    middle, half = (low + high) / 2, (high - low) / 2 * (0.75, 1.0, 0.75)
    low, high = middle - half, middle + half
    return (np.array([low[0], 0.55 * high[1], low[2]]), high) if name in OPEN else (low, high)


def sees(room, names, a):
    """Whether all named things are in sight, the main one large, and the plant on its side of the picture."""
    eye = np.asarray(room.scene.eye)
    boxes = room.boxes
    if any((eye > low - 0.45).all() and (eye < high + 0.45).all() for name, low, high in boxes if high[1] > 0.1):
        return False
    solid = [(i, *body(name, low, high)) for i, (name, low, high) in enumerate(boxes)
             if (high - low).min() > 0.15 and name not in AIRY]
    for name in names:
        main = name == a["main_object"]
        found, wanted = 0, 2 if name in MANY else 1
        wide = [np.inf, -np.inf]
        for i, (label, low, high) in enumerate(boxes):
            if label != name:
                continue
            points = (low + high) / 2 + _CELLS * (high - low)
            flat, before = projected(room.scene, points)
            inside = before & (np.abs(flat) < 0.97).all(1)
            if inside.mean() < (0.35 if label in MANY or label == "rug" else 0.55):
                continue
            others = [(lo, hi) for other, lo, hi in solid if other != i]
            clear = inside
            if others:
                clear = inside & ~hidden(eye, points, *map(np.array, zip(*others, strict=True)))
            span = np.ptp(flat[inside], axis=0).max() / 2
            share = SHARE if main else 0.33 if label in MANY else 0.42
            if clear.mean() >= share and span >= (MAIN_SPAN / wanted if main else SPAN):
                found += 1
                wide = [min(wide[0], flat[:, 0].min()), max(wide[1], flat[:, 0].max())]
        if found < wanted and found < sum(label == name for label, *_ in boxes):
            return False
        if found == 0 or name == "plant" and (sum(wide) > 0) == (a["plant"] == "left"):
            return False
    return True
