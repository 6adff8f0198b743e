"""An ordinary room: its shell of walls, floor and ceiling, and where things stand in it.

The back wall is at z = 0, the room reaches to z = depth and is open there, behind the camera. A thing is a
list of (part, colour, surface) around its own place on the floor, back towards -z, facing +z.
"""

import math
import random
from dataclasses import dataclass, field

import numpy as np

from recipes.world.shapes import Scene, box, linear, mixed, quad, quads, turned

TURNS = {"back": 0, "left": 90, "right": -90}


@dataclass
class Room:
    """A scene with a room's measures and the boxes (name, low, high) of what stands in it.

    Layouts think of the left wall as the side wall that the camera sees; mirror -1 swaps the sides.
    """

    scene: Scene
    width: float
    depth: float
    height: float
    mirror: int
    boxes: list = field(default_factory=list)
    tops: list = field(default_factory=list)   # (x, y, z) where a vase or a lamp may stand
    under: list = field(default_factory=list)  # (x, z) above which lamps hang
    centre: tuple = (0.0, 2.0)                 # (x, z) of the free middle: a low table, a round rug
    reach: tuple = (2.2, 4.2)                  # how far the camera stands from the main thing, nearest and farthest

    def outline(self, thing, x, z, turn, y=0.0):
        """The low and high corner of a thing when placed, world coordinates."""
        points = np.concatenate([[part[0].min(0), part[0].max(0)] for part, *_ in thing])
        low, high = points.min(0), points.max(0)
        corners = np.array([(px, py, pz) for px in (low[0], high[0]) for py in (low[1], high[1])
                            for pz in (low[2], high[2])], dtype=np.float32)
        part = turned((corners, corners, None), self.mirror * turn)[0] + [self.mirror * x, y, z]
        return part.min(0), part.max(0)

    def place(self, name, thing, x, z, turn=0.0, y=0.0):
        """Put a thing at x, z (layout coordinates), turned about its own place."""
        shift = np.array([self.mirror * x, y, z], dtype=np.float32)
        for part, colour, surface in thing:
            points, normals, faces = turned(part, self.mirror * turn)
            self.scene.add((points + shift, normals, faces), colour, surface)
        self.boxes.append((name, *self.outline(thing, x, z, turn, y)))

    def at(self, wall, along, out=0.0):
        """x, z and turn of a thing with its back to a wall: along is x on the back wall, z on the others."""
        x = {"back": along, "left": out - self.width / 2, "right": self.width / 2 - out}[wall]
        return x, out if wall == "back" else along, TURNS[wall]

    def against(self, name, thing, wall, along, out=0.02, y=0.0):
        """Put a thing with its back to a wall."""
        x, z, turn = self.at(wall, along, out)
        self.place(name, thing, x, z, turn, y)

    def is_free(self, low, high, gap, rugs=False):
        """Whether a box lies in the room and touches no other thing; rugs count only if asked."""
        if low[0] < -self.width / 2 or high[0] > self.width / 2 or low[2] < 0 or high[1] > self.height:
            return False
        return not any((low - gap < h).all() and (high + gap > b).all()
                       for _, b, h in self.boxes if rugs or h[1] > 0.1)

    def fit(self, name, thing, rng, walls, accept, y=0.0, out=0.02, gap=0.06, loose=False):
        """Put a thing along one of the walls, where nothing else is and accept() agrees; False if no place was found.

        loose: at some distance from the wall, and on no rug.
        """
        for _ in range(24):
            wall = rng.choice(walls)
            along = rng.uniform(-0.5, 0.5) * (self.width - 0.3)
            if wall != "back":
                along = rng.uniform(0.3, 0.7 * self.depth)
            away = rng.uniform(out, 0.45) if loose else out
            low, high = self.outline(thing, *self.at(wall, along, away), y)
            if not self.is_free(low, high, gap, rugs=loose):
                continue
            self.boxes.append((name, low, high))
            agreed = accept()
            self.boxes.pop()
            if agreed:
                self.against(name, thing, wall, along, away, y)
                return True
        return False


def laid(scene, corner, u, v, size, colours, gap=0.06, bond=0.0, surface="matte"):
    """Bricks, tiles or stripes of about size (along u, along v) metres; every other row is shifted by bond.

    `colours` (N, 3) are dealt out as colours[(i + j) % 2] for two of them, else one drawn by position.
    """
    corner, u, v = (np.asarray(a, dtype=np.float32) for a in (corner, u, v))
    across, tall = np.linalg.norm(u), np.linalg.norm(v)
    columns, rows = max(1, round(across / size[0])), max(1, round(tall / size[1]))
    margin = gap * min(size)
    normal = np.cross(u, v) / (across * tall)
    starts, widths, tops, shades = [], [], [], []
    for j in range(rows):
        for i in range(columns + (bond > 0 and j % 2)):
            first = max(i - bond * (j % 2), 0) * across / columns
            last = min(i + 1 - bond * (j % 2), columns) * across / columns
            starts.append(first + margin / 2)
            widths.append(max(last - first - margin, 1e-3))
            tops.append(j * tall / rows + margin / 2)
            shades.append((i + j) % 2 if len(colours) == 2 else (i * 7 + j * 13 + i * j * 5) % len(colours))
    starts, widths, tops = (np.array(a, dtype=np.float32)[:, None] for a in (starts, widths, tops))
    part = quads(corner + normal * 0.004 + starts * u / across + tops * v / tall, widths * u / across,
                 v / rows - margin * v / tall)
    scene.add(part, np.repeat(np.asarray(colours, dtype=np.float32)[shades], 4, axis=0), surface)


