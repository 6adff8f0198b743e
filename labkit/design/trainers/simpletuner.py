"""Settings of bghira/SimpleTuner: its config.json, whose names may begin with two dashes.

Read at commit bc8e6ab7: simpletuner/simpletuner_sdk/server/services/field_registry/sections, helpers/configuration/
json_file.py, helpers/training/custom_schedule.py, helpers/training/optimizer_param.py, helpers/models/sd1x/model.py,
and helpers/data_backend/config/image.py for crops, which are told in the file of data sets.
What to notice: cosine and sine are endless waves whose half period is lr_warmup_steps, not a decay over the run, and
cosine_with_restarts takes its step modulo -1, which is 0 and so the peak; gradients are clipped entry by entry at
2.0, lora_dropout is 0.1 and captions are dropped at 0.1 unless told otherwise; adam_beta1 and its like only count with
DeepSpeed, and optimizer_beta1 only without optimizer_config.
"""

from labkit.design.trainers import buckets
from labkit.design.trainers.reading import near_optimizer, positive, side
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Run, Settings, Trainer
from labkit.reading import BUCKETS

END = ("lr_end", "rate", 4e-7)


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: dashes, a scaled rate, the optimizer's, clipping."""
    flat = {name.lstrip("-").replace("-", "_"): value for name, value in flat.items()}
    if flat.pop("lr_scale", False):
        pictures = flat.get("train_batch_size", 4) * flat.get("gradient_accumulation_steps", 1)
        factor = pictures ** 0.5 if flat.pop("lr_scale_sqrt", False) else pictures
        flat["learning_rate"] = flat.get("learning_rate", 4e-7) * factor
        notes.tell("other", "lr_scale", f"the rate that is given is multiplied by {factor:.4g} there; the product "
                                        f"{flat['learning_rate']:.4g} is taken")
    for name in ("adam_beta1", "adam_beta2", "adam_epsilon", "adam_weight_decay"):
        if flat.pop(name, None) is not None:
            notes.tell("contradiction", name, "it only counts with DeepSpeed; the optimizer gets optimizer_config, or "
                                              "else optimizer_beta1 and optimizer_beta2")
    if any(name.startswith("optimizer_config.") for name in flat) and flat.get("optimizer_beta1") is not None:
        notes.tell("contradiction", "optimizer_beta1", "it has no effect beside optimizer_config: leave one out")
        flat = {name: value for name, value in flat.items() if name not in ("optimizer_beta1", "optimizer_beta2")}
    if not str(flat.get("optimizer", "adamw_bf16")).startswith("torch-"):
        flat.setdefault("optimizer_config.eps", 1e-6)         # as optimizer_param.py gives all of them but torch's
    flat["grad_clip_method"] = str(flat.get("grad_clip_method", "value")).lower() != "norm"
    if not flat.pop("offset_noise", False):
        flat.pop("noise_offset", None)                        # a default of 0.1 that counts with offset_noise alone
    if not flat.pop("train_text_encoder", False):
        flat.pop("text_encoder_lr", None)
    if str(flat.get("resolution_type", "")).lower() == "area" and isinstance(flat.get("resolution"), int | float):
        flat["resolution"] = int((flat["resolution"] * 1e6) ** 0.5) // 64 * 64
        notes.tell("other", "resolution", "it is given in megapixels; a square of so many has "
                                          f"{flat['resolution']} pixels a side")
    for name in ("max_train_steps", "num_train_epochs"):
        if flat.get(name) == 0:
            flat.pop(name)
    return _shapes(flat, notes)


