"""How offices, bathrooms, libraries and cafes are arranged: see layouts.py."""

from recipes.world.furnishings import basin, bathtub, folds, mirror, rug, shelf, towels
from recipes.world.furniture import (
    METAL,
    WOODS,
    armchair,
    at,
    bench,
    bookshelf,
    chair,
    computer,
    counter,
    desk,
    round_table,
    stool,
    swivel_chair,
    table,
)
from recipes.world.shapes import beam, box, linear


def desk_at_the_wall(room, a, rng):
    """A desk on the back wall."""
    x, w = rng.uniform(-0.5, 0.5), rng.uniform(1.6, 2.1)
    room.against("desk", desk(a["main_color"], w), "back", x)
    room.against("computer", at(computer(), 0, 0.775, 0.22), "back", x)
    room.place("chair", swivel_chair(a["second_color"]), x + rng.uniform(-0.5, 0.5), 1.4, 180 + rng.uniform(-60, 60))
    room.tops, room.under = [(x - w * 0.38, 0.78, 0.35), (x + w * 0.36, 0.78, 0.35)], [(x, 1.0)]


def desk_at_the_side(room, a, rng):
    """A desk on the side wall."""
    z, w = rng.uniform(1.4, 2.0), rng.uniform(1.5, 2.0)
    room.against("desk", desk(a["main_color"], w), "left", z)
    room.against("computer", at(computer(), 0, 0.775, 0.22), "left", z)
    x = -room.width / 2 + 0.4
    room.place("chair", swivel_chair(a["second_color"]), x + 1.05, z + rng.uniform(-0.4, 0.4),
               -90 + rng.uniform(-60, 60))
    room.tops, room.under = [(x, 0.78, z - w * 0.38), (x, 0.78, z + w * 0.36)], [(x + 0.5, z)]


def rows_of_desks(room, a, rng):
    """A deep office with desks in rows."""
    columns = (-1, 1) if room.width < 5.6 else (-1, 0, 1)
    step, deep = room.width / len(columns), rng.uniform(1.9, 2.2)
    for row in range(int((room.depth - 2.6) / deep)):
        for c in columns:
            x, z = c * step * (0.5 if len(columns) == 2 else 0.92), 0.7 + row * deep
            room.place("desks", desk(a["main_color"], 1.35), x, z)
            room.place("computer", at(computer(), 0, 0.775, 0.22), x, z)
            room.place("chairs", swivel_chair(a["second_color"]), x + rng.uniform(-0.15, 0.15), z + 1.05,
                       180 + rng.uniform(-25, 25))
            room.tops.append((x + 0.5, 0.78, z + 0.3))
    room.under = [(c * step * 0.5, 1.0 + r * 2.0) for r in range(4) for c in (-1, 1)]
    room.reach = (3.2, 5.0)


def tub_at_the_back(room, a, rng):
    """A bathtub on the back wall, towels at the side."""
    x = rng.uniform(-0.12, 0.12) * room.width
    room.against("bathtub", bathtub(rng, a["main_color"]), "back", x, 0.08)
    room.against("towels", towels(rng, a["second_color"]), "left", rng.uniform(1.3, 1.9), 0.02, 1.2)
    room.under = [(0, 1.5)]


def tub_at_the_side(room, a, rng):
    """A bathtub on the side wall behind a curtain."""
    z = rng.uniform(1.15, 1.4)
    room.against("bathtub", bathtub(rng, a["main_color"]), "left", z, 0.06)
    x = -room.width / 2 + 1.02
    rail = [(beam((-0.95, 2.08, 0), (0.95, 2.08, 0), 0.04), linear(METAL), "metal")]
    room.place("rail", rail, x, z, 90)
    room.place("curtain", folds(a["second_color"], rng.uniform(0.55, 0.8), 1.85, 0.06), x, z - 0.6, 90, 0.22)
    room.under = [(0.4, 1.5)]


def washbasins(room, a, rng):
    """Washbasins in a row under mirrors."""
    count = rng.choice((2, 3))
    w, x = 0.8 * count, rng.uniform(-0.1, 0.1)
    tint = linear(a["main_color"])
    thing = [(box((0, 0.42, 0.28), (w, 0.7, 0.5)), tint * 0.7, "matte"),
             (box((0, 0.8, 0.29), (w + 0.06, 0.06, 0.58)), linear("#f0f0ee"), "gloss")]
    for i in range(2 * count):
        thing.append((box((w * ((i + 0.5) / (2 * count) - 0.5), 0.42, 0.54), (0.36, 0.64, 0.03)), tint, "matte"))
    for i in range(count):
        thing += at(basin(0.83), w * ((i + 0.5) / count - 0.5), 0, 0)
    room.against("cabinet", thing, "back", x)
    style, frame = rng.choice(((0.55, 0.8), (0.6, 0.6), (0.62, 1.0))), rng.choice(("white", "black", "brown"))
    for i in range(count):
        room.against("mirrors", mirror(*style, frame), "back", x + w * ((i + 0.5) / count - 0.5), 0.02, 1.62)
    room.against("towels", towels(rng, a["second_color"]), "left", rng.uniform(1.2, 1.8), 0.02, 1.2)
    room.under = [(x + w * ((i + 0.5) / count - 0.5), 1.0) for i in range(count)]


