"""Shapes of the world as plain triangle meshes, and the scene that collects them.

A part is (positions (V, 3), normals (V, 3), faces (F, 3)); metres, y up, the camera looks along -z.
Colours are named in PALETTE (sRGB) and become linear reflectances; lights are linear radiances.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

PALETTE = {
    "red": "#c8201c", "orange": "#ee7a12", "yellow": "#f4cc1c", "green": "#2f9a38", "teal": "#12aaa6",
    "blue": "#2450cc", "purple": "#7d34b4", "pink": "#f28cb4", "brown": "#7a4524", "white": "#eeeeea",
    "grey": "#8c8f94", "black": "#1c1c20",
}

# Walls fill most of a picture and light bounces between them: tints a little paler than
# the objects' colours keep rooms bright and objects apart from walls of a neighbouring colour.
WALLS = {
    "white": "#ecebe6", "yellow": "#f2d66a", "orange": "#eda05c", "pink": "#f0b2c4", "purple": "#a98bd6",
    "blue": "#7f9fe0", "teal": "#72c8c4", "green": "#8cc47c", "grey": "#9a9da2", "red": "#d4645a",
    "brown": "#a07a58",
}

# Every scene has these same meshes and no other, so its kernels are compiled once and found in the cache.
SURFACES = ("matte", "gloss", "water", "metal", "light")


def linear(colour, walls=False):
    """Linear reflectance of a named or '#rrggbb' colour, shape (3,)."""
    if not isinstance(colour, str):
        return np.asarray(colour, dtype=np.float32)
    code = colour if colour.startswith("#") else (WALLS if walls else PALETTE)[colour]
    srgb = np.array([int(code[i:i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def mixed(first, second, share):
    """The first colour with a share of the second, linear (3,)."""
    return linear(first) * (1 - share) + linear(second) * share


def quad(corner, u, v):
    """A flat rectangle from a corner along edges u and v, facing u x v."""
    corner, u, v = (np.asarray(a, dtype=np.float32) for a in (corner, u, v))
    normal = np.cross(u, v)
    points = np.stack([corner, corner + u, corner + u + v, corner + v])
    return points, np.tile(normal / np.linalg.norm(normal), (4, 1)), np.array([[0, 1, 2], [0, 2, 3]])


def quads(corners, u, v):
    """Many flat rectangles as one part: corners (N, 3), edges u and v (N, 3) or (3,)."""
    corners, u, v = np.broadcast_arrays(*(np.asarray(a, dtype=np.float32) for a in (corners, u, v)))
    normals = np.cross(u, v)
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    points = np.stack([corners, corners + u, corners + u + v, corners + v], axis=1).reshape(-1, 3)
    faces = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(len(corners))[:, None, None]
    return points, np.repeat(normals, 4, axis=0), faces.reshape(-1, 3)


def merged(parts):
    """Several parts as one."""
    offsets = np.cumsum([0] + [len(p[0]) for p in parts[:-1]])
    return (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]),
            np.concatenate([p[2] + o for p, o in zip(parts, offsets, strict=True)]))


def _grids(levels):
    """The six faces of the cube [-1, 1]^3 as grids of the given levels: points (6 n n, 3) and faces."""
    n = len(levels)
    a, b = (g.ravel() for g in np.meshgrid(levels, levels, indexing="ij"))
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    sheet = np.concatenate([np.stack([i, i + n, i + n + 1], 1), np.stack([i, i + n + 1, i + 1], 1)])
    points, faces = [], []
    for axis in range(3):
        for side in (1, -1):
            p = np.empty((n * n, 3), dtype=np.float32)
            p[:, axis], p[:, (axis + 1) % 3], p[:, (axis + 2) % 3] = side, a, b
            faces.append((sheet if side > 0 else sheet[:, ::-1]) + len(points) * n * n)
            points.append(p)
    return np.concatenate(points), np.concatenate(faces)


_CUBE = _grids(np.array([-1.0, 1.0]))
_ROUNDED = _grids(np.array([-1.0, -0.85, -0.6, 0.6, 0.85, 1.0]))
_BALL = _grids(np.tan(np.linspace(-np.pi / 4, np.pi / 4, 7)))


def box(centre, size):
    """An axis-aligned box of full size (x, y, z)."""
    points, faces = _CUBE
    normals = np.zeros_like(points)
    rows = np.arange(24)
    normals[rows, rows // 8] = points[rows, rows // 8]
    return points * np.asarray(size, dtype=np.float32) / 2 + np.asarray(centre, dtype=np.float32), normals, faces


def rounded(centre, size, radius):
    """A box whose edges are rounded with a radius in metres."""
    points, faces = _ROUNDED
    half = np.asarray(size, dtype=np.float32) / 2
    inner = np.maximum(half - radius, 1e-3)
    # Grid lines at 0.6 mark where rounding begins, whatever the box's proportions.
    magnitude = np.abs(points)
    placed = np.where(magnitude <= 0.6, inner, inner + (half - inner) * (magnitude - 0.6) / 0.4) * np.sign(points)
    core = np.clip(placed, -inner, inner)
    normals = placed - core
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    radii = np.minimum(radius, half)
    return core + normals * radii + np.asarray(centre, dtype=np.float32), normals, faces


def ellipsoid(centre, radii):
    """A ball with one radius per axis."""
    points, faces = _BALL
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    radii = np.asarray(radii, dtype=np.float32)
    normals = unit / radii
    return (unit * radii + np.asarray(centre, dtype=np.float32),
            normals / np.linalg.norm(normals, axis=1, keepdims=True), faces)


def lathe(centre, profile, sides=24):
    """A solid of revolution about the vertical; profile lists (radius, height) from bottom to top."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), -np.sin(angle)], 1)
    parts = []
    for (r0, y0), (r1, y1) in pairwise(profile):
        up = np.array([0.0, 1.0, 0.0])
        low, high = ring * r0 + up * y0, ring * r1 + up * y1
        normal = ring * (y1 - y0) + up * (r0 - r1)
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        i = np.arange(sides)
        faces = np.concatenate([np.stack([i, i + 1, i + sides + 2], 1),
                                np.stack([i, i + sides + 2, i + sides + 1], 1)])
        parts.append((np.concatenate([low, high]), np.concatenate([normal, normal]), faces))
    points, normals, faces = merged(parts)
    return (points + np.asarray(centre)).astype(np.float32), normals.astype(np.float32), faces


