"""Predict the memory of a pass, and so how many runs may share one, by a forward and backward pass without data.

Tensors on torch's meta device have shapes and no content, so the U-Net's own forward and backward say what they keep,
at the true size, within seconds and without its weights. K runs side by side, P numbers of one adapter, rows pictures
of a pass.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.optim import OPTIMIZERS

SPARE = 0.9                                                   # of free memory is planned with: kernels want some too
UPDATE, RATES = 2, 4                                          # (K, P) tensors beside theta and moments, at once: of
                                                              # the gradients, and more where B has a rate of its own
# U-Net: {the arguments that were walked: (kept, most, P)}
_walked: weakref.WeakKeyDictionary[nn.Module, dict[tuple, tuple[int, int, int]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Memory:
    """Hold the predicted bytes of a pass, by what they are for."""

    weights: int                                              # of the frozen U-Net
    adapters: int                                             # parameters and moments of all runs, float32
    kept: int                                                 # activations that the forward keeps for the backward
    passing: int                                              # gradients and what else lives at the worst moment

    @property
    def beside_weights(self) -> int:
        """Give what a pass adds to a base that is already on the device."""
        return self.adapters + self.kept + self.passing

    @property
    def total(self) -> int:
        """Give everything, the base's weights included."""
        return self.weights + self.beside_weights


def predict(unet: nn.Module, latent_shape: Sequence[int], cond: Mapping[str, Tensor], configs: Sequence[RunConfig], *,
            dtype: torch.dtype | None = None, checkpointing: bool = False) -> Memory:
    """Predict the memory of one pass.

    unet              a diffusers U-Net on any device, the meta device included; it is not touched
    latent_shape      (C, H, W) of one picture
    cond              conditions of one picture, (1, ...) each, of which only the shapes count: `cache.null_cond`
    configs           resolved runs that share the pass
    dtype             in which weights are kept and computed with; None: the U-Net's own
    checkpointing     whether activations are computed again in the backward (Chen et al. 2016)
    """
    dtype = dtype or next(unet.parameters()).dtype
    config, K, rank = configs[0], len(configs), max(config.rank for config in configs)
    rows = sum(config.rows for config in configs)
    shapes = tuple((name, tuple(value.shape[1:])) for name, value in sorted(cond.items()))
    walked = tuple(latent_shape), shapes, rows, K, rank, config.adapter, config.targets, dtype, checkpointing
    known = _walked.setdefault(unet, {})
    if walked not in known:
        known[walked] = _walk(unet, latent_shape, dict(shapes), configs, rows, dtype, checkpointing)
    kept, most, P = known[walked]
    whole, moments = 4 * K * P, len(OPTIMIZERS[config.optimizer].moments)
    if config.gradient_accumulation_steps > 1:                # gradients lie there from the batch before
        most += whole
    update = (UPDATE + RATES * any(config.lr_ratio_B != 1 and config.adapter != "full" for config in configs)) * whole
    return Memory(weights=sum(p.numel() for p in unet.parameters()) * dtype.itemsize, adapters=(1 + moments) * whole,
                  kept=kept, passing=max(most, update) - kept)


def fitting(unet: nn.Module, latent_shape: Sequence[int], cond: Mapping[str, Tensor], config: RunConfig, free: int, *,
            dtype: torch.dtype | None = None, checkpointing: bool | None = None) -> tuple[int, bool]:
    """Return how many runs like `config` fit into `free` bytes beside the base's weights, and whether to checkpoint.

    With checkpointing None, activations are computed again only where not one run fits otherwise: it costs about a
    third of the time, more than a larger pass gains on a busy device. 0 runs: not even one fits. Other arguments as
    for `predict`.
    """
    for recomputed in (False, True) if checkpointing is None else (checkpointing,):
        one, two, three = few = [predict(unet, latent_shape, cond, [config] * K, dtype=dtype,
                                         checkpointing=recomputed).beside_weights for K in (1, 2, 3)]
        more = max(two - one, three - two)                    # where the peak moves to another layer they differ
        at_least = int((SPARE * free - one) // more) + 1 if one <= SPARE * free else 0
        if runs := max(at_least, sum(needed <= SPARE * free for needed in few)):
            break
    return runs, recomputed


def _walk(unet: nn.Module, latent_shape: Sequence[int], shapes: Mapping[str, tuple[int, ...]],
          configs: Sequence[RunConfig], rows: int, dtype: torch.dtype, checkpointing: bool) -> tuple[int, int, int]:
    """Go through a forward and backward on the meta device; return the bytes alive between them, the peak, and P."""
    with torch.device("meta"):
        twin = nn.Module.to(type(unet).from_config(unet.config), dtype).eval().requires_grad_(False)
        latents = torch.empty(rows, *latent_shape, dtype=dtype)
        timesteps = torch.zeros(rows, dtype=torch.long)
        cond = {name: torch.empty(rows, *shape, dtype=dtype) for name, shape in shapes.items()}
    attention = _FusedAttention()
    if checkpointing:                                         # as diffusers does; the mode is off in a backward
        twin.enable_gradient_checkpointing(functools.partial(
            checkpoint, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), attention)))
    stack = LoRAStack(twin, configs)
    before = [*twin.parameters(), *twin.buffers(), stack.theta, stack.scale, latents, timesteps, *cond.values()]
    words, added = cond.pop("encoder_hidden_states"), {"added_cond_kwargs": cond} if cond else {}
    alive = _Alive(before)
    with torch.enable_grad(), stack.attached(), alive, attention:
        loss = twin(latents, timesteps, words, return_dict=False, **added)[0].float().square().sum()
        kept = alive.now
        loss.backward()
    return kept, alive.most, stack.theta.shape[1]


class _Alive(TorchDispatchMode):
    """Count the bytes of all storages that operations make, each for as long as a tensor holds it."""

    def __init__(self, before: Iterable[Tensor]):
        super().__init__()
        self.now = self.most = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in before}

    def __torch_dispatch__(self, func: Callable, types: Sequence[type], args: Sequence = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self.known:
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, address: int, nbytes: int) -> None:
        self.known.discard(address)
        self.now -= nbytes


class _FusedAttention(TorchFunctionMode):
    """Let attention keep for the backward pass only what a device's fused kernels keep.

    The meta device itself would keep the attention weights of all pairs of positions.
    """

    def __torch_function__(self, func: Callable, types: Sequence[type], args: Sequence = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        return _Attention.apply(*args[:3]) if func is F.scaled_dot_product_attention else func(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    """Keep query, key, value, output and one number a row: Dao et al. 2022, algorithm 1."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
