"""Options of huggingface/diffusers: examples/text_to_image/train_text_to_image_lora.py and its SDXL sister.

Read at commit 58eb52c0 (parse_args and main of the script, src/diffusers/optimization.py). What to notice: alpha is
the rank and cannot be set, A is drawn from N(0, 1/rank^2), `constant` ignores the 500 updates of warm-up that are the
default, --max_grad_norm clips nothing in the script for SD 1.x (the parameters are an iterator that the optimizer has
used up), and --scale_lr multiplies the rate by batch, accumulation and devices.
"""

from labkit.design.trainers.reading import positive
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Settings, Trainer

NO_CLIP = "train_text_to_image_lora.py clips nothing: its list of parameters is used up before; the SDXL script clips"


EIGHT_BIT = Choice("optimizer", "use_8bit_adam", {"adamw8bit": {"use_8bit_adam": True}, "adamw": {}}, "adamw",
                   lambda value: "adamw8bit" if "8bit" in str(value) else "adamw")


def scaled(flat: Settings, notes: Notes, rate: float, batch: int) -> Settings:
    """Multiply the rate as --scale_lr does; rate and batch: the script's own, where nothing is said."""
    flat = dict(flat)
    if flat.pop("scale_lr", False):
        factor = (flat.get("train_batch_size", batch) * flat.get("gradient_accumulation_steps", 1)
                  * flat.get("num_processes", 1))
        flat["learning_rate"] = flat.get("learning_rate", rate) * factor
        notes.tell("other", "scale_lr", f"the rate that is given is multiplied by {factor:g} there; the product "
                                        f"{flat['learning_rate']:.4g} is taken")
    return flat


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: a scaled rate, data of the hub, the text encoder."""
    flat = scaled(flat, notes, 1e-4, 16)
    if flat.get("dataset_name") is not None:
        flat["train_data_dir"] = flat.pop("dataset_name")
        notes.tell("other", "dataset_name", "it is a data set of the hub; the kit needs a folder of its pictures with "
                                            "metadata.jsonl")
    if flat.pop("train_text_encoder", False):
        flat["train_text_encoder"] = flat.get("learning_rate", 1e-4)
    return flat


TRAINER = Trainer(
    name="diffusers", title="huggingface/diffusers, train_text_to_image_lora.py", form="command",
    source="huggingface/diffusers: examples/text_to_image/train_text_to_image_lora.py, src/diffusers/optimization.py",
    rows=(
        Row("base", "pretrained_model_name_or_path"), Row("revision", "revision", spare=True),
        Row("data", "train_data_dir"), Row("n_train", "max_train_samples", spare=True),
        Row("resolution", "resolution", 512), Row("learning_rate", "learning_rate", 1e-4), Row("rank", "rank", 4),
        Row("train_batch_size", "train_batch_size", 16),
        Row("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
        Row("max_grad_norm", "max_grad_norm", 1.0, note=NO_CLIP),
        Row("adam_beta1", "adam_beta1", 0.9), Row("adam_beta2", "adam_beta2", 0.999),
        Row("adam_epsilon", "adam_epsilon", 1e-8), Row("weight_decay", "adam_weight_decay", 1e-2),
        Row("snr_gamma", "snr_gamma", read=positive), Row("seed", "seed"),
        Row("mixed_precision", "mixed_precision", "no"),
        Row("noise_offset", "noise_offset", spare=True), Row("prediction_type", "prediction_type", spare=True),
        Row("flip", "random_flip", spare=True), Row("text_encoder_lr", "train_text_encoder", write=None),
        Row("vae", "pretrained_vae_model_name_or_path", spare=True), Row("gpus", "num_processes", spare=True),
    ),
    choices=(
        EIGHT_BIT,
        Choice("random_crop", "center_crop", {False: {"center_crop": True}, True: {}}, True),
        Choice("crop", "center_crop", {"center": {}}, "center", lambda value: "center"),     # always a square
    ),
    scheduler="lr_scheduler",
    curves=(
        Curve("constant", "constant", warmup=False), Curve("constant_with_warmup", "constant"),
        Curve("linear", "linear"), Curve("cosine", "cosine"),
        Curve("cosine_with_restarts", "cosine_with_restarts", options=(),
              note="the script gives it one cycle, which is the cosine"),
        Curve("polynomial", "polynomial", end=("", "rate", 1e-7)),
    ),
    default_curve="constant", warmup=("lr_warmup_steps", "updates", 500),
    length=Length("max_train_steps", "num_train_epochs", "steps", ("epochs", 100), ends_pass=True),
    fixed={"init_lora_weights": "gaussian", "use_rslora": False, "adapter": "lora", "target_modules": ("attention",),
           "alpha": "=rank"},
    quiet=frozenset({
        "output_dir", "cache_dir", "logging_dir", "report_to", "push_to_hub", "hub_*", "checkpoint*", "resume_from_*",
        "validation_*", "num_validation_images", "image_column", "caption_column", "dataset_config_name",
        "gradient_checkpointing", "allow_tf32", "dataloader_num_workers", "local_rank", "variant",
        "enable_xformers_memory_efficient_attention", "image_interpolation_mode", "multi_gpu", "num_machines",
        "num_cpu_threads_per_process", "dynamo_backend", "main_process_port", "enable_npu_flash_attention",
    }),
    before=before, script="accelerate launch train_text_to_image_lora.py",
    marks=("dataset_name", "adam_weight_decay", "scale_lr", "center_crop"),
)
