"""The five liminal places, each closed and empty; the camera stands at z = 0 and looks along -z.

Each function adds to a scene what the attributes `a` name, with the draws of `rng`, and places the camera.
"""

from shapes import beam, box, column, linear, mixed, quad

# light: (colour of the panels, share of panels that are lit, brightness)
MOODS = {
    "fluorescent light": ((0.92, 1.0, 0.95), 1.0, 0.74),
    "warm light": ((1.0, 0.80, 0.54), 1.0, 0.68),
    "dim light": ((0.80, 0.90, 1.0), 0.6, 0.50),
}


def look(scene, a, rng, shift, height, down=0.0, fov=(62, 70), turn=1.6):
    """Place the camera near the middle; a left or right view stands aside and looks across."""
    side = {"front": 0.0, "left": -1.0, "right": 1.0}[a["view"]]
    x = side * shift + rng.uniform(-0.25, 0.25) * shift
    y = height * rng.uniform(0.94, 1.06)
    scene.eye, scene.fov = (x, y, 0.0), rng.uniform(*fov)
    scene.target = (x - side * turn + rng.uniform(-0.5, 0.5), y - down + rng.uniform(-0.3, 0.3), -10.0)


def hall(scene, wall, ceiling, left, right, near, far, height):
    """Four walls and a ceiling around left..right, near..far (near > far)."""
    w, d = right - left, near - far
    scene.add(quad((left, 0, far), (w, 0, 0), (0, height, 0)), wall)
    scene.add(quad((right, 0, near), (-w, 0, 0), (0, height, 0)), wall)
    scene.add(quad((left, 0, near), (0, 0, -d), (0, height, 0)), wall)
    scene.add(quad((right, 0, far), (0, 0, d), (0, height, 0)), wall)
    scene.add(quad((left, height, far), (w, 0, 0), (0, 0, d)), ceiling)


def glow(a, power):
    """The radiance of a lamp in the light that the attributes name."""
    return tuple(power * c for c in MOODS[a["light"]][0])


def panel(scene, a, rng, x, y, z, across, deep, power):
    """A light in the ceiling, facing down; where light is dim some are dead."""
    face = quad((x - across / 2, y, z - deep / 2), (across, 0, 0), (0, 0, deep))
    if rng.random() < MOODS[a["light"]][1]:
        scene.add(face, glow(a, power), "light")
    else:
        scene.add(face, "#b8bab8")


CARPETS = {
    "checkered carpet": lambda i, j: (i + j) % 2,
    "striped carpet": lambda i, j: i % 2,
    "diamond carpet": lambda i, j: (i + j) % 4 == 0 or (i - j) % 4 == 0,
}


def corridor(scene, a, rng):
    """A hotel corridor: doors on both sides, a patterned carpet, ceiling panels, on and on."""
    w = rng.uniform(1.9, 2.2) if a["layout"] == "narrow" else rng.uniform(2.9, 3.4)
    near, far, height = 3.0, -42.0, rng.uniform(2.4, 2.6)
    wall = linear(a["wall_color"], walls=True)
    hall(scene, wall, "#e8e6de", -w / 2, w / 2, near, far, height)
    pattern, columns = CARPETS[a["floor"]], 9 if a["floor"] == "striped carpet" else 8
    ground, figure = linear(a["second_color"]), mixed(a["second_color"], rng.choice(("white", "black")), 0.62)
    cells = int((near - far) * columns / w)
    rows = 1 if a["floor"] == "striped carpet" else cells
    scene.grid((-w / 2, 0, near), (w, 0, 0), (0, 0, far - near), (columns, rows),
               lambda i, j: figure if pattern(i, j) else ground)
    gap, start = rng.uniform(2.4, 3.2), rng.uniform(0.0, 1.5)
    frame = "white" if a["main_color"] != "white" else "brown"
    z = start
    while z > far + 1:
        for side in (-1, 1):
            x = side * w / 2
            scene.add(box((x, 1.08, z), (0.06, 2.16, 1.12)), frame)
            scene.add(box((x, 1.03, z), (0.1, 2.06, 0.94)), a["main_color"])
            scene.add(box((x - side * 0.08, 1.0, z - 0.36), (0.06, 0.05, 0.14)), "#d8b860")
        panel(scene, a, rng, 0, height - 0.01, z - gap / 2, 0.7, 1.1, 7.0)
        z -= gap
    panel(scene, a, rng, 0, height - 0.01, 1.8, 0.7, 1.1, 7.0)
    for side in (-1, 1):
        scene.add(box((side * w / 2, 0.07, (near + far) / 2), (0.04, 0.14, near - far)), frame)
    scene.add(box((0, 1.03, far), (0.94, 2.06, 0.1)), a["main_color"])
    look(scene, a, rng, w * 0.2, 1.45, down=0.7, turn=0.7)


