"""Adapter files of any trainer, read without torch and without a base: what each layer holds, what the header tells.

Known forms: diffusers with PEFT (`unet.….lora_A.weight`), PEFT alone (`base_model.model.…`), diffusers before PEFT
(`….lora.down.weight`), kohya's (`lora_unet_….lora_down.weight`, `.alpha`), which OneTrainer and ComfyUI share, and
what LyCORIS adds to it: LoHa, LoKr, DoRA, OFT, (IA)3, GLoRA and whole differences.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.regular import PICKLES, require_regular
from labkit.files.tensor_files import UNREADABLE, widened
from labkit.store.adapter_files import METADATA_KEY, OWN_KEY

# What follows a layer's name in a file: the array's role, and the kind of adapter that has it.
ROLES = {
    "lora_A.weight": ("A", "LoRA"), "lora_B.weight": ("B", "LoRA"),
    "lora_A.default.weight": ("A", "LoRA"), "lora_B.default.weight": ("B", "LoRA"),
    "lora_down.weight": ("A", "LoRA"), "lora_up.weight": ("B", "LoRA"), "lora_mid.weight": ("mid", "LoRA"),
    "lora.down.weight": ("A", "LoRA"), "lora.up.weight": ("B", "LoRA"),
    "lora_linear_layer.down.weight": ("A", "LoRA"), "lora_linear_layer.up.weight": ("B", "LoRA"),
    "dora_scale": ("magnitude", "DoRA"), "lora_magnitude_vector": ("magnitude", "DoRA"),
    "lora_magnitude_vector.weight": ("magnitude", "DoRA"),
    **{f"hada_{part}": (part, "LoHa") for part in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{part}": (part, "LoKr") for part in ("w1", "w2", "w1_a", "w1_b", "w2_a", "w2_b", "t2")},
    "diff": ("difference", "whole difference"), "diff_b": ("bias", "whole difference"),
    "delta.weight": ("difference", "whole difference"),
    "oft_blocks": ("blocks", "OFT"), "oft_R.weight": ("blocks", "OFT"), "rescale": ("rescale", "OFT"),
    "on_input": ("on_input", "(IA)3"), "ia3_l": ("factors", "(IA)3"),
    **{f"{part}.weight": (part, "GLoRA") for part in ("a1", "a2", "b1", "b2")},
    "alpha": ("alpha", ""),
}
COMFYUI = "diffusion_model."                                  # what ComfyUI and its like call the model itself
OLD = re.compile(r"\.processor\.(to_\w+?)_lora\.(down|up)\.weight$")      # diffusers 0.12 to 0.20
PARTS = {"lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder",
         "unet.": "unet", "text_encoder_2.": "text_encoder_2", "text_encoder.": "text_encoder",
         "transformer.": "transformer", COMFYUI: "transformer", "lora_transformer_": "transformer",
         "base_model.model.": ""}
# What a layer's name has behind that prefix where the model is a U-Net, in diffusers and in the first code.
BLOCKS = ("down_blocks.", "mid_block.", "up_blocks.", "input_blocks.", "middle_block.", "output_blocks.")
# Of a layer: the first that it has parts of. One that has an alpha and else nothing that is known is of unknown kind.
KINDS = ("GLoRA", "OFT", "(IA)3", "DoRA", "LoHa", "LoKr", "whole difference", "LoRA")
UNKNOWN = "an unknown kind"
PRODUCTS = ("LoHa", "LoKr", "whole difference", "LoRA")       # of which one array of zeros leaves nothing
BELOW_16_BITS = ("F8", "F6", "F4")                            # beginnings of safetensors' names for them


@dataclass(frozen=True, eq=False)
class AdapterLayer:
    """Hold one adapted layer: its arrays by role, as float32, and its alpha.

    arrays    A (rank, in, ...) and B (out, rank, ...) of a LoRA; other kinds have others
    """

    name: str
    part: str                                                 # "unet", "text_encoder", ..., "" where nothing says so
    kind: str                                                 # of KINDS, or UNKNOWN
    arrays: Mapping[str, np.ndarray]
    alpha: float | None                                       # None: neither file nor header says
    use_rslora: bool = False                                  # scaling is alpha / sqrt(rank): Kalajdzievski 2023

    @property
    def rank(self) -> int | None:
        """Return the nominal rank, None where the kind has none."""
        first = next((self.arrays[role] for role in ("A", "w1_b", "w2_b") if role in self.arrays), None)
        return None if first is None else int(first.shape[0])

    @property
    def scaling(self) -> float:
        """Return the factor on B @ A that loaders use: alpha over rank, 1 where no alpha is stated."""
        if self.alpha is None or not self.rank:
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)

    @property
    def is_finite(self) -> bool:
        """Tell whether all numbers of the layer are finite."""
        return all(np.isfinite(array).all() for array in self.arrays.values())

    @property
    def is_dead(self) -> bool:
        """Tell whether the layer changes nothing, because one factor of its product is all zeros."""
        factors = [array for role, array in self.arrays.items() if role not in ("magnitude", "bias", "mid")]
        return self.kind in PRODUCTS and any(not array.any() for array in factors)


@dataclass(frozen=True, eq=False)
class ForeignAdapter:
    """Hold an adapter file: its layers, its header and what number format it is in."""

    path: Path
    layers: tuple[AdapterLayer, ...]
    header: Mapping[str, str]
    dtypes: tuple[str, ...]
    unknown: tuple[str, ...] = ()                             # keys that belong to no kind known here

    @property
    def form(self) -> str:
        """Name the form of the keys: "kohya", "diffusers" or "PEFT"."""
        names = [layer.name for layer in self.layers]
        return "kohya" if any(name.startswith("lora_") for name in names) else (
            "PEFT" if any(name.startswith("base_model.") for name in names) else "diffusers")


def read_adapter(path: Path | str) -> ForeignAdapter:
    """Read an adapter file of any trainer.

    LabError: it is a pickle, which may run code when it is opened; it cannot be read; or holds no adapter.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        raise LabError(f"{path} is a pickle, which can run any program when it is opened: convert it to .safetensors "
                       "where you trust it, or ask its author for one.")
    require_regular(path)
    try:
        with safetensors.safe_open(str(path), framework="np") as file:     # which checks header and offsets
            header = dict(file.metadata() or {})
            dtypes = {key: file.get_slice(key).get_dtype() for key in file.keys()}
            known = [key for key in dtypes if _role(key)]
            if small := sorted({dtypes[key] for key in known if dtypes[key].startswith(BELOW_16_BITS)}):
                raise LabError(f"{path} is stored as {' and '.join(small)}, fewer bits a number than are read here: "
                               "give the file in float16, bfloat16 or float32.")
            arrays = {key: file.get_tensor(key).astype(np.float32) for key in known if dtypes[key] != "BF16"}
        arrays |= widened(path, [key for key in known if dtypes[key] == "BF16"])
    except LabError:
        raise
    except UNREADABLE as error:
        raise LabError(f"{path} cannot be read as a safetensors file ({error}): fetch or export it again.") from None
    if not arrays:
        examples = ", ".join(list(dtypes)[:3]) or "nothing"
        raise LabError(f"{path} holds no adapter of a kind that is known here: its keys are {examples} and the like. "
                       "Give a LoRA as diffusers, PEFT, kohya, OneTrainer or LyCORIS write it.")
    layers = tuple(_layers({key: arrays[key] for key in known}, _beside(path) | header))
    return ForeignAdapter(path, layers, header, tuple(sorted(set(dtypes.values()))), tuple(dtypes.keys() - set(known)))


