"""Ordinary places: what the base knows. Attributes first, then the room built from them, then a camera that sees them.

Every attribute must be visible: a room is drawn again until a camera finds all that its attributes name.
"""

import math

import numpy as np

from recipes.world.clutter import strew
from recipes.world.draws import draws, kind_of
from recipes.world.furnishings import (
    board,
    clock,
    desk_lamp,
    door,
    doorway,
    fireplace,
    floor_lamp,
    globe,
    hanging_lamp,
    ladder,
    mirror,
    painting,
    pillar,
    plant,
    sink,
    television,
    toilet,
    vase,
    washing_machine,
    window,
)
from recipes.world.furniture import WOODS, at, bookshelf, chest, round_table, table
from recipes.world.layouts import LAYOUTS
from recipes.world.rooms import Room, shell
from recipes.world.shapes import Scene, box, linear
from recipes.world.visibility import sees

COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "brown", "black")
WALL_COLOURS = ("white", "yellow", "orange", "pink", "purple", "blue", "teal", "green", "grey", "red")
LIGHTS = ("daylight", "daylight", "cloudy", "sunset", "night")
VIEWS = ("front", "left", "left", "right", "right")
HEIGHTS = ("low", "level", "level", "high")
# What the camera sees of the side walls: from the left it looks at the right wall.
WINDOWS = {"front": ("back",), "left": ("back", "right"), "right": ("back", "left")}
FINISHES = ("plain", "plain", "striped", "brick", "half tiled", "panelled")
FLOORS = ("wooden floor", "dark wooden floor", "herringbone floor", "tiled floor", "checkered floor",
          "terracotta floor", "marble floor", "grey carpet", "beige carpet")
HARD, WET = FLOORS[:7], FLOORS[3:7]

