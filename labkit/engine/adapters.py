"""Adapters of K runs side by side on one frozen U-Net: LoRA (Hu et al. 2021), or a dense change as its ceiling.

The rows of a batch are K contiguous blocks of equal size, always: block k belongs to run k. K runs side by side, R
rank (the largest of the pass), P numbers of one run's adapter.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from labkit.design.config import RunConfig
from labkit.design.target_modules import SETS, expanded, nearest
from labkit.engine.layers import adapted
from labkit.engine.seeding import generator
from labkit.errors import LabError
from labkit.machine import give_back


class LoRAStack:
    """Hold the adapters of K runs in one float32 tensor `theta` (K, P), and put them on a U-Net while attached.

    unet              a diffusers U-Net; its own weights are never touched
    configs           one RunConfig a run; adapter kind and targets are the same for all

    Every layer's A (K, R, in) and B (K, out, R) are views of `theta`; a convolution's A is (K, h, w, R, in), a matrix
    for each tap. Ranks below R are padded with zero rows of A and zero columns of B, whose gradients are exactly zero,
    so that they stay so.
    """

    def __init__(self, unet: nn.Module, configs: Sequence[RunConfig]):
        """Lay the adapters out, all zero; `initialize` or `load` gives them their numbers."""
        self.unet, self.configs, self.K = unet, list(configs), len(configs)
        if len({(c.adapter, c.targets) for c in configs}) > 1:
            raise LabError("adapter and target_modules must be the same for all runs of one pass.")
        kind, R = configs[0].adapter, max(c.rank for c in configs)
        modules = find_targets(unet, configs[0].targets)
        device = next(unet.parameters()).device
        self.scale = torch.ones(self.K, 1, 1, device=device)  # strength x scaling, read by every layer
        self.enabled = True
        self.strength = 1.0
        self.layers = [adapted(kind, name, module, R, self) for name, module in modules.items()]
        self._place(device)

    def _place(self, device: torch.device) -> None:
        """Make all parameters views of theta, those that begin at zero (B) last: B may have a rate of its own."""
        order = [(layer, part) for part in ("A", "B", "delta") for layer in self.layers if part in layer.shapes]
        sizes = [math.prod(layer.shapes[part]) for layer, part in order]
        self.theta = torch.zeros(self.K, sum(sizes), device=device)
        self.first_B = sum(size for (_, part), size in zip(order, sizes, strict=True) if part == "A")
        self.slots: dict[tuple[str, str], tuple[slice, tuple[int, ...]]] = {}      # columns of theta, shape of one run
        self.parameters: list[nn.Parameter] = []
        start = 0
        for (layer, part), size in zip(order, sizes, strict=True):
            columns, shape = slice(start, start + size), layer.shapes[part]
            layer.parts[part] = nn.Parameter(self.theta[:, columns].view(self.K, *shape))
            self.parameters.append(layer.parts[part])
            self.slots[layer.name, part] = (columns, shape)
            start += size

    def initialize(self) -> "LoRAStack":
        """Draw A of every run by its seed and the layer's name, at the run's own rank, as PEFT does; B stays zero."""
        drawn = torch.zeros(self.theta.shape)                 # sent in one copy
        for k, config in enumerate(self.configs):
            for (name, part), (columns, shape) in self.slots.items():
                if part == "A":
                    A = _in_peft_order(drawn[k, columns].view(shape), part)
                    A[: config.rank] = _drawn_A(config, name, A.shape)
        self.theta.copy_(drawn)
        return self

    @property
    def strength(self) -> float | list[float]:
        """Tell or set how strongly the adapters act at inference, all alike or one a run; 1 while training."""
        return self._strength

    @strength.setter
    def strength(self, value: float | list[float]) -> None:
        self._strength = value
        scaling = torch.tensor([config.scaling for config in self.configs], dtype=torch.float64)
        self.scale.copy_((torch.as_tensor(value, dtype=torch.float64) * scaling).float().view(-1, 1, 1))

    def take_grad(self) -> Tensor:
        """Return the gradients that `backward` left, as (K, P), and clear them."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat([grad.flatten(1) for grad in grads], dim=1)

    # -- on and off the U-Net

    @contextlib.contextmanager
    def attached(self) -> Iterator["LoRAStack"]:
        """Let the U-Net's layers add this stack's adapters; inside another `attached` of the stack nothing changes."""
        other = attached_to(self.unet)
        if other is self:
            yield self
            return
        if other is not None:
            raise LabError("This base already carries other adapters: let the pass that trains them end first.")
        self.unet._labkit_stack = self
        for layer in self.layers:
            layer.module.forward = layer.forward
        try:
            yield self
        finally:
            del self.unet._labkit_stack
            for layer in self.layers:
                del layer.module.forward
            give_back()

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """Let the layers act as the frozen base's own."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    # -- one run in and out

    def tensors(self, k: int, stacked: Tensor | None = None) -> dict[str, np.ndarray]:
        """Return run k's adapter, or its share of another (K, P) tensor, as float32 arrays at its own rank.

        Everything comes from the device in one copy.

        Keys are `<module>.lora_A.weight` (rank, in) and `<module>.lora_B.weight` (out, rank), or
        `<module>.delta.weight`.
        """
        row, rank = (self.theta if stacked is None else stacked)[k].cpu(), self.configs[k].rank
        return {f"{name}.{KEYS[part]}": np.array(_own_rank(row[columns].view(shape), part, rank).numpy(), order="C")
                for (name, part), (columns, shape) in self.slots.items()}

    def load(self, k: int, arrays: Mapping[str, np.ndarray], stacked: Tensor | None = None) -> None:
        """Set run k's adapter, or its share of another (K, P) tensor, from what `tensors` gave."""
        stacked = self.theta if stacked is None else stacked
        expected = {f"{name}.{KEYS[part]}" for name, part in self.slots}
        if expected != set(arrays):
            odd = sorted(expected.symmetric_difference(arrays))[0]
            raise LabError(f"adapter: {odd} is {'missing' if odd in expected else 'not a layer of this run'}; "
                           "the file belongs to another base or other target_modules.")
        row = stacked[k].cpu()                                # the run's own memory on a CPU, else a copy to send back
        for (name, part), (columns, shape) in self.slots.items():
            value = _own_rank(row[columns].view(shape), part, self.configs[k].rank)
            array = torch.from_numpy(np.ascontiguousarray(arrays[f"{name}.{KEYS[part]}"]))
            if array.shape != value.shape:
                raise LabError(f"adapter: {name}.{KEYS[part]} has shape {tuple(array.shape)}, "
                               f"not {tuple(value.shape)}; "
                               "give the rank that the file was trained with.")
            value.copy_(array)
        stacked[k].copy_(row)


