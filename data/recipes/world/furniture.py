"""Furniture of the ordinary rooms: seats, tables, beds, storage, kitchen and bath.

Each function gives a thing: a list of (part, colour, surface) around its place on the floor, its back at z = 0
(tables and chairs: centred), facing +z. Metres.
"""

import numpy as np

from recipes.world.shapes import beam, box, column, lathe, linear, merged, mixed, rounded, turned

METAL = "#b8bcc0"
WOODS = ("#8a5a34", "#5c3820", "#c09060")


def matte(*parts):
    """Parts given as (part, colour) with the matte surface."""
    return [(part, linear(colour), "matte") for part, colour in parts]


def legs(across, deep, tall, thick, colour, z=0.0):
    """Four legs."""
    return matte(*((box((sx * (across / 2 - thick), tall / 2, z + sz * (deep / 2 - thick)), (thick, tall, thick)),
                    colour)
                   for sx in (-1, 1) for sz in (-1, 1)))


def sofa(rng, colour, w):
    """A sofa of width w with arms, seats and perhaps cushions."""
    tint, seats, arm = linear(colour), 2 if w < 2.1 else 3, rng.uniform(0.4, 0.56)
    thing = matte((rounded((0, 0.28, 0.5), (w, 0.34, 0.9), 0.08), tint),
                  (rounded((0, 0.6, 0.15), (w, rng.uniform(0.56, 0.76), 0.26), 0.1), tint))
    for side in (-1, 1):
        thing += matte((rounded((side * (w / 2 - 0.1), 0.42, 0.5), (0.24, arm, 0.92), 0.1), tint))
        if rng.random() < 0.6:
            cushion = rounded((side * w * 0.27, 0.7, 0.38), (0.42, 0.36, 0.14), 0.06)
            thing += matte((turned(cushion, rng.uniform(-15, 15), (side * w * 0.27, 0.7, 0.38)),
                            "white" if colour != "white" else "grey"))
    inner = (w - 0.44) / seats
    thing += matte(*((rounded(((i + 0.5) * inner - inner * seats / 2, 0.5, 0.56), (inner - 0.02, 0.16, 0.78), 0.06),
                      tint * 1.06) for i in range(seats)))
    return thing


def armchair(rng, colour):
    """A round-backed or square armchair on short legs."""
    tint = linear(colour)
    if rng.random() < 0.5:
        thing = matte((lathe((0, 0.12, 0.45), [(0, 0), (0.4, 0), (0.42, 0.3), (0, 0.32)]), tint * 1.05))
        shell = [turned(rounded((0, 0.56, 0.09), (0.3, 0.66, 0.12), 0.05), angle, (0, 0, 0.45))
                 for angle in (-96, -64, -32, 0, 32, 64, 96)]
        return thing + matte(*((part, tint) for part in shell)) + legs(0.7, 0.7, 0.14, 0.05, "#5c3820", 0.45)
    thing = matte((rounded((0, 0.3, 0.42), (0.84, 0.3, 0.8), 0.07), tint),
                  (rounded((0, 0.62, 0.11), (0.84, 0.72, 0.22), 0.09), tint),
                  (rounded((0, 0.47, 0.48), (0.54, 0.16, 0.66), 0.06), tint * 1.08))
    for side in (-1, 1):
        thing += matte((rounded((side * 0.34, 0.42, 0.42), (0.17, 0.46, 0.8), 0.07), tint))
    return thing + legs(0.8, 0.75, 0.16, 0.06, "#5c3820", 0.42)


def bed(rng, colour, w):
    """A bed of width w under a blanket, head at the wall."""
    tint, wood, tall = linear(colour), rng.choice(WOODS + ("#e8e4da",)), rng.uniform(0.85, 1.3)
    fold = rng.uniform(1.2, 1.45)
    thing = matte((rounded((0, tall / 2, 0.06), (w + 0.14, tall, 0.11), 0.05), wood),
                  (box((0, 0.18, 1.05), (w + 0.04, 0.24, 2.0)), wood),
                  (rounded((0, 0.4, 1.07), (w, 0.26, 1.95), 0.1), "white"),
                  (rounded((0, 0.44, 2.08 - fold / 2), (w + 0.1, 0.3, fold), 0.1), tint),
                  (rounded((0, 0.585, 2.08 - fold), (w + 0.1, 0.05, 0.22), 0.02), mixed(colour, "white", 0.5)))
    for side in (-1, 1) if w > 1.3 else (0,):
        thing += matte((rounded((side * w * 0.24, 0.6, 0.36), (min(w * 0.42, 0.7), 0.18, 0.42), 0.08), "white"))
    return thing


