"""What liminal places share: faded colours, moods of light, walls, arches, lamps and the camera."""

from itertools import pairwise

import numpy as np

from recipes.world.shapes import box, linear, merged, quad

# Nobody paints such places freshly: the named colours, faded; walls are paler still.
FADED = {
    "red": "#9c3a34", "orange": "#c07c48", "yellow": "#dcb62e", "green": "#4f7a56", "teal": "#4a9c98",
    "blue": "#41688f", "purple": "#75628f", "pink": "#d3a09c", "brown": "#6f4f38", "white": "#e2e0d8",
    "grey": "#909396", "black": "#26272a",
}
FADED_WALLS = {
    "red": "#a2645c", "yellow": "#ddcc90", "green": "#9db396", "teal": "#93bdb9", "blue": "#9fb2c6",
    "pink": "#dcb8b4", "brown": "#9a8065", "white": "#e4e2da", "grey": "#a4a6a6",
}

# light: (colour of the panels, share of panels that are lit, brightness, haze a metre)
MOODS = {
    "fluorescent light": ((0.92, 1.0, 0.95), 1.0, 0.74, 0.0),
    "warm light": ((1.0, 0.82, 0.57), 1.0, 0.70, 0.0),
    "dim light": ((0.74, 0.87, 1.0), 0.6, 0.50, 0.0),
    "murky light": ((0.78, 1.0, 0.66), 0.8, 0.60, 0.015),
    "pale fog": ((0.92, 0.97, 1.0), 1.0, 0.74, 0.034),
}


def shade(colour):
    """A named colour as it is in liminal places, linear (3,)."""
    return linear(FADED[colour])


def tint(colour):
    """A named colour of walls as it is in liminal places, linear (3,)."""
    return linear(FADED_WALLS[colour])


def look(scene, a, rng, shift, height, down=0.0, fov=(62, 70), turn=1.6):
    """Place the camera near the middle; a left or right view stands aside and looks across."""
    side = {"front": 0.0, "left": -1.0, "right": 1.0}[a["view"]]
    x = side * shift + rng.uniform(-0.25, 0.25) * shift
    y = height * rng.uniform(0.82, 1.14)
    scene.eye, scene.fov = (x, y, rng.uniform(-0.4, 0.6)), rng.uniform(*fov)
    scene.target = (x - side * turn + rng.uniform(-0.5, 0.5), y - down + rng.uniform(-0.4, 0.4), -10.0)


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
    """A light in the ceiling, facing down; some are dead."""
    face = quad((x - across / 2, y, z - deep / 2), (across, 0, 0), (0, 0, deep))
    if rng.random() < MOODS[a["light"]][1]:
        scene.add(face, glow(a, power), "light")
    else:
        scene.add(face, "#b8bab8")


def tiles(scene, rng, corner, u, v, counts, colour, surface="matte"):
    """A tiled surface: cells of slightly different shades."""
    scene.grid(corner, u, v, counts, lambda i, j: colour * rng.uniform(0.84, 1.1), surface)


def arcade(x, near, far, bays, spring, height, thick):
    """A wall along z with round arches: one part, piers of a quarter of the bay between the openings."""
    bay = (near - far) / bays
    radius = bay * 0.375
    parts = []
    for k in range(bays + 1):
        parts.append(box((x, height / 2, near - k * bay), (thick, height, bay * 0.25)))
    for k in range(bays):
        z = near - (k + 0.5) * bay
        angle = np.linspace(0, np.pi, 11)
        zs, ys = z - radius * np.cos(angle), spring + radius * np.sin(angle)
        for (z0, y0), (z1, y1) in pairwise(zip(zs, ys, strict=True)):
            mean = (y0 + y1) / 2
            parts.append(box((x, (mean + height) / 2, (z0 + z1) / 2), (thick, height - mean, abs(z1 - z0) + 1e-3)))
    return merged(parts)


def vault(scene, rng, half, spring, top, near, far, colour, rib):
    """A tiled barrel vault on x = -half..half, with a rib every few metres."""
    across, along = 22, int((near - far) / 1.1)
    angle, z = np.linspace(0, np.pi, across + 1), np.linspace(near, far, along + 1)
    x, y = half * np.cos(angle), spring + (top - spring) * np.sin(angle)
    i, j = (g.ravel() for g in np.meshgrid(np.arange(across), np.arange(along), indexing="ij"))
    corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
    points = np.stack([np.stack([x[p], y[p], z[q]], 1) for p, q in corners], 1)
    normals = np.stack([np.stack([-np.cos(angle[p]), -np.sin(angle[p]), 0 * z[q]], 1) for p, q in corners], 1)
    faces = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(len(i))[:, None, None]
    tones = [(rib if q % 5 == 0 else colour) * rng.uniform(0.86, 1.08) for q in j]
    points, normals = (a.reshape(-1, 3).astype(np.float32) for a in (points, normals))
    scene.add((points, normals, faces.reshape(-1, 3)), np.repeat(np.array(tones), 4, axis=0), "gloss")
