"""Adapters as files, without torch: the diffusers/PEFT form, always with the metadata that carries alpha."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.target_modules import expanded
from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import write_file
from labkit.files.tensor_files import opened, sealed
from labkit.store.rounding import rounded

PREFIX = "unet."
# diffusers reads these settings from a file's header; without them it silently takes scaling 1 on loading.
METADATA_KEY = "lora_adapter_metadata"
OWN_KEY = "labkit"
FIELDS = ("adapter", "rank", "alpha", "use_rslora", "init_lora_weights", "target_modules")


def adapter_bytes(tensors: Mapping[str, np.ndarray], config: RunConfig, dtype: str = "float32") -> bytes:
    """Return the file of an adapter: keys `unet.<module>.lora_A.weight` (rank, in) and `.lora_B.weight` (out, rank).

    The header names the layers, also those of a set; its part for PEFT names only those that the adapter has.
    A dense adapter (`adapter = "full"`) is kept in the same file form, but other programs have no name for it.

    dtype    float32, float16 or bfloat16: LabError where a weight does not fit
    """
    settings = own_settings(config, dtype)
    header = {"format": "pt", OWN_KEY: json.dumps(settings)}
    if config.adapter == "lora":
        peft = {
            "peft_type": "LORA", "r": config.rank, "lora_alpha": settings["alpha"], "use_rslora": config.use_rslora,
            "target_modules": [layer for layer in settings["target_modules"] if _has(tensors, layer)],
            "lora_dropout": 0.0, "bias": "none",
            "rank_pattern": {}, "alpha_pattern": {},          # diffusers up to 0.36 asks for them
        }
        prefixed = {PREFIX + name: value for name, value in peft.items()}
        header[METADATA_KEY] = json.dumps(prefixed, indent=2, sort_keys=True)
    arrays = {PREFIX + name: array for name, array in rounded(tensors, dtype).items()}
    return sealed(arrays, header, arrays if dtype == "bfloat16" else ())


def own_settings(config: RunConfig, dtype: str = "float32") -> dict[str, Any]:
    """Return the settings that shape an adapter, as its header keeps them: layers by name, no folder of a machine.

    With them its dtype, where its weights were rounded.
    """
    settings = config.to_dict()
    settings["target_modules"] = list(expanded(config.targets))
    settings["alpha"] = config.rank if config.alpha is None else config.alpha
    settings["init_lora_weights"] = PurePath(config.init_lora_weights).name
    return {name: settings[name] for name in FIELDS} | ({} if dtype == "float32" else {"dtype": dtype})


def _has(tensors: Mapping[str, np.ndarray], layer: str) -> bool:
    """Tell whether tensors, named `<module>.lora_A.weight` and the like, have a module of this layer's name."""
    return any(f".{layer}." in f".{name}" for name in tensors)


def save_adapter(path: Path | str, tensors: Mapping[str, np.ndarray], config: RunConfig) -> None:
    """Write an adapter file; tensors are keyed by `<module>.lora_A.weight` and the like."""
    write_file(path, adapter_bytes(tensors, config))


def load_adapter(path: Path | str) -> tuple[dict[str, np.ndarray], dict]:
    """Read an adapter file that labkit wrote; return float32 tensors by `<module>.…` and the settings that shape it.

    The settings are fields of RunConfig, checked as such.
    LabError: the file cannot be read, is damaged, or was written by another program.
    """
    path = Path(path)
    try:
        tensors, header = opened(path)
    except LabError as error:
        raise LabError(f"{path} is not a readable adapter file: give the adapter.safetensors of a run. "
                       f"{error}") from None
    if OWN_KEY not in header:
        raise LabError(f"{path} was not written by labkit, so its alpha cannot be trusted: convert it first.")
    try:
        settings = json_text.parse(header[OWN_KEY])
        fields = RunConfig.from_dict({name: settings[name] for name in FIELDS}).to_dict()
    except (KeyError, ValueError) as error:
        raise LabError(f"{path} tells labkit nothing it can use of how it was made ({error}): "
                       "export the run again.") from None
    adapter = {name.removeprefix(PREFIX): tensor.astype(np.float32, copy=False) for name, tensor in tensors.items()}
    return adapter, {name: fields[name] for name in FIELDS}
