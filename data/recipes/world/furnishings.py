"""Smaller things of the ordinary rooms: bath, lamps, plants, windows, doors, what hangs on a wall.

As in furniture.py a thing is a list of (part, colour, surface), its back at z = 0. Wall things are centred on y = 0.
"""

import numpy as np

from recipes.world.furniture import METAL, matte
from recipes.world.shapes import beam, box, column, ellipsoid, lathe, linear, merged, mixed, quad, quads, rounded

WARM = (1.0, 0.72, 0.42)


def scaled(part, x, z):
    """A part stretched along x and z."""
    return part[0] * np.array([x, 1, z], dtype=np.float32), part[1], part[2]


def bathtub(rng, colour):
    """A bathtub, painted outside and white inside: round on feet or square."""
    tint = linear(colour)
    if rng.random() < 0.5:
        outer = scaled(lathe((0, 0, 0), [(0.6, 0.1), (0.82, 0.3), (0.94, 0.6)], sides=32), 0.85, 0.42)
        inner = scaled(lathe((0, 0, 0), [(0.94, 0.6), (1.0, 0.62), (0.9, 0.63), (0.8, 0.35), (0.6, 0.2), (0, 0.2)],
                             sides=32),
                       0.85, 0.42)
        thing = [(outer, tint, "gloss"), (inner, linear("white"), "gloss")]
        thing += [(ellipsoid((sx * 0.5, 0.08, sz * 0.2), (0.06, 0.09, 0.06)), linear("#d8b860"), "metal")
                  for sx in (-1, 1) for sz in (-1, 1)]
    else:
        thing = [(box((0, 0.29, s * 0.37), (1.7, 0.56, 0.03)), tint, "gloss") for s in (-1, 1)]
        thing += [(box((s * 0.835, 0.29, 0), (0.03, 0.56, 0.74)), tint, "gloss") for s in (-1, 1)]
        thing += [(box((0, 0.58, s * 0.36), (1.76, 0.05, 0.1)), linear("white"), "gloss") for s in (-1, 1)]
        thing += [(box((s * 0.82, 0.58, 0), (0.12, 0.05, 0.8)), linear("white"), "gloss") for s in (-1, 1)]
        thing += [(box((0, 0.2, 0), (1.64, 0.04, 0.7)), linear("white"), "gloss")]
    thing += [(beam((-0.72, 0.6, 0), (-0.72, 0.85, 0), 0.04), linear(METAL), "metal"),
              (beam((-0.74, 0.84, 0), (-0.56, 0.8, 0), 0.04), linear(METAL), "metal")]
    return [((p[0] + np.array([0, 0, 0.44], dtype=np.float32), p[1], p[2]), c, s) for p, c, s in thing]


def toilet():
    """A white toilet with its tank."""
    bowl = lathe((0, 0, 0.48), [(0.14, 0), (0.12, 0.18), (0.22, 0.38), (0.24, 0.42), (0, 0.43)])
    return [(bowl, linear("white"), "gloss"), (rounded((0, 0.6, 0.12), (0.46, 0.44, 0.22), 0.04), linear("white"),
                                               "gloss"),
            (rounded((0, 0.2, 0.2), (0.24, 0.4, 0.36), 0.05), linear("white"), "gloss"),
            (box((0, 0.84, 0.12), (0.12, 0.03, 0.08)), linear(METAL), "metal")]


def basin(y):
    """A bowl with its tap, standing at height y."""
    bowl = lathe((0, y, 0.3), [(0.12, 0), (0.24, 0.12), (0.26, 0.14), (0.22, 0.14), (0.1, 0.03), (0, 0.03)])
    return [(bowl, linear("white"), "gloss"), (beam((0, y, 0.06), (0, y + 0.26, 0.06), 0.04), linear(METAL), "metal"),
            (beam((0, y + 0.25, 0.06), (0, y + 0.23, 0.2), 0.04), linear(METAL), "metal")]


