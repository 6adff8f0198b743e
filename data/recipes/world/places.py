"""Four liminal places of small rooms: corridor, maze, stairwell, waiting room; the other four are in halls.py.

Each is closed and empty; the camera stands near z = 0 and looks along -z. Each function adds to a scene
what the attributes `a` name, with the draws of `rng`, and places the camera.
"""

import numpy as np

from recipes.world.fittings import MOODS, glow, hall, look, panel, shade, tint
from recipes.world.shapes import beam, box, column, linear, merged, mixed, quad, rounded

CARPETS = {
    "checkered carpet": lambda i, j: (i + j) % 2,
    "striped carpet": lambda i, j: i % 2,
    "diamond carpet": lambda i, j: (i + j) % 4 == 0 or (i - j) % 4 == 0,
}


def corridor(scene, a, rng):
    """A hotel corridor: doors on both sides, a patterned carpet, ceiling panels, on and on or round a bend."""
    w = rng.uniform(1.9, 2.2) if a["layout"] == "narrow" else rng.uniform(2.8, 3.4)
    bend = rng.choice((-1, 1)) if a["layout"] == "bending" else 0
    near, far, height = 3.0, -rng.uniform(7.0, 9.5) if bend else -42.0, rng.uniform(2.4, 2.7)
    wall, frame = tint(a["wall_color"]), shade("white" if a["main_color"] != "white" else "brown")
    door, knob = shade(a["main_color"]), "#d8b860"
    turn = far + 2.2                       # where the wall of the bend's side ends
    for side in (-1, 1):
        end = turn if side == bend else far
        scene.add(quad((side * w / 2, 0, near), (0, 0, end - near), (0, height, 0)), wall)
        for y, tall, deep in ((0.07, 0.14, 0.05), (0.95, 0.07, 0.05)):
            scene.add(box((side * w / 2, y, (near + end) / 2), (deep, tall, near - end)), frame)
        scene.add(box((side * w / 2, 0.5, (near + end) / 2), (0.03, 0.85, near - end)), wall * 0.72)
    reach = 9.0 if bend else 0.0           # how far the way goes on round the bend
    left, across = -w / 2 - (reach if bend < 0 else 0), w + reach
    scene.add(quad((left, 0, far), (across, 0, 0), (0, height, 0)), wall)
    scene.add(box((left + across / 2, 0.5, far), (across, 0.85, 0.03)), wall * 0.72)
    scene.add(quad((w / 2, 0, near), (-w, 0, 0), (0, height, 0)), wall)
    scene.add(quad((left, height, far), (across, 0, 0), (0, 0, near - far)), "#e4e2da")
    pattern, columns = CARPETS[a["floor"]], 9 if a["floor"] == "striped carpet" else 8
    ground = shade(a["second_color"])
    figure = ground * 0.45 if a["second_color"] != "green" and rng.random() < 0.5 else mixed(ground, "#e8d8a8", 0.55)
    rows = 1 if a["floor"] == "striped carpet" else int((near - far) * columns / w)
    scene.grid((-w / 2, 0, near), (w, 0, 0), (0, 0, far - near), (columns, rows),
               lambda i, j: figure if pattern(i, j) else ground)
    gap, z = rng.uniform(2.4, 3.4), rng.uniform(-1.2, 0.6)
    if bend:
        side = w / 2 if bend > 0 else -w / 2 - reach
        scene.grid((side, 0, turn), (reach, 0, 0), (0, 0, far - turn), (28, 7),
                   lambda i, j: figure if pattern(i, j) else ground)
        scene.add(quad((bend * (w / 2 + reach), 0, turn), (0, 0, far - turn), (0, height, 0)), wall)
        for x in (0.0, bend * 2.8):
            panel(scene, a, rng, x, height - 0.01, far + 1.1, 0.9, 0.7, 10.0)
    while z > (turn + 0.7 if bend else far + 1):
        for side in (-1, 1):
            x = side * w / 2
            scene.add(box((x, 1.08, z), (0.08, 2.16, 1.14)), frame)
            scene.add(box((x, 1.03, z), (0.12, 2.06, 0.94)), door)
            scene.add(box((x - side * 0.08, 1.0, z - 0.36), (0.08, 0.06, 0.14)), knob)
        panel(scene, a, rng, 0, height - 0.01, z - gap / 2, 0.7, 1.1, 7.0)
        z -= gap
    panel(scene, a, rng, 0, height - 0.01, 1.8, 0.7, 1.1, 7.0)
    x = -bend * w * 0.1
    scene.add(box((x, 1.08, far), (1.14, 2.16, 0.08)), frame)
    scene.add(box((x, 1.03, far), (0.94, 2.06, 0.12)), door)
    look(scene, a, rng, w * 0.22, 1.5, down=0.6, turn=0.9)
    if bend:                               # from the side that sees round the bend
        scene.eye = (-bend * w * rng.uniform(0.1, 0.28), *scene.eye[1:])
        scene.target = (bend * rng.uniform(0.6, 1.4), *scene.target[1:])