def maze(scene, a, rng):
    """Rooms of yellow walls under a ceiling of panels: pillars, partitions or rows of doorways."""
    height, left, right, near, far = rng.uniform(2.5, 2.8), -15.0, 15.0, 3.0, -30.0
    wall = linear("#e6c63c") * rng.uniform(0.9, 1.08)
    carpet = {"yellow": "#b89838", "brown": "#7a5a30", "grey": "#8c8a80"}[a["second_color"]]
    hall(scene, wall, "#e0cc78", left, right, near, far, height)
    scene.add(quad((left, 0, near), (right - left, 0, 0), (0, 0, far - near)), carpet)

    def block(x, z, across, deep, low=0.0):
        scene.add(box((x, (low + height) / 2, z), (across, height - low, deep)), wall)
        if low == 0:
            scene.add(box((x, 0.06, z), (across + 0.04, 0.12, deep + 0.04)), "#a8862c")

    if a["layout"] == "pillars":
        step, size = rng.uniform(3.4, 4.6), rng.uniform(0.6, 1.1)
        shift = step / 2 + rng.uniform(-0.4, 0.4)
        for i in range(-4, 5):
            for j in range(8):
                if rng.random() < 0.8:
                    block(i * step + shift, -3.2 - j * step, size, size)
    elif a["layout"] == "partitions":
        for j in range(9):
            for i in range(-5, 6):
                x, z = i * 2.9 + rng.uniform(-0.3, 0.3), -3.0 - j * 3.0
                if abs(x) < 1.4 and j < 2:
                    continue
                turn = rng.random()
                if turn < 0.3:
                    block(x, z, 2.6, 0.2)
                elif turn < 0.62:
                    block(x, z, 0.2, 2.6)
    else:
        for j in range(6):
            z, x = -3.6 - j * 4.2, left
            while x < right:
                solid, opening = rng.uniform(1.2, 3.2), rng.uniform(1.3, 2.2)
                block(x + solid / 2, z, solid, 0.25)
                block(x + solid + opening / 2, z, opening, 0.25, low=2.1)
                x += solid + opening
    step = rng.uniform(2.5, 3.1)
    for i in range(-4, 5):
        for j in range(-1, 10):
            panel(scene, a, rng, i * step, height - 0.012, -0.6 - j * step, 0.62, 1.25, 5.0)
    look(scene, a, rng, 1.0, 1.45, down=0.3, fov=(66, 76), turn=3.0)


def tiles(scene, rng, corner, u, v, counts, colour):
    """A tiled surface: cells of slightly different shades."""
    scene.grid(corner, u, v, counts, lambda i, j: colour * rng.uniform(0.86, 1.1))


