"""Four liminal places as large as halls: pool, garage, mall, platform; the other four are in places.py.

Each is closed and empty; the camera stands near z = 0 and looks along -z. Each function adds to a scene
what the attributes `a` name, with the draws of `rng`, and places the camera.
"""

import numpy as np

from recipes.world.fittings import arcade, glow, hall, look, panel, shade, tiles, tint, vault
from recipes.world.shapes import beam, box, column, ellipsoid, lathe, linear, merged, mixed, quad

WATER = {"teal": "#2fb0aa", "blue": "#2f70b8", "black": "#0e1617"}


def pool(scene, a, rng):
    """A tiled hall with still water between columns or arches and dark doorways at its end."""
    w, near, far, height = rng.uniform(8.5, 11.0), 2.5, -rng.uniform(13, 20), rng.uniform(3.6, 4.9)
    left, right, d = -w / 2, w / 2, near - far
    wall, deck, stone = tint(a["wall_color"]), linear("#dfe4e2"), shade(a["second_color"])
    hall(scene, wall, "#eef0ee", left, right, near, far, height)
    n, m = int(d / 0.8), int(height / 0.6)
    tiles(scene, rng, (left, 0, far + 0.01), (w, 0, 0), (0, height, 0), (int(w / 0.7), m), wall, "gloss")
    tiles(scene, rng, (left + 0.01, 0, near), (0, 0, -d), (0, height, 0), (n, m), wall, "gloss")
    tiles(scene, rng, (right - 0.01, 0, far), (0, 0, d), (0, height, 0), (n, m), wall, "gloss")
    edge, front, back = w / 2 - rng.uniform(1.7, 2.3), -rng.uniform(1.4, 2.4), far + 2.2
    tiles(scene, rng, (left, 0, near), (w, 0, 0), (0, 0, front - near), (int(w / 0.6), 7), deck)
    tiles(scene, rng, (left, 0, back), (w, 0, 0), (0, 0, far - back), (int(w / 0.6), 3), deck)
    for x in (left, edge):
        tiles(scene, rng, (x, 0, front), (w / 2 - edge, 0, 0), (0, 0, back - front), (3, n), deck)
    scene.add(quad((-edge, -0.14, front), (2 * edge, 0, 0), (0, 0, back - front)), WATER[a["main_color"]], "water")
    z_mid = (front + back) / 2
    for z in (front, back):
        scene.add(box((0, -0.04, z), (2 * edge + 0.5, 0.12, 0.3)), "white")
    for x in (-edge, edge):
        scene.add(box((x, -0.04, z_mid), (0.3, 0.12, front - back)), "white")
    step, z = rng.uniform(2.3, 3.2), front - 0.6
    if a["layout"] == "arches":
        bays = round((front - back) / 2.6)
        for side in (-1, 1):
            arches = arcade(side * (edge + 0.5), front + 1.3, back - 1.3, bays + 1, height * 0.42, height, 0.4)
            scene.add(arches, stone)
    else:
        while z > back:
            for side in (-1, 1):
                x = side * (edge + 0.55)
                if a["layout"] == "round columns":
                    scene.add(column((x, 0, z), 0.3, height), stone)
                else:
                    scene.add(box((x, height / 2, z), (0.6, height, 0.6)), stone)
                scene.add(box((x, 0.1, z), (0.78, 0.2, 0.78)), stone)
                scene.add(box((x, height - 0.12, z), (0.78, 0.24, 0.78)), stone)
            z -= step
    for i in range(rng.choice((1, 2, 3))):
        x = (0, -2.4, 2.4)[i]
        scene.add(quad((x - 0.6, 0, far + 0.03), (1.2, 0, 0), (0, 2.3, 0)), wall * 0.06)
    if rng.random() < 0.6:                 # a ladder out of the water
        x, z = rng.choice((-1, 1)) * (edge - 0.05), front - rng.uniform(2.0, 4.0)
        for s in (-0.3, 0.3):
            scene.add(beam((x, -0.2, z + s), (x, 0.9, z + s), 0.07), "#c8ccd0", "metal")
            scene.add(beam((x, 0.9, z + s), (x + np.sign(x) * 0.5, 0.9, z + s), 0.07), "#c8ccd0", "metal")
    # The lamp above the near deck is always lit, so that no pool is black.
    scene.add(quad((-edge / 2, height - 0.02, 0.2), (edge, 0, 0), (0, 0, 0.8)), glow(a, 2.0), "light")
    if rng.random() < 0.4:
        scene.add(quad((-edge * 0.55, height - 0.02, back + 1.5), (edge * 1.1, 0, 0), (0, 0, (front - back) * 0.75)),
                  glow(a, 3.0), "light")
    else:
        count = rng.choice((4, 5, 7))
        for k in range(count):
            panel(scene, a, rng, 0, height - 0.02, front - (front - back) * (k + 0.5) / count, edge * 1.2,
                  5.0 / count, 5.0)
    scene.brightness *= 1.12               # the white ceiling is most of what is bright
    look(scene, a, rng, 1.8, rng.uniform(1.5, 2.3), down=1.0, fov=(60, 70), turn=3.4)