def maze(scene, a, rng):
    """Rooms of yellow walls under a ceiling of panels: pillars, partitions or rows of doorways."""
    height, left, right, near, far = rng.uniform(2.5, 2.9), -15.0, 15.0, 3.0, -30.0
    wall = linear("#d8bf58") * rng.uniform(0.85, 1.05)
    carpet = linear({"yellow": "#b09a50", "brown": "#745a38", "grey": "#8a8878"}[a["second_color"]])
    hall(scene, wall, "#d8cc98", left, right, near, far, height)
    scene.grid((left, 0, near), (right - left, 0, 0), (0, 0, far - near), (14, 14),
               lambda i, j: carpet * rng.uniform(0.92, 1.06))

    def block(x, z, across, deep, low=0.0):
        scene.add(box((x, (low + height) / 2, z), (across, height - low, deep)), wall)
        if low == 0:
            scene.add(box((x, 0.07, z), (across + 0.05, 0.14, deep + 0.05)), "#8f7a3c")

    if a["layout"] == "pillars":
        step, size = rng.uniform(3.2, 4.4), rng.uniform(0.6, 1.1)
        shift = step / 2 + rng.uniform(-0.4, 0.4)
        for i in range(-4, 5):
            for j in range(8):
                if rng.random() < 0.85:
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
            z, x = -3.4 - j * 3.8, left + rng.uniform(0, 1.5)
            while x < right:
                solid, opening = rng.uniform(1.0, 2.0), rng.uniform(1.3, 2.2)
                block(x + solid / 2, z, solid, 0.25)
                block(x + solid + opening / 2, z, opening, 0.25, low=2.05)
                x += solid + opening
    step = rng.uniform(2.5, 3.1)
    for i in range(-4, 5):
        for j in range(-1, 10):
            panel(scene, a, rng, i * step, height - 0.012, -0.6 - j * step, 0.62, 1.25, 5.0)
    look(scene, a, rng, 1.2, 1.5, down=0.3, fov=(64, 76), turn=4.0)


def lift(point, up):
    """A point, moved up by metres."""
    return point[0], point[1] + up, point[2]


def stairwell(scene, a, rng):
    """Stairs without an end: around a square shaft, seen along it, or one flight after another straight on."""
    (straight if a["layout"] == "straight ahead" else shaft)(scene, a, rng)


def straight(scene, a, rng):
    """Flights and landings climbing straight on between two walls."""
    w, flights, steps, tread, rise = rng.uniform(2.2, 3.0), 6, 9, 0.32, 0.175
    wall, stair, rail = tint(a["wall_color"]), shade(a["second_color"]), shade(a["main_color"])
    landing, height = 1.5, 2.9
    length, climb = steps * tread + landing, steps * rise
    y, z = 0.0, -1.2
    scene.add(quad((-w / 2, 0, 3), (w, 0, 0), (0, 0, z - 3)), stair)
    for _ in range(flights):
        for k in range(steps):
            scene.add(box((0, y + rise * (k + 0.5), z - tread * (k + 0.5)), (w, rise, tread)), stair)
            scene.add(box((0, y + rise * (k + 1), z - tread * k - 0.03), (w, 0.03, 0.06)), stair * 0.55)
        foot, head = (0, y + 0.9, z + 0.1), (0, y + climb + 0.9, z - steps * tread)
        for side in (-1, 1):
            x = side * (w / 2 - 0.1)
            scene.add(beam((x, *foot[1:]), (x, *head[1:]), 0.09), rail)
            scene.add(beam((x, *head[1:]), (x, head[1], head[2] - landing), 0.09), rail)
            for k in range(0, steps + 1, 3):
                post = (x, y + rise * k, z - tread * k)
                scene.add(beam(post, lift(post, 0.9), 0.05), rail)
        y, z = y + climb, z - length
        scene.add(box((0, y - 0.1, z + landing / 2), (w, 0.2, landing)), stair)
        # A lamp across the wall above every landing, as wide as the stairs.
        panel(scene, a, rng, 0, y + height - 0.3, z + landing / 2, w * 0.5, 0.6, 12.0)
    scene.add(quad((-w / 2, height - 0.1, 3), (w, 0, 0), (0, 0, -3.4)), wall)
    panel(scene, a, rng, 0, height - 0.12, 0.6, w * 0.4, 0.4, 4.0)
    scene.add(quad((-w / 2, height + 0.1, -0.4), (w, 0, 0), (0, y, z + 0.4)), wall)
    for side in (-1, 1):
        scene.add(quad((side * w / 2, -0.5, 3), (0, 0, z - 3), (0, y + 4, 0)), wall)
    scene.add(quad((-w / 2, y, z), (w, 0, 0), (0, height + 1, 0)), wall)
    scene.add(quad((-w / 2, 0, 3), (w, 0, 0), (0, height + 1, 0)), wall)
    scene.add(quad((-0.5, y, z + 0.02), (1.0, 0, 0), (0, 2.1, 0)), glow(a, 2.0), "light")
    scene.brightness *= 1.15               # a long dark way up
    side = {"front": 0.0, "left": -1.0, "right": 1.0}[a["view"]]
    scene.eye = (side * w * 0.24, rng.uniform(1.3, 1.8), rng.uniform(1.2, 2.2))
    scene.target = (-side * 0.9, scene.eye[1] + rng.uniform(1.6, 3.0), -8.0)
    scene.fov = rng.uniform(62, 74)