def sink():
    """A white washbasin on its foot."""
    return [(lathe((0, 0, 0.24), [(0.16, 0), (0.09, 0.1), (0.08, 0.74), (0.2, 0.78)]), linear("white"),
             "gloss")] + basin(0.74)


def mirror(w, tall, frame):
    """A mirror in a frame."""
    return [(box((0, 0, 0.015), (w + 0.1, tall + 0.1, 0.03)), linear(frame), "matte"),
            (box((0, 0, 0.025), (w, tall, 0.03)), linear("#dfe9ee"), "metal")]


def washing_machine():
    """A white washing machine with its round door."""
    ring = lathe((0, 0, 0), [(0.2, 0), (0.2, 0.03), (0.14, 0.04), (0, 0.02)])
    upright = (ring[0][:, [0, 2, 1]] * [1, -1, 1] + [0, 0.42, 0.58], ring[1][:, [0, 2, 1]] * [1, -1, 1], ring[2])
    return [(rounded((0, 0.43, 0.29), (0.62, 0.86, 0.58), 0.03), linear("white"), "gloss"),
            (upright, linear("#40464c"), "gloss"), (box((0, 0.78, 0.58), (0.5, 0.07, 0.02)), linear("#70767c"),
                                                    "matte")]


def towels(rng, colour):
    """Two towels over a rail."""
    thing = [(beam((-0.6, 0.4, 0.1), (0.6, 0.4, 0.1), 0.035), linear(METAL), "metal")]
    for x, low in ((-0.28, rng.uniform(-0.45, -0.3)), (0.28, rng.uniform(-0.45, -0.2))):
        thing += matte((rounded((x, (0.44 + low) / 2, 0.1), (0.48, 0.44 - low, 0.09), 0.03), colour),
                       (box((x, low + 0.1, 0.148), (0.48, 0.05, 0.01)),
                        mixed(colour, "white" if colour != "white" else "black", 0.5)))
    return thing


def folds(colour, w, tall, deep=0.05, rng=None):
    """Hanging cloth in soft folds, centred in x, from y = 0 up to tall, at z = 0."""
    n = 6 * max(3, round(w / 0.16))
    x, phase = np.linspace(-w / 2, w / 2, n), np.linspace(0, 6.283 * max(3, round(w / 0.16)), n)
    z, slope = deep * np.sin(phase), np.cos(phase)
    normal = np.stack([-slope, 0 * x, np.ones(n)], 1)
    normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    low, high = np.stack([x, 0 * x, z], 1), np.stack([x, 0 * x + tall, z], 1)
    i = np.arange(n - 1)
    faces = np.concatenate([np.stack([i, i + 1, i + n + 1], 1), np.stack([i, i + n + 1, i + n], 1)])
    part = np.concatenate([low, high]).astype(np.float32), np.concatenate([normal, normal]), faces
    return [(part, linear(colour), "matte")]


def window(rng, w, tall, top, low, dark, curtains):
    """A framed window with sky and hills behind it, and curtains of a colour beside it unless it is 'none'."""
    x, hill = np.linspace(-w / 2, w / 2, 7), rng.uniform(0.12, 0.35)
    pane = quad((-w / 2, -tall / 2, 0.02), (w, 0, 0), (0, tall, 0))
    thing = [(pane, np.array([low, low, top, top], dtype=np.float32), "light")]
    heights = [tall * hill * rng.uniform(0.7, 1.1) for _ in x]
    corners = [(x[i], -tall / 2, 0.025) for i in range(6)]
    land = quads(corners, [(w / 6, 0, 0)] * 6, [(0, 0.5 * (heights[i] + heights[i + 1]), 0) for i in range(6)])
    thing.append((land, np.asarray(dark, dtype=np.float32), "light"))
    bars = [box((s * w / 2, 0, 0.04), (0.09, tall + 0.09, 0.07)) for s in (-1, 1)]
    bars += [box((0, s * tall / 2, 0.04), (w + 0.09, 0.09, 0.07)) for s in (-1, 1)]
    for i in range(1, max(2, round(w / 0.6))):
        bars.append(box((w * (i / max(2, round(w / 0.6)) - 0.5), 0, 0.035), (0.05, tall, 0.04)))
    if rng.random() < 0.6:
        bars.append(box((0, rng.choice((0.0, tall * 0.2)), 0.035), (w, 0.05, 0.04)))
    bars.append(box((0, -tall / 2 - 0.05, 0.08), (w + 0.2, 0.05, 0.16)))
    thing += matte((merged(bars), "white"))
    if curtains != "none":
        for s in (-1, 1):
            cloth, colour, surface = folds(curtains, 0.42, tall + 0.35)[0]
            thing.append(((cloth[0] + np.array([s * (w / 2 + 0.15), -tall / 2 - 0.15, 0.16], dtype=np.float32),
                           *cloth[1:]),
                          colour, surface))
        thing += matte((beam((-w / 2 - 0.45, tall / 2 + 0.2, 0.16), (w / 2 + 0.45, tall / 2 + 0.2, 0.16), 0.04),
                        "#4a3020"))
    return thing


