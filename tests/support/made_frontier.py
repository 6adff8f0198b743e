"""A frontier from scores that are given."""

import numpy as np

from labkit.experiments.frontier import Frontier


def made(target, kept, affordable=0.1, strengths=(0.0, 0.5, 1.0, 1.5, 2.0), n=20):
    """Make a frontier whose n pictures score 1 in these shares."""
    scores = [np.array([[i < round(share * n) for i in range(n)] for share in shares], float)
              for shares in (target, kept)]
    shape = (2, len(strengths), 64, 64, 3)
    pictures = np.linspace(0, 255, np.prod(shape)).reshape(shape).astype(np.uint8)
    return Frontier("made up", strengths, *scores, affordable, pictures, ("a pool", "a bedroom"))
