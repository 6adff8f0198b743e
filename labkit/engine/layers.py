"""How one adapted layer computes, for rows that are K contiguous blocks.

K runs, R rank, in and out features; n = rows of a run x positions. A layer is a plain object whose `forward` stands in
for the module's own while attached, so that names, dtype and state of the U-Net stay as they are, and a recomputed
forward (gradient checkpointing) sees the same rows.
"""

from collections.abc import Callable, Iterator
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
    """Add the changes of K runs to a frozen module's output.

    `shapes` are those of one run's parameters, by part; `parts` holds the parameters of all runs, (K, ...) each.
    """

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
    """y = conv(x) + scale (x * A) * B, with A of the module's own kernel and B of 1 x 1.

    A lies as (h, w, R, in): each tap of the kernel is a matrix.
    """

    def _shapes(self, weight: torch.Size, R: int) -> Shapes:
        return {"A": (*weight[2:], R, weight[1]), "B": (weight[0], R, 1, 1)}

    def _forward(self, x: Tensor, scale: Tensor, A: Tensor, B: Tensor) -> Tensor:
        conv, B = self.module, (B * scale[..., None, None]).to(x.dtype)
        if _keeps_size(conv):
            return _LoRAConv.apply(x, A, B.flatten(2), conv.weight, conv.bias, conv.padding, conv.dilation)
        h = _conv_per_run(x, A.permute(0, 3, 4, 1, 2), conv.stride, conv.padding, conv.dilation)
        return self.plain(x) + _conv_per_run(h, B)


def _keeps_size(conv: nn.Module) -> bool:
    """Tell whether a convolution's output has its input's height and width: as all have but downsamplers."""
    centred = tuple(d * (size - 1) / 2 for size, d in zip(conv.kernel_size, conv.dilation, strict=True))
    return conv.padding == centred and conv.stride == (1, 1) and conv.padding_mode == "zeros"


class _LoRAConv(torch.autograd.Function):
    """Fuse the frozen convolution and the adapter's, added in place both ways; nothing large is kept but the input.

    A tap of A's kernel is a matrix, and R channels are few: each tap's product with x is moved to its place and added
    up, instead of moving the many channels of x. N rows, T taps, p positions, G groups of n positions that are one
    matrix product: `_groups` says how many.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None,
                padding: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
        G = _groups(x, A)
        y = F.conv2d(x, weight, bias, 1, padding, dilation)                   # the base's own, to the last bit
        blocks = _blocks(x, G)                                                # (G, in, n)
        products = torch.bmm(_for_groups(A.flatten(1, 3), G), blocks)         # (G, T R, n)
        products = products.view(G, *A.shape[1:4], -1, *x.shape[2:])          # (G, h, w, R, N / G, H, W)
        h = _added(_added(products, -2, dilation[0]), -1, dilation[1]).contiguous().flatten(2)     # (G, R, n)
        _add_product(y, _for_groups(B, G), h)
        ctx.save_for_backward(blocks, h, A, B, weight)
        ctx.geometry = x.shape, padding, dilation
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        blocks, h, A, B, weight = ctx.saved_tensors
        shape, padding, dilation = ctx.geometry
        G = len(blocks)
        out = _blocks(grad_y, G)                                              # (G, out, n)
        grad_h = torch.bmm(_for_groups(B, G).mT, out).view(G, A.shape[3], -1, *shape[2:])
        taken = _spread(_spread(grad_h, A.shape[2], -1, dilation[1]), A.shape[1], -2, dilation[0])
        taken = taken.view(G, -1, h.shape[2])                                 # (G, T R, n)
        grad_A = _per_run(torch.bmm(taken, blocks.mT), A)
        grad_B = _per_run(torch.bmm(out, h.mT), B)
        grad_x = None
        if ctx.needs_input_grad[0]:
            x = blocks.view(shape) if G == shape[0] else grad_y.new_empty(shape)    # only its shape is looked at
            grad_x = _frozen_backward(grad_y, x, weight, padding, dilation)
            _add_product(grad_x, _for_groups(A.flatten(1, 3), G).mT, taken)
        return grad_x, grad_A, grad_B, None, None, None, None


def _frozen_backward(grad_y: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int],
                     dilation: tuple[int, int]) -> Tensor:
    """Return the frozen convolution's gradient for x; of 1 x 1 it is a matrix product, which is faster on a CPU."""
    if weight.shape[2:] != (1, 1):
        return torch.ops.aten.convolution_backward(
            grad_y, x, weight, None, (1, 1), padding, dilation, False, (0, 0), 1, (True, False, False))[0]
    return torch.bmm(weight.flatten(1).T.expand(len(grad_y), -1, -1), grad_y.flatten(2)).view_as(x)


