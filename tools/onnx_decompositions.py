"""Gradients and resizing in operators that ONNX has: what ATen's own decompositions leave."""

import torch
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.nn import functional as F

aten = torch.ops.aten


def convolution_backward(grad, x, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups,
                         wanted):
    """Return the gradients of a plain convolution: for its input and its kernel, each where it is wanted.

    For the input it is the convolution with the kernel turned round, a transposed one where the convolution has a
    stride; for the kernel the convolution of the transposed input with the transposed gradient, in which stride and
    dilation change places.
    """
    if transposed or groups != 1 or wanted[2]:
        raise NotImplementedError("only of plain convolutions whose bias is frozen")
    grad_x = _for_input(grad, x, weight, stride, padding, dilation) if wanted[0] else None
    grad_weight = _for_kernel(grad, x, weight, stride, padding, dilation) if wanted[1] else None
    return grad_x, grad_weight, None


def _for_input(grad, x, weight, stride, padding, dilation):
    reach = [d * (size - 1) for d, size in zip(dilation, weight.shape[2:], strict=True)]
    if tuple(stride) == (1, 1):
        turned = weight if weight.shape[2:] == (1, 1) else weight.flip(2, 3)
        return F.conv2d(grad, turned.transpose(0, 1), None, 1, [r - p for r, p in zip(reach, padding, strict=True)],
                        dilation)
    made = [(n - 1) * s - 2 * p + r + 1 for n, s, p, r in zip(grad.shape[2:], stride, padding, reach, strict=True)]
    missing = [size - n for size, n in zip(x.shape[2:], made, strict=True)]
    return F.conv_transpose2d(grad, weight, None, stride, padding, missing, 1, dilation)


def _for_kernel(grad, x, weight, stride, padding, dilation):
    found = F.conv2d(x.transpose(0, 1), grad.transpose(0, 1), None, dilation, padding, stride)
    return found[:, :, : weight.shape[2], : weight.shape[3]].transpose(0, 1)


def upsample_nearest2d(x, output_size, scales_h=None, scales_w=None):
    """Repeat each pixel, by a whole factor."""
    N, C, H, W = x.shape
    high, wide = output_size[0] // H, output_size[1] // W
    return x.view(N, C, H, 1, W, 1).expand(N, C, H, high, W, wide).reshape(N, C, *output_size)


def upsample_nearest2d_backward(grad, output_size, input_size, scales_h=None, scales_w=None):
    """Add up the gradients of a pixel's copies."""
    N, C, H, W = input_size
    return grad.reshape(N, C, H, output_size[0] // H, W, output_size[1] // W).sum((3, 5))


def table():
    """Return {operator: decomposition} for `make_fx`."""
    kept = (aten.native_group_norm, aten.native_layer_norm)   # ONNX has what they are made of
    known = {op: made for op, made in core_aten_decompositions().items() if op.overloadpacket not in kept}
    return {**known, **get_decompositions([aten.gelu, aten._softmax_backward_data]),
            aten.convolution_backward.default: convolution_backward,
            aten.upsample_nearest2d.default: upsample_nearest2d,
            aten.upsample_nearest2d_backward.default: upsample_nearest2d_backward}
