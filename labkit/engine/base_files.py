"""The files of a base: named by name, checked and fingerprinted before anything is loaded. No torch here.

A base is named in one of four ways: `embedded` (ships with the kit), a folder in diffusers' layout, one `.safetensors`
file with the original Stable Diffusion keys, or a name on the Hugging Face hub such as
`stable-diffusion-v1-5/stable-diffusion-v1-5`. Only the last one touches the network.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.content import Memo, sha256, sha256_of_texts
from labkit.files.regular import PICKLES
from labkit.settings import data_dir, given_path
from labkit.text import shown

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
WEIGHTS_XL = WEIGHTS | {"text_encoder_2": "model"}
CLASSES_XL = CLASSES | {"text_encoder_2": "CLIPTextModelWithProjection"}
FAMILIES: dict[Any, str] = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}  # by the width of the words
LARGEST = 10**6                                               # whole number of a configuration, beyond any true one
SUPPORTED = "labkit takes Stable Diffusion 1.x, 2.x and XL text-to-image bases"


@dataclass(frozen=True)
class BaseFiles:
    """Say where a base's files lie: `folder` in diffusers' layout, `single_file` where weights are in one file."""

    name: str
    folder: Path                                              # configs and tokenizer, always
    single_file: Path | None = None
    weights: dict = field(default_factory=dict)               # component -> .safetensors, of a folder
    is_xl: bool = False                                       # SDXL: two text encoders, and sizes as conditions
    zeros_for_empty: bool = False                             # SDXL: the empty caption is all zeros, not encoded

    def fingerprint(self) -> str:
        """Hash the content of every file that is loaded: 64 hex digits, whatever the base's name or place."""
        parts = (*(WEIGHTS_XL if self.is_xl else WEIGHTS), "scheduler", *_tokenizers(self.is_xl))
        files = {p.relative_to(self.folder).as_posix(): p for part in parts
                 for p in sorted((self.folder / part).glob("*")) if p.suffix in (".json", ".txt")}
        files |= {f"{part}/weights": path for part, path in self.weights.items()}
        if self.single_file:
            files["single_file"] = self.single_file
        flags = ["force_zeros_for_empty_prompt", str(self.zeros_for_empty)] if self.is_xl else []
        with Memo("sha256", sha256) as sha:
            contents = [text for name in sorted(files) for text in (name, sha(files[name]))]
        return sha256_of_texts(contents + flags)


def find_base(name: str = "embedded", revision: str | None = None) -> BaseFiles:
    """Find and check the files of the base called `name`; `revision` is a branch, tag or commit of a hub name.

    LabError: nothing there, a pickle, a damaged file, or another kind of model.
    """
    name = str(name)
    path = given_path(name)
    if name == "embedded":
        return _folder(name, data_dir() / "base")
    if path.suffix.lower() in PICKLES:
        raise LabError(f"base: {name} is a pickle, which can run any program when opened, so labkit does not load it. "
                       "Take the .safetensors file of the same model.")
    if path.is_file():
        return _single_file(name, path)
    if path.is_dir():
        return _folder(name, path)
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and path.suffix != ".safetensors" and not path.parent.is_dir():
        return _folder(name, _download(name, revision))
    raise LabError(f"base: there is no file or folder {name}. "
                   "Give 'embedded', a folder in diffusers' layout, a .safetensors "
                   f"file, or a name on the Hugging Face hub such as {SD15}.")


