"""Adapter files of any trainer on a frozen U-Net, several of them side by side.

A file's layers are found by `labkit.store.adapter_starts.placed`. Each matrix is padded with zeros to the largest
rank, and B takes up what a layer is scaled by, so that files of unequal ranks, alphas and layers share one stack.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base_files import BaseFiles
from labkit.files import json_text
from labkit.store.foreign_adapters import AdapterLayer, ForeignAdapter

KOHYA = "lora_unet_"
# How Stable Diffusion's first code named its blocks: kohya's files for SDXL still do; diffusers' loader reads them.
FIRST_NAMES = ("input_blocks", "middle_block", "output_blocks")

Placed = Mapping[str, AdapterLayer]                           # an adapter's layers by module: `adapter_starts.placed`


def text_width(files: BaseFiles) -> int | None:
    """Return the width of the text that a base's U-Net reads, as its configuration tells it."""
    width = json_text.read(files.folder / "unet" / "config.json").get("cross_attention_dim")
    return width if isinstance(width, int) else None


def named_as_in_first_code(adapter: ForeignAdapter) -> bool:
    """Tell whether only diffusers' loader knows which layers of a U-Net these names mean."""
    return any(layer.name.removeprefix(KOHYA).startswith(FIRST_NAMES) for layer in adapter.layers)


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
            layer_rank = layer.arrays["A"].shape[0]
            A[:layer_rank] = layer.arrays["A"].reshape(layer_rank, *A.shape[1:])
            B[:, :layer_rank] = layer.scaling * layer.arrays["B"].reshape(len(B), layer_rank, *B.shape[2:])
        stack.load(k, arrays)
    stack.strength = list(strengths)
    return stack