def garage(scene, a, rng):
    """A concrete garage: rows of pillars with painted bands, beams, tubes of light, empty bays, perhaps a ramp."""
    w = {"two rows": 15.0, "four rows": 26.0, "ramp": 17.0}[a["layout"]]
    near, far, height = 4.0, -50.0, rng.uniform(2.6, 3.1)
    concrete = linear("#8e9092") * rng.uniform(0.85, 1.1)
    paint, line = shade(a["main_color"]), shade(a["second_color"])
    hall(scene, concrete, concrete * 0.8, -w / 2, w / 2, near, far, height)
    tiles(scene, rng, (-w / 2, 0, near), (w, 0, 0), (0, 0, far - near), (6, 12), linear("#6c6e72"))
    stripe = "black" if a["main_color"] in ("yellow", "orange") else "white"
    for side in (-1, 1):
        scene.add(box((side * w / 2, 1.0, (near + far) / 2), (0.06, 0.5, near - far)), paint)
    rows = {"two rows": (-3.1, 3.1), "four rows": (-8.6, -3.1, 3.1, 8.6), "ramp": (-5.2, 5.2)}[a["layout"]]
    lamps = {"two rows": (-6.0, 0.0, 6.0), "four rows": (-12.0, -6.5, 0.0, 6.5, 12.0), "ramp": (-6.6, 0.0, 6.6)}
    step, first = rng.uniform(4.2, 5.6), -rng.uniform(2.4, 4.2)
    for j in range(10):
        z = first - j * step
        if z < far + 1:
            break
        scene.add(box((0, height - 0.15, z), (w, 0.3, 0.4)), concrete * 0.85)
        for x in rows:
            scene.add(box((x, height / 2, z), (0.6, height, 0.6)), concrete * 1.25)
            scene.add(box((x, 0.6, z), (0.64, 1.2, 0.64)), paint)
            for y in (0.4, 0.8):
                scene.add(box((x, y, z), (0.66, 0.14, 0.66)), stripe)
        for x in lamps[a["layout"]]:
            panel(scene, a, rng, x, height - 0.32, z + step / 2, 0.3, 2.6, 7.0)
    z = first + 1.0
    while z > far:
        for side in (-1, 1):
            scene.add(box((side * (w / 2 - 2.3), 0.004, z), (4.4, 0.012, 0.16)), line)
        z -= 2.6
    if a["layout"] == "ramp":
        drive = ramp(scene, a, rng, height, concrete, paint, line)
    else:
        for x in (-2.3, 2.3):
            scene.add(box((x, 0.004, (near + far) / 2), (0.14, 0.012, near - far)), line)
    scene.brightness *= 1.05
    look(scene, a, rng, 1.6, 1.6, down=0.2, fov=(60, 72), turn=3.4)
    if a["layout"] == "ramp":              # beside the drive, whatever the view
        scene.eye = (scene.eye[0] * 0.4 - drive * 0.6, *scene.eye[1:])
        scene.target = (drive * 0.5, *scene.target[1:])