def kind_of(files: BaseFiles) -> str:
    """Say what kind of base it is: its family, its size and what it predicts, from its configuration alone."""
    width, pixels = _json(files.folder / "unet" / "config.json").get("cross_attention_dim"), resolution_and_step(files)
    family = "SDXL" if files.is_xl else FAMILIES.get(width, "Stable Diffusion's classes, of a size of its own")
    predicts = _json(files.folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    return ", ".join([family, *([f"{pixels[0]} pixels a side"] if pixels else []), f"predicts {shown(predicts)}"])


def resolution_and_step(files: BaseFiles) -> tuple[int, int] | None:
    """Return the side in pixels that a base was made for, and of what each side must be a multiple; nothing is loaded.

    None where its configuration does not say. As `Base.own_resolution` and `Base.side_multiple` once it is loaded.
    """
    unet, vae = (_json(files.folder / part / "config.json") for part in ("unet", "vae"))
    side, blocks, more = unet.get("sample_size"), vae.get("block_out_channels"), unet.get("block_out_channels")
    if not (isinstance(side, int) and isinstance(blocks, list) and isinstance(more, list)):
        return None
    factor = 2 ** (len(blocks) - 1)
    return side * factor, factor * 2 ** (len(more) - 1)


def _folder(name: str, folder: Path) -> BaseFiles:
    index = folder / "model_index.json"
    if not index.is_file():
        if pickle := next((p for p in sorted(folder.glob("*")) if p.suffix.lower() in PICKLES), None):
            find_base(str(pickle))
        raise LabError(f"base: {folder} has no model_index.json, so it is not a base in diffusers' layout. "
                       "Give the folder that holds model_index.json, unet/ and vae/.")
    kind = _check_configs(folder)
    stems = WEIGHTS_XL if kind["is_xl"] else WEIGHTS
    return BaseFiles(name, folder, weights={part: _weights(folder / part, stem) for part, stem in stems.items()},
                     **kind)


def _check_configs(folder: Path) -> dict[str, Any]:
    """Check a folder's configuration and return what `BaseFiles` keeps of it: is_xl and zeros_for_empty."""
    index = folder / "model_index.json"
    parts = _json(index)
    is_xl = "text_encoder_2" in parts
    if is_xl and parts.get("text_encoder") in (None, [None, None]):
        raise LabError(f"base: {index} has a second text encoder and no first, as SDXL's refiner, which only goes on "
                       f"with another base's pictures. Give the base itself, such as {SDXL}.")
    for part, wanted in (CLASSES_XL if is_xl else CLASSES).items():
        named = parts.get(part)
        if not (isinstance(named, list) and len(named) == 2 and named[1] == wanted):
            raise LabError(f"base: {index} names {shown(named)} as its {part}, not {wanted}. {SUPPORTED}.")
    for file in (*(f"{part}/config.json" for part in (CLASSES_XL if is_xl else CLASSES)),
                 "scheduler/scheduler_config.json"):
        for name, number in _whole_numbers(_json(folder / file)):
            if abs(number) > LARGEST:
                raise LabError(f"base: {folder / file} gives {shown(name)} = {shown(number)}, "
                               "which no such model has. Download the base again.")
    # without these transformers makes an empty tokenizer, silently, and every caption reads alike
    layouts = ("tokenizer.json",), ("vocab.json", "merges.txt")
    for tokenizer in (folder / part for part in _tokenizers(is_xl)):
        if not any(all((tokenizer / file).is_file() for file in files) for files in layouts):
            raise LabError(f"base: {tokenizer} has neither tokenizer.json nor vocab.json with merges.txt. "
                           "Download the base again.")
    return {"is_xl": is_xl, "zeros_for_empty": is_xl and parts.get("force_zeros_for_empty_prompt") is not False}


def _tokenizers(is_xl: bool) -> tuple[str, ...]:
    return ("tokenizer", "tokenizer_2") if is_xl else ("tokenizer",)


def _json(path: Path) -> dict:
    try:
        return json_text.read(path)
    except FileNotFoundError:
        raise LabError(f"base: {path} is missing. Download the base again, with its configuration files.") from None
    except (OSError, ValueError) as error:
        raise LabError(f"base: {path} is not readable as JSON ({getattr(error, 'strerror', None) or error}). "
                       "Download it again.") from None


def _whole_numbers(values: dict | list) -> Iterator[tuple[str | int, int]]:
    """Yield (name, number) for every whole number of a configuration, at whatever depth."""
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict | list):
            yield from _whole_numbers(value)
        elif isinstance(value, int):
            yield name, value


def _weights(folder: Path, stem: str) -> Path:
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (folder / name).is_file():
            tensors(folder / name)
            return folder / name
    if pickle := next((p for p in sorted(folder.glob("*")) if p.suffix.lower() in PICKLES), None):
        raise LabError(f"base: {folder} has its weights only as a pickle ({pickle.name}), "
                       "which can run any program when "
                       f"opened, so labkit does not load it. Take a copy of the model with {stem}.safetensors.")
    if any(folder.glob(f"{stem}.safetensors.index*.json")):
        raise LabError(f"base: {folder} has its weights in several files, and labkit reads one: let diffusers write "
                       f'them anew, DiffusionPipeline.from_pretrained("{folder.parent}").save_pretrained('
                       '"NEW_FOLDER", max_shard_size="100GB"), and give NEW_FOLDER.')
    raise LabError(f"base: {folder / stem}.safetensors is missing. Download the base again.")


def tensors(path: Path) -> dict[str, list[int]]:
    """Read the names and shapes in a .safetensors file without its numbers; LabError where the file is damaged."""
    try:
        # the header's size, types and places are held against the file
        with safetensors.safe_open(path, "np") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}
    except (OSError, safetensors.SafetensorError) as error:
        raise LabError(f"base: {path}, of {path.stat().st_size} bytes, is not a whole .safetensors file ({error}). "
                       "Download it again.") from None


