"""The files of a base: named by name, checked and fingerprinted before anything is loaded. No torch here.

A base is named in one of four ways: `embedded` (ships with the kit), a folder in diffusers' layout, one `.safetensors`
file with the original Stable Diffusion keys, or a name on the Hugging Face hub such as
`stable-diffusion-v1-5/stable-diffusion-v1-5`. Only the last one touches the network.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import safetensors

from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.content import Memo, sha256, sha256_of_texts
from labkit.settings import data_dir, given_path
from labkit.text import shown

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PICKLES = (".ckpt", ".bin", ".pt", ".pth", ".pkl")
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
LARGEST = 10**6                                               # whole number of a configuration, beyond any true one
SUPPORTED = "labkit takes Stable Diffusion 1.x and 2.x text-to-image bases"


@dataclass(frozen=True)
class BaseFiles:
    """Say where a base's files lie: `folder` in diffusers' layout, `single_file` where weights are in one file."""

    name: str
    folder: Path                                              # configs and tokenizer, always
    single_file: Path | None = None
    weights: dict = field(default_factory=dict)               # component -> .safetensors, of a folder

    def fingerprint(self) -> str:
        """Hash the content of every file that is loaded: 64 hex digits, whatever the base's name or place."""
        files = {p.relative_to(self.folder).as_posix(): p for part in (*WEIGHTS, "scheduler", "tokenizer")
                 for p in sorted((self.folder / part).glob("*")) if p.suffix in (".json", ".txt")}
        files |= {f"{part}/weights": path for part, path in self.weights.items()}
        if self.single_file:
            files["single_file"] = self.single_file
        with Memo("sha256", sha256) as sha:
            return sha256_of_texts(text for name in sorted(files) for text in (name, sha(files[name])))


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


def _folder(name: str, folder: Path) -> BaseFiles:
    index = folder / "model_index.json"
    if not index.is_file():
        if pickle := next((p for p in sorted(folder.glob("*")) if p.suffix.lower() in PICKLES), None):
            find_base(str(pickle))
        raise LabError(f"base: {folder} has no model_index.json, so it is not a base in diffusers' layout. "
                       "Give the folder that holds model_index.json, unet/ and vae/.")
    _check_configs(folder)
    return BaseFiles(name, folder, weights={part: _weights(folder / part, stem) for part, stem in WEIGHTS.items()})


def _check_configs(folder: Path) -> None:
    index = folder / "model_index.json"
    parts = _json(index)
    if "text_encoder_2" in parts:
        raise LabError(f"base: {index} describes a {shown(parts.get('_class_name'))} with two text encoders. "
                       f"{SUPPORTED}.")
    for part, wanted in CLASSES.items():
        named = parts.get(part)
        if not (isinstance(named, list) and len(named) == 2 and named[1] == wanted):
            raise LabError(f"base: {index} names {shown(named)} as its {part}, not {wanted}. {SUPPORTED}.")
    for file in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"):
        for name, number in _whole_numbers(_json(folder / file)):
            if abs(number) > LARGEST:
                raise LabError(f"base: {folder / file} gives {shown(name)} = {shown(number)}, "
                               "which no such model has. Download the base again.")
    # without these transformers makes an empty tokenizer, silently, and every caption reads alike
    tokenizer, layouts = folder / "tokenizer", (("tokenizer.json",), ("vocab.json", "merges.txt"))
    if not any(all((tokenizer / file).is_file() for file in files) for files in layouts):
        raise LabError(f"base: {tokenizer} has neither tokenizer.json nor vocab.json with merges.txt. "
                       "Download the base again.")


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


def _single_file(name: str, path: Path) -> BaseFiles:
    if path.suffix.lower() != ".safetensors":
        raise LabError(f"base: {name} is not a .safetensors file. {SUPPORTED}, as one such file or as a folder.")
    shapes = tensors(path)
    if any("lora_" in key for key in shapes):
        raise LabError(f"base: {name} is an adapter (LoRA), not a base. Give the base it was trained on.")
    if any(key.startswith("conditioner.") for key in shapes):
        raise LabError(f"base: {name} holds the text encoders of SDXL. {SUPPORTED}.")
    missing = [part for part, prefix in (("U-Net", "model.diffusion_model."), ("autoencoder", "first_stage_model."),
                                         ("text encoder", "cond_stage_model."))
               if not any(key.startswith(prefix) for key in shapes)]
    if missing:
        raise LabError(f"base: {name} has no {' and no '.join(missing)} under the original Stable Diffusion keys. "
                       f"{SUPPORTED}, "
                       "whole, not single parts.")
    for folder in (path.with_suffix(""), path.parent):
        if (folder / "model_index.json").is_file():
            _check_configs(folder)
            return BaseFiles(name, folder, single_file=path)
    first = shapes.get("model.diffusion_model.input_blocks.0.0.weight", [])
    words = next((shape for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")), [])
    if (first[:1], words[-1:]) != ([320], [768]):
        # 2.x files do not say whether they predict noise or v, so no configuration can be guessed for them.
        raise LabError(f"base: {name} is not of Stable Diffusion 1.x, and a single file does not say how it was made. "
                       "Put the "
                       f"model's configuration files (model_index.json, unet/config.json, tokenizer/ ...) in "
                       f"{path.with_suffix('')}.")
    folder = _download(SD15, None, weights=False, beside=path)
    _check_configs(folder)
    return BaseFiles(name, folder, single_file=path)


def _download(name: str, revision: str | None, *, weights: bool = True, beside: Path | None = None) -> Path:
    """Fetch what labkit loads of a hub repository (never a pickle) into the hub's own cache, and give the folder."""
    from huggingface_hub import snapshot_download  # most bases lie on this machine

    small = ["model_index.json", "*/config.json", "scheduler/*.json", "tokenizer/*"]
    large = [f"{part}/{stem}.safetensors" for part, stem in WEIGHTS.items()]
    half = [f"{part}/{stem}.fp16.safetensors" for part, stem in WEIGHTS.items()]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=small + large if weights else small))
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
    lacks = [part for part, *files in zip(WEIGHTS, large, half, strict=True)
             if not any((folder / file).is_file() for file in files)]
    if weights and lacks and (folder / "model_index.json").is_file():
        raise LabError(f"base: {name} has no safetensors weights of its {', '.join(lacks)} on the hub. "
                       "If it has .bin files there, those are pickles, "
                       "which can run any program when opened, so labkit does not load them. "
                       "Take a copy of the model with safetensors.")
    return folder
