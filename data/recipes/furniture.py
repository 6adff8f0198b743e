"""The furniture of the ordinary rooms, standing before the back wall at z = 0.

Each function adds to a scene what the attributes `a` name, with the draws of `rng`; width is the room's, in metres.
"""

from shapes import box, column, lathe, linear, mixed, merged, rounded, turned


def legs(scene, x, z, across, deep, tall, thick, colour):
    """Four table legs."""
    for sx in (-1, 1):
        for sz in (-1, 1):
            centre = (x + sx * (across / 2 - thick), tall / 2, z + sz * (deep / 2 - thick))
            scene.add(box(centre, (thick, tall, thick)), colour)


def living_room(scene, a, rng, width):
    """A sofa with arms, seats and perhaps cushions, a rug before it."""
    x, w = rng.uniform(-0.25, 0.25), rng.uniform(2.0, 2.3)
    colour = linear(a["main_color"])
    scene.add(rounded((x, 0.28, 0.62), (w, 0.34, 0.9), 0.08), colour)
    scene.add(rounded((x, 0.62, 0.26), (w, 0.62, 0.26), 0.1), colour)
    for side in (-1, 1):
        scene.add(rounded((x + side * (w / 2 - 0.1), 0.42, 0.62), (0.24, 0.5, 0.92), 0.1), colour)
        scene.add(rounded((x + side * (w / 4 - 0.05), 0.5, 0.68), (w / 2 - 0.16, 0.16, 0.78), 0.06), colour * 1.06)
        if rng.random() < 0.7:
            cushion = rounded((x + side * w * 0.27, 0.72, 0.48), (0.42, 0.36, 0.14), 0.06)
            scene.add(turned(cushion, rng.uniform(-15, 15), (x, 0.7, 0.48)),
                      "white" if a["main_color"] != "white" else "grey")
    rug(scene, a, rng, x, 1.95, w + 0.3, 1.35)


def rug(scene, a, rng, x, z, across, deep):
    """A round or square rug with a paler border, or none."""
    if a["second_object"] != "rug":
        return
    colour, border = linear(a["second_color"]), mixed(a["second_color"], "white", 0.45)
    if rng.random() < 0.5:
        parts = [column((0, 0, 0), 0.5, 0.012), column((0, 0, 0), 0.44, 0.018)]
    else:
        parts = [box((0, 0.006, 0), (1, 0.012, 1)), box((0, 0.009, 0), (0.92, 0.018, 0.86))]
    for (points, normals, faces), tint in zip(parts, (border, colour)):
        scene.add((points * [across, 1, deep] + [x, 0, z], normals, faces), tint)


def bedroom(scene, a, rng, width):
    """A double bed under a blanket, a bedside table, a rug."""
    x, w = rng.uniform(-0.3, 0.3), rng.uniform(1.7, 1.95)
    colour = linear(a["main_color"])
    wood = rng.choice(("#8a5a34", "#5c3820", "#c09060"))
    scene.add(rounded((x, 0.6, 0.08), (w + 0.16, 1.15, 0.12), 0.05), wood)
    scene.add(box((x, 0.18, 1.1), (w + 0.04, 0.24, 2.0)), wood)
    scene.add(rounded((x, 0.4, 1.12), (w, 0.26, 1.95), 0.1), "white")
    scene.add(rounded((x, 0.44, 1.42), (w + 0.1, 0.3, 1.42), 0.1), colour)
    scene.add(rounded((x, 0.585, 0.78), (w + 0.1, 0.05, 0.22), 0.02), mixed(a["main_color"], "white", 0.5))
    for side in (-1, 1):
        scene.add(rounded((x + side * w * 0.24, 0.6, 0.4), (w * 0.4, 0.18, 0.42), 0.08), "white")
    table = x + (1 if a["plant"] == "left" else -1) * (w / 2 + 0.32)
    scene.add(rounded((table, 0.26, 0.3), (0.42, 0.52, 0.4), 0.03), wood)
    rug(scene, a, rng, x, 2.2, w + 1.0, 1.3)


