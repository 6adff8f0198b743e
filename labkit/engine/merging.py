"""Merge an adapter into the weights of a base, and write that base as a folder that diffusers loads."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack, weight_shapes
from labkit.engine.base import Base
from labkit.engine.base_files import find_base
from labkit.engine.dtypes import name_of
from labkit.engine.loading import pipeline, quiet
from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import cannot_write
from labkit.store.adapter_starts import placed
from labkit.store.foreign_adapters import ForeignAdapter

Changes = Iterable[tuple[str, torch.Tensor]]                  # module, change of its weight
ONE_FILE = "100GB"                                            # diffusers cuts weights above 10 GB, SDXL's in float32


def changes_of_run(base: Base, config: RunConfig, arrays: Mapping[str, np.ndarray]) -> Changes:
    """Yield what a run's adapter adds to the weight of each module that it adapts, scaling included.

    LabError: the run was trained on another base.
    """
    stack, shapes = LoRAStack(base.unet, [config]), weight_shapes(base.unet)
    stack.load(0, arrays)                                     # which says what does not fit
    for layer in stack.layers:
        if config.adapter == "full":
            yield layer.name, torch.from_numpy(arrays[f"{layer.name}.delta.weight"])
        else:
            A, B = (arrays[f"{layer.name}.lora_{part}.weight"] for part in "AB")
            yield layer.name, _product(A, B, config.scaling, shapes[layer.name])


def changes_of_file(base: Base, adapter: ForeignAdapter) -> Changes:
    """Yield what an adapter of another trainer adds, as `changes_of_run` does. LabError: it is of another base."""
    shapes = weight_shapes(base.unet)
    for module, layer in placed(adapter, shapes, base.name).items():
        yield module, _product(layer.arrays["A"], layer.arrays["B"], layer.scaling, shapes[module])


def _product(A: np.ndarray, B: np.ndarray, scaling: float, shape: Iterable[int]) -> torch.Tensor:
    """Return scaling x B A in the weight's shape; B of a convolution is 1 x 1, so that one matrix product suffices."""
    product = torch.from_numpy(B).flatten(1) @ torch.from_numpy(A).flatten(1)
    return product.view(*shape) * scaling


@torch.no_grad()
def merge(base: Base, changes: Changes, strength: float = 1.0) -> int:
    """Add changes, times a strength, to the base's own weights for good; return how many weights were changed."""
    weights, count = dict(base.unet.named_parameters()), 0
    with base.lock:
        for module, change in changes:
            weights[f"{module}.weight"].add_(change * strength)
            count += 1
    return count


def write_base(base: Base, folder: Path, revision: str | None = None, dtype: str = "float32") -> None:
    """Write a base in diffusers' layout, weights as safetensors, with the scheduler of the files that it came from.

    The folder must not exist, or be empty: it appears whole at the end. revision: as the base was loaded with.
    dtype: float32, float16 or bfloat16; the weights of the base itself are cast to it.
    LabError: it cannot be written, or a weight does not fit into float16.
    """
    import diffusers  # here: seconds to import

    kept = find_base(base.name, revision).folder
    scheduler = getattr(diffusers, json_text.read(kept / "model_index.json")["scheduler"][1])
    aside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)                  # of a merge that was killed
    with quiet():
        pipe = pipeline(base)
        for name, part in pipe.components.items():
            if isinstance(part, torch.nn.Module):
                _round(name, part, getattr(torch, dtype))
        pipe.register_modules(
            scheduler=scheduler.from_pretrained(str(kept), subfolder="scheduler", local_files_only=True))
        try:
            pipe.save_pretrained(aside, safe_serialization=True, max_shard_size=ONE_FILE)
            if folder.exists():
                folder.rmdir()                                # which an empty folder allows
            os.replace(aside, folder)
        except (OSError, SafetensorError) as error:           # the latter is what a full disk gives
            raise cannot_write(folder, error, "--to") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@torch.no_grad()
def _round(name: str, part: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of a part of a base to a dtype; LabError where a number does not fit into it."""
    for key, weight in part.named_parameters():
        if not torch.isfinite(weight.to(dtype)[torch.isfinite(weight)]).all():
            raise LabError(f"--dtype {name_of(dtype)} cannot hold the weight {name}.{key}, which reaches "
                           f"{weight.abs().max():.3g}: give --dtype bfloat16, or leave --dtype out.")
    part.to(dtype)