def ramp(scene, a, rng, height, concrete, paint, line):
    """A drive that rises beside the way into light from above; its middle, in metres from that of the garage."""
    z, run, half = -rng.uniform(3.6, 4.8), rng.uniform(8.0, 10.0), 1.7
    x = rng.choice((-1, 1)) * 2.5
    scene.add(quad((x - half, 0.01, z), (2 * half, 0, 0), (0, height, -run)), concrete * 0.9)
    panel(scene, a, rng, x, height - 0.31, z - run * 0.75, 2 * half, run * 0.4, 6.0)
    for k in range(4):                     # arrows up the drive
        f = k / 5 + 0.04
        tip = (x, height * (f + 0.13) + 0.04, z - run * (f + 0.13))
        for side in (-1, 1):
            scene.add(beam((x + side * 0.9, height * f + 0.04, z - run * f), tip, 0.2), line)
    for edge in (x - half, x + half):
        corners = np.array(((edge, 0, z), (edge, 0, z - run), (edge, height, z - run)), dtype=np.float32)
        scene.add((corners, np.tile((np.sign(edge - x), 0.0, 0.0), (3, 1)), np.array([[0, 1, 2]])), concrete)
        scene.add(beam((edge, 0.2, z + 0.2), (edge, height + 0.2, z - run + 0.2), 0.5), concrete * 1.25)
        scene.add(beam((edge, 0.42, z + 0.1), (edge, height + 0.42, z - run + 0.1), 0.2), paint)
    return x


def shutter(scene, x, y, z, across, tall, side, colour):
    """A closed roller shutter on a side wall, in slats."""
    corner = (x, y, z - across / 2) if side > 0 else (x, y, z + across / 2)
    scene.grid(corner, (0, 0, across * side), (0, tall, 0), (1, 11), lambda i, j: colour * (1.1, 0.72)[j % 2])


def mall(scene, a, rng):
    """A shopping hall of two storeys: shuttered shops, galleries on columns, a roof of light."""
    half, storey, height = rng.uniform(5.6, 7.0), 3.4, rng.uniform(7.0, 8.0)
    near, far, gallery = 4.0, -36.0, 2.0
    wall, metal, pillar = tint(a["wall_color"]), mixed(shade(a["main_color"]), "white", 0.3), shade(a["second_color"])
    hall(scene, wall, "#dcdad4", -half, half, near, far, height)
    pale = linear("#d6d0c6")
    other = mixed(wall, "#8a7f78", 0.5) if a["floor"] == "checkered floor" else pale * 0.93
    scene.grid((-half, 0, near), (2 * half, 0, 0), (0, 0, far - near), (8, 26),
               lambda i, j: (other if (i + j) % 2 else pale) * rng.uniform(0.96, 1.04), "gloss")
    bay = rng.uniform(3.4, 4.2)
    z, k = 2.0, 0
    while z > far + 2:
        for side in (-1, 1):
            for y in (0.0, storey + 0.2):
                x = side * (half - 0.03)
                scene.add(box((side * half, y + 2.85, z), (0.3, 0.55, bay * 0.84)), metal * 0.6)
                if rng.random() < 0.14:
                    scene.add(box((x, y + 1.25, z), (0.1, 2.5, bay * 0.78)), "#1a2224", "water")
                else:
                    shutter(scene, x, y, z, bay * 0.78, 2.5, -side, metal)
            if k % 2:
                continue
            column_x = side * (half - gallery)
            scene.add(column((column_x, 0, z - bay / 2), 0.3, height), pillar)
            scene.add(box((column_x, 0.15, z - bay / 2), (0.8, 0.3, 0.8)), pillar * 0.8)
        for side in (-1, 1):
            panel(scene, a, rng, side * (half - gallery / 2), storey - 0.19, z, 0.7, 2.0, 13.0)
        z, k = z - bay, k + 1
    middle, d = (near + far) / 2, near - far
    rail = []
    for side in (-1, 1):
        x = side * (half - gallery / 2)
        scene.add(box((x, storey, middle), (gallery, 0.36, d)), "#e0ddd6")
        edge = side * (half - gallery + 0.05)
        rail.append(box((edge, storey + 0.7, middle), (0.07, 0.8, d)))
    scene.add(merged(rail), "#8f9498", "metal")
    for j in range(9):                     # the light roof between white bars
        panel(scene, a, rng, 0, height - 0.02, 2.0 - j * 4.4, half * 0.8, 3.5, 3.0)
    {"escalators": escalators, "fountain": fountain, "planters": planters}[a["layout"]](scene, rng, half, storey)
    scene.brightness *= 1.1
    look(scene, a, rng, 1.7, rng.uniform(1.5, 3.0), down=0.1, fov=(64, 74), turn=4.0)