def shades(rng, colour, spread, count=31):
    """One colour in many slightly different brightnesses (count, 3)."""
    return np.array([linear(colour) * rng.uniform(1 - spread, 1 + spread) for _ in range(count)])


def wall(scene, finish, colour, rng, corner, u, v):
    """A wall of a finish: plain, striped, brick, tiled, half tiled or panelled."""
    corner, u, v = (np.asarray(a, dtype=np.float32) for a in (corner, u, v))
    tint, tall = linear(colour, walls=True), float(np.linalg.norm(v))
    if finish == "brick":
        scene.add(quad(corner, u, v), tint * 0.75 + 0.12)
        laid(scene, corner, u, v, (0.7, 0.3), shades(rng, tint * 0.92, 0.1), 0.12, 0.5)
    elif finish == "striped":
        paler = tint * 0.7 + 0.22 if colour != "white" else tint * 0.82
        laid(scene, corner, u, v, (0.45, 99), np.array([tint, paler]), 0.0)
    elif finish == "tiled":
        scene.add(quad(corner, u, v), tint * 0.72)
        laid(scene, corner, u, v, (0.5, 0.5), shades(rng, tint, 0.04), 0.07, surface="gloss")
    elif finish in ("half tiled", "panelled"):
        low = 1.15 / tall
        scene.add(quad(corner + v * low, u, v * (1 - low)), tint)
        pale = linear("#e9e9e4") if colour != "white" else linear("#a9b4b8")
        wood = linear(rng.choice(("#8a5a34", "#c09060", "#5c3820")))
        scene.add(quad(corner, u, v * low), (pale if finish == "half tiled" else wood) * 0.72)
        if finish == "half tiled":
            laid(scene, corner, u, v * low, (0.38, 0.38), shades(rng, pale, 0.04), 0.08, surface="gloss")
        else:
            laid(scene, corner, u, v * low, (0.5, 99), shades(rng, wood, 0.06), 0.08)
    else:
        scene.add(quad(corner, u, v), tint)


def floor(scene, name, rng, width, depth):
    """The floor at y = 0 in wood, tiles, marble or carpet."""
    corner, u, v = np.array((-width / 2, -0.004, depth)), np.array((width, 0, 0)), np.array((0, 0, -depth))
    if name == "herringbone floor":
        herringbone(scene, rng, width, depth)
    elif "wooden" in name:
        tone = linear("#6b3f22" if "dark" in name else "#d09c60")
        scene.add(quad(corner, u, v), tone * 0.7)
        laid(scene, corner, u, v, (0.45, 2.2), shades(rng, tone, 0.1), 0.03, surface="gloss")
    elif name in ("tiled floor", "terracotta floor"):
        tone = linear("#cfd0cc" if name == "tiled floor" else "#b8623c")
        size = rng.choice((0.6, 0.8)) if name == "tiled floor" else 0.6
        scene.add(quad(corner, u, v), tone * 0.6 if name == "tiled floor" else tone * 0.55 + 0.08)
        laid(scene, corner, u, v, (size, size), shades(rng, tone, 0.06), 0.07, surface="gloss")
    elif name == "checkered floor":
        size = rng.choice((0.8, 1.05))
        laid(scene, corner, u, v, (size, size), np.array([linear("#e4e2dc"), linear("#34343a")]), 0.0, surface="gloss")
    elif name == "marble floor":
        marble(scene, rng, width, depth)
    else:
        scene.add(quad(corner, u, v), "#8e9094" if name == "grey carpet" else "#cdbb98")


def herringbone(scene, rng, width, depth):
    """Short planks in a zigzag: pairs of slanting stripes."""
    tone, across, plank = linear(rng.choice(("#c48e54", "#8a5a34"))), 0.6, 0.3
    columns, rows = math.ceil(width / across), math.ceil((depth + 2 * across) / plank) + 1
    corners, vs, colours = [], [], []
    for i in range(columns):
        slant = across if i % 2 else -across
        for j in range(rows):
            start = depth + across - j * plank - (slant if i % 2 else 0)
            corners.append((-width / 2 + i * across, 0, start))
            vs.append((across, 0, slant))
            colours.append(tone * rng.uniform(0.92, 1.08) * (1.12 if i % 2 else 0.86))
    part = quads(corners, vs, (0, 0, -plank))
    part[0][:, 0] = np.minimum(part[0][:, 0], width / 2)
    scene.add(part, np.repeat(np.clip(colours, 0, 1), 4, axis=0), "gloss")


