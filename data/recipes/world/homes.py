"""How living rooms, bedrooms, kitchens and dining rooms are arranged: see layouts.py."""

from math import cos, radians, sin

from recipes.world.furnishings import rug
from recipes.world.furniture import (
    WOODS,
    armchair,
    bed,
    chair,
    chest,
    counter,
    fridge,
    round_table,
    sofa,
    stool,
    table,
    units,
    wardrobe,
    worktop,
)
from recipes.world.rooms import draw_again


def lay_rug(room, a, rng, x, z, across, deep):
    """The rug, where the room has one."""
    if a["second_object"] == "rug":
        room.place("rug", rug(a["second_color"], across, deep, rng.random() < 0.45), x, z)


def single_sofa(room, a, rng):
    """A sofa on the back wall."""
    x = rng.uniform(-0.6, 0.6)
    room.against("sofa", sofa(rng, a["main_color"], rng.uniform(1.9, 2.5)), "back", x)
    lay_rug(room, a, rng, x, 1.9, rng.uniform(2.2, 2.8), rng.uniform(1.3, 1.7))
    room.centre, room.under = (x, 1.75), [(x, 1.7)]


def facing_sofas(room, a, rng):
    """Two sofas face to face."""
    z, gap = rng.uniform(1.7, 2.1), rng.uniform(1.75, 2.0)
    for side in (-1, 1):
        room.place("sofas", sofa(rng, a["main_color"], rng.uniform(1.8, 2.1)), side * gap, z, -side * 90)
    lay_rug(room, a, rng, 0, z, 2.0, 2.4)
    room.centre, room.under, room.reach = (0, z), [(0, z)], (3.2, 5.0)


def corner_sofa(room, a, rng):
    """A sofa on the side wall, an armchair at the back."""
    z = rng.uniform(1.5, 1.9)
    room.against("sofa", sofa(rng, a["main_color"], rng.uniform(1.9, 2.3)), "left", z)
    x = room.width * rng.uniform(0.02, 0.16)
    room.place("armchair", armchair(rng, a["second_color"]), x, rng.uniform(0.35, 0.6), rng.uniform(-35, -5))
    room.centre = (-room.width / 2 + 1.75, z)
    room.under = [room.centre]
    if rng.random() < 0.5:
        room.place("carpet", rug(rng.choice(("#cdbb98", "#9a9488")), 1.9, 2.2, False), -room.width / 2 + 1.9, z)


def bedside(room, rng, wall, along, wood):
    """A bedside table, if it has room, with a top for a lamp."""
    if abs(along) > room.width / 2 - 0.28 and wall == "back":
        return
    room.against("bedside table", chest(rng, wood, 0.44, 0.52, 2), wall, along)
    x, z, _ = room.at(wall, along, 0.24)
    room.tops.append((x, 0.52, z))


def bed_at_the_back(room, a, rng):
    """A bed with its head on the back wall."""
    x, w, wood = rng.uniform(-0.5, 0.5), rng.choice((1.25, 1.6, 1.85)), rng.choice(WOODS)
    room.against("bed", bed(rng, a["main_color"], w), "back", x)
    for side in (-1, 1):
        bedside(room, rng, "back", x + side * (w / 2 + 0.34), wood)
    lay_rug(room, a, rng, x, 2.4, w + 1.0, 1.4)
    room.under = [(x, 1.4)]


def bed_at_the_side(room, a, rng):
    """A bed with its head on the side wall, a wardrobe at the back."""
    w, z = rng.uniform(1.4, 1.8), rng.uniform(1.5, 1.8)
    room.against("bed", bed(rng, a["main_color"], w), "left", z)
    bedside(room, rng, "left", z + w / 2 + 0.36, rng.choice(WOODS))
    room.against("wardrobe", wardrobe(rng, a["second_color"]), "back", room.width * rng.uniform(0.05, 0.28))
    room.under = [(0, 1.6)]


def two_beds(room, a, rng):
    """Two narrow beds side by side."""
    x = rng.uniform(0.85, 1.05)
    for side in (-1, 1):
        room.against("beds", bed(draw_again(rng), a["main_color"], 0.95), "back", side * x)
    bedside(room, rng, "back", 0, rng.choice(WOODS))
    lay_rug(room, a, rng, 0, 2.75, 2.3, 1.1)
    room.under, room.reach = [(0, 1.5)], (3.2, 4.8)


def hung(a, rng, count):
    """Which units hang on the wall: none under a window in the back wall."""
    return range(count) if a["window"] != "back" and rng.random() < 0.75 else ()


