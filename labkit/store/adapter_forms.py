"""An adapter in the form of other programs: kohya's names, and the scaling folded into the weights.

kohya's form is what ComfyUI, AUTOMATIC1111's web UI, Forge and SD.Next read, and diffusers too. Its layers are called
as in diffusers' U-Net, with `lora_unet_` before the name and underscores for the dots; each has its own alpha.
"""

import json
import re
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np

from labkit.design.config import RunConfig
from labkit.files.tensor_files import sealed
from labkit.store.adapter_files import OWN_KEY, own_settings
from labkit.store.rounding import rounded

KOHYA_PREFIX = "lora_unet_"
ROLES = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
SIDES = {"down": "input", "up": "output"}
IN_RESNETS = {"conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
              "time_emb_proj": "emb_layers.1"}
# The generation of Stable Diffusion by the width of its text encoder, which programs ask for by these keys.
VERSIONS = {768: {"ss_base_model_version": "sd_v1", "ss_v2": "False"},
            1024: {"ss_base_model_version": "sd_v2", "ss_v2": "True"},
            2048: {"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "False"}}


def kohya_name(module: str) -> str:
    """Return what kohya's form calls a layer of diffusers' U-Net."""
    return KOHYA_PREFIX + module.replace(".", "_")


def original_name(module: str) -> str | None:
    """Return what the original Stable Diffusion code calls a layer of the U-Net's blocks, as kohya's SDXL files do.

    An upsampler comes after a residual block and a transformer, as in SDXL: Stable Diffusion 1.x and 2.x have one
    without a transformer, but kohya's files for these have the names of diffusers.
    None where it has no such name, or lies outside the blocks.
    """
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(attentions|resnets)\.(\d+)\.(.+)", module):
        side, block, kind, number, layer = match.groups()
        block = f"{SIDES[side]}_blocks.{3 * int(block) + int(number) + (side == 'down')}"
        part = 0 if kind == "resnets" else 1
    elif match := re.fullmatch(r"mid_block\.(attentions|resnets)\.(\d+)\.(.+)", module):
        kind, number, layer = match.groups()
        block, part = "middle_block", 2 * int(number) if kind == "resnets" else 1
    elif match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", module):
        return f"input_blocks.{3 * int(match[1]) + 3}.0.op"
    elif match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", module):
        return f"output_blocks.{3 * int(match[1]) + 2}.2.conv"
    else:
        return None
    return f"{block}.{part}.{IN_RESNETS.get(layer, layer) if kind == 'resnets' else layer}"


def folded(tensors: Mapping[str, np.ndarray], config: RunConfig) -> tuple[dict[str, np.ndarray], RunConfig]:
    """Return an adapter of the same effect whose alpha equals its rank, for loaders that ignore alpha.

    Every B is multiplied by the scaling, which is exact where that is a power of two and rounded to float32 elsewhere.
    """
    scaled = {name: (np.asarray(array, np.float64) * config.scaling).astype(np.float32)
              if name.endswith("lora_B.weight") else array for name, array in tensors.items()}
    return scaled, config.replace(alpha=config.rank, use_rslora=False)


def kohya_bytes(tensors: Mapping[str, np.ndarray], config: RunConfig, steps: int | None = None,
                dtype: str = "float32") -> bytes:
    """Return an adapter's file in kohya's form: `.lora_down.weight` (rank, in), `.lora_up.weight`, `.alpha` a layer.

    The form knows alpha / rank alone, so with `use_rslora` alpha is written as rank times the scaling.

    tensors    by `<module>.lora_A.weight` and the like
    steps      completed updates, for the header
    dtype      of the weights, as `adapter_bytes` takes it; alpha stays float32, which loaders read as a number
    """
    alpha = np.array(config.scaling * config.rank, np.float32)
    arrays = {}
    for name, array in rounded(tensors, dtype).items():
        module, role = name.rsplit(".", 2)[0], ".".join(name.rsplit(".", 2)[1:])
        arrays[f"{kohya_name(module)}.{ROLES[role]}"] = array
        arrays[f"{kohya_name(module)}.alpha"] = alpha
    return sealed(arrays, {"format": "pt", **_kohya_header(tensors, config, steps),
                           OWN_KEY: json.dumps(own_settings(config, dtype))},
                  [name for name in arrays if not name.endswith(".alpha")] if dtype == "bfloat16" else ())


def _kohya_header(tensors: Mapping[str, np.ndarray], config: RunConfig, steps: int | None) -> dict[str, str]:
    """Return a header as kohya's trainer would write it for a run, as texts, without the machine and its folders."""
    alpha = f"{config.scaling * config.rank:g}"
    header = {
        "ss_network_module": "networks.lora", "ss_network_dim": config.rank, "ss_network_alpha": alpha,
        "ss_learning_rate": config.learning_rate, "ss_unet_lr": config.learning_rate,
        "ss_lr_scheduler": config.lr_scheduler, "ss_lr_warmup_steps": config.lr_warmup_steps,
        "ss_optimizer": config.optimizer, "ss_max_grad_norm": config.max_grad_norm,
        "ss_batch_size_per_device": config.train_batch_size, "ss_total_batch_size": config.effective_batch_size,
        "ss_gradient_accumulation_steps": config.gradient_accumulation_steps,
        "ss_max_train_steps": config.max_train_steps, "ss_steps": steps or config.max_train_steps,
        "ss_num_train_images": config.n_train, "ss_mixed_precision": config.mixed_precision,
        "ss_min_snr_gamma": config.snr_gamma, "ss_caption_dropout_rate": config.caption_dropout,
        "ss_prior_loss_weight": config.prior_loss_weight, "ss_seed": config.seed,
        "ss_sd_model_name": PurePath(config.base).name,
    }
    if config.resolution:
        header["ss_resolution"] = f"({config.resolution}, {config.resolution})"
    if any(array.ndim == 4 and array.shape[2:] != (1, 1) for array in tensors.values()):
        header["ss_network_args"] = json.dumps({"conv_dim": str(config.rank), "conv_alpha": alpha})
    words = next((array.shape[1] for name, array in tensors.items() if name.endswith("attn2.to_k.lora_A.weight")), 0)
    return {name: str(value) for name, value in header.items() if value is not None} | VERSIONS.get(words, {})