KEYS = {"A": "lora_A.weight", "B": "lora_B.weight", "delta": "delta.weight"}


def _in_peft_order(value: Tensor, part: str) -> Tensor:
    """View a convolution's A (h, w, R, in) as PEFT writes it, (R, in, h, w); other parts have PEFT's order already."""
    return value.permute(2, 3, 0, 1) if part == "A" and value.dim() == 4 else value


def _own_rank(value: Tensor, part: str, rank: int) -> Tensor:
    """View one layer's A (R, in, ...) or B (out, R, ...) in PEFT's order, its padding cut off."""
    value = _in_peft_order(value, part)
    return {"A": lambda: value[:rank], "B": lambda: value[:, :rank], "delta": lambda: value}[part]()


def _drawn_A(config: RunConfig, name: str, shape: Sequence[int]) -> Tensor:
    """Draw A (rank, in, ...): uniform in 1 / sqrt(fan in), which is PEFT's Kaiming default, or N(0, 1 / rank^2)."""
    A = torch.empty(config.rank, *shape[1:])
    source = generator(config.seed, "A", name)
    if config.init_lora_weights == "gaussian":
        return A.normal_(std=1 / config.rank, generator=source)
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return A.uniform_(-bound, bound, generator=source)


def find_targets(unet: nn.Module, targets: Sequence[str]) -> dict[str, nn.Module]:
    """Return the layers that targets name, by the whole name or by its end after a dot, as PEFT finds them.

    targets   names of layers, each of which must exist, and of sets, of which the layers that exist are taken
    """
    order = {name: i for i, (name, _) in enumerate(unet.named_modules())}
    modules: dict[str, nn.Module] = {}
    for target in targets:
        layers = expanded([target])
        names = [name for name in order if any(name == layer or name.endswith("." + layer) for layer in layers)]
        if not names and target in SETS:
            raise LabError(f"target_modules = {target!r}: this base has none of the layers of that set "
                           f"({', '.join(layers)}); give the names of those it has.")
        if not names:
            raise LabError(f"target_modules = {target!r} names no layer of this base: {nearest(target, order)}")
        modules |= {name: unet.get_submodule(name) for name in names}
    for name, module in modules.items():
        if not isinstance(module, nn.Linear | nn.Conv2d) or getattr(module, "groups", 1) > 1:
            raise LabError(f"target_modules: {name} is a {type(module).__name__}; "
                           "only linear and convolution layers can be adapted.")
    return dict(sorted(modules.items(), key=lambda item: order[item[0]]))


def weight_shapes(unet: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of all linear and convolution layers, by name."""
    return {name: tuple(module.weight.shape) for name, module in unet.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)}


def attached_to(unet: nn.Module) -> LoRAStack | None:
    """Return the stack that is on this U-Net now; None where none is."""
    return getattr(unet, "_labkit_stack", None)


def bare(unet: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context in which the frozen base runs alone, whatever adapters are on it."""
    stack = attached_to(unet)
    return stack.disabled() if stack is not None else contextlib.nullcontext()
