"""Ordinary places: what the base knows. Attributes first, then the room built from them."""

from chance import draws, kind_of
from furniture import FURNISH
from shapes import Scene, box, column, ellipsoid, lathe, linear, merged, mixed, quad, turned

COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "brown", "black")
WALL_COLOURS = ("white", "yellow", "orange", "pink", "purple", "blue", "teal", "green", "grey")
FLOORS = ("wooden floor", "dark wooden floor", "tiled floor", "checkered floor", "grey carpet")
LIGHTS = ("daylight", "daylight", "sunset", "night")
# view: walls whose window the camera sees; seen from the left it looks at the right wall
WINDOWS = {"front": ("none", "back"), "left": ("none", "back", "right"), "right": ("none", "back", "left")}

# kind: (main object, its colours, second object, its colours)
FURNITURE = {
    "living room": ("sofa", COLOURS, "rug", COLOURS),
    "bedroom": ("bed", COLOURS, "rug", COLOURS),
    "kitchen": ("cabinets", COLOURS, "fridge", ("white", "red", "yellow", "teal", "black", "pink", "grey")),
    "office": ("desk", ("white", "brown", "red", "yellow", "green", "teal", "blue", "black"), "chair", COLOURS),
    "dining room": ("table", ("white", "brown", "black", "red", "blue", "green"), "chairs", COLOURS),
}


def attributes(index):
    """What the picture at an index shows: a flat dict of strings, decided before anything is built."""
    kind = kind_of("ordinary", index)
    rng = draws("attributes", kind, index)
    main, main_colours, second, second_colours = FURNITURE[kind]
    wall = rng.choice(WALL_COLOURS)
    main_color = rng.choice([c for c in main_colours if c != wall])
    second_color = rng.choice([c for c in second_colours if c != main_color])
    if second == "rug" and rng.random() < 0.2:
        second, second_color = "none", "none"
    light = rng.choice(LIGHTS)
    view = rng.choice(tuple(WINDOWS))
    hanging = kind in ("kitchen", "dining room")
    lamp = "hanging lamp" if hanging else "floor lamp"
    if light != "night" and rng.random() < 0.4:
        lamp = "none"
    return {
        "kind": kind, "wall_color": wall, "floor": rng.choice(FLOORS),
        "main_object": main, "main_color": main_color, "second_object": second, "second_color": second_color,
        "light": light, "view": view, "window": rng.choice(WINDOWS[view]), "lamp": lamp,
        "plant": rng.choice(("none", "left", "right")) if kind != "kitchen" else "none",
        "picture": rng.choice(("none",) + COLOURS[:8]) if kind != "kitchen" else "none",
    }


# light: (ambient radiance, key light, top and bottom of the sky, brightness)
MOODS = {
    "daylight": ((0.50, 0.54, 0.60), (3.0, 3.0, 3.0), (0.22, 0.52, 1.05), (0.75, 0.95, 1.15), 0.80),
    "sunset": ((0.34, 0.22, 0.20), (2.6, 1.5, 0.85), (0.62, 0.22, 0.30), (1.3, 0.55, 0.12), 0.70),
    "night": ((0.05, 0.06, 0.12), (0.30, 0.26, 0.26), (0.008, 0.014, 0.07), (0.02, 0.03, 0.14), 0.58),
}
WARM = (1.0, 0.72, 0.42)

CORNER = 1.7                               # metres from the middle: the camera sees this far in every view


def build(index):
    """The scene of an index."""
    a = attributes(index)
    rng = draws("geometry", a["kind"], index)
    scene = Scene()
    width, height, depth = rng.uniform(4.15, 4.6), rng.uniform(2.6, 2.8), 5.4
    room(scene, a, rng, width, height, depth)
    FURNISH[a["kind"]](scene, a, rng, width)
    if a["plant"] != "none":
        plant(scene, rng, (-1 if a["plant"] == "left" else 1) * CORNER, 0.45)
    lamps(scene, a, rng, width, height)
    side = {"front": 0.0, "left": -1.0, "right": 1.0}[a["view"]]
    scene.eye = (side * rng.uniform(1.0, 1.4) + rng.uniform(-0.2, 0.2), rng.uniform(1.35, 1.65), rng.uniform(4.3, 4.7))
    scene.target = (rng.uniform(-0.1, 0.1), rng.uniform(0.80, 0.94), 0.0)
    scene.fov = rng.uniform(53, 56)
    return scene


