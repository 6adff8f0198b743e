"""The near territory: ordinary rooms, each built as ever and then drawn in one style that the base never saw.

Storybook: every colour is paler yet keeps its hue, a rose haze hangs in the air, and a pen goes round all things.
"""

import numpy as np

from recipes.world import ordinary
from recipes.world.shapes import linear

STYLE = "storybook"
PAPER, SHARE = linear("#fff4f0"), 0.32     # what every colour is mixed with, and how much of it
ROSE = np.array((1.0, 0.86, 0.93))         # the haze, and half of every light


def attributes(index):
    """What the picture at an index shows: the attributes of the ordinary room, and the style."""
    return {**ordinary.attributes(index), "style": STYLE}


def softened(light):
    """Radiances (..., 3) half in rose, as bright as before."""
    return light * 0.5 + np.mean(light, axis=-1, keepdims=True) * ROSE * 0.5


def build(index):
    """The ordinary room of an index in the style."""
    scene = ordinary.build(index)
    for surface, parts in scene.parts.items():
        scene.parts[surface] = [(part, softened(colours) if surface == "light" else
                                 colours * (1 - SHARE) + PAPER * SHARE) for part, colours in parts]
    scene.ambient = tuple(1.2 * softened(np.array(scene.ambient)))
    scene.brightness = 0.5 + 0.5 * scene.brightness
    scene.fog, scene.veil, scene.ink = 0.02, ROSE, 0.8
    return scene
