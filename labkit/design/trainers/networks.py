"""What kohya's network modules train: for which base, whether the change is B @ A, and in which layers.

Read in kohya-ss/sd-scripts, networks/; KohakuBlueleaf/LyCORIS, lycoris/kohya and lycoris/config.py (PRESET);
bmaltais/kohya_ss, kohya_gui/lora_gui.py. What to notice: LyCORIS adapts convolutions with the rank of the rest unless
its preset or conv_dim says otherwise, and its algorithms lora and locon are one.
"""

import re

from labkit.design.trainers.table import Notes, Settings

PLAIN = "networks.lora"
OF_BASE = re.compile(r"networks\.(?:lora|oft)_(flux|sd3|lumina|hunyuan_image|anima)")
WITH_CONVOLUTIONS = ("full", "unet-only")         # presets of LyCORIS whose layers are nearly the kit's set all
LINEAR = ("attn-mlp", "unet-transformer-only")    # and nearly its set linear


def read_module(flat: Settings, notes: Notes) -> Settings:
    """Read what a module stands for: the base's kind into model_type, and one whose change is B @ A as PLAIN."""
    flat = dict(flat)
    module = str(flat.get("network_module", PLAIN))
    if base := OF_BASE.fullmatch(module):
        flat.setdefault("model_type", base[1])
        flat["network_module"] = PLAIN if module.startswith(PLAIN) else module
    elif module.startswith("lycoris"):
        algo = str(flat.pop("network_args.algo", "lora")).lower()
        flat["network_module"] = PLAIN if algo in ("lora", "locon") else f"{module} {algo}"
        preset = str(flat.pop("network_args.preset", "full"))
        if adapts_convolutions(preset, notes, "network_args.preset") and flat.get("network_args.conv_dim") != 0:
            flat = {"network_args.conv_dim": flat.get("network_dim", 4),
                    "network_args.conv_alpha": flat.get("network_alpha", 1.0), **flat}
        else:
            flat = {name: value for name, value in flat.items()
                    if name not in ("network_args.conv_dim", "network_args.conv_alpha")}
        if preset.startswith("unet-"):
            flat["network_train_unet_only"] = True
    return flat


def adapts_convolutions(preset: str, notes: Notes, name: str) -> bool:
    """Tell whether a preset of LyCORIS adapts convolutions, and note one whose layers the kit has no set for.

    name    of the setting, for the note
    """
    if preset not in WITH_CONVOLUTIONS + LINEAR:
        notes.tell("none", name, f"{preset}: other layers are adapted there; target_modules takes attention, linear, "
                                 "all or names of layers")
    return preset in WITH_CONVOLUTIONS
