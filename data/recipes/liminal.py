"""Liminal places: the territory the base never saw. Empty, repeating, lit from nowhere in particular."""

from chance import draws, kind_of
from places import BUILD, MOODS
from shapes import Scene

# kind: (main object, its colours, second object, its colours, wall colours, floors, layouts)
PLACES = {
    "corridor": ("doors", ("red", "orange", "green", "teal", "blue", "purple", "brown", "white", "black"),
                 "carpet", ("red", "orange", "green", "teal", "blue", "purple", "brown"),
                 ("white", "yellow", "pink", "green", "teal", "grey"),
                 ("checkered carpet", "striped carpet", "diamond carpet"), ("narrow", "wide")),
    "maze": ("walls", ("yellow",), "carpet", ("yellow", "brown", "grey"), ("yellow",),
             ("plain carpet",), ("pillars", "partitions", "doorways")),
    "pool": ("water", ("teal", "teal", "blue", "green"), "columns", ("white", "white", "pink", "yellow", "teal"),
             ("white", "teal", "blue", "pink", "yellow"), ("tiled floor",), ("round columns", "square columns")),
    "garage": ("pillars", ("yellow", "red", "blue", "green", "orange"), "lines", ("white", "yellow"),
               ("grey",), ("concrete floor",), ("two rows", "four rows")),
    "stairwell": ("railings", ("red", "orange", "yellow", "green", "blue", "white", "black"),
                  "stairs", ("grey", "white", "brown", "teal"),
                  ("white", "yellow", "green", "teal", "blue", "pink", "grey"),
                  ("no floor",), ("from above", "from below")),
}


def attributes(index):
    """What the picture at an index shows: a flat dict of strings, decided before anything is built."""
    kind = kind_of("liminal", index)
    rng = draws("attributes", kind, index)
    main, main_colours, second, second_colours, walls, floors, layouts = PLACES[kind]
    wall, main_color = rng.choice(walls), rng.choice(main_colours)
    if kind == "corridor":
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
    scene.brightness = MOODS[a["light"]][2]
    BUILD[a["kind"]](scene, a, rng)
    return scene
