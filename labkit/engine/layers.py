"""How one adapted layer computes, for rows that are K contiguous blocks.

K runs, R rank, in and out features; n = rows of a run x positions. A layer is a plain object whose `forward` stands in
for the module's own while attached, so that names, dtype and state of the U-Net stay as they are, and a recomputed
forward (gradient checkpointing) sees the same rows.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shapes = dict[str, tuple[int, ...]]                           # of one run's parameters, by part: A and B, or delta


class Stack(Protocol):
    """Say what a layer reads of the LoRAStack that it belongs to."""

    K: int
    enabled: bool
    scale: Tensor                                             # (K, 1, 1)


class AdaptedLayer:
    """Add (K,) changes to a frozen module's output; `shapes` of one run's parameters, `parts` (K, ...) of all."""

    _shapes: Callable[..., Shapes]                            # of the shape of the module's weight, and R
    _forward: Callable[..., Tensor]                           # of x, the scale and the parts

    def __init__(self, name: str, module: nn.Module, R: int, stack: Stack):
        """Find the shapes of rank R for a module of the U-Net; the stack gives the parts and tells the scale."""
        self.name, self.module, self.stack = name, module, stack
        self.parts: dict[str, nn.Parameter] = {}
        self.plain = type(module).forward.__get__(module)
        self.shapes = self._shapes(module.weight.shape, R)

    def forward(self, x: Tensor, *ignored: object) -> Tensor:
        """Return what the module gives with each run's change added to its block of rows (K*B, ...)."""
        if not self.stack.enabled:
            return self.plain(x)
        if x.shape[0] % self.stack.K:
            raise ValueError(f"{x.shape[0]} rows are not {self.stack.K} blocks of equal size")
        return self._forward(x, self.stack.scale, *(part.to(x.dtype) for part in self.parts.values()))


class LoRALinear(AdaptedLayer):
    """y = x W' + b + scale (x A') B'."""

    def _shapes(self, weight: torch.Size, R: int) -> Shapes:
        return {"A": (R, weight[1]), "B": (weight[0], R)}

    def _forward(self, x: Tensor, scale: Tensor, A: Tensor, B: Tensor) -> Tensor:
        return _LoRALinear.apply(x, A, B, scale, self.module.weight, self.module.bias)


class _LoRALinear(torch.autograd.Function):
    """Fuse the frozen product and the adapter's: added in place both ways, nothing large kept but the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, A: Tensor, B: Tensor, scale: Tensor, weight: Tensor,
                bias: Tensor | None) -> Tensor:
        blocks = x.reshape(len(A), -1, x.shape[-1])                           # (K, n, in)
        h = torch.bmm(blocks, A.mT).mul_(scale)                               # (K, n, R)
        y = F.linear(blocks, weight, bias).baddbmm_(h, B.mT)                  # (K, n, out)
        ctx.save_for_backward(blocks, h, A, B, scale, weight)
        ctx.shape = x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        blocks, h, A, B, scale, weight = ctx.saved_tensors
        grad_y = grad_y.reshape(len(A), -1, grad_y.shape[-1])                 # (K, n, out)
        grad_h = torch.bmm(grad_y, B).mul_(scale)                             # (K, n, R)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.matmul(grad_y.flatten(0, 1), weight).view_as(blocks).baddbmm_(grad_h, A).view(ctx.shape)
        return grad_x, torch.bmm(grad_h.mT, blocks), torch.bmm(grad_y.mT, h), None, None, None


class FullLinear(AdaptedLayer):
    """y = x W' + b + scale x delta'."""

    def _shapes(self, weight: torch.Size, R: int) -> Shapes:
        return {"delta": tuple(weight)}

    def _forward(self, x: Tensor, scale: Tensor, delta: Tensor) -> Tensor:
        change = torch.bmm(x.reshape(len(delta), -1, x.shape[-1]), delta.mT)  # (K, n, out)
        y = self.plain(x)
        return y + (change * scale.to(x.dtype)).view(y.shape)


class LoRAConv(AdaptedLayer):
    """y = conv(x) + scale (x * A) * B, with A of the module's own kernel and B of 1 x 1."""

    def _shapes(self, weight: torch.Size, R: int) -> Shapes:
        return {"A": (R, *weight[1:]), "B": (weight[0], R, 1, 1)}

    def _forward(self, x: Tensor, scale: Tensor, A: Tensor, B: Tensor) -> Tensor:
        h = _conv_per_run(x, A, self.module.stride, self.module.padding, self.module.dilation)
        return self.plain(x) + _conv_per_run(h, B * scale.to(x.dtype)[..., None, None])


class FullConv(AdaptedLayer):
    """y = conv(x) + scale x * delta."""

    def _shapes(self, weight: torch.Size, R: int) -> Shapes:
        return {"delta": tuple(weight)}

    def _forward(self, x: Tensor, scale: Tensor, delta: Tensor) -> Tensor:
        delta = delta * scale.to(x.dtype)[..., None, None]
        return self.plain(x) + _conv_per_run(x, delta, self.module.stride, self.module.padding, self.module.dilation)


def _conv_per_run(x: Tensor, kernels: Tensor, stride: int | tuple[int, ...] = 1,
                  padding: int | str | tuple[int, ...] = 0, dilation: int | tuple[int, ...] = 1) -> Tensor:
    """Convolve each run's rows (K*B, in, H, W) with its kernels (K, out, in, h, w): runs become groups of channels."""
    K = len(kernels)
    grouped = x.unflatten(0, (K, -1)).transpose(0, 1).flatten(1, 2)           # (B, K*in, H, W)
    y = F.conv2d(grouped, kernels.flatten(0, 1), None, stride, padding, dilation, groups=K)
    return y.unflatten(1, (K, -1)).transpose(0, 1).flatten(0, 1)              # (K*B, out, H', W')


def adapted(kind: str, name: str, module: nn.Module, R: int, stack: Stack) -> AdaptedLayer:
    """Return the layer of this adapter kind for a linear or convolution module."""
    linear, conv = {"lora": (LoRALinear, LoRAConv), "full": (FullLinear, FullConv)}[kind]
    return (linear if isinstance(module, nn.Linear) else conv)(name, module, R, stack)
