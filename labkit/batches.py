"""Which pictures, noise and timesteps each update sees: a pure function of seed and update, whoever trains beside it.

K runs side by side, B batch of one run, E = B x accumulation pictures an update; rows = K*B in K contiguous blocks, or 2*K*B where as
many pictures that the base drew itself follow the B of each block.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from labkit.seeding import generator

TIMESTEPS = 1000


@dataclass(frozen=True)
class Batch:
    """Hold the rows of one forward pass, on the device: what `per_sample_loss` takes."""

    latents: Tensor                                           # (rows, C, H, W)
    noise: Tensor                                             # (rows, C, H, W)
    timesteps: Tensor                                         # (rows,)
    cond: Mapping[str, Tensor]                                # (rows, ...)
    snr_gamma: Tensor | None                                  # (rows,), NaN where a run has none


@lru_cache(maxsize=1024)
def _epoch(seed: int, n: int, epoch: int, of: str) -> tuple[int, ...]:
    return tuple(torch.randperm(n, generator=generator(seed, of + "order", epoch)).tolist())


def pictures(seed: int, n: int, first: int, count: int, of: str = "") -> list[int]:
    """Return `count` pictures of the endless stream of permutations of n pictures, from position `first` on.

    Batches are cut across the borders of epochs, so that none is partial.
    """
    return [_epoch(seed, n, position // n, of)[position % n] for position in range(first, first + count)]


class Batches:
    """Cut the updates of K runs into batches from an encoded training set.

    encoded           mean, std (n, C, H, W) of the latents; cond, a mapping of (n, ...)
    null_cond         the condition of the empty caption, (1, ...) each, for caption dropout
    timesteps         number of noise levels of the base
    prior             the base's own pictures, like encoded; None where none are shown
    """

    def __init__(self, encoded, null_cond, configs, device, timesteps: int = TIMESTEPS, prior=None):
        self.encoded, self.null_cond, self.configs, self.prior = encoded, null_cond, configs, prior
        self.device, self.timesteps = device, timesteps
        gamma = torch.tensor([float("nan") if c.snr_gamma is None else c.snr_gamma for c in configs])
        B = configs[0].train_batch_size * (1 if prior is None else 2)
        self.snr_gamma = None if gamma.isnan().all() else gamma.repeat_interleave(B).to(device)

    def __call__(self, update: int) -> Iterator[Batch]:
        """Give the batches of update number `update`, one for each step of accumulation."""
        blocks = [block for config in self.configs for block in self._blocks(config, update)]
        B = self.configs[0].train_batch_size
        for start in range(0, self.configs[0].effective_batch_size, B):
            rows = {name: self._rows([block[name][start : start + B] for block in blocks]) for name in blocks[0]}
            yield Batch(rows.pop("latents"), rows.pop("noise"), rows.pop("timesteps"), rows, self.snr_gamma)

    def _blocks(self, config, update) -> list[dict[str, Tensor]]:
        """Return one run's update, and beside it that of the base's own pictures, whose draws leave the others as they are."""
        own = self._draw(self.encoded, config.n_train, config, update)
        return [own] if self.prior is None else [own, self._draw(self.prior, len(self.prior), config, update, "prior_")]

    def _draw(self, encoded, n, config, update, of="") -> dict[str, Tensor]:
        """Return latents, noise, timesteps and conditions of one run's update, (E, ...) each, from the first n pictures.

        They are drawn for the update, not for the batch, which makes accumulation equal to one large batch.
        """
        E, seed = config.effective_batch_size, config.seed
        index = torch.tensor(pictures(seed, n, update * E, E, of))
        mean, std = encoded.mean[index].float(), encoded.std[index].float()
        cond = {name: value[index] for name, value in encoded.cond.items()}
        if config.caption_dropout:
            dropped = torch.rand(E, generator=generator(seed, of + "caption_dropout", update)) < config.caption_dropout
            for name, value in cond.items():
                value[dropped] = self.null_cond[name].to(value.dtype)
        return {"latents": mean + std * torch.randn(mean.shape, generator=generator(seed, of + "latents", update)),
                "noise": torch.randn(mean.shape, generator=generator(seed, of + "noise", update)),
                "timesteps": torch.randint(self.timesteps, (E,), generator=generator(seed, of + "timesteps", update)), **cond}

    def _rows(self, blocks) -> Tensor:
        rows = torch.cat(blocks)
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        return rows.to(self.device, non_blocking=True)