def kitchen(scene, a, rng, width):
    """Lower and upper cabinets with an oven and its hood, a fridge at one end."""
    side = rng.choice((-1, 1))
    colour, metal = linear(a["main_color"]), "#b8bcc0"
    x = -side * 0.42
    w = width - 0.95
    units = 5
    scene.add(box((x, 0.05, 0.3), (w, 0.1, 0.52)), "black")
    scene.add(box((x, 0.91, 0.33), (w + 0.04, 0.05, 0.66)), rng.choice(("#e8e4da", "#3a3a3e", "#c89a64")), "gloss")
    oven = rng.randrange(1, 4)
    for i in range(units):
        ux = x - w / 2 + w * (i + 0.5) / units
        if i == oven:
            scene.add(box((ux, 0.49, 0.3), (w / units - 0.03, 0.78, 0.6)), metal, "gloss")
            scene.add(box((ux, 0.42, 0.605), (w / units - 0.16, 0.42, 0.02)), "black", "gloss")
            if a["window"] != "back":
                scene.add(box((ux, 1.95, 0.22), (w / units * 0.5, 0.8, 0.34)), metal, "gloss")
                scene.add(box((ux, 1.58, 0.28), (w / units, 0.12, 0.5)), metal, "gloss")
            continue
        scene.add(box((ux, 0.49, 0.3), (w / units - 0.03, 0.78, 0.6)), colour)
        scene.add(box((ux, 0.8, 0.62), (w / units * 0.4, 0.03, 0.04)), metal)
        if a["window"] != "back" or abs(ux) > 0.95:
            scene.add(box((ux, 1.9, 0.2), (w / units - 0.03, 0.7, 0.4)), colour)
    fx = side * (width / 2 - 0.47)
    scene.add(rounded((fx, 0.95, 0.4), (0.8, 1.86, 0.76), 0.06), a["second_color"], "gloss")
    scene.add(box((fx, 1.28, 0.785), (0.8, 0.02, 0.01)), "black")
    for y in (1.45, 1.05):
        scene.add(box((fx - side * 0.3, y, 0.82), (0.04, 0.26, 0.05)), metal)


def office(scene, a, rng, width):
    """A desk with drawers and a screen, a swivel chair before it."""
    x, w = rng.uniform(-0.25, 0.25), rng.uniform(1.7, 2.0)
    colour = linear(a["main_color"])
    scene.add(rounded((x, 0.76, 0.62), (w, 0.07, 0.86), 0.02), colour)
    for side in (-1, 1):
        scene.add(box((x + side * (w / 2 - 0.22), 0.37, 0.6), (0.42, 0.74, 0.74)), colour)
        for y in (0.2, 0.45, 0.65):
            scene.add(box((x + side * (w / 2 - 0.22), y, 0.98), (0.16, 0.025, 0.03)), "#b8bcc0")
    scene.add(box((x, 1.12, 0.4), (0.8, 0.48, 0.04)), "black", "gloss")
    scene.add(box((x, 0.85, 0.4), (0.06, 0.14, 0.04)), "black")
    scene.add(box((x, 0.8, 0.42), (0.3, 0.02, 0.2)), "black")
    chair = x + rng.uniform(-0.2, 0.2)
    parts = [rounded((chair, 0.5, 1.5), (0.56, 0.1, 0.52), 0.04), rounded((chair, 0.86, 1.76), (0.54, 0.56, 0.1), 0.05)]
    turn = rng.uniform(-25, 25)
    for part in parts:
        scene.add(turned(part, turn, (chair, 0, 1.5)), a["second_color"])
    scene.add(column((chair, 0.08, 1.5), 0.035, 0.4), "#55585c")
    scene.add(lathe((chair, 0, 1.5), [(0.3, 0), (0.28, 0.05), (0.05, 0.1)]), "black")


def dining_room(scene, a, rng, width):
    """A round or long table with four chairs and a bowl."""
    x, z = rng.uniform(-0.2, 0.2), 1.45
    round_table = rng.random() < 0.5
    if round_table:
        top = lathe((x, 0.7, z), [(0, 0), (0.8, 0), (0.82, 0.03), (0.8, 0.06), (0, 0.06)], sides=36)
        scene.add(top, a["main_color"], "gloss")
        scene.add(lathe((x, 0, z), [(0.36, 0), (0.3, 0.05), (0.07, 0.12), (0.07, 0.7)]), a["main_color"])
        places = [(x + r * 0.98, z + q * 0.85, turn) for r, q, turn in
                  ((-0.6, -0.72, -40), (0.6, -0.72, 40), (-1.0, 0.35, -110), (1.0, 0.35, 110))]
    else:
        scene.add(rounded((x, 0.73, z), (2.0, 0.07, 0.95), 0.02), a["main_color"], "gloss")
        legs(scene, x, z, 2.0, 0.95, 0.7, 0.08, a["main_color"])
        places = [(x - 0.55, z - 0.62, 0), (x + 0.55, z - 0.62, 0), (x - 1.25, z, -90), (x + 1.25, z, 90)]
    for cx, cz, turn in places:
        chair = [rounded((cx, 0.45, cz), (0.46, 0.07, 0.46), 0.03),
                 rounded((cx, 0.8, cz - 0.21), (0.46, 0.5, 0.06), 0.03)]
        chair += [box((cx + sx * 0.19, 0.21, cz + sz * 0.19), (0.05, 0.42, 0.05)) for sx in (-1, 1) for sz in (-1, 1)]
        scene.add(turned(merged(chair), -turn, (cx, 0, cz)), a["second_color"])
    scene.add(lathe((x, 0.76, z), [(0, 0), (0.1, 0), (0.2, 0.1), (0.17, 0.1), (0, 0.03)]), "white", "gloss")


FURNISH = {"living room": living_room, "bedroom": bedroom, "kitchen": kitchen, "office": office,
           "dining room": dining_room}
