"""What other programs make of an adapter's keys, restated from their public source, since they are not installed.

ComfyUI (comfy/lora.py `model_lora_keys_unet` and comfy/weight_adapter/lora.py, read at ec93dcac and 6fd406fb): a layer
is known by `lora_unet_` and its diffusers name with underscores, or by `unet.` and that name with `.processor.to_q`
for `.to_q` and `to_out` for `to_out.0`; up times down, laid out as the weight, times alpha / rank, where there is
an `.alpha`, is added.
AUTOMATIC1111's web UI (extensions-builtin/Lora/networks.py `convert_diffusers_name_to_compvis`, read at 873edba4):
what stands before the first dot is turned into the name that the layer has in the original Stable Diffusion code.
"""

import re

import torch

IN_RESNETS = {"conv1": "in_layers_2", "conv2": "out_layers_3", "time_emb_proj": "emb_layers_1",
              "conv_shortcut": "skip_connection"}


def comfyui_names(module):
    """Return the names under which ComfyUI looks for a layer of diffusers' U-Net."""
    plain = "unet." + module.replace(".to_", ".processor.to_")
    plain = plain.removesuffix(".0") if plain.endswith(".to_out.0") else plain
    return "lora_unet_" + module.replace(".", "_"), plain


def comfyui_changes(tensors, weights):
    """Return the change of every weight that ComfyUI finds in a file.

    tensors    of the file
    weights    of the U-Net, by module
    """
    changes = {}
    for module, weight in weights.items():
        for name in comfyui_names(module):
            for up, down in (("lora_up", "lora_down"), ("lora_B", "lora_A")):
                if f"{name}.{up}.weight" not in tensors:
                    continue
                B, A = tensors[f"{name}.{up}.weight"], tensors[f"{name}.{down}.weight"]
                alpha = tensors[f"{name}.alpha"].item() / len(A) if f"{name}.alpha" in tensors else 1.0
                changes[module] = alpha * torch.mm(B.flatten(1), A.flatten(1)).reshape(weight.shape)
    return changes


def a1111_name(key):
    """Return what the web UI calls the layer of a key, of its U-Net: `diffusion_model_…`."""
    name = key.split(".", 1)[0]
    if found := re.fullmatch(r"lora_unet_(down|up)_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)", name):
        side, block, kind, number, rest = found.groups()
        place = 3 * int(block) + int(number) + (side == "down")
        rest = IN_RESNETS.get(rest, rest) if kind == "resnets" else rest
        return f"diffusion_model_{'in' if side == 'down' else 'out'}put_blocks_{place}_{+(kind != 'resnets')}_{rest}"
    if found := re.fullmatch(r"lora_unet_mid_block_(attentions|resnets)_(\d+)_(.+)", name):
        kind, number, rest = found.groups()
        place, rest = (2 * int(number), IN_RESNETS.get(rest, rest)) if kind == "resnets" else (1, rest)
        return f"diffusion_model_middle_block_{place}_{rest}"
    return name
