"""Choose how many rows a pass has and whether it checkpoints, by predicted memory where that is not given."""

from typing import NamedTuple

import torch

from labkit.design.config import RunConfig
from labkit.engine.base import Base
from labkit.engine.cache import Cache
from labkit.engine.dtypes import MIXED
from labkit.engine.memory import fitting, predict
from labkit.errors import LabError
from labkit.text import counted

GIB = 2**30


class Room(NamedTuple):
    """Hold how many rows a pass may have, whether it checkpoints, and why."""

    rows: int                                                 # pictures, of all its runs together
    gradient_checkpointing: bool                              # whether activations are computed again, backward
    said: str = ""                                            # why, where memory decided; that it was asked for


def room(base: Base, cache: Cache, config: RunConfig, max_rows: int,
         gradient_checkpointing: bool | None = None) -> Room:
    """Return how many rows of runs like a resolved `config` may share a pass, at most max_rows.

    gradient_checkpointing    None: where not one run fits without. Without a known limit of memory, both are as given.
    LabError: not even one run fits.
    """
    free = free_bytes(base.device)
    if free is None:
        reason = "Activations are computed again in the backward pass, as asked (gradient checkpointing)."
        return Room(max_rows, True, reason) if gradient_checkpointing else Room(max_rows, False)
    of_the_base = base.unet, cache.train.largest_shape, cache.null_cond
    dtype = MIXED.get(config.mixed_precision, base.dtype)
    if dtype != base.dtype:                                   # the pass casts a U-Net of its own
        free -= predict(*of_the_base, [config], dtype=dtype).weights
    runs, again = fitting(*of_the_base, config, free, dtype=dtype, checkpointing=gradient_checkpointing)
    needed = predict(*of_the_base, [config], dtype=dtype, checkpointing=again).beside_weights
    reason = f"{needed / GIB:.2g} GiB for one run, {free / GIB:.2g} GiB are free"
    if not runs:
        raise LabError(f"train_batch_size = {config.train_batch_size} does not fit into this device's memory "
                       f"({reason}): "
                       "give fewer pictures a batch with "
                       "more gradient_accumulation_steps, or a smaller resolution"
                       + ("." if again else ", or let activations be computed again (gradient checkpointing)."))
    rows = min(max_rows, runs * config.rows)
    if rows == max_rows and not again:
        return Room(rows, again)
    recomputed = ", activations are computed again (gradient checkpointing)" if again else ""
    return Room(rows, again, f"A pass holds {counted(rows, 'picture')}{recomputed}: {reason}.")


def free_bytes(device: torch.device) -> int | None:
    """Return what is free on a CUDA device, with what torch keeps of freed tensors; None elsewhere."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