def _shapes(flat: Settings, notes: Notes) -> Settings:
    """Read which shape pictures have: their own, unless crop makes squares of them."""
    if "crop" not in flat:
        notes.tell("other", "data_backend_config", "crop, crop_style and crop_aspect are told in that file; where it "
                                                   "says nothing, pictures keep their own shape there")
    aspect = str(flat.pop("crop_aspect", "square")).lower()
    style = str(flat.pop("crop_style", "random")).lower()
    shapes, cuts = flat.pop("crop_aspect_buckets", None), bool(flat.get("crop"))
    if cuts and aspect in ("closest", "random"):
        notes.tell("other", "crop_aspect", f"{aspect}: shapes are of crop_aspect_buckets there, {shapes or 'any'}")
    if cuts and style in ("corner", "face"):
        notes.tell("none", "crop_style", f"{style}: the kit crops the middle")
    flat |= {"crop": cuts and aspect == "square", "crop_style": cuts and style == "random"}
    if flat["crop"]:
        return buckets.left_idle(flat, ("aspect_bucket_alignment", "aspect_bucket_rounding"), notes)
    decimals = flat.pop("aspect_bucket_rounding", None)
    if decimals is not None:
        notes.tell("other", "aspect_bucket_rounding", f"shapes are rounded to {decimals} decimals there")
    if str(flat.get("resolution_type", "")).lower() == "pixel":
        notes.tell("other", "resolution_type", "the shorter side has the resolution there, so that long pictures have "
                                               "more pixels than the square; here they have at most as many")
    return flat


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Add the adapter's type, how gradients are clipped, and the unit of the resolution; note what else to set."""
    notes.tell("default", "model_family", "name the base's: sd1x, sd2x or sdxl")
    by_value = flat.pop("grad_clip_method", False)
    in_squares = flat.pop("crop")
    crop_settings = ("crop = true, crop_style = center and crop_aspect = square" if in_squares else
                     "crop = false, so that pictures keep their own shape")
    notes.tell("default", "data_backend_config", f"write into that file: {crop_settings}")
    flat |= {"model_type": "lora", "lora_type": "standard",
             "resolution_type": "pixel" if in_squares else "pixel_area",
             "grad_clip_method": "value" if by_value else "norm", "max_train_steps": flat.get("max_train_steps", 0),
             "num_train_epochs": flat.get("num_train_epochs", 0)}
    betas = {name: run[ours] for name, ours in (("optimizer_beta1", "adam_beta1"), ("optimizer_beta2", "adam_beta2"))}
    if any(name in flat for name in betas):                   # one of them alone has no effect
        if any(name.startswith("optimizer_config.") for name in flat):
            notes.tell("none", "optimizer_beta1", f"{betas} have no effect beside optimizer_config, and are left out")
            flat = {name: value for name, value in flat.items() if name not in betas}
        else:
            flat |= betas
    if flat.get("noise_offset"):
        flat["offset_noise"] = True
    return {f"--{name}": value for name, value in flat.items()}