def wardrobe(rng, colour):
    """A wardrobe of two or three doors."""
    tint, doors = linear(colour), rng.choice((2, 3))
    w = 0.56 * doors
    thing = matte((box((0, 1.02, 0.29), (w, 2.04, 0.56)), tint * 0.7),
                  (box((0, 2.06, 0.3), (w + 0.08, 0.06, 0.62)), tint))
    for i in range(doors):
        x = (i + 0.5) * 0.56 - w / 2
        thing += matte((box((x, 1.06, 0.58), (0.52, 1.86, 0.03)), tint),
                       (box((x + (0.18 if i % 2 == 0 else -0.18), 1.05, 0.61), (0.035, 0.22, 0.04)), METAL))
    return thing


def chest(rng, colour, w=1.0, tall=0.85, rows=3):
    """A chest of drawers: also a bedside table, a sideboard or a filing cabinet by its measures."""
    tint, columns = linear(colour), 2 if w > 0.9 else 1
    thing = matte((box((0, tall / 2, 0.22), (w, tall, 0.44)), tint * 0.72))
    for i in range(columns):
        for j in range(rows):
            x, y = ((i + 0.5) / columns - 0.5) * w, tall * (j + 0.5) / rows
            thing += matte((box((x, y, 0.45), (w / columns - 0.05, tall / rows - 0.05, 0.03)), tint),
                           (box((x, y, 0.48), (0.16 if w > 0.5 else 0.1, 0.035, 0.03)), METAL))
    return thing


BOOKS = ("#a03028", "#2f5a8c", "#d8b04a", "#3f7a48", "#e4dcc8", "#6b4a7c", "#c8743a", "#2c3440", "#8c8f94")


def bookshelf(rng, colour, w=1.0, tall=2.0):
    """A bookcase with rows of books."""
    tint, deep, rows = linear(colour), 0.32, max(2, round(tall / 0.5))
    thing = matte((box((0, tall / 2, 0.02), (w, tall, 0.04)), tint * 0.35))
    thing += matte(*((box((s * (w / 2 - 0.03), tall / 2, deep / 2), (0.06, tall, deep)), tint) for s in (-1, 1)))
    step, shades = (tall - 0.1) / rows, [mixed(name, tint, 0.35) for name in rng.sample(BOOKS, 3)]
    for j in range(rows + 1):
        thing += matte((box((0, 0.05 + j * step, deep / 2), (w, 0.06, deep)), tint))
        x = -w / 2 + 0.07
        while j < rows and x < w / 2 - 0.2:  # books stand in blocks: single ones are lost at 128 pixels
            wide, high = min(rng.uniform(0.16, 0.4), w / 2 - 0.07 - x), step * rng.uniform(0.66, 0.84)
            block = box((x + wide / 2, 0.08 + j * step + high / 2, deep * 0.42), (wide, high, deep * 0.75))
            thing += matte((block, rng.choice(shades)))
            x += wide + 0.02
    return thing


def round_table(colour, radius=0.5, tall=0.74):
    """A round table on one foot, centred."""
    tint = linear(colour)
    top = lathe((0, tall - 0.06, 0), [(0, 0), (radius, 0), (radius + 0.02, 0.03), (radius, 0.06), (0, 0.06)], sides=32)
    foot = lathe((0, 0, 0), [(radius * 0.5, 0), (radius * 0.42, 0.05), (0.06, 0.1), (0.06, tall - 0.06)], sides=16)
    return [(top, tint, "gloss"), (foot, tint * 0.9, "matte")]


def table(colour, w, deep, tall=0.75):
    """A table on four legs, centred."""
    tint = linear(colour)
    return [(rounded((0, tall - 0.035, 0), (w, 0.07, deep), 0.02), tint, "gloss")] + legs(
        w, deep, tall - 0.06, 0.08, tint * 0.9)


def chair(colour):
    """A chair, centred, its back towards -z."""
    seat, back = rounded((0, 0.45, 0), (0.48, 0.09, 0.48), 0.03), rounded((0, 0.78, -0.2), (0.48, 0.56, 0.09), 0.03)
    return matte((merged([seat, back]), colour)) + legs(0.48, 0.48, 0.42, 0.08, colour)


def swivel_chair(colour):
    """An office chair on a round foot, centred, its back towards -z."""
    return matte((rounded((0, 0.5, 0), (0.54, 0.1, 0.52), 0.04), colour),
                 (rounded((0, 0.86, -0.25), (0.52, 0.58, 0.1), 0.05), colour),
                 (column((0, 0.08, 0), 0.035, 0.4), "#55585c"),
                 (lathe((0, 0, 0), [(0.3, 0), (0.28, 0.05), (0.05, 0.1)], sides=12), "black"))


def stool(colour, tall=0.72):
    """A bar stool, centred."""
    thing = matte((column((0, tall - 0.1, 0), 0.23, 0.14), colour))
    return thing + matte(*((beam((0.1 * sx, tall - 0.06, 0.1 * sz), (0.19 * sx, 0, 0.19 * sz), 0.06), "#3a3c40")
                           for sx in (-1, 1) for sz in (-1, 1)))