def marble(scene, rng, width, depth):
    """Pale polished stone with soft grey veins, one colour per point of a fine grid."""
    n, p = 56, [rng.uniform(0, 6.3) for _ in range(4)]
    x, z = (g.ravel() for g in np.meshgrid(np.linspace(-width / 2, width / 2, n), np.linspace(depth, 0, n),
                                           indexing="ij"))
    bent = 2.9 * x + 1.9 * z + 1.3 * np.sin(2.6 * z + p[0]) + 0.9 * np.sin(4.1 * x - 2.3 * z + p[1])
    vein = np.abs(np.sin(bent + p[2]))[:, None] ** 0.5
    colours = linear("#b8bec4") * (1 - vein) + linear(rng.choice(("#f2f0ec", "#e6e8ea", "#efe2d2"))) * vein
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + n, i + n + 1], 1), np.stack([i, i + n + 1, i + 1], 1)])
    points = np.stack([x, 0 * x, z], 1).astype(np.float32)
    scene.add((points, np.tile(np.array([0, 1, 0], dtype=np.float32), (len(x), 1)), faces), colours, "gloss")


def shell(room, a, rng, key):
    """Walls, floor, ceiling, skirting, the broad soft light behind the camera; perhaps a doorway in the back wall."""
    scene, w, h, d = room.scene, room.width, room.height, room.depth
    finish, colour = a["walls"], a["wall_color"]
    floor(scene, a["floor"], rng, w, d)
    scene.add(quad((-w / 2, h, 0), (w, 0, 0), (0, 0, d)), "#f4f2ec")
    if a["lamp"] != "ceiling lights" and rng.random() < 0.15:
        wood = rng.choice(("#5c3820", "#8a5a34", "#c8a070"))
        for i in range(int(d / 1.4)):
            scene.add(box((0, h - 0.08, 0.5 + 1.4 * i), (w, 0.16, 0.2)), wood)
    wall(scene, finish, colour, rng, (-w / 2, 0, d), (0, 0, -d), (0, h, 0))
    wall(scene, finish, colour, rng, (w / 2, 0, 0), (0, 0, d), (0, h, 0))
    doorway = next(((b, t) for name, b, t in room.boxes if name == "doorway"), None)
    if doorway:
        left, right, tall = doorway[0][0] + 0.08, doorway[1][0] - 0.08, doorway[1][1] - 0.08
        wall(scene, finish, colour, rng, (-w / 2, 0, 0), (left + w / 2, 0, 0), (0, h, 0))
        wall(scene, finish, colour, rng, (right, 0, 0), (w / 2 - right, 0, 0), (0, h, 0))
        scene.add(quad((left, tall, 0), (right - left, 0, 0), (0, h - tall, 0)), linear(colour, walls=True))
        beyond(scene, a, left, right, tall)
    else:
        wall(scene, finish, colour, rng, (-w / 2, 0, 0), (w, 0, 0), (0, h, 0))
        scene.add(box((0, 0.06, 0.01), (w, 0.12, 0.02)), "white")
    for x in (-w / 2 + 0.01, w / 2 - 0.01):
        scene.add(box((x, 0.06, d / 2), (0.02, 0.12, d)), "white")
    # Shape and shadow without hard edges, from another side in every room.
    x = rng.uniform(-1, 1) * (w / 2 - 1.6)
    scene.add(quad((x - 1.6, h - 0.05, d - 0.65), (3.2, 0, 0), (0, -0.25, 0.6)), key, "light")


def beyond(scene, a, left, right, tall):
    """What lies behind a doorway: a short bright passage."""
    pale = mixed(linear(a["wall_color"], walls=True), "white", 0.4)
    left, right, deep = left - 0.5, right + 0.5, 2.2
    scene.add(quad((left, 0, 0), (right - left, 0, 0), (0, 0, -deep)), "#b09070")
    scene.add(quad((left, 0, -deep), (right - left, 0, 0), (0, 2.6, 0)), pale)
    for x in (left, right):
        scene.add(quad((x, 0, 0), (0, 0, -deep), (0, 2.6, 0)), pale)
    scene.add(quad((left, 2.6, -deep), (right - left, 0, 0), (0, 0, deep)), "white")
    power = {"daylight": 5.0, "cloudy": 4.0, "sunset": 3.5, "night": 1.2}[a["light"]]
    scene.add(quad((left + 0.6, 2.55, -1.6), (right - left - 1.2, 0, 0), (0, 0, 1.0)),
              (power, power * 0.9, power * 0.75), "light")


def draw_again(rng):
    """A generator that repeats the same draws, so that things of a row are alike."""
    again = random.Random()
    again.setstate(rng.getstate())
    return again