TRAINER = Trainer(
    name="simpletuner", title="bghira/SimpleTuner, config.json", form="json",
    source="bghira/SimpleTuner: field_registry/sections, helpers/training/custom_schedule.py, optimizer_param.py",
    rows=(
        Row("base", "pretrained_model_name_or_path"), Row("family", "model_family", write=None,
            read=lambda value, tell: "sd" if value in ("sd1x", "sd2x", "sdxl") else value),
        Row("learning_rate", "learning_rate", 4e-7),
        Row("rank", "lora_rank", 16), Row("alpha", "lora_alpha"),
        Row("init_lora_weights", "lora_init_type", "default"),
        Row("train_batch_size", "train_batch_size", 4),
        Row("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
        Row("max_grad_norm", "max_grad_norm", 2.0), Row("clip_by_value", "grad_clip_method", spare=True),
        Row("weight_decay", "optimizer_config.weight_decay", 1e-2, spare=True),
        Row("adam_epsilon", "optimizer_config.eps", 1e-8, spare=True),
        Row("adam_beta1", "optimizer_beta1", 0.9, spare=True), Row("adam_beta2", "optimizer_beta2", 0.999, spare=True),
        Row("momentum", "optimizer_config.momentum", spare=True),
        Row("snr_gamma", "snr_gamma", read=positive), Row("resolution", "resolution", 1024, side),
        Row("mixed_precision", "mixed_precision", "bf16"), Row("seed", "seed"),
        Row("caption_dropout", "caption_dropout_probability", 0.1),
        Row("lora_dropout", "lora_dropout", 0.1),
        Row("use_dora", "use_dora", spare=True), Row("noise_offset", "noise_offset", spare=True),
        Row("input_perturbation", "input_perturbation", spare=True), Row("loss_type", "loss_type", spare=True),
        Row("text_encoder_lr", "text_encoder_lr", spare=True), Row("ema", "use_ema", spare=True),
        Row("initial_weights", "init_lora", spare=True), Row("vae", "pretrained_vae_model_name_or_path", spare=True),
        Row("zero_terminal_snr", "rescale_betas_zero_snr", spare=True), Row("adapter_kind", "lora_type", write=None,
            read=lambda value, tell: "lora" if value == "standard" else value),
        Row("fp8_base", "base_model_precision", spare=True, read=lambda value, tell: value not in ("no_change", None)),
        Row("revision", "revision", spare=True), Row("prediction_type", "prediction_type", spare=True),
        Row("bucket_reso_steps", "aspect_bucket_alignment", spare=True), Row("random_crop", "crop_style", write=None),
    ),
    choices=(
        Choice("optimizer", "optimizer", {
            "adamw": {"optimizer": "torch-adamw"}, "adamw_bf16": {"optimizer": "adamw_bf16"},
            "adamw8bit": {"optimizer": "bnb-adamw8bit"}, "sgd": {"optimizer": "torch-sgd"},
            "lion": {"optimizer": "bnb-lion"}, "adafactor": {"optimizer": "torch-adafactor"},
        }, "adamw_bf16", near_optimizer),
        buckets.choice("crop", {"crop": False}, {"crop": True}, BUCKETS, buckets.OF_SIMPLETUNER),
    ),
    scheduler="lr_scheduler",
    curves=(
        Curve("constant", "constant", warmup=False), Curve("constant_with_warmup", "constant"),
        Curve("polynomial", "polynomial", end=END, options=(("power", "lr_power", 0.8),)),
        Curve("linear", "linear"),
        Curve("cosine", "cosine_of_period", warmup=False, end=END, options=(("period", "lr_warmup_steps", 1000),),
              note="it is an endless wave: lr_warmup_steps is half its period, not a warm-up"),
        Curve("sine", "sine_of_period", warmup=False, end=END, options=(("period", "lr_warmup_steps", 1000),),
              note="it is an endless wave that begins at half the rate: lr_warmup_steps is half its period"),
        Curve("cosine_with_restarts", "constant", warmup=False,
              note="its period, lr_warmup_steps, never passes at the version that was read, so that the rate stays at "
                   "its peak; without lr_warmup_steps it stops with an error"),
    ),
    default_curve="constant_with_warmup", warmup=("lr_warmup_steps", "updates", 0),
    length=Length("max_train_steps", "num_train_epochs", "steps", ("epochs", 1)),
    fixed={"use_rslora": False, "adapter": "lora", "target_modules": ("attention",)},
    quiet=frozenset({
        "output_dir", "data_backend_config", "checkpoint*", "report_to", "tracker*", "validation*", "push_*", "hub_*",
        "gradient_checkpointing*", "vae_batch_size", "model_type", "model_family", "model_flavour", "resolution_type",
        "num_eval_images", "eval_*", "disable_*", "resume_from_checkpoint", "logging_dir", "attention_mechanism",
        "aspect_bucket_rounding", "minimum_image_size", "instance_prompt", "prepend_instance_prompt",
        "only_instance_prompt", "cache_dir*", "dataloader_*", "compress_disk_cache", "write_batch_size",
        "user_prompt_library", "webhook_config", "metadata_update_interval", "override_dataset_config", "ema_*",
        "lr_num_cycles", "skip_file_discovery", "preserve_data_backend_cache", "noise_offset_probability",
        "base_model_default_precision", "quantize_*", "i_know_what_i_am_doing", "allow_tf32", "peft_lora_mode",
    }),
    before=before, after=after,
    marks=("model_family", "data_backend_config", "lora_type", "model_type"),
)