def door(rng):
    """A closed door in its frame."""
    colour = linear(rng.choice(("#e6e2d8", "#8a5a34", "#5c3820", "#c09060")))
    thing = matte((box((0, 1.08, 0.02), (1.08, 2.16, 0.05)), colour * 0.75),
                  (box((0, 1.03, 0.04), (0.92, 2.06, 0.06)), colour))
    thing += matte(*((box((sx * 0.2, y, 0.07), (0.28, h, 0.015)), colour * 0.85) for sx in (-1, 1) for y,
                     h in ((0.55, 0.7), (1.45, 0.8))))
    return thing + [(box((0.36, 1.0, 0.1), (0.14, 0.05, 0.06)), linear("#d8b860"), "metal")]


def doorway(w):
    """The frame of an open doorway."""
    frame = [box((s * (w / 2 + 0.04), 1.1, 0.05), (0.1, 2.2, 0.1)) for s in (-1, 1)]
    return matte((merged(frame + [box((0, 2.2, 0.05), (w + 0.18, 0.1, 0.1))]), "white"))


def painting(rng, colour):
    """A framed picture of one colour with a paler shape in it."""
    w, tall = rng.choice(((0.62, 0.5), (0.5, 0.66), (0.58, 0.58), (0.95, 0.6)))
    return matte((box((0, 0, 0.02), (w + 0.12, tall + 0.12, 0.04)), rng.choice(("white", "brown", "black"))),
                 (box((0, 0, 0.03), (w, tall, 0.04)), colour))


def clock():
    """A round wall clock."""
    face = lathe((0, 0, 0), [(0.27, 0), (0.27, 0.05), (0.23, 0.05)])
    disc = lathe((0, 0, 0), [(0.23, 0.04), (0, 0.04)])
    up = [(p[0][:, [0, 2, 1]] * [1, -1, 1], p[1][:, [0, 2, 1]] * [1, -1, 1], p[2]) for p in (face, disc)]
    return matte((up[0], "black"), (up[1], "white"), (beam((0, 0, 0.05), (0, 0.17, 0.05), 0.03), "black"),
                 (beam((0, 0, 0.05), (0.12, -0.05, 0.05), 0.03), "black"))


def board(colour, w=1.5, tall=0.9):
    """A blackboard or whiteboard in a frame."""
    return matte((box((0, 0, 0.02), (w + 0.1, tall + 0.1, 0.03)), "#c09060" if colour == "black" else "grey"),
                 (box((0, 0, 0.03), (w, tall, 0.03)), "#26302c" if colour == "black" else "#f4f4f2"),
                 *((box((-0.2 * w + 0.05 * i, tall * (0.28 - 0.18 * i), 0.05),
                        (w * (0.45 - 0.07 * (i % 3)), 0.03, 0.005)),
                    "white" if colour == "black" else "#3050a0") for i in range(4)))


