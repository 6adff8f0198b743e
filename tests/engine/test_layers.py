"""A convolution's adapter by matrix products equals the convolution that it stands for, with its gradients."""

import pytest
import torch
from torch import nn

from labkit.engine.layers import LoRAConv, _conv_per_run, _groups, _keeps_size, _LoRAConv

K, B, R = 3, 2, 2
FITTING = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": (5, 1), "padding": (2, 0)},
    {"kernel_size": (3, 5), "padding": (1, 4), "dilation": (1, 2)},
]
OTHERS = [
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3},
    {"kernel_size": 2, "padding": 1},
    {"kernel_size": 3, "padding": "same"},
]


class Pass:
    """Stand in for the stack of K runs that a layer belongs to."""

    def __init__(self):
        self.K, self.enabled, self.scale = K, True, torch.tensor([0.5, 1.0, 3.0]).view(K, 1, 1)


def given(options, size=(5, 4), dtype=torch.float64):
    """Return a layer, its input and its parts, all drawn from one seed."""
    source = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(3, 4, **options).requires_grad_(False)
    for parameter in conv.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=source))
    layer = LoRAConv("conv", conv.to(dtype), R, Pass())
    layer.parts = {name: torch.randn(K, *shape, generator=source, dtype=torch.float64).to(dtype).requires_grad_()
                   for name, shape in layer.shapes.items()}
    x = torch.randn(K * B, 3, *size, generator=source, dtype=torch.float64).to(dtype).requires_grad_()
    return layer, x


def by_definition(layer, x):
    """Convolve each run's rows with its own kernel and then with its B, in torch's own operations."""
    conv, scale = layer.module, layer.stack.scale.to(x.dtype)
    rows = zip(x.unflatten(0, (K, B)), kernels(layer), layer.parts["B"], scale, strict=True)
    h = [nn.functional.conv2d(
        nn.functional.conv2d(own, a, None, conv.stride, conv.padding, conv.dilation), s * b) for own, a, b, s in rows]
    return conv(x) + torch.cat(h)


def kernels(layer):
    """Return A as torch's convolutions want it, (K, R, in, h, w)."""
    return layer.parts["A"].permute(0, 3, 4, 1, 2)


def gradients(y, layer, x):
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return torch.autograd.grad((y * weights).sum(), (x, *layer.parts.values()))


@pytest.mark.parametrize("size", [(5, 4), (4, 4), (1, 2)])
@pytest.mark.parametrize("options", FITTING + OTHERS, ids=str)
def test_output_and_gradients_are_those_of_a_convolution_for_each_run(options, size):
    if size == (1, 2) and options == {"kernel_size": 3}:
        pytest.skip("the kernel is larger than the picture")
    layer, x = given(options, size)
    assert _keeps_size(layer.module) == (options in FITTING)
    ours, expected = layer.forward(x), by_definition(layer, x)
    torch.testing.assert_close(ours, expected)
    for mine, theirs in zip(gradients(ours, layer, x), gradients(expected, layer, x), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("options", [{"kernel_size": 1}, {"kernel_size": 3, "padding": 1}], ids=str)
def test_a_fresh_adapter_leaves_the_output_as_it_is_to_the_last_bit(options):
    conv = nn.Conv2d(64, 96, **options).requires_grad_(False)
    layer = LoRAConv("conv", conv, R, Pass())
    layer.parts = {"A": torch.randn(K, *layer.shapes["A"]), "B": torch.zeros(K, *layer.shapes["B"])}
    x = torch.randn(K * B, 64, 16, 16)
    assert torch.equal(layer.forward(x), conv(x))


@pytest.mark.parametrize("options", FITTING, ids=str)
def test_gradients_are_the_slopes_of_the_output(options):
    layer, x = given(options, (3, 2))
    conv = layer.module

    def output(x, A, B):
        return _LoRAConv.apply(x, A, B.flatten(2), conv.weight, conv.bias, conv.padding, conv.dilation)

    assert torch.autograd.gradcheck(output, (x, *layer.parts.values()))


def test_channels_may_lie_last_in_memory():
    layer, x = given(FITTING[1])
    expected = layer.forward(x)
    ours = layer.forward(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, expected)
    for mine, theirs in zip(gradients(ours, layer, x), gradients(expected, layer, x), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_every_precision_gives_the_same_within_its_rounding(dtype, tolerance):
    layer, x = given(FITTING[1], dtype=dtype)
    exact, exact_x = given(FITTING[1])
    ours, expected = layer.forward(x), exact.forward(exact_x)
    assert ours.dtype == dtype
    pairs = [(ours, expected), *zip(gradients(ours, layer, x), gradients(expected, exact, exact_x), strict=True)]
    for mine, theirs in pairs:
        assert (mine.double() - theirs).norm() < tolerance * theirs.norm()


ROWS_EACH, RUNS_EACH = (5, 4), (4, 4)                         # 20 and 16 positions, beside 3 x 3 taps of rank 2


def test_the_smaller_of_parameters_and_rows_is_copied():
    for size, groups in ((ROWS_EACH, K * B), (RUNS_EACH, K)):
        layer, x = given(FITTING[1], size)
        assert _groups(x, layer.parts["A"]) == groups


@pytest.mark.parametrize("size, kept", [(ROWS_EACH, [(K * B, 3, 20), (K * B, R, 20)]),
                                        (RUNS_EACH, [(K, 3, B * 16), (K, R, B * 16)])])
def test_nothing_is_kept_for_the_backward_but_input_parts_and_the_few_channels_between(size, kept):
    layer, x = given(FITTING[1], size)
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: saved.setdefault(tensor.data_ptr(), tensor), lambda tensor: tensor):
        layer.forward(x)
    shapes = sorted(tuple(tensor.shape) for tensor in saved.values())
    assert shapes == sorted([*kept, tuple(layer.parts["A"].shape), (K, 4, R), (K, 1, 1, 1, 1),
                             tuple(layer.module.weight.shape)])


def test_kernels_of_runs_as_groups_are_those_of_each_run():
    layer, x = given(FITTING[1])
    grouped = _conv_per_run(x, kernels(layer), 1, 1)
    each = [nn.functional.conv2d(own, a, padding=1)
            for own, a in zip(x.unflatten(0, (K, B)), kernels(layer), strict=True)]
    torch.testing.assert_close(grouped, torch.cat(each))
