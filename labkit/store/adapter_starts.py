"""Check that an adapter file of any trainer fits a base, and return its arrays under our names. No torch.

A file that does not fit is refused in one sentence that names the settings that would, instead of being cut, padded or
left out in part.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.target_modules import SETS, expanded
from labkit.errors import LabError
from labkit.store.adapter_forms import KOHYA_PREFIX, kohya_name, original_name
from labkit.store.checkpoint_adapters import read_kept
from labkit.store.foreign_adapters import COMFYUI, AdapterLayer, ForeignAdapter
from labkit.text import counted

Shapes = Mapping[str, Sequence[int]]                          # of a U-Net's weights, by module
PREFIXES = ("unet.base_model.model.", "base_model.model.unet.", "base_model.model.", "unet.", COMFYUI)
SAME = 1e-5                                                   # two scalings that differ by less are one


def check_kind(path: Path | str, config: RunConfig) -> ForeignAdapter:
    """Return the adapter in a file if a run of these settings can begin from it, as far as the file alone tells.

    LabError: as `plain_lora`, or it has another rank or scaling than the run.
    """
    adapter = plain_lora(path)
    _check_scaling(path, adapter.layers, config)
    return adapter


def plain_lora(path: Path | str) -> ForeignAdapter:
    """Return the adapter in a file, or in a checkpoint of a run, if it is a whole LoRA of a U-Net.

    LabError: as `read_kept`, or it is of another kind, adapts a text encoder too, or holds numbers that are not
    finite.
    """
    adapter = read_kept(path)
    layers = adapter.layers
    kinds = sorted({layer.kind for layer in layers} - {"LoRA"}) or (["Tucker"] if _has_mid(layers) else [])
    if kinds:
        odd = sum(layer.kind != "LoRA" or "mid" in layer.arrays for layer in layers)
        raise LabError(f"{path} holds {' and '.join(kinds)} in {odd} of {counted(len(layers), 'layer')}: "
                       "give a plain LoRA.")
    if words := [layer for layer in layers if layer.part not in ("unet", "")]:
        raise LabError(f"{path} adapts {words[0].part} too ({counted(len(words), 'layer')}), which is not trained "
                       "here and would be left out: give a file that adapts the U-Net alone.")
    for layer in layers:
        if not {"A", "B"} <= layer.arrays.keys():
            raise LabError(f"{path} has half of the layer {layer.name} only: fetch or export it again.")
        if any(array.ndim < 2 or not array.size for array in layer.arrays.values()):
            raise LabError(f"{path} has the layer {layer.name} in a shape that no LoRA has: fetch or export it again.")
    if broken := [layer.name for layer in layers if not layer.is_finite or not math.isfinite(layer.scaling)]:
        raise LabError(f"{path} holds numbers that are not finite, in {counted(len(broken), 'layer')} such as "
                       f"{broken[0]}: the run that wrote it diverged; take an earlier one of its files.")
    return adapter


def _has_mid(layers: Iterable[AdapterLayer]) -> bool:
    return any("mid" in layer.arrays for layer in layers)


def _check_scaling(path: Path | str, layers: Sequence[AdapterLayer], config: RunConfig) -> None:
    ranks = sorted({int(layer.arrays["A"].shape[0]) for layer in layers})
    scalings = sorted({round(layer.scaling, 6) for layer in layers})
    if len(ranks) > 1 or scalings[-1] - scalings[0] > SAME:
        raise LabError(f"{path} has ranks {ranks[0]} to {ranks[-1]} and scalings {scalings[0]:g} to {scalings[-1]:g} "
                       "over its layers: a run has one rank and one alpha for all, so it cannot go on from it.")
    rank, scaling = ranks[0], layers[0].scaling
    if rank == config.rank and math.isclose(scaling, config.scaling, rel_tol=SAME):
        return
    assumption = "" if layers[0].alpha is not None else " (it does not say, so as loaders take it)"
    raise LabError(f"{path} has rank {rank} and scaling {scaling:g}{assumption}, the run rank {config.rank} and "
                   f"scaling {config.scaling:g}: set rank={rank}, alpha={scaling * rank:g} and use_rslora=false.")


def start(path: Path | str, config: RunConfig, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return the arrays that a run begins with, by `<module>.lora_A.weight` and the like.

    path      as for `check_kind`, which is called first
    shapes    of the weights of the base's U-Net, by module: all of them, as its file or its state tells

    LabError: as `check_kind`, or the file's layers are not those that the run adapts, or of other sizes.
    """
    layers = placed(check_kind(path, config), shapes, config.base)
    _check_modules(path, set(layers), config, shapes)
    return {f"{module}.lora_{role}.weight": layer.arrays[role] for module, layer in layers.items() for role in "AB"}


