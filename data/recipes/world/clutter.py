"""Small things that make a room lived in; no attribute names them. Shapes as in furniture.py."""

import numpy as np

from recipes.world.furniture import BOOKS, METAL, WOODS, at, matte
from recipes.world.shapes import beam, box, column, lathe, linear, merged, rounded
from recipes.world.visibility import sees

PALE = ("#e4dcc8", "#c8bca4", "#9a948c", "#d8d4cc")


def plate(rng):
    """A white plate with a cup beside it."""
    dish = lathe((0, 0, 0), [(0.09, 0), (0.14, 0.02), (0.08, 0.012), (0, 0.012)], sides=16)
    cup = lathe((0.17, 0, -0.05), [(0.035, 0), (0.045, 0.09), (0.035, 0.09), (0.03, 0.02)], sides=10)
    return [(dish, linear("#f4f2ee"), "gloss"), (cup, linear(rng.choice(("#f4f2ee", "#5a6a7a"))), "gloss")]


def jars(rng):
    """Jars, a pot or a kettle in a row on a worktop."""
    thing, x = [], -0.25
    for _ in range(rng.choice((2, 3, 4))):
        r, tall = rng.uniform(0.05, 0.09), rng.uniform(0.12, 0.28)
        colour = linear(rng.choice((*PALE, METAL, "#5a4030", "#4a6a7a")))
        thing.append((lathe((x, 0, 0), [(r, 0), (r, tall * 0.8), (r * 0.5, tall), (0, tall)], sides=12), colour,
                      "gloss"))
        x += 2 * r + 0.05
    return thing


def books(rng):
    """A pile of books lying."""
    return matte(*((box((rng.uniform(-0.02, 0.02), 0.025 + 0.05 * i, 0), (0.3, 0.045, 0.22)), rng.choice(BOOKS))
                   for i in range(rng.choice((2, 3, 4)))))


def fruit(rng):
    """A wooden bowl."""
    return matte((lathe((0, 0, 0), [(0.08, 0), (0.2, 0.1), (0.17, 0.1), (0, 0.03)], sides=16), rng.choice(WOODS)))


def radiator(rng):
    """A white radiator."""
    return matte((merged([box((0.17 * i - 0.43, 0.42, 0.09), (0.13, 0.6, 0.1)) for i in range(6)]), "#f2f2ee"),
                 (box((0, 0.2, 0.08), (1.0, 0.06, 0.06)), "#e2e2de"),
                 (box((0, 0.66, 0.08), (1.0, 0.06, 0.06)), "#e2e2de"))


def basket(rng):
    """A round basket."""
    r = rng.uniform(0.18, 0.25)
    return matte((lathe((0, 0, 0.28), [(r * 0.8, 0), (r, 0.36), (r * 0.9, 0.36), (r * 0.8, 0.3), (0, 0.3)], sides=16),
                  rng.choice(("#c09868", "#a07848", "#d8c8a8"))))


def pouf(rng):
    """A low round seat."""
    return matte((lathe((0, 0, 0.34), [(0.26, 0), (0.3, 0.1), (0.3, 0.32), (0.26, 0.4), (0, 0.42)], sides=20),
                  rng.choice(PALE)))


def side_table(rng):
    """A small table with books or a bowl on it."""
    thing = matte((column((0, 0.5, 0.26), 0.24, 0.04), rng.choice(WOODS)), *((beam(
        (0.16 * np.cos(t), 0.5, 0.26 + 0.16 * np.sin(t)), (0.2 * np.cos(t), 0,
                                                           0.26 + 0.2 * np.sin(t)), 0.035), "#5c3820")
        for t in (0.5, 2.6, 4.7)))
    return thing + at(rng.choice((books, fruit))(rng), 0, 0.54, 0.26)


def coat_rack(rng):
    """A standing coat rack with a coat."""
    thing = matte((column((0, 0, 0.24), 0.18, 0.03), "#3a2818"), (column((0, 0, 0.24), 0.025, 1.75), "#3a2818"),
                  (rounded((0.1, 1.15, 0.24), (0.26, 0.8, 0.2), 0.08), rng.choice(("#4a5a6a", "#8a7a5a", "#5a4a44"))))
    return thing + matte(*((beam((0, 1.6, 0.24), (0.16 * s, 1.74, 0.24), 0.035), "#3a2818") for s in (-1, 1)))


def crate(rng):
    """Cardboard boxes, one on the other."""
    return matte((box((0, 0.2, 0.22), (0.46, 0.4, 0.4)), "#b08a5c"),
                 (box((0.04, 0.54, 0.22), (0.36, 0.28, 0.32)), "#bc986c"))


# kind: (what stands along the walls, what lies on tables and worktops)
CLUTTER = {
    "living room": ((radiator, basket, pouf, side_table, side_table), (books, fruit)),
    "bedroom": ((radiator, basket, pouf, crate), (books,)),
    "kitchen": ((basket, crate), (jars, jars, fruit)),
    "office": ((radiator, crate, coat_rack, basket), (books,)),
    "dining room": ((radiator, side_table, basket, coat_rack), (fruit,)),
    "bathroom": ((basket, radiator, pouf), (jars,)),
    "library": ((pouf, side_table, basket), (books,)),
    "cafe": ((coat_rack, crate, basket), (plate, plate, jars)),
}


def strew(room, a, rng, names):
    """Add clutter that hides nothing of what is named."""
    standing, lying = CLUTTER[a["kind"]]
    for x, y, z in room.tops:
        if rng.random() < 0.4:
            room.place("clutter", rng.choice(lying)(rng), x, z, 0, y)
    room.fit("clutter", rng.choice(standing)(rng), rng, ("back", "left", "right"), lambda: sees(room, names, a))
