"""Read from an adapter file's header which program wrote it, and with which settings."""

from collections.abc import Mapping
from typing import Any

from labkit.files import json_text
from labkit.store.adapter_files import METADATA_KEY, OWN_KEY

# The field's name of a setting, and the header keys under which trainers keep it (kohya's `ss_…`, and others').
SETTINGS = {
    "base": ("ss_sd_model_name", "ss_base_model_version", "modelspec.architecture", "modelspec.title"),
    "learning_rate": ("ss_unet_lr", "ss_learning_rate"),
    "text encoder's learning_rate": ("ss_text_encoder_lr", "ss_text_encoder_lr1"),
    "lr_scheduler": ("ss_lr_scheduler",),
    "lr_warmup_steps": ("ss_lr_warmup_steps",),
    "optimizer": ("ss_optimizer",),
    "rank": ("ss_network_dim",),
    "alpha": ("ss_network_alpha",),
    "train_batch_size": ("ss_total_batch_size", "ss_batch_size_per_device"),
    "gradient_accumulation_steps": ("ss_gradient_accumulation_steps",),
    "steps": ("ss_steps",),
    "max_train_steps": ("ss_max_train_steps",),
    "epoch": ("ss_epoch",),
    "num_train_epochs": ("ss_num_epochs",),
    "pictures": ("ss_num_train_images",),
    "resolution": ("ss_resolution", "modelspec.resolution"),
    "mixed_precision": ("ss_mixed_precision",),
    "min_snr_gamma": ("ss_min_snr_gamma",),
    "noise_offset": ("ss_noise_offset",),
    "seed": ("ss_seed",),
    "finished": ("ss_training_finished_at", "modelspec.date"),
}
NOTHING = ("", "None", "null", "0.0/0.0")
LONGEST = 120                                                 # characters of a setting that are shown


def trainer(header: Mapping[str, str]) -> str | None:
    """Name the program that wrote a file; None where its header does not say."""
    if OWN_KEY in header:
        return "labkit"
    if "ot_config" in header or "ot_branch" in header or "ot_revision" in header:
        return "OneTrainer"
    software = _object(header.get("software", ""))
    if software.get("name"):
        return str(software["name"])[:LONGEST]
    if any("simpletuner" in f"{key}{value}".lower() for key, value in header.items()):
        return "SimpleTuner"
    if any(key.startswith("ss_") for key in header):
        return "kohya's sd-scripts" if "ss_sd_scripts_commit_hash" in header else "kohya's sd-scripts, or one like it"
    return "diffusers" if METADATA_KEY in header else None


def settings(header: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that a header states, as texts by their usual names."""
    texts = {name: next((header[key] for key in keys if header.get(key, "") not in NOTHING), None)
            for name, keys in SETTINGS.items()}
    return {name: " ".join(value.split())[:LONGEST] for name, value in texts.items() if value is not None}


def _object(text: str) -> dict[str, Any]:
    """Parse a JSON object of a header; {} where the text is none."""
    try:
        return json_text.parse(text)
    except ValueError:
        return {}