def wall_of_books(room, a, rng):
    """Bookshelves all along the back wall and an armchair."""
    count = int((room.width - 0.3) / 1.15)
    tall = rng.uniform(1.9, 2.3)
    for i in range(count):
        room.against("bookshelves", bookshelf(rng, a["main_color"], 1.12, tall), "back", 1.15 * (i + 0.5 - count / 2))
    if a["window"] == "none" and rng.random() < 0.5:
        room.against("bookshelves", bookshelf(rng, a["main_color"], 1.12, tall), "left", 1.2)
    x = rng.uniform(-0.25, 0.25) * room.width
    room.place("armchair", armchair(rng, a["second_color"]), x, rng.uniform(1.1, 1.5), rng.uniform(-40, 40))
    room.under, room.centre = [(0, 1.8)], (x + (0.95 if x < 0 else -0.95), 1.8)


def aisle(room, a, rng):
    """An aisle between bookshelves."""
    tall = rng.uniform(2.0, 2.35)
    for i in range(int((room.depth - 1.8) / 1.22)):
        for wall in ("left", "right"):
            room.against("bookshelves", bookshelf(rng, a["main_color"], 1.15, tall), wall, 0.75 + 1.22 * i)
    room.place("rug", rug(a["second_color"], 1.2, room.depth - 2.6, False), 0, (room.depth - 2.6) / 2 + 0.7)
    room.under = [(0, 1.0 + 1.5 * i) for i in range(4)]
    room.reach = (2.6, 4.4)


def reading_room(room, a, rng):
    """Tables in rows before a wall of books."""
    count, tall = int((room.width - 0.3) / 1.15), rng.uniform(1.8, 2.2)
    for i in range(count):
        room.against("bookshelves", bookshelf(rng, a["main_color"], 1.12, tall), "back", 1.15 * (i + 0.5 - count / 2))
    for i in range(2):
        for x in (-1.15, 1.15):
            z = 1.8 + 1.7 * i
            room.place("tables", table(a["second_color"], 1.5, 0.75), x, z)
            for side in (-1, 1):
                room.place("seats", chair(WOODS[0]), x + side * 0.4, z + 0.62, 180)
            room.tops.append((x + 0.3, 0.75, z))
    room.under = [(x, 1.8 + 1.7 * i) for i in range(2) for x in (-1.15, 1.15)]
    room.reach = (3.6, 5.2)


def cafe_counter(room, a, rng):
    """A counter with stools, bottles behind it."""
    w, x = room.width * rng.uniform(0.6, 0.75), rng.uniform(-0.2, 0.2)
    room.place("counter", counter(rng, a["main_color"], w), x, 1.15)
    count = round(w / 0.72)
    for i in range(count):
        room.place("stools", stool(a["second_color"], 0.76), x + w * ((i + 0.5) / count - 0.5), 2.2)
    if a["window"] != "back":
        for i in range(rng.choice((1, 2))):
            room.against("shelves", shelf(rng, rng.uniform(1.3, 1.6)), "back", (-0.85, 0.85)[i], 0.02, 1.72)
    room.tops = [(x + w * t, 1.07, 1.45) for t in (-0.4, 0.38)]
    room.under = [(x + w * t, 1.5) for t in (-0.36, -0.12, 0.12, 0.36)]
    room.reach = (2.8, 4.4)


def cafe_rows(room, a, rng):
    """Round tables in rows."""
    for i in range(int((room.depth - 2.6) / 1.75)):
        for x in (-1.2, 1.2) if room.width < 5.6 else (-1.85, 0, 1.85):
            z = 0.95 + 1.75 * i
            room.place("tables", round_table(a["main_color"], 0.42), x, z)
            for side in (-1, 1):
                room.place("chairs", chair(a["second_color"]), x + side * 0.6, z, -side * 90)
            room.tops.append((x, 0.74, z))
    room.under = [(x, 0.95 + 1.75 * i) for i in range(3) for x in (-1.2, 1.2)]
    room.reach = (3.2, 4.8)


def cafe_booths(room, a, rng):
    """Benches back to back along the side wall, tables between them."""
    for i in range(max(2, int((room.depth - 2.2) / 1.9))):
        z = 0.35 + 1.9 * i
        x = -room.width / 2 + 0.8
        room.place("benches", bench(a["main_color"], 1.4), x, z - 0.3)
        room.place("tables", table(a["second_color"], 1.25, 0.62), x, z + 0.62)
        room.place("benches", bench(a["main_color"], 1.4), x, z + 1.55, 180)
        room.tops.append((x - 0.3, 0.75, z + 0.62))
        room.under.append((x, z + 0.62))
    room.reach = (3.0, 4.8)