def room(scene, a, rng, width, height, depth):
    """Walls, floor, ceiling, skirting, window, picture and the light that comes from outside."""
    ambient, key, sky_top, sky_low, scene.brightness = MOODS[a["light"]]
    scene.ambient = ambient
    left, right = -width / 2, width / 2
    floor(scene, a["floor"], rng, width, depth)
    scene.add(quad((left, height, 0), (width, 0, 0), (0, 0, depth)), "#f4f2ec")
    scene.add(quad((left, 0, 0), (width, 0, 0), (0, height, 0)), a["wall_color"], walls=True)
    scene.add(quad((left, 0, depth), (0, 0, -depth), (0, height, 0)), a["wall_color"], walls=True)
    scene.add(quad((right, 0, 0), (0, 0, depth), (0, height, 0)), a["wall_color"], walls=True)
    scene.add(box((0, 0.06, 0.015), (width, 0.12, 0.03)), "white")
    for x in (left + 0.015, right - 0.015):
        scene.add(box((x, 0.06, depth / 2), (0.03, 0.12, depth)), "white")
    # A broad soft light above and behind the camera: shape and shadow without hard edges.
    scene.add(quad((-1.6, height - 0.05, 4.75), (3.2, 0, 0), (0, -0.25, 0.6)), key, "light")
    shift = 0.0
    if a["window"] == "back" and a["picture"] != "none":
        shift = rng.choice((-1, 1)) * width * 0.2
    if a["window"] == "back":
        window(scene, (shift, 1.72, 0.0), 1.25, 1.05, 0, sky_top, sky_low)
    elif a["window"] != "none":
        sign = -1 if a["window"] == "left" else 1
        window(scene, (sign * width / 2, 1.6, rng.uniform(0.6, 0.7)), 1.0, 1.2, -90 * sign, sky_top, sky_low)
    if a["picture"] != "none":
        across, tall = rng.choice(((0.62, 0.5), (0.5, 0.62), (0.58, 0.58)))
        x = -shift if shift else rng.uniform(-0.3, 0.3)
        scene.add(box((x, 1.72, 0.02), (across + 0.12, tall + 0.12, 0.04)), rng.choice(("white", "brown", "black")))
        scene.add(box((x, 1.72, 0.03), (across, tall, 0.04)), a["picture"])


def floor(scene, name, rng, width, depth):
    """The floor at y = 0, cut into planks, tiles or squares, or plain."""
    corner, u, v = (-width / 2, 0, depth), (width, 0, 0), (0, 0, -depth)
    if "wooden" in name:
        tone = linear("#6b3f22" if "dark" in name else "#d09c60")
        scene.grid(corner, u, v, (14, 3), lambda i, j: tone * rng.uniform(0.8, 1.15), "gloss")
    elif name == "tiled floor":
        scene.add(quad((-width / 2, -0.004, depth), u, v), "#8a8a88")
        for i in range(8):
            for j in range(9):
                x, z = -width / 2 + width * (i + 0.03) / 8, depth - depth * (j + 0.03) / 9
                scene.add(quad((x, 0, z), (width * 0.94 / 8, 0, 0), (0, 0, -depth * 0.94 / 9)),
                          linear("#cfd0cc") * rng.uniform(0.92, 1.08), "gloss")
    elif name == "checkered floor":
        scene.grid(corner, u, v, (8, 9), lambda i, j: linear("#ecebe6" if (i + j) % 2 else "#202024"), "gloss")
    else:
        scene.add(quad(corner, u, v), "#8e9094")


def window(scene, centre, across, tall, degrees, sky_top, sky_low):
    """A framed window on a wall; degrees turn it from the back wall to a side wall."""
    x, y, z = centre
    pane = quad((x - across / 2, y - tall / 2, z + 0.02), (across, 0, 0), (0, tall, 0))
    scene.add(turned(pane, degrees, centre), [sky_low, sky_low, sky_top, sky_top], "light")
    bars = [box((x, y, z + 0.03), (0.05, tall, 0.05)), box((x, y, z + 0.03), (across, 0.05, 0.05))]
    bars += [box((x + s * across / 2, y, z + 0.03), (0.09, tall + 0.09, 0.08)) for s in (-1, 1)]
    bars += [box((x, y + s * tall / 2, z + 0.03), (across + 0.09, 0.09, 0.08)) for s in (-1, 1)]
    bars.append(box((x, y - tall / 2 - 0.05, z + 0.07), (across + 0.25, 0.05, 0.18)))
    scene.add(turned(merged(bars), degrees, centre), "white")


def plant(scene, rng, x, z):
    """A potted plant: a round pot and a few leafy balls."""
    pot = lathe((x, 0, z), [(0, 0), (0.17, 0), (0.24, 0.38), (0.2, 0.38), (0.2, 0.34), (0, 0.34)])
    scene.add(pot, rng.choice(("white", "#b5562c", "grey")))
    scene.add(column((x, 0.3, z), 0.03, 0.5), "brown")
    for _ in range(9):
        r = rng.uniform(0.16, 0.23)
        centre = (x + rng.uniform(-0.16, 0.16), rng.uniform(0.75, 1.3), z + rng.uniform(-0.16, 0.2))
        scene.add(ellipsoid(centre, (r, r * 0.85, r)), mixed("#1f7a2e", "#63b23c", rng.random()))


def lamps(scene, a, rng, width, height):
    """The floor lamp or hanging lamp, lit in the evening."""
    if a["lamp"] == "none":
        return
    lit = {"daylight": 2.0, "sunset": 5.0, "night": 9.0}[a["light"]]
    glow = tuple(lit * c for c in WARM)
    if a["lamp"] == "floor lamp":
        side = {"left": 1, "right": -1}.get(a["plant"]) or rng.choice((-1, 1))
        x, z = side * CORNER, rng.uniform(0.4, 0.7)
        scene.add(column((x, 0, z), 0.16, 0.03), "black")
        scene.add(column((x, 0, z), 0.02, 1.5), "black")
        scene.add(lathe((x, 1.4, z), [(0.21, 0), (0.14, 0.3)]), glow, "light")
    else:
        x, z = rng.uniform(-0.2, 0.2), 1.5
        scene.add(column((x, height - 0.5, z), 0.012, 0.5), "black")
        scene.add(ellipsoid((x, height - 0.62, z), (0.2, 0.17, 0.2)), glow, "light")
