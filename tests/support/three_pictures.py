"""Three pictures to ask of a base: two of one seed, two of one prompt."""

import numpy as np

PROMPTS, SEEDS = ["a bedroom at night", "still water", "a bedroom at night"], [3, 3, 4]


def difference(a, b):
    """Return how far pictures of 0 to 255 are apart, pixel by pixel."""
    return np.abs(a.astype(int) - b.astype(int))