# kind: layout: (main object, second object)
FURNITURE = {
    "living room": {"single sofa": ("sofa", "rug"), "facing sofas": ("sofas", "rug"), "corner": ("sofa", "armchair")},
    "bedroom": {"bed at the back": ("bed", "rug"), "bed at the side": ("bed", "wardrobe"),
                "two beds": ("beds", "rug")},
    "kitchen": {"one wall": ("cabinets", "fridge"), "two walls": ("cabinets", "fridge"),
                "island": ("cabinets", "stools")},
    "office": {"desk at the wall": ("desk", "chair"), "desk at the side": ("desk", "chair"),
               "rows": ("desks", "chairs")},
    "dining room": {name: ("table", "chairs") for name in ("round table", "long table", "wide table")},
    "bathroom": {"tub at the back": ("bathtub", "towels"), "tub at the side": ("bathtub", "curtain"),
                 "washbasins": ("cabinet", "towels")},
    "library": {"wall of books": ("bookshelves", "armchair"), "aisle": ("bookshelves", "rug"),
                "reading room": ("bookshelves", "tables")},
    "cafe": {"counter": ("counter", "stools"), "rows": ("tables", "chairs"), "booths": ("benches", "tables")},
}
# kind: (floors, wall finishes, third objects, lamps)
STYLES = {
    "living room": (FLOORS, ("plain", "plain", "striped", "brick", "panelled"),
                    ("coffee table", "coffee table", "bookshelf", "television", "fireplace"),
                    ("floor lamp", "hanging lamp")),
    "bedroom": (FLOORS, ("plain", "plain", "striped", "brick", "panelled"),
                ("chest of drawers", "mirror", "bookshelf", "door"), ("floor lamp", "bedside lamp", "hanging lamp")),
    "kitchen": (HARD, ("plain", "half tiled", "tiled", "brick"), ("clock", "table", "vase", "door"),
                ("hanging lamp", "hanging lamps")),
    "office": (FLOORS, ("plain", "plain", "brick", "panelled"),
               ("clock", "whiteboard", "filing cabinet", "bookshelf", "door"),
               ("desk lamp", "floor lamp", "ceiling lights")),
    "dining room": (FLOORS, ("plain", "striped", "brick", "panelled"),
                    ("vase", "sideboard", "clock", "fireplace", "doorway"),
                    ("hanging lamp", "hanging lamps")),
    "bathroom": (WET, ("plain", "half tiled", "half tiled", "tiled", "tiled"),
                 ("toilet", "sink", "washing machine", "door"),
                 ("hanging lamp", "ceiling lights")),
    "library": (FLOORS, ("plain", "striped", "panelled"), ("ladder", "globe", "clock", "columns", "doorway"),
                ("hanging lamps", "ceiling lights", "floor lamp")),
    "cafe": (HARD, FINISHES, ("columns", "clock", "blackboard", "vase", "doorway"),
             ("hanging lamps", "hanging lamps", "ceiling lights")),
}
FURNITURE_COLOURS = {                      # where not every colour will do
    "fridge": ("white", "red", "yellow", "teal", "black", "pink", "grey"),
    "bookshelves": ("white", "brown", "red", "green", "blue", "black", "teal"),
    "curtain": ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink"),
    "towels": ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink"),
}
# Measures by layout where a room is not of the common size: (width, depth), each from and to.
SIZES = {
    "facing sofas": ((5.4, 6.2), (5.2, 6.8)), "rows": ((5.0, 6.6), (7.2, 9.4)), "long table": ((4.2, 5.4), (5.8, 7.6)),
    "aisle": ((3.2, 4.0), (6.6, 9.4)), "reading room": ((5.2, 6.2), (6.6, 8.0)), "booths": ((4.6, 5.6), (6.2, 8.0)),
    "tub at the back": ((3.4, 4.2), (4.2, 5.2)), "tub at the side": ((3.3, 4.0), (4.2, 5.4)),
    "washbasins": ((3.7, 4.8), (4.2, 5.2)), "counter": ((4.8, 6.0), (5.4, 7.0)), "island": ((4.4, 5.4), (5.6, 6.8)),
    "corner": ((4.8, 6.2), (5.0, 6.6)), "two walls": ((3.8, 4.8), (4.8, 6.4)),
    "wall of books": ((4.0, 5.8), (4.8, 6.4)),
}
WIDE = ("doorway", "door", "whiteboard", "blackboard", "mirror", "bookshelf")  # leave no room for a window beside them
# Layouts that are never seen from the front.
ASIDE = ("corner", "two walls", "bed at the side", "desk at the side", "tub at the side", "booths")
PICTURED = ("living room", "bedroom", "office", "dining room", "cafe")
UNFIT = {                                  # what finds no good place in a layout, windows by their wall
    "washbasins": ("back", "left", "right", "sink", "door", "washing machine"),
    "tub at the back": ("left", "right"),
    "wall of books": ("back", "left", "right", "clock", "doorway"),
    "reading room": ("back", "left", "right", "columns", "globe", "ladder", "doorway", "floor lamp"),
    "aisle": ("left", "right", "clock", "columns", "globe", "floor lamp"),
    "counter": ("columns", "doorway"), "booths": ("columns",), "two beds": ("door", "bookshelf"),
    "bed at the side": ("picture",),
    "desk at the wall": ("floor lamp", "bookshelf"), "desk at the side": ("door",),
    "one wall": ("left", "right", "door"), "two walls": ("door", "plant"), "island": ("door", "table"),
}


