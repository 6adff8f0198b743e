"""What is an adapter file, and is anything about it odd? Answered from the file alone, without a base and a GPU."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from labkit.engine.base_files import find_base, unet_shapes
from labkit.errors import LabError
from labkit.experiments.spectrum import Spectrum, of_product
from labkit.machine import Finding
from labkit.store.adapter_headers import settings, trainer
from labkit.store.adapter_starts import placed
from labkit.store.checkpoint_adapters import read_kept
from labkit.store.foreign_adapters import AdapterLayer, ForeignAdapter
from labkit.text import counted, printable

# Width of the text that a cross-attention layer reads: it tells the families of bases apart.
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL", 1280: "Kandinsky or SDXL refiner",
            4096: "a transformer with T5 (Flux, SD 3 and the like)"}
TRANSFORMERS = ("double_blocks", "single_transformer_blocks", "joint_transformer_blocks", "transformer_blocks.18.")
USED = 0.35                                                   # of the rank: below, a smaller rank would have done
STRONG = 4.0                                                  # a scaling above multiplies the rate's effect as well
NAMED = 3                                                     # layers that a sentence names
LISTED = 20                                                   # files of a folder that are read, a line each
NO_ADAPTER = "holds no adapter"                               # what `read_adapter` says of a base, or of latents


def inspect_adapters(folder: Path) -> list[Finding]:
    """Return what each adapter file in a folder is, in a line; of files that are none, and of none at all, nothing."""
    files = sorted(folder.glob("*.safetensors"))
    lines = [line for file in files[:LISTED] if (line := _line(file))]
    if not lines:
        return []
    more = f"; the first {LISTED} of {len(files):,} files were read" if len(files) > LISTED else ""
    words = f"`labkit inspect FILE` tells all of one, and `labkit judge` which of several to keep{more}"
    return [*lines, Finding("more", "good", words)]


def _line(path: Path) -> Finding | None:
    """Return what a file is in a line, with the names of what is odd about it; None where it holds no adapter."""
    try:
        adapter = read_kept(path)
    except LabError as error:
        return None if NO_ADAPTER in str(error) else Finding("adapter", "bad", str(error))
    odd = [finding for finding in _odd(adapter) if finding.state != "good"]
    kinds = " and ".join(dict.fromkeys(layer.kind for layer in adapter.layers))
    sizes = "".join(f", {finding.found}" for finding in _sizes(adapter.layers))
    made_for = family(adapter.layers) or ("this kit's embedded base" if fits_embedded(adapter) else "an unknown base")
    beside = f"; to be looked at: {', '.join(finding.name for finding in odd)}" if odd else ""
    state = "bad" if any(finding.state == "bad" for finding in odd) else "note" if odd else "good"
    return Finding("adapter", state, f"{path.name}: {kinds}{sizes}, for {made_for}{beside}")


def inspect_adapter(path: Path | str) -> list[Finding]:
    """Return what an adapter file, or a checkpoint of a run, is and what is odd about it; LabError if unreadable."""
    adapter = read_kept(path)
    return [_what(adapter), _base(adapter), *_settings(adapter), *_sizes(adapter.layers), *_rank_used(adapter.layers),
            *_odd(adapter)]


def _what(adapter: ForeignAdapter) -> Finding:
    kinds = Counter(layer.kind for layer in adapter.layers)
    parts = Counter(layer.part or "a part that is not named" for layer in adapter.layers)
    told = ", ".join(f"{counted(count, 'layer')} of {part}" for part, count in parts.items())
    by = trainer(adapter.header)
    written = f"written by {printable(by)}" if by else "by a trainer that its header does not name"
    return Finding("adapter", "good", f"{' and '.join(kinds)}, keys as {adapter.form} writes them, {written}: {told}; "
                                      f"stored as {', '.join(adapter.dtypes)}")


def family(layers: Iterable[AdapterLayer]) -> str | None:
    """Name the family of bases that an adapter was made for, by the text that its layers read; None if unknown."""
    if any(mark in layer.name for layer in layers for mark in TRANSFORMERS):
        return FAMILIES[4096]
    widths = {layer.arrays["A"].shape[1] for layer in layers
              if "A" in layer.arrays and layer.arrays["A"].ndim >= 2 and _reads_text(layer.name)}
    return FAMILIES.get(widths.pop()) if len(widths) == 1 else None


def fits_embedded(adapter: ForeignAdapter) -> bool:
    """Tell whether all layers of an adapter are layers of the embedded base, by their names and sizes."""
    if any(not {"A", "B"} <= layer.arrays.keys() or layer.arrays["A"].ndim < 2 for layer in adapter.layers):
        return False
    try:
        shapes = unet_shapes(find_base("embedded"))
        return bool(shapes and adapter.layers and placed(adapter, shapes, "embedded"))
    except LabError:                                          # a layer that it does not have, or the base is not here
        return False


def _reads_text(name: str) -> bool:
    return "attn2" in name and name.replace(".", "_").endswith(("to_k", "to_v"))


def _base(adapter: ForeignAdapter) -> Finding:
    known, told = family(adapter.layers), settings(adapter.header).get("base")
    says = f"; its header says {printable(told)}" if told else ""
    if known:
        return Finding("base", "good", f"made for {known}, by the width of the text that its layers read{says}")
    if fits_embedded(adapter):
        words = f"made for this kit's embedded base, by the names and sizes of its layers{says}"
        return Finding("base", "good", words)
    return Finding("base", "note", f"no layer tells the family of its base{says}",
                   "Use it on the base that it was trained on; on another, loaders fail or draw noise.")


def _settings(adapter: ForeignAdapter) -> list[Finding]:
    told = settings(adapter.header)
    told.pop("base", None)
    if not told:
        return []
    return [Finding("settings", "good", ", ".join(f"{name} {printable(value)}" for name, value in told.items()))]


def _sizes(layers: Sequence[AdapterLayer]) -> list[Finding]:
    """Return rank, alpha and scaling."""
    ranked = [layer for layer in layers if layer.rank]
    if not ranked:
        return []
    ranks = Counter(layer.rank for layer in ranked)
    alphas = Counter(layer.alpha for layer in ranked if layer.alpha is not None)
    scalings = sorted({round(layer.scaling, 4) for layer in ranked})
    words = (f"rank {_range(ranks)}, alpha {_range(alphas) if alphas else 'not told'}, "
             f"scaling {scalings[0]:g}{f' to {scalings[-1]:g}' if len(scalings) > 1 else ''}")
    return [Finding("size", "good", words)]


def _rank_used(layers: Sequence[AdapterLayer]) -> list[Finding]:
    """Return how much of the rank is used."""
    used = [(Spectrum(layer.name, values, 1.0).effective_rank, layer.rank)
            for layer in layers if layer.rank and (values := singular_values(layer)) is not None]
    if not used:
        return []
    effective = np.array([value for value, _ in used])
    share = float(np.median([value / rank for value, rank in used]))
    middle = f"{np.median(effective):.1f} (from {effective.min():.1f} to {effective.max():.1f}) over layers"
    remedy = ("A smaller rank would hold the same: compare one of half the rank, at its own best rate."
              if share < USED and max(rank for _, rank in used) > 1 else "")
    return [Finding("rank used", "note" if remedy else "good",
                    f"the effective rank of the change is {middle}, {share:.0%} of the nominal", remedy)]


def _range(counts: Counter) -> str:
    low, high = min(counts), max(counts)
    return f"{low:g}" if low == high else f"{low:g} to {high:g} (mostly {counts.most_common(1)[0][0]:g})"


def singular_values(layer: AdapterLayer) -> np.ndarray | None:
    """Return the singular values (rank,) of a LoRA's change; None for other kinds and where numbers are not finite."""
    if layer.kind not in ("LoRA", "DoRA") or not {"A", "B"} <= set(layer.arrays) or not layer.is_finite:
        return None
    A, B = layer.arrays["A"], layer.arrays["B"]
    if "mid" in layer.arrays or B.shape[1] != len(A):
        return None
    return layer.scaling * of_product(B, A)