def bench(colour, w):
    """An upholstered bench with a high back."""
    tint = linear(colour)
    return matte((rounded((0, 0.2, 0.3), (w, 0.4, 0.56), 0.03), tint * 0.7),
                 (rounded((0, 0.46, 0.32), (w, 0.14, 0.58), 0.05), tint),
                 (rounded((0, 0.55, 0.07), (w, 1.06, 0.14), 0.05), tint))


def desk(colour, w):
    """A desk with drawers."""
    tint = linear(colour)
    thing = matte((rounded((0, 0.74, 0.4), (w, 0.07, 0.78), 0.02), tint),
                  (box((0, 0.45, 0.06), (w - 0.1, 0.5, 0.04)), tint * 0.85))
    for side in (-1, 1):
        thing += matte((box((side * (w / 2 - 0.2), 0.36, 0.4), (0.36, 0.72, 0.68)), tint),
                       *((box((side * (w / 2 - 0.2), y, 0.75), (0.14, 0.025, 0.03)), METAL)
                         for y in (0.2, 0.42, 0.62)))
    return thing


def at(thing, x, y, z):
    """A thing moved."""
    shift = np.array([x, y, z], dtype=np.float32)
    return [((p[0] + shift, p[1], p[2]), colour, surface) for p, colour, surface in thing]


def computer():
    """A screen on its foot with a keyboard."""
    return [(box((0, 0.34, 0), (0.66, 0.42, 0.04)), linear("black"), "gloss"),
            (box((0, 0.35, 0.022), (0.58, 0.33, 0.01)), linear("#4a6a90"), "gloss"),
            (box((0, 0.08, 0), (0.06, 0.16, 0.04)), linear("black"), "matte"),
            (box((0, 0.01, 0.02), (0.28, 0.02, 0.18)), linear("black"), "matte"),
            (box((0, 0.01, 0.3), (0.44, 0.02, 0.15)), linear("#d8d8d8"), "matte")]


def units(colour, w, oven, upper):
    """A row of kitchen units under a worktop; unit number `oven` is one with a hood; `upper` lists hung ones."""
    tint, count = linear(colour), max(2, round(w / 0.66))
    thing = matte((box((0, 0.05, 0.27), (w, 0.1, 0.5)), "black"))
    for i in range(count):
        ux, uw = w * ((i + 0.5) / count - 0.5), w / count
        if i == oven:
            thing += [(box((ux, 0.49, 0.3), (uw - 0.03, 0.78, 0.58)), linear(METAL), "metal"),
                      (box((ux, 0.42, 0.6), (uw - 0.16, 0.4, 0.02)), linear("black"), "gloss"),
                      (box((ux, 0.92, 0.32), (uw - 0.08, 0.03, 0.5)), linear("black"), "gloss")]
            if i in upper:
                thing += [(box((ux, 1.98, 0.2), (uw * 0.45, 0.8, 0.34)), linear(METAL), "metal"),
                          (box((ux, 1.58, 0.26), (uw, 0.12, 0.5)), linear(METAL), "metal")]
            continue
        thing += matte((box((ux, 0.49, 0.3), (uw - 0.03, 0.78, 0.58)), tint),
                       (box((ux, 0.8, 0.61), (uw * 0.4, 0.03, 0.04)), METAL))
        if i in upper:
            thing += matte((box((ux, 1.9, 0.19), (uw - 0.03, 0.7, 0.37)), tint),
                           (box((ux, 1.62, 0.39), (uw * 0.4, 0.03, 0.04)), METAL))
    return thing


def worktop(rng, w, deep=0.64):
    """The top of kitchen units or of a counter."""
    return [(box((0, 0.905, deep / 2), (w + 0.03, 0.05, deep)), linear(rng.choice(("#e8e4da", "#3a3a3e", "#c89a64"))),
             "gloss")]


def fridge(colour):
    """A tall fridge with two doors."""
    thing = [(rounded((0, 0.95, 0.36), (0.76, 1.86, 0.7), 0.06), linear(colour), "gloss"),
             (box((0, 1.28, 0.71), (0.76, 0.025, 0.01)), linear("black"), "matte")]
    return thing + [(box((0.28, y, 0.74), (0.04, 0.28, 0.05)), linear(METAL), "metal") for y in (1.46, 1.05)]


def counter(rng, colour, w):
    """A bar with panels on its front, centred along x, front at z = 0.6."""
    tint, count = linear(colour), round(w / 0.6)
    thing = matte((box((0, 0.5, 0.28), (w, 1.0, 0.52)), tint * 0.6))
    thing += matte(*((box((w * ((i + 0.5) / count - 0.5), 0.54, 0.55), (w / count - 0.06, 0.86, 0.04)),
                      tint) for i in range(count)))
    top = linear(rng.choice(("#c89a64", "#e8e4da", "#4a3020")))
    return thing + [(box((0, 1.03, 0.32), (w + 0.1, 0.07, 0.74)), top, "gloss")]