def beam(start, end, thick):
    """A square bar of the given thickness between two points."""
    start, end = np.asarray(start, dtype=np.float32), np.asarray(end, dtype=np.float32)
    along = end - start
    length = float(np.linalg.norm(along))
    along = along / length
    side = np.cross(along, (0, 1, 0) if abs(along[1]) < 0.9 else (1, 0, 0))
    side = side / np.linalg.norm(side)
    points, normals, faces = box((0, 0, 0), (length, thick, thick))
    matrix = np.stack([along, np.cross(side, along), side]).astype(np.float32)
    return points @ matrix + (start + end) / 2, normals @ matrix, faces


def column(centre, radius, height):
    """A closed upright cylinder standing on centre."""
    return lathe(centre, [(0, 0), (radius, 0), (radius, height), (0, height)])


def turned(part, degrees, about=(0, 0, 0)):
    """A part turned about the vertical through a point."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=np.float32)
    about = np.asarray(about, dtype=np.float32)
    return (part[0] - about) @ matrix.T + about, part[1] @ matrix.T, part[2]


@dataclass
class Scene:
    """Parts by surface with their vertex colours, a camera, and how the picture is exposed."""

    parts: dict = field(default_factory=lambda: {name: [] for name in SURFACES})
    eye: tuple = (0.0, 1.4, 4.5)
    target: tuple = (0.0, 1.0, 0.0)
    up: tuple = (0.0, 1.0, 0.0)
    fov: float = 60.0                      # degrees, both ways: pictures are square
    ambient: tuple = (0.3, 0.3, 0.3)       # radiance that enters where the scene is open
    brightness: float = 0.75               # display value given to the 85th percentile
    fog: float = 0.0                       # share of light lost per metre to a pale haze
    veil: tuple = (1.0, 1.0, 1.0)          # colour of that haze
    ink: float = 0.0                       # share of light that outlines take away

    def add(self, part, colour, surface="matte", walls=False):
        """Add a part in one colour, or with one colour per vertex (V, 3)."""
        if surface not in self.parts:
            raise ValueError(f"surface '{surface}' is unknown; use one of {', '.join(SURFACES)}")
        colour = linear(colour, walls)
        self.parts[surface].append((part, np.broadcast_to(colour, part[0].shape)))

    def grid(self, corner, u, v, counts, colour_of, surface="matte"):
        """A rectangle cut into counts (along u, along v) cells, each in colour_of(i, j)."""
        corner, u, v = (np.asarray(a, dtype=np.float32) for a in (corner, u, v))
        columns, rows = counts
        cells = [(i, j) for i in range(columns) for j in range(rows)]
        colours = np.array([colour_of(i, j) for i, j in cells], dtype=np.float32)
        points, normals, faces = quad(corner, u / columns, v / rows)
        at = np.array(cells, dtype=np.float32)
        shift = at[:, :1] * u / columns + at[:, 1:] * v / rows
        n = len(cells)
        self.add(((points + shift[:, None]).reshape(-1, 3), np.tile(normals, (n, 1)),
                  (faces + 4 * np.arange(n)[:, None, None]).reshape(-1, 3)), np.repeat(colours, 4, axis=0), surface)

    def mesh(self, surface):
        """Positions, normals, faces and colours of all parts of a surface."""
        unseen = (quad((0, -90, 0), (1e-3, 0, 0), (0, 0, 1e-3)), np.zeros((4, 3)))
        parts = self.parts[surface] or [unseen]
        points, normals, faces = merged([part for part, _ in parts])
        colours = np.concatenate([c for _, c in parts])
        return (points.astype(np.float32), normals.astype(np.float32), faces.astype(np.uint32),
                colours.astype(np.float32))
