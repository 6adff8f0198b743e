"""Validate on pictures, noise and timesteps that are fixed once, the same for every run, step and machine.

K runs side by side, C H W latent; H and W may differ from picture to picture. A loss depends far more on its timestep
than on anything a run does, so timesteps are stratified, and two losses are compared picture by picture on the same
noise (`stats.paired_difference`).
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from labkit.engine.adapters import bare
from labkit.engine.base import Base
from labkit.engine.cache import Encoded
from labkit.engine.loss import Denoiser, per_sample_loss
from labkit.engine.ragged import by_shape, together
from labkit.engine.seeding import generator
from labkit.errors import LabError

SEED = 0                                                      # of all runs: their own must not reach the measure
BINS = 8                                                      # equal parts of the noise levels
ROWS_AT_ONCE = 64


class ValidationSet:
    """Hold some pictures of an encoded set, each with `strata` fixed noises and timesteps.

    encoded       the set they are taken from
    images        how many pictures, chosen at random but always the same; all where there are fewer
    strata        timesteps of each picture: with 8, one from each eighth of the noise levels, column by column; with
                  fewer, spread over the eighths so that all of them are equally often met over the pictures
    timesteps     noise levels of the base
    """

    def __init__(self, encoded: Encoded, images: int, strata: int, *, timesteps: int = 1000):
        """Draw which pictures, noise and timesteps are measured on, the same for all runs."""
        if not len(encoded) or images < 1 or strata < 1:
            raise LabError(f"Validation needs pictures: images = {images}, strata = {strata}, "
                           f"{len(encoded)} pictures to choose from.")
        order = torch.randperm(len(encoded), generator=generator(SEED, "validation pictures"))
        self.chosen = order[:images].sort().values            # (images,) numbers within the set
        n = len(self.chosen)
        bins = _bins(n, strata)                               # (images, strata)
        within = torch.rand(n, strata, generator=generator(SEED, "validation timesteps"))
        self._timesteps = ((bins + within) * timesteps / BINS).long().clamp(max=timesteps - 1)
        means, stds = ([value[i].float() for i in self.chosen.tolist()] for value in (encoded.mean, encoded.std))
        noise, spread = ([torch.randn(strata, *mean.shape, generator=generator(SEED, f"validation {what}", i))
                          for i, mean in enumerate(means)] for what in ("noise", "latents"))
        drawn = [mean + std * each for mean, std, each in zip(means, stds, spread, strict=True)]    # as in training
        self.noise, self.latents = together(noise), together(drawn)       # (images, strata, C, H, W)
        self.cond = {name: value[self.chosen] for name, value in encoded.cond.items()}
        self._sent: tuple[torch.device | None, list] = None, []

    @cached_property
    def fingerprint(self) -> str:
        """Give 64 hex digits of everything that is measured on."""
        parts = (self.latents, self.noise, self._timesteps, *(self.cond[name] for name in sorted(self.cond)))
        rows = (row.contiguous().cpu().view(torch.uint8).numpy() for part in parts for row in part)
        return hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest()

    @property
    def timesteps(self) -> np.ndarray:
        """Give the timestep of every loss: (images, strata) int."""
        return self._timesteps.numpy()

    @torch.no_grad()
    def losses(self, denoiser: Denoiser, K: int = 1, *, rows: int = ROWS_AT_ONCE) -> np.ndarray:
        """Measure K runs whose adapters are on the denoiser's U-Net, or the bare one: (K, images, strata) float32.

        At most `rows` rows go through the U-Net at once; of the runs that diverged alone, losses are not finite.
        """
        images, strata = self._timesteps.shape
        at_once = max(1, rows // K)
        losses = torch.empty(K, images, strata)
        for numbers, *sent in self._on(denoiser.alphas_cumprod.device):
            pairs = len(numbers) * strata
            parts = [self._part(denoiser, K, sent, slice(i, min(i + at_once, pairs)))
                     for i in range(0, pairs, at_once)]
            losses[:, numbers] = torch.cat(parts, dim=1).cpu().unflatten(1, (-1, strata))
        return losses.numpy()

    def _on(self, device: torch.device) -> list:
        """Give for each shape the numbers of its pictures and the tensors to measure them with, sent once.

        Latents, noise, timesteps, (pairs of picture and stratum, ...) each, and the conditions.
        """
        if self._sent[0] != device:
            self._sent = device, []
            for numbers in by_shape(self.latents):
                pairs = [value[numbers].flatten(0, 1).to(device)
                         for value in (self.latents, self.noise, self._timesteps)]
                cond = {name: value[numbers].to(device) for name, value in self.cond.items()}
                self._sent[1].append((numbers, *pairs, cond))
        return self._sent[1]

    def _part(self, denoiser: Denoiser, K: int, sent: Sequence, rows: slice) -> Tensor:
        """Measure some pairs: (K, n) on the device."""
        latents, noise, timesteps, cond = sent
        picture = torch.arange(rows.start, rows.stop, device=latents.device) // self._timesteps.shape[1]

        def blocks(value: Tensor) -> Tensor:
            return value.repeat(K, *[1] * (value.dim() - 1))                                 # (K*n, ...)

        losses = per_sample_loss(denoiser, blocks(latents[rows]), blocks(noise[rows]), blocks(timesteps[rows]),
                                 {name: blocks(value[picture]) for name, value in cond.items()})
        return losses.unflatten(0, (K, -1)).float()


def untouched_losses(base: Base, fixed: ValidationSet, *, rows: int = ROWS_AT_ONCE) -> np.ndarray:
    """Return the losses (1, images, strata) of the base without adapters, measured again when its weights change."""
    key = fixed.fingerprint, base.dtype, frozen_sums(base)
    with base.lock, bare(base.unet):
        if key not in base.known_losses:
            base.known_losses[key] = fixed.losses(base.denoiser, rows=rows)
        return base.known_losses[key].copy()


def frozen_sums(base: Base) -> bytes:
    """Return bytes that change when a weight of the base's U-Net does."""
    frozen = [weight for weight in base.unet.parameters() if not weight.requires_grad]
    return torch.stack([weight.sum(dtype=torch.float32) for weight in frozen]).cpu().numpy().tobytes()


def _bins(images: int, strata: int) -> Tensor:
    """Assign to each loss (images, strata) an eighth of the noise levels; their counts differ by one at most."""
    columns = torch.arange(strata)
    if strata >= BINS:
        return (columns % BINS).expand(images, -1)
    # Dealt in shuffled rounds: attributes of the pictures may come in a rhythm of their own.
    generators = [generator(SEED, "validation strata", i) for i in range(-(-images // BINS))]
    first = torch.cat([torch.randperm(BINS, generator=each) for each in generators])
    return (first[:images, None] + columns * (BINS // strata)) % BINS