def one_wall(room, a, rng):
    """Units along the back wall, a fridge at one end."""
    w, side = room.width - 1.0, rng.choice((-1, 1))
    count = max(2, round(w / 0.66))
    oven = rng.randrange(1, count - 1)
    x = -side * 0.46
    room.against("cabinets", units(a["main_color"], w, oven, hung(a, rng, count)), "back", x)
    room.against("worktop", worktop(rng, w), "back", x)
    room.against("fridge", fridge(a["second_color"]), "back", side * (room.width / 2 - 0.46))
    room.tops = [(x + w * 0.36, 0.94, 0.3), (x - w * 0.4, 0.94, 0.3)]
    room.centre, room.under = (0, 2.1), [(0, 1.9)]


def two_walls(room, a, rng):
    """Units along two walls that meet, a fridge at the end."""
    w, deep = room.width - 1.0, rng.uniform(1.9, 2.5)
    count = max(2, round(w / 0.66))
    room.against("cabinets", units(a["main_color"], w, rng.randrange(2, count), hung(a, rng, count)), "back", -0.46)
    room.against("worktop", worktop(draw_again(rng), w), "back", -0.46)
    room.against("cabinets", units(a["main_color"], deep, -1, ()), "left", 0.66 + deep / 2)
    room.against("worktop", worktop(draw_again(rng), deep), "left", 0.66 + deep / 2)
    room.against("fridge", fridge(a["second_color"]), "back", room.width / 2 - 0.46)
    room.tops = [(-room.width / 2 + 0.35, 0.94, 0.4 + deep * t) for t in (0.3, 0.8)]
    room.centre, room.under, room.reach = (0.4, 2.1), [(0.3, 1.9)], (2.8, 4.6)


def island(room, a, rng):
    """Units at the back and an island with stools."""
    w = room.width - 0.3
    count = max(2, round(w / 0.66))
    room.against("cabinets", units(a["main_color"], w, rng.randrange(1, count - 1), hung(a, rng, count)), "back", 0)
    room.against("worktop", worktop(draw_again(rng), w), "back", 0)
    x, long = rng.uniform(-0.3, 0.3), rng.uniform(1.7, 2.3)
    room.place("island", counter(rng, a["main_color"], long), x, 1.75)
    seats = 3 if long < 2.0 else 4
    for i in range(seats):
        room.place("stools", stool(a["second_color"], 0.74), x + long * ((i + 0.5) / seats - 0.5), 2.75)
    room.tops, room.under = [(x + long * 0.3, 1.07, 2.05)], [(x + long * t, 2.05) for t in (-0.33, 0, 0.33)]
    room.reach = (2.6, 4.0)


def seats_around(room, a, places):
    """Chairs at their places."""
    for x, z, turn in places:
        room.place("chairs", chair(a["second_color"]), x, z, turn)


def round_dining(room, a, rng):
    """A round table with three to five chairs."""
    x, z, r, first = rng.uniform(-0.3, 0.3), rng.uniform(1.7, 2.0), rng.uniform(0.65, 0.85), rng.uniform(0, 90)
    room.place("table", round_table(a["main_color"], r), x, z)
    count = rng.choice((3, 4, 5))
    places = [first + 360 * i / count for i in range(count)]
    seats_around(room, a, [(x + (r + 0.16) * sin(radians(t)), z + (r + 0.16) * cos(radians(t)),
                                 t + 180) for t in places])
    room.tops, room.under, room.centre = [(x, 0.74, z)], [(x, z)], (x, z)


def long_dining(room, a, rng):
    """A long table into the depth of the room, chairs in rows."""
    seats = rng.choice((3, 4))
    long, z = 0.72 * seats + 0.3, 0.9
    middle = z + long / 2
    room.place("table", table(a["main_color"], 0.95, long), 0, middle)
    seats_around(room, a, [(side * 0.68, z + 0.15 + 0.72 * (i + 0.5),
                                 -side * 90) for i in range(seats) for side in (-1, 1)])
    room.tops = [(0, 0.75, middle + long * t) for t in (-0.3, 0.25)]
    room.under = [(0, middle + long * t) for t in (-0.35, 0, 0.35)]
    room.centre, room.reach = (0, middle), (2.8, 4.4)


def wide_dining(room, a, rng):
    """A table across the room."""
    x, z, w = rng.uniform(-0.3, 0.3), rng.uniform(1.5, 1.8), rng.uniform(1.7, 2.3)
    room.place("table", table(a["main_color"], w, 0.9), x, z)
    seats_around(room, a, [(x + sx * w * 0.25, z + sz * 0.66, 90 + 90 * sz) for sx in (-1, 1) for sz in (-1, 1)]
                 + [(x + s * (w / 2 + 0.22), z, -s * 90) for s in (-1, 1)])
    room.tops = [(x + w * 0.2, 0.75, z), (x - w * 0.2, 0.75, z)]
    room.under = [(x + w * t, z) for t in (-0.35, 0, 0.35)]