def escalators(scene, rng, half, storey):
    """Two still escalators up to a bridge between the galleries."""
    z, run = -rng.uniform(4.5, 6.0), 6.0
    for x in (-0.95, 0.95):
        for k in range(15):
            scene.add(box((x, storey * (k + 0.5) / 15 - 0.1, z - run * (k + 0.5) / 15), (1.0, 0.36, run / 15)),
                      linear("#3c3f42") * (1.4 if k % 2 else 0.8))
        for side in (-1, 1):
            s = x + side * 0.62
            scene.add(beam((s, 0.25, z + 0.3), (s, storey + 0.25, z - run + 0.3), 0.6), "#7f868a", "gloss")
            scene.add(beam((s, 0.72, z + 0.3), (s, storey + 0.72, z - run + 0.3), 0.14), "black")
    scene.add(box((0, storey, z - run - 1.2), (2 * half - 3, 0.36, 2.6)), "#e0ddd6")
    scene.add(box((0, storey + 0.7, z - run - 2.4), (2 * half - 4, 0.8, 0.07)), "#8f9498", "metal")


def fountain(scene, rng, half, storey):
    """A round basin with a bowl on a stem."""
    z, r = -rng.uniform(5.5, 7.0), rng.uniform(1.9, 2.3)
    scene.add(lathe((0, 0, z), [(r + 0.1, 0), (r + 0.2, 0.6), (r - 0.25, 0.6), (r - 0.25, 0.3)]), "#d2ccc0")
    scene.add(lathe((0, 0, z), [(r - 0.25, 0.42), (0, 0.42)]), "#3f9490", "water")
    for low, wide in ((0.0, 0.95), (1.1, 0.55)):
        scene.add(lathe((0, low, z), [(0.3, 0), (0.15, 0.3), (0.14, 1.0), (wide, 1.3), (0, 1.2)]), "#c4bdb0")


def planters(scene, rng, half, storey):
    """Square planters with palms and benches between them."""
    z = -rng.uniform(3.8, 4.8)
    while z > -30:
        for x in (-1.5, 1.5):
            scene.add(box((x, 0.28, z), (1.2, 0.56, 1.2)), "#a8978a")
            scene.add(beam((x, 0.5, z), (x + rng.uniform(-0.15, 0.15), 2.2, z), 0.12), "#6a5238")
            for k in range(7):
                turn = k * 0.9 + rng.uniform(-0.2, 0.2)
                tip = (x + np.cos(turn) * 0.8, 2.0 + rng.uniform(-0.2, 0.25), z + np.sin(turn) * 0.8)
                scene.add(beam((x, 2.3, z), tip, 0.11), linear("#4a7048") * rng.uniform(0.7, 1.2))
            scene.add(ellipsoid((x, 0.62, z), (0.5, 0.22, 0.5)), "#48653f")
            scene.add(box((x, 0.42, z - 1.9), (0.5, 0.09, 1.7)), "#7a5638")
            scene.add(box((x, 0.2, z - 1.9), (0.4, 0.4, 0.12)), "#55585c")
        z -= 4.0


def sign(scene, x, y, z, side, colour):
    """A round station sign with a white bar on the wall at x; side is where the wall faces."""
    points, normals, faces = column((0, 0, 0), 0.62, 0.06)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    points = points @ turn + np.array((x + max(side, 0) * 0.06, y, z), dtype=np.float32)
    scene.add((points, normals @ turn, faces), colour)
    scene.add(box((x + side * 0.06, y, z), (0.08, 0.24, 1.7)), "#eeece4")