def attributes(index):
    """What the picture at an index shows: a flat dict of strings, decided before anything is built."""
    kind = kind_of("ordinary", index)
    rng = draws("attributes", kind, index)
    floors, finishes, thirds, lamps = STYLES[kind]
    layout = rng.choice(tuple(FURNITURE[kind]))
    main, second = FURNITURE[kind][layout]
    wall = rng.choice(WALL_COLOURS)
    light = rng.choice(LIGHTS)
    unclear = (wall, "black", "brown") if light == "night" else (wall,)
    main_color = rng.choice([c for c in FURNITURE_COLOURS.get(main, COLOURS) if c not in unclear])
    second_color = rng.choice([c for c in FURNITURE_COLOURS.get(second, COLOURS) if c not in (main_color, *unclear)])
    view = rng.choice(VIEWS[1:] if layout in ASIDE else VIEWS)
    # A room shows up to three further things, so that each is in sight and captions can name them.
    unfit = UNFIT.get(layout, ())
    further = set(rng.sample(("third", "third", "window", "window", "lamp", "plant", "picture"), 3))
    if light == "night":
        further = set(rng.sample(("third", "window", "plant", "picture"), 2)) | {"lamp"}
    further -= set(unfit)
    third = rng.choice([thing for thing in thirds if thing not in unfit])
    third = third if "third" in further else "none"
    windows = [at for at in WINDOWS[view] if at not in unfit and not (at == "back" and third in WIDE)]
    window_at = rng.choice(windows) if "window" in further and windows else "none"
    curtained = window_at != "none" and kind not in ("bathroom", "kitchen")
    fitting = [lamp for lamp in lamps if lamp not in unfit]
    return {
        "kind": kind, "layout": layout, "wall_color": wall, "walls": rng.choice(finishes), "floor": rng.choice(floors),
        "main_object": main, "main_color": main_color, "second_object": second, "second_color": second_color,
        "third_object": third, "light": light, "view": view, "height": rng.choice(HEIGHTS),
        "window": window_at, "curtains": rng.choice(("none",) + COLOURS[:8]) if curtained else "none",
        "lamp": rng.choice(fitting) if "lamp" in further else "none",
        "plant": rng.choice(("left", "right")) if "plant" in further else "none",
        "picture": rng.choice(COLOURS[:8]) if "picture" in further and kind in PICTURED else "none",
    }


# light: (ambient radiance, key light, top and bottom of the sky, hills, brightness, lamps' glow)
MOODS = {
    "daylight": ((0.50, 0.54, 0.60), (3.0, 3.0, 3.0), (0.12, 0.36, 0.90), (0.46, 0.66, 0.84), (0.10, 0.26, 0.07),
                 0.80, 2.0),
    "cloudy": ((0.40, 0.44, 0.50), (1.3, 1.4, 1.55), (0.52, 0.58, 0.66), (0.74, 0.78, 0.82), (0.14, 0.20, 0.15),
               0.66, 2.5),
    "sunset": ((0.34, 0.22, 0.20), (2.6, 1.5, 0.85), (0.62, 0.22, 0.30), (1.3, 0.55, 0.12), (0.10, 0.05, 0.07),
               0.70, 4.5),
    "night": ((0.09, 0.09, 0.14), (0.50, 0.42, 0.40), (0.008, 0.014, 0.07), (0.02, 0.03, 0.14), (0.002, 0.003, 0.01),
              0.62, 7.0),
}
ROOMS_TRIED, CAMERAS_TRIED = 80, 24  # a few rooms suffice nearly always
STANDING = ("coffee table", "table", "vase", "columns", "ladder")   # third objects whose place the layout gives


def build(index):
    """The scene of an index."""
    a = attributes(index)
    rng = draws("geometry", a["kind"], index)
    for _ in range(ROOMS_TRIED):
        room = arranged(a, rng)
        if aimed(room, a, rng) and dressed(room, a, rng):
            break
    shell(room, a, rng, MOODS[a["light"]][1])
    return room.scene


def arranged(a, rng):
    """A room with its main things, as the layout has it."""
    across, along = SIZES.get(a["layout"], ((4.0, 5.6), (4.8, 6.6)))
    mirror_sides = {"right": 1, "left": -1}.get(a["view"]) or rng.choice((-1, 1))
    room = Room(Scene(), rng.uniform(*across), rng.uniform(*along), rng.uniform(2.55, 3.15), mirror_sides)
    room.scene.ambient, room.scene.brightness = MOODS[a["light"]][0], MOODS[a["light"]][5]
    LAYOUTS[a["kind"]][a["layout"]](room, a, rng)
    if a["third_object"] in STANDING:
        third(room, a, rng)
    lamps(room, a, rng, MOODS[a["light"]][6])
    return room