def _beside(path: Path) -> dict[str, str]:
    """Return the settings that PEFT keeps in a file beside the weights, as the header that diffusers would write."""
    config = path.with_name("adapter_config.json")
    if not path.name.startswith("adapter_model") or not config.is_file():
        return {}
    try:
        return {METADATA_KEY: json.dumps(json_text.read(config))}
    except (OSError, ValueError) as error:
        raise LabError(f"{config}, which holds the alpha of {path.name}, cannot be read ({error}): fetch it again, "
                       "or remove it for the scaling 1.") from None


def _role(key: str) -> tuple[str, str, str] | None:
    """Return (layer, role, kind) of a key; None where it is of no known kind."""
    if match := OLD.search(key):
        return f"{key[:match.start()]}.{match[1]}", {"down": "A", "up": "B"}[match[2]], "LoRA"
    pieces = key.split(".")
    for count in (3, 2, 1):                                   # the longest ending first
        ending = ".".join(pieces[-count:])
        if ending in ROLES and len(pieces) > count:
            return (".".join(pieces[:-count]), *ROLES[ending])
    return None


def _layers(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> list[AdapterLayer]:
    """Group arrays by layer, in the order of the file."""
    grouped: dict[str, dict[str, np.ndarray]] = {}
    kinds: dict[str, set[str]] = {}
    for key, array in arrays.items():
        name, role, kind = _role(key) or ("", "", "")         # all keys here have one
        grouped.setdefault(name, {})[role] = array
        kinds.setdefault(name, set()).add(kind)
    stated = _stated(header, "lora_alpha", "alpha")
    roots, odd = _stated(header, "use_rslora", "use_rslora"), _alpha_patterns(header)
    return [_layer(name, parts, kinds[name], stated, roots, odd) for name, parts in grouped.items()]


def _layer(name: str, parts: dict[str, np.ndarray], kinds: set[str], alphas: Mapping[str, float],
           roots: Mapping[str, float], odd: Mapping[str, float]) -> AdapterLayer:
    own_alpha = parts.pop("alpha", None)
    prefix = next((prefix for prefix in PARTS if name.startswith(prefix)), "")
    is_unet = prefix == COMFYUI and name.removeprefix(prefix).startswith(BLOCKS)
    part = "unet" if is_unet else PARTS.get(prefix, "")
    stated_alpha = next((odd[end] for end in odd if f".{name}".endswith(f".{end}")), alphas.get(part, alphas.get("")))
    alpha = float(own_alpha.reshape(-1)[0]) if own_alpha is not None and own_alpha.size else stated_alpha
    kind = next((kind for kind in KINDS if kind in kinds), UNKNOWN)
    # a layer's own alpha is over the rank
    is_rooted = own_alpha is None and bool(roots.get(part, roots.get("", False)))
    return AdapterLayer(name, part, kind, parts, alpha, is_rooted)


def _stated(header: Mapping[str, str], peft_name: str, own_name: str) -> dict[str, float]:
    """Return a number that a header states, by part of the model; "" holds for all parts."""
    try:
        if METADATA_KEY in header:
            metadata = json_text.parse(header[METADATA_KEY])
            return {key.removesuffix(peft_name).rstrip("."): float(value) for key, value in metadata.items()
                    if key.endswith(peft_name)}
        if OWN_KEY in header:
            return {"": float(json_text.parse(header[OWN_KEY])[own_name])}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass                                                  # a header that cannot be read states nothing
    return {}


def _alpha_patterns(header: Mapping[str, str]) -> dict[str, float]:
    """Return the alphas of layers that differ from the rest, by the end of their names, as PEFT keeps them."""
    try:
        metadata = json_text.parse(header.get(METADATA_KEY, "{}"))
        patterns = [value for key, value in metadata.items() if key.endswith("alpha_pattern")]
        return {name.lstrip("^"): float(alpha) for pattern in patterns for name, alpha in pattern.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
