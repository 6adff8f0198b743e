"""Options of diffusers' scripts for DreamBooth: train_dreambooth_lora.py, its SDXL sister, and the advanced ones.

Read in huggingface/diffusers, examples/dreambooth/train_dreambooth_lora.py (commit 80628708) and
train_dreambooth_lora_sdxl.py (of spring 2024), and examples/advanced_diffusion_training (02a01694, 99069144); rates,
rank and batch again at 58eb52c0. What to notice: alpha is the rank, A is drawn from N(0, 1/rank^2), `constant` ignores
the 500 updates of warm-up that are the default, gradients are clipped here, all pictures have the caption
--instance_prompt unless --caption_column names others, and for SDXL rate and weight decay are 1e-4 where nothing is
said, and the square is drawn once for each picture.
"""

from typing import Any

from labkit.design.trainers import diffusers_script
from labkit.design.trainers.buckets import left_idle
from labkit.design.trainers.reading import positive
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Run, Settings, Tell, Trainer

CLASS = ("class_data_dir", "class_prompt", "num_class_images", "prior_loss_weight")
SAME = "text:"                                    # the kit's caption of all pictures


def _pictures(flat: Settings, notes: Notes) -> Settings:
    """Read where pictures and captions are, and the pictures of a class that are shown beside them."""
    flat = dict(flat)
    if flat.get("dataset_name") is not None:
        flat["instance_data_dir"] = flat.pop("dataset_name")
        notes.tell("other", "dataset_name", "where it is a data set of the hub, the kit needs a folder of its "
                                            "pictures with metadata.jsonl")
        if column := flat.pop("caption_column", None):
            flat["instance_prompt"] = f"column:{column}"
    if not flat.pop("with_prior_preservation", False):
        return left_idle(flat, CLASS, notes)
    if prompt := flat.pop("class_prompt", None):
        notes.tell("other", "class_prompt", f"{prompt}: all class pictures have this caption; write it beside them")
    count = flat.pop("num_class_images", 100)
    if not flat.get("max_train_steps"):
        notes.tell("other", "num_class_images", f"a pass there shows at least as many pictures as there are of the "
                                                f"class, {count}, which is not counted here: give --max_train_steps")
    return {"prior_loss_weight": 1.0, **flat}


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: a scaled rate, pictures, the text encoder's rate."""
    flat = diffusers_script.scaled(_pictures(flat, notes), notes, 5e-4, 4)
    if flat.pop("train_text_encoder", False):
        flat["train_text_encoder"] = flat.get("learning_rate", 5e-4)
    return flat


