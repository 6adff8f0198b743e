"""How one adapted layer computes, for rows that are K contiguous blocks.

K runs, R rank, in and out features; n = rows of a run x positions. A layer is a plain object whose `forward` stands in
for the module's own while attached, so that names, dtype and state of the U-Net stay as they are, and a recomputed
forward (gradient checkpointing) sees the same rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AdaptedLayer:
    """Add (K,) changes to a frozen module's output; `shapes` of one run's parameters, `parts` (K, ...) of all."""

    shapes: dict[str, tuple[int, ...]]

    def __init__(self, name: str, module: nn.Module, R: int, stack):
        """Find the shapes of rank R for a module of the U-Net; the stack gives the parts and tells the scale."""
        self.name, self.module, self.stack, self.parts = name, module, stack, {}
        self.plain = type(module).forward.__get__(module)
        self.shapes = self._shapes(module.weight.shape, R)

    def forward(self, x: Tensor, *ignored) -> Tensor:
        """Return what the module gives with each run's change added to its block of rows (K*B, ...)."""
        if not self.stack.enabled:
            return self.plain(x)
        if x.shape[0] % self.stack.K:
            raise ValueError(f"{x.shape[0]} rows are not {self.stack.K} blocks of equal size")
        return self._forward(x, self.stack.scale, *(part.to(x.dtype) for part in self.parts.values()))


class LoRALinear(AdaptedLayer):
    """y = x W' + b + scale (x A') B'."""

    def _shapes(self, weight, R):
        return {"A": (R, weight[1]), "B": (weight[0], R)}

    def _forward(self, x, scale, A, B):
        return _LoRALinear.apply(x, A, B, scale, self.module.weight, self.module.bias)


class _LoRALinear(torch.autograd.Function):
    """Fuse the frozen product and the adapter's: added in place both ways, nothing large kept but the input."""

    @staticmethod
    def forward(ctx, x, A, B, scale, weight, bias):
        blocks = x.reshape(len(A), -1, x.shape[-1])                           # (K, n, in)
        h = torch.bmm(blocks, A.mT).mul_(scale)                               # (K, n, R)
        y = F.linear(blocks, weight, bias).baddbmm_(h, B.mT)                  # (K, n, out)
        ctx.save_for_backward(blocks, h, A, B, scale, weight)
        ctx.shape = x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y):
        blocks, h, A, B, scale, weight = ctx.saved_tensors
        grad_y = grad_y.reshape(len(A), -1, grad_y.shape[-1])                 # (K, n, out)
        grad_h = torch.bmm(grad_y, B).mul_(scale)                             # (K, n, R)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.matmul(grad_y.flatten(0, 1), weight).view_as(blocks).baddbmm_(grad_h, A).view(ctx.shape)
        return grad_x, torch.bmm(grad_h.mT, blocks), torch.bmm(grad_y.mT, h), None, None, None


class FullLinear(AdaptedLayer):
    """y = x W' + b + scale x delta'."""

    def _shapes(self, weight, R):
        return {"delta": tuple(weight)}

    def _forward(self, x, scale, delta):
        change = torch.bmm(x.reshape(len(delta), -1, x.shape[-1]), delta.mT)  # (K, n, out)
        y = self.plain(x)
        return y + (change * scale.to(x.dtype)).view(y.shape)


class LoRAConv(AdaptedLayer):
    """y = conv(x) + scale (x * A) * B, with A of the module's own kernel and B of 1 x 1."""

    def _shapes(self, weight, R):
        return {"A": (R, *weight[1:]), "B": (weight[0], R, 1, 1)}

    def _forward(self, x, scale, A, B):
        h = _conv_per_run(x, A, self.module.stride, self.module.padding, self.module.dilation)
        return self.plain(x) + _conv_per_run(h, B * scale.to(x.dtype)[..., None, None])


class FullConv(AdaptedLayer):
    """y = conv(x) + scale x * delta."""

    def _shapes(self, weight, R):
        return {"delta": tuple(weight)}

    def _forward(self, x, scale, delta):
        delta = delta * scale.to(x.dtype)[..., None, None]
        return self.plain(x) + _conv_per_run(x, delta, self.module.stride, self.module.padding, self.module.dilation)


def _conv_per_run(x: Tensor, kernels: Tensor, stride=1, padding=0, dilation=1) -> Tensor:
    """Convolve each run's rows (K*B, in, H, W) with its kernels (K, out, in, h, w): runs become groups of channels."""
    K = len(kernels)
    grouped = x.unflatten(0, (K, -1)).transpose(0, 1).flatten(1, 2)           # (B, K*in, H, W)
    y = F.conv2d(grouped, kernels.flatten(0, 1), None, stride, padding, dilation, groups=K)
    return y.unflatten(1, (K, -1)).transpose(0, 1).flatten(0, 1)              # (K*B, out, H', W')


def adapted(kind: str, name: str, module: nn.Module, R: int, stack) -> AdaptedLayer:
    """Return the layer of this adapter kind for a linear or convolution module."""
    linear, conv = {"lora": (LoRALinear, LoRAConv), "full": (FullLinear, FullConv)}[kind]
    return (linear if isinstance(module, nn.Linear) else conv)(name, module, R, stack)
