"""Which pictures, noise and timesteps each update sees: a function of seed and update alone, not of runs beside it.

K runs side by side, B batch of one run, E = B x accumulation pictures an update; rows = K*B in K contiguous blocks, or
2*K*B where as many pictures of what the base should keep follow the B of each block. Where pictures have several
shapes, these make a batch of their own: an update may show another shape of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle

import torch
from torch import Tensor

from labkit.design.config import RunConfig
from labkit.engine.cache import Encoded
from labkit.engine.ragged import by_shape
from labkit.engine.seeding import generator
from labkit.engine.text_encoders import SIZES, sent

TIMESTEPS = 1000


@dataclass(frozen=True)
class Batch:
    """Hold the rows of one forward pass, on the device: what `per_sample_loss` takes."""

    latents: Tensor                                           # (rows, C, H, W)
    noise: Tensor                                             # (rows, C, H, W)
    timesteps: Tensor                                         # (rows,)
    cond: Mapping[str, Tensor]                                # (rows, ...)
    snr_gamma: Tensor | None                                  # (rows,), NaN where a run has none
    sets: slice                                               # which of a run's pictures: its own, the base's, or both


@lru_cache(maxsize=1024)
def _epoch(seed: int, n: int, epoch: int, of: str) -> tuple[int, ...]:
    return tuple(torch.randperm(n, generator=generator(seed, of + "order", epoch)).tolist())


def pictures(seed: int, n: int, first: int, count: int, of: str = "") -> list[int]:
    """Return `count` pictures of the endless stream of permutations of n pictures, from position `first` on.

    Batches are cut across the borders of epochs, so that none is partial.
    """
    return [_epoch(seed, n, position // n, of)[position % n] for position in range(first, first + count)]


@lru_cache(maxsize=64)
def _turns(seed: int, counts: tuple[int, ...], done: int, of: str) -> list[tuple[int, int]]:
    """Return for each update of a round, after `done` rounds, which shape is used and how often it was used before."""
    shapes = [shape for shape, count in enumerate(counts) for _ in range(count)]
    met = [done * count for count in counts]
    turns = []
    for i in _epoch(seed, len(shapes), done, of):
        turns.append((shapes[i], met[shapes[i]]))
        met[shapes[i]] += 1
    return turns


def shown(rounds: Sequence[Sequence[int]], seed: int, update: int, count: int, of: str = "") -> list[int]:
    """Return the `count` pictures of an update, all of one shape: the next ones of that shape's stream.

    Where there are several shapes, their order is made of permutations too, in which each shape comes as often as it
    has pictures: after as many updates as there are pictures, each picture was shown `count` times. Each shape has a
    stream of its own, which goes on where its last update left it.

    rounds    pictures of each shape, as `Encoded.rounds_of` gives them
    """
    chosen, turn = 0, update
    if len(rounds) > 1:
        counts = tuple(map(len, rounds))
        done, at = divmod(update, sum(counts))
        chosen, turn = _turns(seed, counts, done, f"{of}bucket ")[at]
        of = f"{of}bucket {chosen} "
    one = rounds[chosen]
    return [one[i] for i in pictures(seed, len(one), turn * count, count, of)]


class Batches:
    """Cut the updates of K runs into batches from an encoded training set.

    encoded           mean, std (n, C, H, W) of the latents; cond, a mapping of (n, ...). Of several shapes, runs with
                      other seeds or numbers of pictures cannot share a batch: `train.pass_fields`
    null_cond         the condition of the empty caption, (1, ...) each, for caption dropout
    timesteps         number of noise levels of the base
    prior             what the base should keep, like encoded; None where none are shown
    dtype             of the conditions
    """

    def __init__(self, encoded: Encoded, null_cond: Mapping[str, Tensor], configs: Sequence[RunConfig],
                 device: torch.device, timesteps: int = TIMESTEPS, prior: Encoded | None = None,
                 dtype: torch.dtype = torch.float32):
        """Send to the device what no update changes."""
        self.sets, self.configs = [encoded] if prior is None else [encoded, prior], configs
        self.device, self.timesteps = device, timesteps
        self.cond = [one.cond_on(device, dtype) for one in self.sets]
        self.null_cond = sent(null_cond, device, dtype)
        gamma = torch.tensor([float("nan") if c.snr_gamma is None else c.snr_gamma for c in configs])
        self.rounds = [{n: one.rounds_of(n) for n in {self._pictures(i, config) for config in configs}}
                       for i, one in enumerate(self.sets)]
        shapes = {one.mean[numbers[0]].shape for one in self.sets for numbers in by_shape(one.mean)}
        apart = [slice(i, i + 1) for i in range(len(self.sets))]
        self.halves = [slice(len(self.sets))] if len(shapes) == 1 else apart     # sets of the forward passes, in turn
        B = configs[0].train_batch_size * len(self.sets[self.halves[0]])
        self.snr_gamma = None if gamma.isnan().all() else gamma.repeat_interleave(B).to(device)

    def __call__(self, update: int) -> Iterator[Batch]:
        """Give the batches of update number `update`, one for each forward pass."""
        return self.send(self.draw(update))

    def draw(self, update: int) -> list[dict[str, Tensor]]:
        """Draw an update on the CPU, and return for each forward pass the tensors that `send` takes.

        There is one for each step of accumulation, or one for each half of it where pictures have several shapes. No
        device is touched, so a thread may do it.
        """
        runs = [[self._draw(i, config, update) for i in range(len(self.sets))] for config in self.configs]
        B = self.configs[0].train_batch_size
        # (K, 1, E, ...), or 2 with what the base should keep, whose draws leave the others as they are
        halves = [{name: torch.stack([torch.stack([one[name] for one in run[sets]]) for run in runs])
                   for name in runs[0][0]} for sets in self.halves]
        starts = range(0, self.configs[0].effective_batch_size, B)
        return [{name: self._pinned(value[:, :, start : start + B]) for name, value in drawn.items()}
                for start in starts for drawn in halves]

    def send(self, drawn: Sequence[dict[str, Tensor]]) -> Iterator[Batch]:
        """Give what was drawn for an update as batches on the device, without waiting for it."""
        return map(self._send, drawn, cycle(self.halves))

    def _send(self, drawn: dict[str, Tensor], sets: slice) -> Batch:
        drawn = {name: value.to(self.device, non_blocking=value.is_pinned()) for name, value in drawn.items()}
        cond = {name: self._cond(name, drawn["captions"], drawn["dropped"], sets) for name in self.null_cond}
        latents, noise, timesteps = (drawn[name].flatten(0, 2) for name in ("latents", "noise", "timesteps"))
        return Batch(latents, noise, timesteps, cond, self.snr_gamma, sets)

    def _draw(self, i: int, config: RunConfig, update: int) -> dict[str, Tensor]:
        """Return one run's draws for an update from set number i, (E, ...) each.

        These are latents, noise and timesteps, the captions' rows, and which captions are dropped.

        They are drawn for the update, not for the batch, which makes accumulation equal to one large batch.
        """
        encoded, of, rounds = self.sets[i], ("", "prior_")[i], self.rounds[i][self._pictures(i, config)]
        E, seed = config.effective_batch_size, config.seed
        index = torch.tensor(shown(rounds, seed, update, E, of))
        mean, std = encoded.mean[index].float(), encoded.std[index].float()
        dropped = torch.zeros(E, dtype=torch.bool)
        if config.caption_dropout:
            dropped = torch.rand(E, generator=generator(seed, of + "caption_dropout", update)) < config.caption_dropout
        captions = encoded.captions_of(index, generator(seed, of + "captions", update))
        return {"latents": mean + std * torch.randn(mean.shape, generator=generator(seed, of + "latents", update)),
                "noise": torch.randn(mean.shape, generator=generator(seed, of + "noise", update)),
                "timesteps": torch.randint(self.timesteps, (E,), generator=generator(seed, of + "timesteps", update)),
                "captions": captions, "dropped": dropped}

    def _pictures(self, i: int, config: RunConfig) -> int:
        """Return how many pictures of set number i a run is shown."""
        return (config.pictures, len(self.sets[i]))[i]

    def _cond(self, name: str, captions: Tensor, dropped: Tensor, sets: slice) -> Tensor:
        """Gather a condition on the device, (rows, ...), for captions (K, 1 or 2, B)."""
        cond = torch.stack([table[name][captions[:, i]] for i, table in enumerate(self.cond[sets])], dim=1)
        if name != SIZES and any(config.caption_dropout for config in self.configs):
            cond = torch.where(dropped.view(*dropped.shape, *[1] * (cond.dim() - 3)), self.null_cond[name], cond)
        return cond.flatten(0, 2)

    def _pinned(self, value: Tensor) -> Tensor:
        """Pin a tensor that a CUDA device fetches while the CPU goes on; for other devices return it as it is.

        Memory that is not pinned could be reused before such a copy has read it.
        """
        return value.contiguous().pin_memory() if self.device.type == "cuda" else value
