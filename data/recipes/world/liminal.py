"""Liminal places: the territory the base never saw. Empty, repeating, lit from nowhere in particular."""

from recipes.world.draws import draws, kind_of
from recipes.world.fittings import MOODS
from recipes.world.halls import garage, mall, platform, pool
from recipes.world.places import corridor, maze, stairwell, waiting_room
from recipes.world.shapes import Scene

BUILD = {"corridor": corridor, "maze": maze, "pool": pool, "garage": garage, "stairwell": stairwell,
         "waiting room": waiting_room, "mall": mall, "platform": platform}

# kind: (main object, its colours, second object, its colours, wall colours, floors, layouts)
PLACES = {
    "corridor": ("doors", ("brown", "white", "green"), "carpet", ("red", "brown", "green"),
                 ("yellow", "white", "pink"), ("checkered carpet", "striped carpet", "diamond carpet"),
                 ("narrow", "wide", "bending")),
    "maze": ("walls", ("yellow",), "carpet", ("yellow", "brown", "grey"), ("yellow",),
             ("plain carpet",), ("pillars", "partitions", "doorways")),
    "pool": ("water", ("teal", "teal", "blue", "black"), "columns", ("white",),
             ("white", "teal", "blue"), ("tiled floor",), ("round columns", "square columns", "arches")),
    "garage": ("pillars", ("yellow", "red", "blue", "green"), "lines", ("white", "yellow"),
               ("grey",), ("concrete floor",), ("two rows", "four rows", "ramp")),
    "stairwell": ("railings", ("black", "red", "green", "yellow"), "stairs", ("grey", "brown"),
                  ("white", "grey", "green"), ("no floor",), ("from above", "from below", "straight ahead")),
    "waiting room": ("chairs", ("orange", "blue", "green", "red", "brown"), "desk", ("brown", "white", "grey"),
                     ("white", "green", "yellow", "pink"), ("tiled floor", "checkered floor"),
                     ("rows", "facing rows", "along the walls")),
    "mall": ("shutters", ("grey", "blue", "green", "brown"), "columns", ("white", "pink", "teal"),
             ("white", "pink", "yellow"), ("tiled floor", "checkered floor"), ("escalators", "fountain", "planters")),
    "platform": ("benches", ("red", "blue", "green", "orange"), "line", ("yellow",),
                 ("white", "green", "teal", "yellow"), ("tiled floor",),
                 ("side platform", "island platform", "facing platforms")),
}


def attributes(index):
    """What the picture at an index shows: a flat dict of strings, decided before anything is built."""
    kind = kind_of("liminal", index)
    rng = draws("attributes", kind, index)
    main, main_colours, second, second_colours, walls, floors, layouts = PLACES[kind]
    wall, main_color = rng.choice(walls), rng.choice(main_colours)
    if kind in ("corridor", "waiting room", "platform"):
        main_color = rng.choice([c for c in main_colours if c != wall])
    second_color = rng.choice([c for c in second_colours if c != main_color or kind == "maze"])
    return {
        "kind": kind, "wall_color": wall, "floor": rng.choice(floors),
        "main_object": main, "main_color": main_color, "second_object": second, "second_color": second_color,
        "light": rng.choice(tuple(MOODS)), "view": rng.choice(("front", "front", "left", "right")),
        "layout": rng.choice(layouts),
    }


def build(index):
    """The scene of an index."""
    a = attributes(index)
    rng = draws("geometry", a["kind"], index)
    scene = Scene(ambient=(0.004, 0.004, 0.005))
    scene.veil, _, scene.brightness, scene.fog = MOODS[a["light"]]
    BUILD[a["kind"]](scene, a, rng)
    return scene