def shelf(rng, w=1.4, bottles=True):
    """Two boards on the wall with bottles and jars."""
    thing = []
    for y in (-0.22, 0.22):
        thing += matte((box((0, y, 0.12), (w, 0.045, 0.22)), "#8a5a34"))
        x = -w / 2 + 0.1
        while x < w / 2 - 0.08:
            tall, r = rng.uniform(0.18, 0.28), rng.uniform(0.06, 0.09)
            colour = linear(rng.choice(("#e4dcc8", "#3f7a48", "#c8743a", "#eeeeea", "#2f5a8c", "#8a3028", "#d8b04a")))
            thing.append((lathe((x, y + 0.02, 0.12), [(r, 0), (r, tall * 0.7), (r * 0.4, tall), (0, tall)], sides=10),
                          colour, "gloss"))
            x += rng.uniform(0.24, 0.36)
    return thing


def ladder(tall=2.2):
    """A library ladder leaning on its shelves; its back is its top end."""
    rails = [beam((s * 0.24, 0, 0.6), (s * 0.2, tall, 0.02), 0.07) for s in (-1, 1)]
    steps = [(tall * t, 0.6 - 0.58 * t) for t in np.linspace(0.1, 0.92, 7)]
    rungs = [beam((-0.22, y, z), (0.22, y, z), 0.06) for y, z in steps]
    return matte((merged(rails + rungs), "#d8a868"))


def pillar(tall, square, rng):
    """A column with its foot and head."""
    body = box((0, tall / 2, 0), (0.34, tall, 0.34)) if square else column((0, 0, 0), 0.18, tall)
    return matte((body, "#e8e4dc"), *((box((0, y, 0), (0.48, 0.14, 0.48)), "#d8d4cc") for y in (0.07, tall - 0.07)))


def fireplace(rng):
    """A fireplace with its mantel and a fire."""
    stone = linear(rng.choice(("#e8e4dc", "#b8b0a4", "#9a5a44")))
    thing = matte((box((0, 0.5, 0.16), (0.84, 1.0, 0.26)), "#18181a"),
                  *((box((s * 0.55, 0.55, 0.18), (0.28, 1.1, 0.34)), stone) for s in (-1, 1)),
                  (box((0, 0.97, 0.18), (1.0, 0.28, 0.34)), stone),
                  (box((0, 1.14, 0.2), (1.5, 0.09, 0.44)), stone * 0.95))
    return thing + [(ellipsoid((x, 0.14 + h / 2, 0.32), (0.08, h, 0.04)), np.array((1.0, 0.36, 0.06)) * 2.2, "light")
                    for x, h in ((-0.2, 0.14), (0.0, 0.24), (0.18, 0.16))]


def television():
    """A wide black screen on a low board."""
    return matte((box((0, 0.24, 0.22), (1.5, 0.42, 0.4)), "#8a6a4a"),
                 (box((0, 0.5, 0.2), (0.4, 0.06, 0.2)), "black")) + \
        [(box((0, 0.92, 0.2), (1.3, 0.76, 0.05)), linear("#101014"), "gloss")]


def globe():
    """A globe on a stand."""
    return matte((column((0, 0, 0), 0.2, 0.05), "#5c3820"), (column((0, 0, 0), 0.03, 0.75), "#5c3820"),
                 (ellipsoid((0, 0.98, 0), (0.27, 0.27, 0.27)),
                  "#3a78b8"), (ellipsoid((0.06, 1.02, 0.04), (0.23, 0.19, 0.235)), "#7a9a4a"))


def vase(rng):
    """A vase with flowers, standing at y = 0."""
    pot = linear(rng.choice(("#e8e4dc", "#5a7a9a", "#b5562c")))
    thing = [(lathe((0, 0, 0), [(0.06, 0), (0.12, 0.12), (0.05, 0.26), (0.07, 0.3)], sides=16), pot, "gloss")]
    for _ in range(6):
        x, z, y = rng.uniform(-0.15, 0.15), rng.uniform(-0.13, 0.13), rng.uniform(0.42, 0.6)
        thing += matte((beam((0, 0.26, 0), (x, y, z), 0.02), "#3f7a38"),
                       (ellipsoid((x, y, z), (0.075, 0.06, 0.075)), rng.choice(("#e8e0f0", "#e8c8d0", "#f0e0a0"))))
    return thing