def dressed(room, a, rng):
    """Place what stands or hangs along the walls where the camera sees it; False where something finds no place."""
    walls = ("back", "left") if a["view"] != "front" else ("back", "left", "right")
    _, _, top, low, hills, _, lit = MOODS[a["light"]]

    def fit(name, thing, walls, y=0.0, **how):
        return room.fit(name, thing, rng, walls, lambda: sees(room, [name], a) and sees(room, named(room, a), a), y,
                        **how)

    if a["lamp"] == "floor lamp" and not fit("floor lamp", floor_lamp(lit, rng), walls):
        return False
    if a["window"] != "none":
        tall = rng.uniform(0.95, 1.4)
        pane = window(rng, rng.uniform(0.9, 1.7), tall, top, low, hills, a["curtains"])
        side = a["window"] if room.mirror > 0 else {"left": "right", "right": "left"}.get(a["window"], "back")
        if not fit("window", pane, (side,), rng.uniform(1.08, 1.2) + tall / 2 + 0.2 * (a["layout"] == "booths"),
                   gap=0.01, out=0.0):
            return False
    if a["third_object"] not in ("none",) + STANDING and not third(room, a, rng, walls, fit, lit):
        return False
    if a["picture"] != "none" and not fit("picture", painting(rng, a["picture"]), walls, rng.uniform(1.65, 1.85),
                                          gap=0.02):
        return False
    if a["plant"] != "none" and not fit("plant", plant(rng), ("back", "left", "right"), loose=True):
        return False
    strew(room, a, rng, named(room, a))
    return sees(room, named(room, a), a)


def third(room, a, rng, walls=(), fit=None, lit=0.0):
    """Place the third object; False where there is no room for it."""
    name, wood = a["third_object"], rng.choice(WOODS)
    if name == "coffee table":
        room.place(name, round_table(wood, 0.42, 0.4) if rng.random() < 0.5 else table(wood, 0.95, 0.55, 0.42),
                   *room.centre)
    elif name == "table":
        room.place(name, round_table(wood, 0.45) if rng.random() < 0.5 else table(wood, 1.1, 0.7), *room.centre)
    elif name == "vase":
        x, y, z = room.tops.pop(rng.randrange(len(room.tops)))
        room.place(name, vase(rng), x, z, 0, y)
    elif name == "columns":
        square, x = rng.random() < 0.5, room.width / 2 - 0.32
        for z in (0.35, 2.3, 4.25)[:3 if room.depth > 6 else 2]:
            for side in (-1, 1):
                room.place(name, pillar(room.height, square, rng), side * x, z)
    elif name == "ladder":
        room.against(name, ladder(), *(("left", rng.uniform(1.0, 3.0)) if a["layout"] == "aisle" else
                                       ("back", rng.uniform(-0.3, 0.3) * room.width)), 0.3)
    elif name == "doorway":
        return fit(name, doorway(rng.uniform(0.9, 1.3)), ("back",), out=0.0)
    elif name in ("mirror", "clock", "whiteboard", "blackboard"):
        thing = {"mirror": lambda: mirror(0.5, 1.1, wood), "clock": clock}.get(name, lambda: board(name[:5]))()
        return fit(name, thing, walls, {"mirror": 1.35, "clock": rng.uniform(1.8, 2.1)}.get(name, 1.65), gap=0.02)
    else:
        thing = {
            "bookshelf": lambda: bookshelf(rng, wood, rng.uniform(0.8, 1.2), rng.uniform(1.3, 2.1)),
            "fireplace": lambda: fireplace(rng), "chest of drawers": lambda: chest(rng, wood, rng.choice((0.8, 1.2))),
            "sideboard": lambda: chest(rng, wood, 1.5, 0.8, 2), "door": lambda: door(rng),
            "television": television, "toilet": toilet, "sink": sink,
            "filing cabinet": lambda: chest(rng, "#8c9298", 0.5, 1.25, 4), "washing machine": washing_machine,
            "globe": lambda: at(globe(), 0, 0, 0.3),
        }[name]()
        return fit(name, thing, walls)
    return True