def _groups(x: Tensor, A: Tensor) -> int:
    """Return the number of groups G: N (A is copied for each row) or K (the rows of a run are joined).

    It is the one that copies less: T R numbers of A for each row and channel, or p of the row itself, which are fewer
    on pictures of few pixels.
    """
    return len(x) if x.shape[2:].numel() >= A.shape[1:4].numel() else len(A)


def _blocks(x: Tensor, G: int) -> Tensor:
    """Reshape rows (N, C, H, W) into groups (G, C, n), in which the positions of one row follow those of another."""
    return x.flatten(2).unflatten(0, (G, -1)).transpose(1, 2).flatten(2)


def _for_groups(value: Tensor, G: int) -> Tensor:
    """Repeat the value of each run, (K, ...), for each of its groups: (G, ...)."""
    return value.unsqueeze(1).expand(-1, G // len(value), *value.shape[1:]).flatten(0, 1)


def _per_run(grad: Tensor, part: Tensor) -> Tensor:
    """Add up gradients (G, ...) over the groups of each run, into the shape of its part (K, ...)."""
    return (grad if len(grad) == len(part) else grad.unflatten(0, (len(part), -1)).sum(1)).view_as(part)


def _add_product(y: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the groups' products (G, C, m) (G, m, n) to rows (N, C, H, W) in place."""
    G, C = left.shape[:2]
    if G == len(y):
        y.flatten(2).baddbmm_(left, right)
    else:
        y.flatten(2).unflatten(0, (G, -1)).add_(torch.bmm(left, right).view(G, C, len(y) // G, -1).transpose(1, 2))


def _added(parts: Tensor, axis: int, dilation: int) -> Tensor:
    """Sum a kernel's taps along an axis, (N, taps, ...) to (N, ...), each shifted to the pixel that it contributes to.

    The middle tap's memory is used for the sum.
    """
    total = parts[:, parts.shape[1] // 2]
    for tap, start, seen, length in _moves(parts.shape[1], total.shape[axis], dilation):
        total.narrow(axis, start, length).add_(parts[:, tap].narrow(axis, seen, length))
    return total


def _spread(taken: Tensor, taps: int, axis: int, dilation: int) -> Tensor:
    """Transpose `_added`: copy each pixel's gradient, (N, ...), to all taps that contribute to it, (N, taps, ...)."""
    parts = taken.new_empty(len(taken), taps, *taken.shape[1:])
    parts[:, taps // 2] = taken
    size = taken.shape[axis]
    for tap, start, seen, length in _moves(taps, size, dilation):
        part = parts[:, tap]
        part.narrow(axis, seen, length).copy_(taken.narrow(axis, start, length))
        part.narrow(axis, 0 if seen else length, size - length).zero_()       # nobody looks there through this tap
    return parts


def _moves(taps: int, size: int, dilation: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each tap but the middle one its number, where its overlap begins in output and input, and how long."""
    for tap in range(taps):
        offset = dilation * (tap - taps // 2)
        length = max(0, size - abs(offset))
        if offset:
            yield tap, min(max(0, -offset), size), min(max(0, offset), size), length


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
