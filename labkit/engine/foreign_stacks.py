"""Adapter files of any trainer on a frozen U-Net, several of them side by side.

A file's layers are found by the U-Net's own names, each matrix is padded with zeros to the largest rank, and B takes
up what a layer is scaled by, so that files of unequal ranks, alphas and layers share one `LoRAStack`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base_files import BaseFiles, tensors
from labkit.errors import LabError
from labkit.files import json_text
from labkit.store.foreign_adapters import AdapterLayer, ForeignAdapter
from labkit.text import printable

PREFIXES = ("base_model.model.", "unet.")
KOHYA = "lora_unet_"
# How Stable Diffusion's first code named its blocks: kohya's files for SDXL still do; diffusers' loader reads them.
FIRST_NAMES = ("input_blocks", "middle_block", "output_blocks")

Shapes = Mapping[str, Sequence[int]]                          # of the weight of each layer of a U-Net, by its name
Placed = dict[str, AdapterLayer]                              # an adapter's layers by the U-Net's names


def shapes_in_files(files: BaseFiles) -> dict[str, list[int]] | None:
    """Read the shapes of a U-Net's layers from the header of its file; None where one file has the whole base."""
    if files.single_file:
        return None
    shapes = tensors(files.weights["unet"])
    return {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}


def text_width(files: BaseFiles) -> int | None:
    """Return the width of the text that a base's U-Net reads, as its configuration tells it."""
    width = json_text.read(files.folder / "unet" / "config.json").get("cross_attention_dim")
    return width if isinstance(width, int) else None


def shapes_of(unet: nn.Module) -> dict[str, Sequence[int]]:
    """Return the shapes of the weights of a loaded U-Net's layers."""
    return {name: tuple(module.weight.shape) for name, module in unet.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)}


def named_as_in_first_code(adapter: ForeignAdapter) -> bool:
    """Tell whether only diffusers' loader knows which layers of a U-Net these names mean."""
    return any(layer.name.removeprefix(KOHYA).removeprefix("diffusion_model.").startswith(FIRST_NAMES)
               for layer in adapter.layers)


def placed(adapter: ForeignAdapter, shapes: Shapes, base: str) -> Placed:
    """Return an adapter's layers by the names of the U-Net's; LabError where they do not fit this base.

    shapes    of the U-Net's layers
    base      what the base is called
    """
    by_flat_name = {name.replace(".", "_"): name for name in shapes}
    found: Placed = {}
    for layer in adapter.layers:
        name = _name(layer.name, shapes, by_flat_name)
        if name is None:
            raise LabError(f"{adapter.path} is an adapter of another base: {base} has no layer "
                           f"{printable(layer.name)}. Judge it on the base that it was trained on.")
        given = _change_shape(layer)
        if given != _flat(shapes[name]):
            raise LabError(f"{adapter.path} is an adapter of another base: its layer {name} changes weights of "
                           f"{_times(given)} numbers, and {base} has {_times(_flat(shapes[name]))} there. "
                           "Judge it on the base that it was trained on.")
        found[name] = layer
    return found


def foreign_stack(unet: nn.Module, adapters: Sequence[Placed], strengths: Sequence[float]) -> LoRAStack:
    """Lay adapters out on a U-Net, each at a strength: a stack of as many runs, which `attached` puts on.

    Layers that one adapter has and another lacks are zero in the other.
    """
    names = dict.fromkeys(name for adapter in adapters for name in adapter)
    rank = max(layer.rank or 1 for adapter in adapters for layer in adapter.values())
    config = RunConfig(rank=rank, alpha=rank, target_modules=tuple(names))
    stack = LoRAStack(unet, [config] * len(adapters))
    for k, adapter in enumerate(adapters):
        arrays = stack.tensors(k)                             # all zero, in the shapes that `load` takes
        for name, layer in adapter.items():
            A, B = arrays[f"{name}.lora_A.weight"], arrays[f"{name}.lora_B.weight"]
            own = layer.arrays["A"].shape[0]
            A[:own] = layer.arrays["A"].reshape(own, *A.shape[1:])
            B[:, :own] = layer.scaling * layer.arrays["B"].reshape(len(B), own, *B.shape[2:])
        stack.load(k, arrays)
    stack.strength = list(strengths)
    return stack


def _name(name: str, shapes: Shapes, by_flat_name: Mapping[str, str]) -> str | None:
    """Find the layer of the U-Net that a file's name means; None where there is none."""
    if name.startswith(KOHYA):
        return by_flat_name.get(name.removeprefix(KOHYA))
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return next((own for own in (name, f"{name}.0") if own in shapes), None)    # `to_out` of before PEFT is `to_out.0`


def _change_shape(layer: AdapterLayer) -> tuple[int, ...]:
    """Return the shape of the weights that B A changes, with a kernel's two sides where it has any."""
    A: np.ndarray = layer.arrays["A"]
    return _flat((layer.arrays["B"].shape[0], *A.shape[1:]))


def _flat(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a weight's shape without a kernel of 1 x 1, which is a matrix however it is written."""
    return tuple(shape[:2]) if tuple(shape[2:]) in ((), (1, 1)) else tuple(shape)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
