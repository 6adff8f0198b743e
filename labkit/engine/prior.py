"""What the base draws itself: pictures to keep in the batch, so that training does not push out what it knew.

Ruiz et al. 2023, section 3.3 (DreamBooth's prior preservation), as diffusers' scripts have it: `prior_loss_weight`.
n pictures, C H W latent.
"""

from collections.abc import Callable, Sequence

import torch

from labkit.datasets.folders import PictureFolder
from labkit.engine.base import Base
from labkit.errors import LabError

PRIOR_PICTURES = 64


def prior_captions(ordinary: PictureFolder) -> tuple[str, ...]:
    """Choose the captions to draw: the last ones of the ordinary pictures, as losses are measured on the first.

    LabError: there are none.
    """
    if not len(ordinary):
        raise LabError(f"prior_loss_weight: {ordinary.folder} has no captions of what the base should keep. "
                       "Add pictures with captions "
                       "of things that it knows, or set prior_loss_weight to 0.")
    return ordinary.captions[-PRIOR_PICTURES:]


def prior_latents(base: Base, captions: Sequence[str],
                  progress: Callable[[int, int], None] = lambda done, total: None) -> torch.Tensor:
    """Draw one picture a caption with the untouched base, as `Base.generate` does: latents, (n, C, H, W) float16."""
    parts = []
    for seed, caption in enumerate(captions):
        parts.append(base.draw_latents([caption], [seed]).cpu().half())
        progress(seed + 1, len(captions))
    return torch.cat(parts)