def _odd(adapter: ForeignAdapter) -> list[Finding]:
    layers, found = adapter.layers, []
    if broken := [layer.name for layer in layers if not layer.is_finite]:
        found.append(Finding("numbers", "bad", f"{_named(broken)} hold numbers that are not finite",
                             "The run that made it diverged: take an earlier file, or train at a lower rate."))
    dead = [layer.name for layer in layers if layer.is_finite and layer.is_dead]
    if len(dead) == len(layers):
        found.append(Finding("change", "bad", "every layer is zero: it changes nothing",
                             "It was saved before its first update, or its updates were lost to the number format."))
    elif dead:
        found.append(Finding("change", "note", f"{_named(dead)} are zero and change nothing",
                             "They were not trained; a loader that names them misses nothing."))
    halves = [layer.name for layer in layers if layer.kind == "LoRA" and not {"A", "B"} <= set(layer.arrays)]
    if halves:
        found.append(Finding("halves", "bad", f"{_named(halves)} have one of their two matrices only",
                             "The file is cut or was merged wrongly: export it again."))
    if any(layer.alpha is None and layer.rank for layer in layers):
        found.append(Finding("alpha", "note", "neither the layers nor the header say alpha, so loaders take scaling 1",
                             "If it was trained with another alpha, give the strength alpha / rank when it is used."))
    if (strongest := max((layer.scaling for layer in layers), default=1.0)) > STRONG:
        found.append(Finding("scaling", "note", f"scaling {strongest:g} multiplies every change",
                             "Its rate means another thing than at scaling 1: with Adam a step is that much longer."))
    if any(layer.part.startswith("text_encoder") for layer in layers):
        found.append(Finding("text", "note", "it changes the text encoder too",
                             "Loaders that take the U-Net's layers alone, such as this kit, draw something else."))
    if adapter.unknown:
        found.append(Finding("keys", "note", f"{_named(list(adapter.unknown))} belong to no kind known here",
                             "They are left out of all that is said above."))
    return found


def _named(names: Sequence[str]) -> str:
    """Name a few of many: "3 layers (a, b, c)"."""
    few = ", ".join(map(printable, names[:NAMED]))
    return f"{len(names):,} ({few}{', ...' if len(names) > NAMED else ''})"