def shaft(scene, a, rng):
    """Flights of stairs around a square shaft, storey after storey, seen along the shaft."""
    outer, inner, rise, levels = 2.5, rng.uniform(0.9, 1.3), rng.uniform(2.5, 3.2), 9
    below = a["layout"] == "from below"
    wall, tread, rail = tint(a["wall_color"]), shade(a["second_color"]), shade(a["main_color"])
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
                          tread * (1.1 if k % 2 else 0.8))
            y = base + rise / 4
            x, z = dx * middle + across[0] * middle, dz * middle + across[1] * middle
            scene.add(box((x, y, z), (span, 0.2, span)), tread)
            start = (dx * inner - across[0] * inner, base + 0.1, dz * inner - across[1] * inner)
            end = (dx * inner + across[0] * inner, base + rise / 4 + 0.1, dz * inner + across[1] * inner)
            scene.add(beam(lift(start, 0.95), lift(end, 0.95), 0.12), rail)
            scene.add(beam(lift(start, 0.0), lift(end, 0.0), 0.18), rail)
            for k in range(5):
                f = k / 4
                foot = tuple(p * (1 - f) + q * f for p, q in zip(start, end, strict=True))
                scene.add(beam(foot, lift(foot, 0.95), 0.05), rail)
            if rng.random() < max(MOODS[a["light"]][1], 0.75) and (s + level) % 2 == 0:
                y, half = base + 1.9, 0.55
                corner = (dx * (outer - 0.02) - across[0] * half, y, dz * (outer - 0.02) - across[1] * half)
                scene.add(quad(corner, (across[0] * 2 * half, 0, across[1] * 2 * half), (0, 0.32, 0)),
                          glow(a, 7.0), "light")
    scene.add(quad((-outer, bottom, outer), (2 * outer, 0, 0), (0, 0, -2 * outer)), tread * 0.7)
    scene.add(quad((-outer, top + 2.5, -outer), (2 * outer, 0, 0), (0, 0, 2 * outer)), glow(a, 3.0), "light")
    dx, dz = rng.uniform(-0.35, 0.35), rng.uniform(-0.35, 0.35)
    side = {"front": 0.0, "left": -1.4, "right": 1.4}[a["view"]]
    scene.up = (rng.uniform(-0.5, 0.5), 0.0, -1.0)
    scene.eye = (dx, 0.6 if below else top + 0.4, dz)
    scene.target = (dx + side + rng.uniform(-0.3, 0.3), top if below else 0.0, dz + rng.uniform(-1.2, 1.2))
    scene.fov = rng.uniform(64, 78)


def bank(scene, a, x, z, count, facing):
    """A row of chairs on one rail, its middle at x and z; facing is (0, 1) towards the camera, (1, 0) to the right."""
    fx, fz = facing
    colour, pitch = shade(a["main_color"]), 0.62
    length = count * pitch
    for k in range(count):
        t = (k + 0.5) * pitch - length / 2
        cx, cz = x + fz * t, z + fx * t
        wide = abs(fz) > 0
        scene.add(rounded((cx, 0.45, cz), (0.54 if wide else 0.5, 0.09, 0.5 if wide else 0.54), 0.04), colour)
        back = (cx - fx * 0.24, 0.78, cz - fz * 0.24)
        scene.add(rounded(back, (0.54 if wide else 0.08, 0.52, 0.08 if wide else 0.54), 0.04), colour * 0.9)
    size = (length, 0.06, 0.06) if abs(fz) else (0.06, 0.06, length)
    legs = [box((x, 0.36, z), size)]
    for t in (-0.4, 0.4):
        foot = (x + fz * t * length, 0.18, z + fx * t * length)
        legs.append(box(foot, (0.06 + abs(fx) * 0.4, 0.36, 0.06 + abs(fz) * 0.4)))
    scene.add(merged(legs), "#9a9da0", "metal")