def pool(scene, a, rng):
    """A tiled hall with still water between two rows of columns and dark doorways at its end."""
    w, near, far, height = rng.uniform(8.5, 11.0), 2.5, -rng.uniform(14, 19), rng.uniform(3.9, 4.8)
    left, right, d = -w / 2, w / 2, near - far
    wall, deck = linear(a["wall_color"], walls=True), linear("#dfe4e2")
    hall(scene, wall, "#eef0ee", left, right, near, far, height)
    n, m = int(d / 0.8), int(height / 0.6)
    tiles(scene, rng, (left, 0, far + 0.01), (w, 0, 0), (0, height, 0), (int(w / 0.7), m), wall)
    tiles(scene, rng, (left + 0.01, 0, near), (0, 0, -d), (0, height, 0), (n, m), wall)
    tiles(scene, rng, (right - 0.01, 0, far), (0, 0, d), (0, height, 0), (n, m), wall)
    edge, front, back = w / 2 - rng.uniform(1.7, 2.3), -2.0, far + 2.2
    tiles(scene, rng, (left, 0, near), (w, 0, 0), (0, 0, front - near), (int(w / 0.6), 7), deck)
    tiles(scene, rng, (left, 0, back), (w, 0, 0), (0, 0, far - back), (int(w / 0.6), 3), deck)
    for x in (left, edge):
        tiles(scene, rng, (x, 0, front), (w / 2 - edge, 0, 0), (0, 0, back - front), (3, n), deck)
    scene.add(quad((-edge, -0.14, front), (2 * edge, 0, 0), (0, 0, back - front)),
              {"teal": "#18b4b8", "blue": "#2474d8", "green": "#3cb878"}[a["main_color"]], "water")
    z_mid = (front + back) / 2
    for z in (front, back):
        scene.add(box((0, -0.04, z), (2 * edge + 0.5, 0.12, 0.3)), "white")
    for x in (-edge, edge):
        scene.add(box((x, -0.04, z_mid), (0.3, 0.12, front - back)), "white")
    step, z = rng.uniform(2.3, 3.2), front - 0.6
    while z > back:
        for side in (-1, 1):
            x = side * (edge + 0.55)
            if a["layout"] == "round columns":
                scene.add(column((x, 0, z), 0.3, height), a["second_color"])
            else:
                scene.add(box((x, height / 2, z), (0.55, height, 0.55)), a["second_color"])
            scene.add(box((x, 0.1, z), (0.76, 0.2, 0.76)), a["second_color"])
            scene.add(box((x, height - 0.12, z), (0.76, 0.24, 0.76)), a["second_color"])
        z -= step
    for i in range(rng.choice((1, 2, 3))):
        x = (0, -2.4, 2.4)[i]
        scene.add(quad((x - 0.6, 0, far + 0.03), (1.2, 0, 0), (0, 2.3, 0)), mixed(a["wall_color"], "black", 0.93))
    # The lamp above the near deck is always lit, so that no pool is black.
    scene.add(quad((-edge / 2, height - 0.02, 0.2), (edge, 0, 0), (0, 0, 0.8)), glow(a, 2.0), "light")
    if rng.random() < 0.5:
        scene.add(quad((-edge * 0.55, height - 0.02, back + 1.5), (edge * 1.1, 0, 0), (0, 0, (front - back) * 0.75)),
                  glow(a, 3.0), "light")
    else:
        for k in range(5):
            panel(scene, a, rng, 0, height - 0.02, front - (front - back) * (k + 0.5) / 5, edge * 1.2, 1.1, 5.0)
    scene.brightness *= 1.12               # the white ceiling is most of what is bright
    look(scene, a, rng, 1.6, rng.uniform(1.6, 2.0), down=1.0, fov=(62, 70), turn=3.0)


def garage(scene, a, rng):
    """A concrete garage: rows of pillars with painted bands, beams, tubes of light, empty bays."""
    w = 15.0 if a["layout"] == "two rows" else 26.0
    near, far, height = 4.0, -50.0, rng.uniform(2.6, 3.0)
    concrete, paint = linear("#7c7e80") * rng.uniform(0.85, 1.1), linear(a["main_color"])
    hall(scene, concrete, concrete * 0.8, -w / 2, w / 2, near, far, height)
    scene.grid((-w / 2, 0, near), (w, 0, 0), (0, 0, far - near), (6, 12),
               lambda i, j: linear("#74767a") * rng.uniform(0.88, 1.1))
    stripe = "black" if a["main_color"] in ("yellow", "orange") else "white"
    for side in (-1, 1):
        scene.add(box((side * w / 2, 1.0, (near + far) / 2), (0.06, 0.5, near - far)), paint)
    rows = (-3.6, 3.6) if a["layout"] == "two rows" else (-9.5, -3.6, 3.6, 9.5)
    step, first = rng.uniform(4.6, 5.8), -rng.uniform(2.4, 4.2)
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
        for x in (-6.0, 0.0, 6.0) if a["layout"] == "two rows" else (-12.0, -6.5, 0.0, 6.5, 12.0):
            panel(scene, a, rng, x, height - 0.32, z + step / 2, 0.28, 1.9, 9.0)
    z = first + 1.0
    while z > far:
        for side in (-1, 1):
            scene.add(box((side * (w / 2 - 2.3), 0.004, z), (4.4, 0.012, 0.16)), a["second_color"])
        z -= 2.6
    for x in (-2.6, 2.6):
        scene.add(box((x, 0.004, (near + far) / 2), (0.14, 0.012, near - far)), a["second_color"])
    scene.brightness *= 0.8
    look(scene, a, rng, 1.4, 1.5, down=0.2, fov=(62, 72), turn=3.0)


