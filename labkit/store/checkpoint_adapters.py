"""Read the adapter in a checkpoint of a run as if it were an adapter file of any trainer."""

import json
from pathlib import Path

from labkit.errors import LabError
from labkit.store.adapter_files import OWN_KEY, own_settings
from labkit.store.foreign_adapters import AdapterLayer, ForeignAdapter, read_adapter
from labkit.store.runs import RunFolder

MARK = "optimizer/step"  # a key that only checkpoints have
MATRICES = {"A": ".lora_A.weight", "B": ".lora_B.weight"}


def read_kept(path: Path | str) -> ForeignAdapter:
    """Read an adapter file of any trainer, or the adapter in a checkpoint of a run.

    LabError: as `read_adapter` and `RunFolder.checkpoint` raise it; a checkpoint lies apart from its run, which alone
    knows alpha, or holds a dense change.
    """
    adapter = read_adapter(path)
    return of_checkpoint(adapter) if MARK in adapter.unknown else adapter


def of_checkpoint(read: ForeignAdapter) -> ForeignAdapter:
    """Return the adapter in a checkpoint, with the alpha of its run and without the optimizer's state."""
    path, folder = read.path, RunFolder(read.path.resolve().parent.parent)
    if path.resolve().parent.name != "checkpoints" or not folder.events_path.is_file() or not path.stem.isdigit():
        raise LabError(f"{path} is a checkpoint of a run and lies apart from it, so that its alpha is not known: "
                       "export it from the run with `labkit export RUN --step N`.")
    config = folder.load().config
    if config.adapter != "lora":
        raise LabError(f"{path} is a checkpoint of a run with adapter = {config.adapter!r}, which is no LoRA.")
    tensors = folder.checkpoint(int(path.stem)).adapter
    modules = [name.removesuffix(MATRICES["A"]) for name in tensors if name.endswith(MATRICES["A"])]
    alpha = float(config.rank if config.alpha is None else config.alpha)
    layers = tuple(AdapterLayer(f"unet.{module}", "unet", "LoRA",
                                {role: tensors[module + ending] for role, ending in MATRICES.items()},
                                alpha, config.use_rslora) for module in modules)
    return ForeignAdapter(path, layers, {OWN_KEY: json.dumps(own_settings(config))}, ("F32",))