def unet_shapes(files: BaseFiles) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the weights of a U-Net's linear and convolution layers, by diffusers' names, unloaded.

    None where they lie in a single file, under other names.
    """
    if "unet" not in files.weights:
        return None
    shapes = tensors(files.weights["unet"])
    return {name.removesuffix(".weight"): tuple(shape) for name, shape in shapes.items()
            if name.endswith(".weight") and len(shape) in (2, 4)}


def _single_file(name: str, path: Path) -> BaseFiles:
    if path.suffix.lower() != ".safetensors":
        raise LabError(f"base: {name} is not a .safetensors file. {SUPPORTED}, as one such file or as a folder.")
    shapes = tensors(path)
    if any("lora_" in key for key in shapes):
        raise LabError(f"base: {name} is an adapter (LoRA), not a base. Give the base it was trained on.")
    is_xl = any(key.startswith("conditioner.") for key in shapes)
    parts = {"U-Net": "model.diffusion_model.", "autoencoder": "first_stage_model."}
    parts |= ({"first text encoder": "conditioner.embedders.0.transformer.",
               "second text encoder": "conditioner.embedders.1."} if is_xl else {"text encoder": "cond_stage_model."})
    missing = [part for part, prefix in parts.items() if not any(key.startswith(prefix) for key in shapes)]
    if missing:
        raise LabError(f"base: {name} has no {' and no '.join(missing)} under the original Stable Diffusion keys. "
                       f"{SUPPORTED}, "
                       "whole, not single parts.")
    for folder in (path.with_suffix(""), path.parent):
        if (folder / "model_index.json").is_file():
            return _with_configs(name, path, folder, is_xl)
    if is_xl and "v_pred" not in shapes:                      # the key by which such files say that they predict v
        return _with_configs(name, path, _download(SDXL, None, weights=False, beside=path), is_xl)
    first = shapes.get("model.diffusion_model.input_blocks.0.0.weight", [])
    words = next((shape for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")), [])
    if (first[:1], words[-1:]) != ([320], [768]):
        # 2.x files do not say whether they predict noise or v, so no configuration can be guessed for them.
        raise LabError(f"base: {name} is not of Stable Diffusion 1.x, and a single file does not say how it was made. "
                       "Put the "
                       f"model's configuration files (model_index.json, unet/config.json, tokenizer/ ...) in "
                       f"{path.with_suffix('')}.")
    return _with_configs(name, path, _download(SD15, None, weights=False, beside=path), is_xl)


def _with_configs(name: str, path: Path, folder: Path, is_xl: bool) -> BaseFiles:
    """Return a single file's BaseFiles with its configuration in `folder`; LabError where that is another kind's."""
    kind = _check_configs(folder)
    if kind["is_xl"] != is_xl:
        held, described = ("SDXL", "another model") if is_xl else ("one text encoder", "SDXL")
        raise LabError(f"base: {name} is a file of {held}, while {folder / 'model_index.json'} describes {described}. "
                       f"Put the model's own configuration files in {path.with_suffix('')}.")
    return BaseFiles(name, folder, single_file=path, **kind)


def _download(name: str, revision: str | None, *, weights: bool = True, beside: Path | None = None) -> Path:
    """Fetch what labkit loads of a hub repository (never a pickle) into the hub's own cache, and give the folder."""
    from huggingface_hub import snapshot_download  # most bases lie on this machine

    small = ["model_index.json", "*/config.json", "scheduler/*.json", "tokenizer/*", "tokenizer_2/*"]
    large = [f"{part}/{stem}.safetensors" for part, stem in WEIGHTS_XL.items()]
    half = [f"{part}/{stem}.fp16.safetensors" for part, stem in WEIGHTS_XL.items()]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=small + large if weights else small))
        has_two = (folder / "text_encoder_2").is_dir()
        wanted = WEIGHTS_XL if has_two else WEIGHTS
        large, half = large[: len(wanted)], half[: len(wanted)]  # a repository of one text encoder has no second
        if weights and not all((folder / file).is_file() for file in large):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=small + half))
    except Exception as error:                                # the hub client raises a dozen kinds of one meaning
        lines = str(error).strip().splitlines() or ["no reason given"]
        why = f"{type(error).__name__}: {lines[0]}"
        remedy = ("Without the hub, put the model's configuration files and tokenizer in "
                  f"{beside.with_suffix('')}." if beside
                  else "If you meant a folder, it is not there; if you meant a hub name, check its spelling, "
                       "the network, and "
                  "whether the model's page asks you to accept its terms first.")
        raise LabError(f"base: {name} could not be had from the Hugging Face hub ({why}). {remedy}") from error
    lacks = [part for part, *files in zip(wanted, large, half, strict=True)
             if not any((folder / file).is_file() for file in files)]
    if weights and lacks and (folder / "model_index.json").is_file():
        raise LabError(f"base: {name} has no safetensors weights of its {', '.join(lacks)} on the hub that are one "
                       "file. If it has .bin files there, those are pickles, which can run any program when opened, "
                       "so labkit does not load them. Take a copy of the model with safetensors.")
    return folder