def placed(adapter: ForeignAdapter, shapes: Shapes, base: str) -> dict[str, AdapterLayer]:
    """Return the layers of a `plain_lora` by the module that each adapts, A and B in the shapes that it needs.

    LabError: a layer is not one of this base, or of another size.
    """
    layers, others = {}, {}
    if any(layer.name.startswith((KOHYA_PREFIX, COMFYUI)) for layer in adapter.layers):
        original = {there: module for module in shapes if (there := original_name(module))}
        others = {name: module for there, module in original.items() for name in (kohya_name(there), COMFYUI + there)}
        others |= {kohya_name(module): module for module in shapes}
    for layer in adapter.layers:
        module = _module(layer.name, shapes, others)
        if module is None:
            raise LabError(f"{adapter.path} adapts {layer.name}, which the base {base} does not have: "
                           "it was made for another base.")
        rank, (out, *rest) = len(layer.arrays["A"]), shapes[module]
        arrays = {}
        for role, shape in {"A": (rank, *rest), "B": (out, rank, *(1 for _ in rest[1:]))}.items():
            array = layer.arrays[role]
            if array.shape[:2] != shape[:2] or array.size != math.prod(shape):
                raise LabError(f"{adapter.path} has {module} of shape {array.shape} where this base needs {shape}: "
                               "it was made for another base.")
            arrays[role] = np.ascontiguousarray(array.reshape(shape))
        layers[module] = replace(layer, arrays=arrays)
    return layers


def _module(name: str, shapes: Shapes, others: Mapping[str, str]) -> str | None:
    """Return the module of the U-Net that a file's layer adapts, whatever form its name has; None: there is none.

    others    modules by kohya's names, and by those of the first code
    """
    plain = re.sub("^(" + "|".join(map(re.escape, PREFIXES)) + ")", "", name).replace(".processor.", ".")
    candidates = others.get(name, ""), plain, f"{plain}.0"    # to_out was one layer before it was the first of two
    return next((candidate for candidate in candidates if candidate in shapes), None)


def _check_modules(path: Path | str, there: set[str], config: RunConfig, shapes: Shapes) -> None:
    wanted = _standing_on(config.targets, shapes)
    if there == wanted:
        return
    fitting = next((name for name in SETS if _standing_on((name,), shapes) == there), None)
    endings = _endings(there, shapes)
    remedy = f"set target_modules={fitting or ','.join(endings)}" if fitting or endings else "give another file"
    raise LabError(f"{path} adapts {counted(len(there), 'layer')} where target_modules = {', '.join(config.targets)} "
                   f"are {len(wanted)} of this base: {remedy}.")


def _standing_on(targets: Iterable[str], shapes: Shapes) -> set[str]:
    """Return the modules that target_modules name, as PEFT finds them by the ends of names."""
    endings = expanded(targets)
    return {module for module in shapes
            if any(module == ending or module.endswith("." + ending) for ending in endings)}


def _endings(there: set[str], shapes: Shapes) -> list[str]:
    """Return the shortest endings of names that match these modules and no others; [] where there are none."""
    shortest: list[str] = []
    left = set(there)
    while left:
        module = min(left)
        parts = module.split(".")
        endings = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        ending = next((each for each in endings if _standing_on((each,), shapes) <= there), None)
        if ending is None or len(shortest) == len(set(SETS["all"])):
            return []
        shortest.append(ending)
        left -= _standing_on((ending,), shapes)
    return shortest