def platform(scene, a, rng):
    """An underground station: a tiled vault over platforms with yellow lines, tracks that run into the dark."""
    half, spring, top = rng.uniform(4.8, 5.8), rng.uniform(1.6, 2.2), rng.uniform(4.3, 5.0)
    near, far, deep = 4.0, -44.0, 1.1
    d, middle = near - far, (near + far) / 2
    tile, paint, line = tint(a["wall_color"]), shade(a["main_color"]), shade(a["second_color"])
    slabs, camera = {                      # platforms from x to x, where the camera stands
        "side platform": (((-0.6, half),), 1.6),
        "island platform": (((-2.7, 2.7),), rng.choice((-1.5, 1.5))),
        "facing platforms": (((-half, -2.1), (2.1, half)), 0.0),
    }[a["layout"]]
    vault(scene, rng, half, spring, top, near, far, tile, tile * 0.62)
    for side in (-1, 1):
        tiles(scene, rng, (side * half, -deep, near if side < 0 else far), (0, 0, side * d), (0, spring + deep, 0),
              (40, 5), tile, "gloss")
        scene.add(box((side * half, 1.25, middle), (0.04, 0.5, d)), paint)
        for k in range(8):
            sign(scene, side * half - side * 0.03, 1.75, -1.8 - k * 5.2, -side, paint)
    for z in (near, far):
        scene.add(quad((-half, -deep, z), (2 * half, 0, 0), (0, top + deep, 0)), tile * 0.4)
    scene.add(quad((-half, -deep, near), (2 * half, 0, 0), (0, 0, -d)), "#33302c")
    benches, edges = [], []
    for left, right in slabs:
        tiles(scene, rng, (left, 0, near), (right - left, 0, 0), (0, 0, -d), (5, 48), linear("#a9a6a0"), "gloss")
        for x, inward in ((left, 1), (right, -1)):
            if abs(abs(x) - half) < 0.01:
                benches.append((x + inward * 0.45, -inward))
                continue
            edges.append((x, inward))
            scene.add(quad((x, -deep, near), (0, deep, 0), (0, 0, -d)), "#6a6862")
            scene.add(box((x + inward * 0.14, 0.005, middle), (0.28, 0.02, d)), "#dad8d0")
            scene.add(box((x + inward * 0.55, 0.008, middle), (0.3, 0.02, d)), line)
    if a["layout"] == "island platform":
        for k in range(8):
            z = -3.4 - k * 5.2
            scene.add(column((0, 0, z), 0.32, top), tile * 0.9)
            scene.add(column((0, 0, z), 0.35, 1.1), paint)
        benches.append((0.0, 1))
    for x, inward in benches:
        for k in range(7):
            z = -4.6 - k * 5.2
            scene.add(box((x, 0.44, z), (0.5, 0.09, 1.8)), paint)
            scene.add(box((x + inward * 0.24, 0.74, z), (0.07, 0.4, 1.8)), paint * 0.9)
            scene.add(box((x, 0.2, z), (0.4, 0.4, 0.1)), "#55585c")
    tracks = {"side platform": (-(half + 0.6) / 2,), "island platform": (-(half + 2.5) / 2, (half + 2.5) / 2),
              "facing platforms": (-1.05, 1.05)}[a["layout"]]
    sleepers = []
    for x in tracks:
        for s in (-0.45, 0.45):
            scene.add(box((x + s, 0.16 - deep, middle), (0.1, 0.14, d)), "#c4c6c8", "metal")
        sleepers += [box((x, 0.05 - deep, near - 0.9 * k), (1.5, 0.08, 0.3)) for k in range(44)]
        scene.add(box((x, -0.1 + deep * 0.4, far + 0.1), (1.9, 2.6, 0.1)), "#0c0c0e")
    scene.add(merged(sleepers), "#4d443a")
    for x in (-half * 0.36, half * 0.36):
        for k in range(14):
            panel(scene, a, rng, x, top - 0.75, 2.4 - k * 3.2, 0.24, 2.2, 11.0)
            scene.add(box((x, top - 0.68, 2.4 - k * 3.2), (0.34, 0.1, 2.3)), "#c8c8c4")
    between = a["layout"] == "facing platforms"
    look(scene, a, rng, 1.6 if between else 0.5, 1.7, down=0.6, fov=(64, 74), turn=2.2)
    scene.eye = (scene.eye[0] + camera, *scene.eye[1:])