def plant(rng):
    """A potted plant: leafy balls, or long leaves."""
    pot = lathe((0, 0, 0.28), [(0, 0), (0.17, 0), (0.24, 0.38), (0.2, 0.38), (0.2, 0.34), (0, 0.34)])
    thing = matte((pot, rng.choice(("white", "#b5562c", "grey"))), (column((0, 0.3, 0.28), 0.03, 0.5), "brown"))
    if rng.random() < 0.5:
        for _ in range(9):
            r, tint = rng.uniform(0.16, 0.22), mixed("#1f7a2e", "#63b23c", rng.random())
            centre = (rng.uniform(-0.15, 0.15), rng.uniform(0.75, 1.25), 0.3 + rng.uniform(-0.1, 0.18))
            thing += matte((ellipsoid(centre, (r, r * 0.85, r)), tint))
        return thing
    for i in range(11):
        angle, out, tall = 0.57 * i + rng.uniform(-0.2, 0.2), rng.uniform(0.1, 0.26), rng.uniform(0.7, 1.3)
        leaf = ellipsoid((out * np.cos(angle), 0.3 + tall / 2, 0.32 + out * 0.7 * np.sin(angle)),
                         (0.07, tall / 2, 0.07))
        thing += matte((leaf, mixed("#1f7a2e", "#7ab84c", rng.random())))
    return thing


def floor_lamp(lit, rng):
    """A lamp on a tall stand."""
    top = rng.choice((((0.21, 0), (0.14, 0.3)), ((0.2, 0), (0.2, 0.28)), ((0.1, 0), (0.26, 0.22))))
    return matte((column((0, 0, 0.26), 0.16, 0.03), "black"), (column((0, 0, 0.26), 0.02, 1.5), "black")) + \
        [(lathe((0, 1.4, 0.26), list(top)), np.array(WARM) * lit, "light")]


def desk_lamp(lit):
    """A small lamp with a round shade, standing at y = 0."""
    return matte((column((0, 0, 0), 0.09, 0.03), "black"), (column((0, 0, 0), 0.02, 0.3), "black")) + \
        [(lathe((0, 0.26, 0), [(0.16, 0), (0.1, 0.19)], sides=16), np.array(WARM) * lit, "light")]


def hanging_lamp(lit, length, size, style):
    """A lamp hanging from y = 0: a ball, or a dark bell that glows below."""
    cord = matte((box((0, -length / 2, 0), (0.02, length, 0.02)), "black"))
    if style == "ball":
        return cord + [(ellipsoid((0, -length - size * 0.8, 0), (size, size * 0.85, size)), np.array(WARM) * lit,
                        "light")]
    bell = lathe((0, -length - size, 0), [(size * 1.15, 0), (size * 0.9, size * 0.6), (0.03, size)], sides=16)
    return cord + matte((bell, "#2a2c30")) + \
        [(ellipsoid((0, -length - size, 0), (size * 0.8, size * 0.45, size * 0.8)), np.array(WARM) * lit * 1.4,
          "light")]


def rug(colour, across, deep, round_one):
    """A flat rug with a paler border, centred."""
    tint, border = linear(colour), mixed(colour, "white" if colour != "white" else "grey", 0.45)
    if round_one:
        parts = [column((0, 0, 0), 0.5, 0.012), column((0, 0, 0), 0.43, 0.018)]
    else:
        parts = [box((0, 0.006, 0), (1, 0.012, 1)), box((0, 0.009, 0), (0.9, 0.018, 0.86))]
    return [((p[0] * [across, 1, deep], p[1], p[2]), c, "matte")
            for p, c in zip(parts, (border, tint), strict=True)]