def lamps(room, a, rng, lit):
    """Hang the lamps, or stand them on the tables."""
    name = a["lamp"]
    if name in ("desk lamp", "bedside lamp"):
        for x, y, z in room.tops[:2]:
            room.place(name, desk_lamp(lit), x, z, 0, y)
        room.tops = room.tops[2:]
    elif name in ("hanging lamp", "hanging lamps"):
        style, length, size = rng.choice(("ball", "bell")), rng.uniform(0.4, 0.8), rng.uniform(0.14, 0.2)
        x, z = room.under[0]
        spots = room.under if len(room.under) > 1 else [(x + t, z) for t in (-0.7, 0, 0.7)]
        for x, z in (spots if name == "hanging lamps" else [spots[len(spots) // 2]]):
            room.place(name, hanging_lamp(lit, length, size, style), x, z, 0, room.height)
    elif name == "ceiling lights":
        face = [(box((0, -0.02, 0), (0.8, 0.03, 0.8)), linear("white"), "matte"),
                (box((0, -0.03, 0), (0.7, 0.03, 0.7)), np.full(3, lit), "light")]
        for x in (-room.width / 4, room.width / 4):
            for i in range(int(room.depth / 1.6)):
                room.place(name, face, x, 0.7 + 1.6 * i, 0, room.height)


def named(room, a):
    """The things that the attributes name and that stand in the room already."""
    here = {name for name, *_ in room.boxes}
    wanted = [a["main_object"], a["second_object"], a["third_object"], a["lamp"], "window", "picture", "plant"]
    return [name for name in wanted if name in here]


def aimed(room, a, rng):
    """Point a camera so that it sees all that is named; False if no such view was found."""
    mains = [(low + high) / 2 for name, low, high in room.boxes if name == a["main_object"]]
    middle = np.mean(mains, axis=0)
    others = [(low + high) / 2 for name, low, high in room.boxes if name in (a["second_object"], a["third_object"])]
    if others:
        middle = middle * 0.7 + np.mean(others, axis=0) * 0.3
    side = {"front": 0, "left": -1, "right": 1}[a["view"]]
    for _ in range(CAMERAS_TRIED):
        yaw = math.radians(side * rng.uniform(13, 36) + (rng.uniform(-9, 9) if side == 0 else 0))
        far = rng.uniform(*room.reach)
        lift = 0.25 if a["lamp"] in ("hanging lamp", "hanging lamps", "ceiling lights") else 0.0
        y = rng.uniform(*{"low": (0.85, 1.15), "level": (1.35, 1.65), "high": (1.9, 2.3)}[a["height"]])
        target = np.array([middle[0] + rng.uniform(-0.4, 0.4), rng.uniform(0.75, 1.2) + lift, middle[2]])
        eye = np.array([target[0] + far * math.sin(yaw), y, target[2] + far * math.cos(yaw)])
        eye = np.clip(eye, (0.3 - room.width / 2, 0, 0), (room.width / 2 - 0.3, room.height - 0.2, room.depth - 0.1))
        turn = math.degrees(math.atan2(eye[0] - target[0], eye[2] - target[2]))
        if side * turn < 11 if side else abs(turn) > 11:
            continue
        room.scene.eye, room.scene.target = tuple(map(float, eye)), tuple(map(float, target))
        room.scene.fov = rng.uniform(50, 66)
        if sees(room, named(room, a), a):
            return True
    return False