def lift(point, up):
    return point[0], point[1] + up, point[2]


def stairwell(scene, a, rng):
    """Flights of stairs around a square shaft, storey after storey, seen along the shaft."""
    outer, inner, rise, levels = 2.5, rng.uniform(1.0, 1.25), rng.uniform(2.6, 3.1), 9
    below = a["layout"] == "from below"
    wall, tread = linear(a["wall_color"], walls=True), linear(a["second_color"])
    bottom, top = -0.5, levels * rise
    middle = (outer + inner) / 2
    span, steps = outer - inner, 6
    for s, (dx, dz) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
        # The wall behind this flight, facing the shaft.
        across = (-dz, dx)
        corner = (dx * outer - across[0] * outer, bottom, dz * outer - across[1] * outer)
        scene.add(quad(corner, (across[0] * 2 * outer, 0, across[1] * 2 * outer), (0, top - bottom + 3, 0)), wall)
        for level in range(levels):
            base = level * rise + s * rise / 4
            for k in range(steps):
                t = -inner + 2 * inner * (k + 0.5) / steps
                y = base + rise / 4 * (k + 1) / (steps + 1)
                size = (span, 0.2, 2 * inner / steps + 0.01) if dx else (2 * inner / steps + 0.01, 0.2, span)
                scene.add(box((dx * middle + across[0] * t, y, dz * middle + across[1] * t), size),
                          tread * (1.08 if k % 2 else 0.9))
            y = base + rise / 4
            x, z = dx * middle + across[0] * middle, dz * middle + across[1] * middle
            scene.add(box((x, y, z), (span, 0.2, span)), tread)
            start = (dx * inner - across[0] * inner, base + 0.1, dz * inner - across[1] * inner)
            end = (dx * inner + across[0] * inner, base + rise / 4 + 0.1, dz * inner + across[1] * inner)
            scene.add(beam(lift(start, 0.95), lift(end, 0.95), 0.11), a["main_color"])
            scene.add(beam(lift(start, 0.0), lift(end, 0.0), 0.16), a["main_color"])
            for k in range(5):
                f = k / 4
                foot = tuple(p * (1 - f) + q * f for p, q in zip(start, end))
                scene.add(beam(foot, lift(foot, 0.95), 0.05), a["main_color"])
            if rng.random() < max(MOODS[a["light"]][1], 0.75) and (s + level) % 2 == 0:
                y, half = base + 1.9, 0.55
                corner = (dx * (outer - 0.02) - across[0] * half, y, dz * (outer - 0.02) - across[1] * half)
                scene.add(quad(corner, (across[0] * 2 * half, 0, across[1] * 2 * half), (0, 0.32, 0)),
                          glow(a, 7.0), "light")
    scene.add(quad((-outer, bottom, outer), (2 * outer, 0, 0), (0, 0, -2 * outer)), tread * 0.7)
    scene.add(quad((-outer, top + 2.5, -outer), (2 * outer, 0, 0), (0, 0, 2 * outer)), glow(a, 3.0), "light")
    dx, dz = rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35)
    side = {"front": 0.0, "left": -1.2, "right": 1.2}[a["view"]]
    scene.up = (0.0, 0.0, -1.0)
    scene.eye = (dx, 0.6 if below else top + 0.4, dz)
    scene.target = (dx + side + rng.uniform(-0.3, 0.3), top if below else 0.0, dz + rng.uniform(-1.2, 1.2))
    scene.fov = rng.uniform(66, 78)


BUILD = {"corridor": corridor, "maze": maze, "pool": pool, "garage": garage, "stairwell": stairwell}