def clock(scene, x, y, z, radius, rng):
    """A round clock on a wall that faces the camera."""
    for r, t, colour in ((radius, 0.08, "#232326"), (radius * 0.84, 0.12, "#f2f0e8")):
        points, normals, faces = column((0, 0, 0), r, t)
        turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)
        scene.add((points @ turn + np.array((x, y, z), dtype=np.float32), normals @ turn, faces), colour)
    for reach in (0.5, 0.72):
        angle = rng.uniform(0, 2 * np.pi)
        tip = (x + np.sin(angle) * radius * reach, y + np.cos(angle) * radius * reach, z + 0.14)
        scene.add(beam((x, y, z + 0.14), tip, radius * 0.12), "#232326")


def waiting_room(scene, a, rng):
    """Rows of empty chairs under a clock, a closed ticket desk at the end."""
    wide = a["layout"] != "along the walls"
    w = rng.uniform(7.0, 8.6) if wide else rng.uniform(4.8, 5.6)
    near, far, height = 3.5, -rng.uniform(9.5, 12.0), rng.uniform(2.9, 3.3)
    left, right = -w / 2, w / 2
    wall, desk = tint(a["wall_color"]), shade(a["second_color"])
    hall(scene, wall, "#dcdad2", left, right, near, far, height)
    for x in (left, right):
        scene.add(box((x, 0.5, (near + far) / 2), (0.06, 1.0, near - far)), wall * 0.7)
    pale = linear("#c9c4b8")
    dark = pale * 0.55 if a["floor"] == "checkered floor" else pale * 0.94
    scene.grid((left, 0, near), (w, 0, 0), (0, 0, far - near), (int(w / 0.6), int((near - far) / 0.6)),
               lambda i, j: (dark if (i + j) % 2 else pale) * rng.uniform(0.94, 1.05), "gloss")
    # The desk: a counter, dark panes between posts, and a board above them.
    dx, across = rng.uniform(-0.4, 0.4), rng.uniform(3.4, 4.6) - (0.0 if wide else 1.2)
    scene.add(box((dx, 0.55, far + 0.35), (across, 1.1, 0.7)), desk)
    scene.add(box((dx, 1.13, far + 0.4), (across + 0.2, 0.07, 0.9)), desk * 0.6)
    scene.add(quad((dx - across / 2, 1.15, far + 0.1), (across, 0, 0), (0, 0.85, 0)), "#1c2a2c", "water")
    scene.add(box((dx, 2.12, far + 0.12), (across, 0.26, 0.24)), desk)
    for k in range(4):
        scene.add(box((dx + across * (k / 3 - 0.5), 1.58, far + 0.12), (0.1, 0.9, 0.2)), desk)
    clock(scene, dx + rng.uniform(-0.5, 0.5), height - 0.47, far, 0.38, rng)
    if a["layout"] == "rows":
        gap, seats = rng.uniform(1.5, 1.8), rng.choice((4, 5))
        for j in range(int((-1.8 - far - 1.6) / gap)):
            for side in (-1, 1):
                bank(scene, a, side * (seats * 0.31 + 0.5), -2.2 - j * gap, seats, (0, 1))
    elif a["layout"] == "facing rows":
        for x in (1.25, w / 2 - 0.6):
            for side in (-1, 1):
                for j in range(3):
                    bank(scene, a, side * x, -2.6 - j * 2.7, 4, (-side, 0))
    else:
        for side in (-1, 1):
            bank(scene, a, side * (w / 2 - 0.45), far / 2 - 0.2, rng.choice((9, 11)), (-side, 0))
    step = rng.uniform(2.2, 2.8)
    for x in (-w / 4, w / 4):
        for j in range(6):
            if 2 - j * step > far + 0.6:
                panel(scene, a, rng, x, height - 0.012, 2 - j * step, 0.65, 1.25, 5.0)
    look(scene, a, rng, 1.5, 1.6, down=0.9, fov=(58, 70), turn=2.6)