def before_xl(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: also the text encoder's own rate, and B-LoRA's blocks."""
    flat = diffusers_script.scaled(_pictures(flat, notes), notes, 1e-4, 4)
    if flat.pop("train_text_encoder", False) or flat.get("train_text_encoder_ti"):
        rate = flat.get("learning_rate", 1e-4)
        is_prodigy = str(flat.get("optimizer")).lower() == "prodigy"      # which is given one rate for all
        flat["text_encoder_lr"] = rate if is_prodigy else flat.get("text_encoder_lr", 5e-6) or rate
    else:
        flat = left_idle(flat, ("text_encoder_lr", "adam_weight_decay_text_encoder"), notes)
    if flat.pop("use_blora", False):
        flat["lora_unet_blocks"] = "up_blocks.0.attentions.0,up_blocks.0.attentions.1"
    return flat


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Note that a caption for all pictures is missing, which the scripts demand."""
    if flat.get("instance_prompt") is None:
        flat.pop("instance_prompt", None)
        notes.tell("default", "instance_prompt", "it must be given, and is the caption of all pictures: add it, or "
                                                 "have captions of their own read, by dataset_name and caption_column "
                                                 "of the SDXL script")
    return flat


def _prompt(value: Any, tell: Tell) -> Any:
    """Read a caption for all pictures as the kit's source of captions."""
    return value if str(value).startswith("column:") else SAME + str(value)


def _caption(value: Any, tell: Tell) -> Any:
    """Write the caption of all pictures; None where they have their own."""
    return value.removeprefix(SAME) if str(value).startswith(SAME) else None


def _rows(rate: float, decay: float, side: int) -> tuple[Row, ...]:
    """Return the rows that all of the scripts have, with what differs where nothing is said."""
    return (
        Row("base", "pretrained_model_name_or_path"), Row("revision", "revision", spare=True),
        Row("data", "instance_data_dir"), Row("captions", "instance_prompt", read=_prompt, write=_caption),
        Row("resolution", "resolution", side), Row("learning_rate", "learning_rate", rate), Row("rank", "rank", 4),
        Row("train_batch_size", "train_batch_size", 4),
        Row("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
        Row("max_grad_norm", "max_grad_norm", 1.0), Row("adam_beta1", "adam_beta1", 0.9),
        Row("adam_beta2", "adam_beta2", 0.999), Row("adam_epsilon", "adam_epsilon", 1e-8),
        Row("weight_decay", "adam_weight_decay", decay), Row("seed", "seed"),
        Row("mixed_precision", "mixed_precision", "no"), Row("gpus", "num_processes", spare=True),
        Row("reg_data", "class_data_dir", write=None), Row("prior_loss_weight", "prior_loss_weight", write=None),
    )


CROPS = (
    Choice("random_crop", "center_crop", {False: {"center_crop": True}, True: {}}, True),
    Choice("crop", "center_crop", {"center": {}}, "center", lambda value: "center"),     # always a square
)
TRAINER = Trainer(
    name="dreambooth", title="huggingface/diffusers, train_dreambooth_lora.py", form="command",
    source="huggingface/diffusers: examples/dreambooth/train_dreambooth_lora.py",
    rows=(*_rows(5e-4, 1e-2, 512), Row("text_encoder_lr", "train_text_encoder", write=None)),
    choices=(diffusers_script.EIGHT_BIT, *CROPS),
    scheduler="lr_scheduler",
    curves=(
        Curve("constant", "constant", warmup=False), Curve("constant_with_warmup", "constant"),
        Curve("linear", "linear"), Curve("cosine", "cosine"),
        Curve("cosine_with_restarts", "cosine_with_restarts", options=(("cycles", "lr_num_cycles", 1),)),
        Curve("polynomial", "polynomial", end=("", "rate", 1e-7), options=(("power", "lr_power", 1.0),)),
    ),
    default_curve="constant", warmup=("lr_warmup_steps", "updates", 500),
    length=Length("max_train_steps", "num_train_epochs", "steps", ("epochs", 1), ends_pass=True),
    fixed=diffusers_script.TRAINER.fixed,
    quiet=diffusers_script.TRAINER.quiet | {
        "prior_generation_precision", "sample_batch_size", "pre_compute_text_embeddings", "output_kohya_format",
        "cache_latents", "tokenizer_name",
    },
    before=before, after=after, script="accelerate launch train_dreambooth_lora.py",
    marks=("instance_data_dir", "with_prior_preservation", "class_data_dir"),
)
XL = TRAINER._replace(
    name="dreambooth-xl", title="huggingface/diffusers, train_dreambooth_lora_sdxl.py",
    source="huggingface/diffusers: examples/dreambooth/train_dreambooth_lora_sdxl.py, "
           "examples/advanced_diffusion_training/train_dreambooth_lora_sdxl_advanced.py",
    rows=(
        *_rows(1e-4, 1e-4, 1024), Row("snr_gamma", "snr_gamma", read=positive),
        Row("text_encoder_lr", "text_encoder_lr", write=None), Row("use_dora", "use_dora", spare=True),
        Row("flip", "random_flip", spare=True), Row("vae", "pretrained_vae_model_name_or_path", spare=True),
        Row("repeats", "repeats", spare=True), Row("noise_offset", "noise_offset", write=None),
        Row("clip_skip", "clip_skip", write=None, read=lambda value, tell: value + 1),
        Row("blocks", "lora_unet_blocks", write=None), Row("textual_inversion", "train_text_encoder_ti", write=None),
    ),
    choices=(
        Choice("optimizer", "optimizer", {
            "prodigy": {"optimizer": "prodigy"}, "adamw8bit": {"use_8bit_adam": True}, "adamw": {"optimizer": "AdamW"},
        }, "adamw", diffusers_script.EIGHT_BIT.nearest),
        CROPS[0]._replace(ours="random_square"), CROPS[1],
    ),
    before=before_xl, script="accelerate launch train_dreambooth_lora_sdxl.py",
)
ADVANCED_15 = XL._replace(
    name="dreambooth-sd15", title="huggingface/diffusers, train_dreambooth_lora_sd15_advanced.py",
    rows=tuple(row._replace(default=512) if row.ours == "resolution" else row for row in XL.rows),
)
