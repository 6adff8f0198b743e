"""Settings of kohya-ss/sd-scripts: the options of train_network.py and the TOML of its --config_file.

Read at commit 10267f91 (library/args.py), 0010c81a (train_network.py), and in library/train_util.py
(get_scheduler_fix, get_optimizer), library/custom_train_functions.py and networks/lora.py. What to notice: alpha is 1
where it is not given, unet_lr counts instead of learning_rate, the text encoder is trained unless told otherwise,
`constant` refuses a warm-up, max_train_epochs counts instead of max_train_steps, and a warm-up below 1 is a share.
"""

from labkit.design.trainers import buckets
from labkit.design.trainers.buckets import left_idle
from labkit.design.trainers.networks import PLAIN, read_module
from labkit.design.trainers.reading import near_optimizer, near_targets, positive, share, side, text
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Run, Settings, Trainer
from labkit.design.trainers.words import changes

OPTIMIZERS = {
    "adamw": {"optimizer_type": "AdamW"}, "adamw8bit": {"optimizer_type": "AdamW8bit"},
    "sgd": {"optimizer_type": "SGD"}, "adafactor": {"optimizer_type": "Adafactor"}, "lion": {"optimizer_type": "Lion"},
    "prodigy": {"optimizer_type": "Prodigy"}, "paged_adamw8bit": {"optimizer_type": "PagedAdamW8bit"},
}
EXTRAS = tuple(Row(name, name, spare=True) for name in (
    "noise_offset", "noise_offset_random_strength", "multires_noise_iterations", "multires_noise_discount",
    "adaptive_noise_scale", "zero_terminal_snr", "min_timestep", "max_timestep", "loss_type",
    "debiased_estimation_loss", "v_pred_like_loss", "scale_v_pred_loss_like_noise_pred", "masked_loss",
    "scale_weight_norms", "clip_skip", "max_token_length", "weighted_captions", "shuffle_caption", "keep_tokens",
    "caption_tag_dropout_rate", "caption_dropout_every_n_epochs", "color_aug", "random_crop", "vae", "fp8_base",
    "base_weights",
)) + (
    Row("input_perturbation", "ip_noise_gamma", spare=True), Row("lora_dropout", "network_dropout", spare=True),
    Row("rank_dropout", "network_args.rank_dropout", spare=True), Row("flip", "flip_aug", spare=True),
    Row("module_dropout", "network_args.module_dropout", spare=True), *buckets.ROWS,
    Row("initial_weights", "network_weights", spare=True), Row("reg_data", "reg_data_dir", spare=True),
    Row("prior_loss_weight", "prior_loss_weight", spare=True),
    Row("validation_split", "validation_split", read=share, spare=True),
    Row("repeats", "dataset_repeats", spare=True), Row("momentum", "optimizer_args.momentum", spare=True),
    Row("lr_layers", "network_args.block_lr", spare=True), Row("use_dora", "network_args.dora_wd", spare=True),
    *(Row("lr_layers", f"network_args.{name}", write=None)
      for name in ("block_dims", "down_lr_weight", "mid_lr_weight", "up_lr_weight")),
)
SAMPLERS = "with conv_dim the down- and upsamplers are adapted there too, which the kit's set all leaves out"
CORE = (
    Row("base", "pretrained_model_name_or_path"), Row("data", "train_data_dir"),
    Row("resolution", "resolution", read=side, write=text),
    Row("learning_rate", "unet_lr", write=None), Row("learning_rate", "learning_rate", 2e-6),
    Row("rank", "network_dim", 4), Row("alpha", "network_alpha", 1.0),
    Row("lr_ratio_B", "network_args.loraplus_lr_ratio", 1.0, spare=True),
    Row("train_batch_size", "train_batch_size", 1),
    Row("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
    Row("max_grad_norm", "max_grad_norm", 1.0),
    Row("adam_beta1", "optimizer_args.betas.0", 0.9), Row("adam_beta2", "optimizer_args.betas.1", 0.999),
    Row("adam_epsilon", "optimizer_args.eps", 1e-8), Row("weight_decay", "optimizer_args.weight_decay", 1e-2),
    Row("snr_gamma", "min_snr_gamma", read=positive), Row("caption_dropout", "caption_dropout_rate", 0.0),
    Row("mixed_precision", "mixed_precision", "no"), Row("seed", "seed"),
)
CURVES = (
    Curve("constant", "constant", warmup=False, note="sd-scripts stops with an error where it is given a warm-up"),
    Curve("constant_with_warmup", "constant"),
    Curve("linear", "linear"), Curve("cosine", "cosine"),
    Curve("cosine_with_min_lr", "cosine", end=("lr_scheduler_min_lr_ratio", "share", 0.0)),
    Curve("cosine_with_restarts", "cosine_with_restarts", options=(("cycles", "lr_scheduler_num_cycles", 1),)),
    Curve("polynomial", "polynomial", end=("", "rate", 1e-7), options=(("power", "lr_scheduler_power", 1.0),)),
    Curve("inverse_sqrt", "inverse_sqrt", options=(("timescale", "lr_scheduler_timescale", 0),)),
    Curve("warmup_stable_decay", "warmup_stable_decay", end=("lr_scheduler_min_lr_ratio", "share", 0.0),
          options=(("decay", "lr_decay_steps", 0),)),
)
QUIET = frozenset({
    "output_dir", "output_name", "logging_dir", "log_with", "log_prefix", "log_tracker_name", "log_tracker_config",
    "log_config", "training_comment", "no_metadata", "cache_latents", "cache_latents_to_disk", "vae_batch_size",
    "skip_cache_check", "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", "cache_info",
    "max_data_loader_n_workers", "persistent_data_loader_workers", "gradient_checkpointing", "mem_eff_attn",
    "cpu_offload_checkpointing", "xformers", "sdpa", "torch_compile", "dynamo_backend", "lowram", "highvram",
    "no_half_vae", "tokenizer_cache_dir", "caption_extension", "caption_extention", "caption_separator",
    "resize_interpolation",
    "output_config", "debug_dataset", "wandb*", "save*", "sample*", "huggingface*",
    "metadata*", "console_log*", "validat*", "max_validation_steps", "v2", "async_upload",
    "resume*", "num_cpu_threads_per_process", "ddp*",
})


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: old optimizer names, data sets, sizes, rates."""
    if flat.pop("use_8bit_adam", None):
        flat.setdefault("optimizer_type", "AdamW8bit")
    if flat.pop("use_lion_optimizer", None):
        flat.setdefault("optimizer_type", "Lion")
    tell_unread(flat, notes)
    flat = class_pictures(flat, notes)
    more = {name.rpartition(".")[0] for name in flat if name.startswith("datasets.")}
    if more:
        notes.tell("none", "dataset_config", f"a run has one folder of pictures; {len(more)} more are left out")
        flat = {name: value for name, value in flat.items() if not name.startswith("datasets.")}
    flat = read_module(sizes(flat, notes, "network_weights"), notes)
    return rates(buckets.read_kohya(flat, notes, flat.get("resolution")), notes)


def class_pictures(flat: Settings, notes: Notes) -> Settings:
    """Give class pictures the weight of 1 that they have where nothing is said; without them no weight counts."""
    subset = next((name.removesuffix("is_reg") for name, value in flat.items() if name.endswith(".is_reg") and value),
                  None)
    if subset:                                                # of a data set, whose other folders are left out
        flat = {"reg_data_dir": flat.get(f"{subset}image_dir")} | {
            name: value for name, value in flat.items() if not name.startswith(subset)}
    if not flat.get("reg_data_dir"):
        return left_idle(flat, ("prior_loss_weight",), notes)
    return {"prior_loss_weight": 1.0, **flat}


def tell_unread(flat: Settings, notes: Notes) -> None:
    """Take out the settings that name a file which was not found, and note them.

    The content of files that were found is among the settings already.
    """
    for name in ("config_file", "dataset_config"):
        if file := flat.pop(name, None):
            notes.tell("none", name, f"{file} is not here, so nothing that it says was read: put it beside the "
                                     "settings, or run this where it lies")


def rates(flat: Settings, notes: Notes) -> Settings:
    """Keep the rate that counts for the U-Net alone, and put the text encoder's into text_encoder_lr.

    An alpha of 0 becomes the rank, which it stands for.
    """
    for alpha, rank in (("network_alpha", "network_dim"), ("conv_alpha", "conv_dim"),
                        ("network_args.conv_alpha", "network_args.conv_dim")):
        if flat.get(alpha) == 0 and flat.get(rank):
            flat[alpha] = flat[rank]
    unet, common = flat.get("unet_lr"), flat.get("learning_rate")
    if unet is not None:
        if flat.pop("learning_rate", unet) != unet:
            notes.tell("other", "unet_lr", f"unet_lr = {unet:g} counts for the U-Net, learning_rate = {common:g} does "
                                           "not")
    if flat.pop("network_train_text_encoder_only", None):
        notes.tell("none", "network_train_text_encoder_only",
                   "only the text encoder is trained there; the kit trains the U-Net")
    text_lr = flat.get("text_encoder_lr")
    flat["text_encoder_lr"] = max(text_lr) if isinstance(text_lr, list) and text_lr else text_lr
    if flat.pop("network_train_unet_only", None):
        flat["text_encoder_lr"] = 0.0
    elif flat["text_encoder_lr"] is None:
        flat["text_encoder_lr"] = 2e-6 if common is None else common
    if flat.pop("full_fp16", False):
        flat["full_bf16"] = True                              # both keep the adapter in 16 bits
    if flat.get("network_args.conv_dim"):
        flat.setdefault("network_args.conv_alpha", 1.0)
    return flat


def sizes(flat: Settings, notes: Notes, weights: str) -> Settings:
    """Note where rank and alpha are those of a file, which is not read here; weights: the setting that names it."""
    if not flat.pop("dim_from_weights", None):
        return flat
    if flat.get(weights):
        notes.tell("other", "dim_from_weights", f"rank and alpha are those of {flat[weights]}, whatever else the "
                                                "settings say: set them as `labkit inspect` tells them of that file")
    else:
        notes.tell("contradiction", "dim_from_weights", f"it has no effect without {weights}")
    return flat


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Add the settings that follow from others: the module, and that the U-Net is trained alone."""
    flat = without_weight({"network_module": PLAIN, **flat}, notes)
    if not flat.get("text_encoder_lr"):
        flat.pop("text_encoder_lr", None)
        flat["network_train_unet_only"] = True
    if flat.get("optimizer_type") == "SGD":
        for name in ("optimizer_args.betas.0", "optimizer_args.betas.1", "optimizer_args.eps"):
            flat.pop(name, None)
    return buckets.write_kohya(flat, run)


def without_weight(flat: Settings, notes: Notes) -> Settings:
    """Leave out the weight of class pictures where there are none: the base draws none there."""
    weight = None if flat.get("reg_data_dir") else flat.pop("prior_loss_weight", None)
    if weight:
        notes.tell("none", "prior_loss_weight", f"{weight:g}: {changes('prior_loss_weight')}")
    return flat


TRAINER = Trainer(
    name="kohya", title="kohya-ss/sd-scripts, train_network.py", form="toml",
    source="kohya-ss/sd-scripts: library/args.py, train_network.py, library/train_util.py, networks/lora.py",
    rows=CORE + EXTRAS + (
        Row("text_encoder_lr", "text_encoder_lr", spare=True),
        Row("adapter_kind", "network_module", write=None,
            read=lambda value, tell: "lora" if value == PLAIN else value),
        Row("family", "model_type", write=None),
        Row("half_precision_adapter", "full_bf16", write=None),
    ),
    choices=(
        Choice("optimizer", "optimizer_type", OPTIMIZERS, "adamw", near_optimizer),
        Choice("target_modules", "network_args.conv_dim", {
            ("all",): {"network_args.conv_dim": "=rank", "network_args.conv_alpha": "=alpha"}, ("linear",): {},
        }, ("linear",), near_targets, {("all",): SAMPLERS}),
        Choice("prediction_type", "v_parameterization", {
            "v_prediction": {"v_parameterization": True}, None: {}}, None),
        buckets.choice("enable_bucket", {"enable_bucket": True}, {}, buckets.CENTER, buckets.OF_KOHYA),
    ),
    scheduler="lr_scheduler", curves=CURVES, default_curve="constant",
    warmup=("lr_warmup_steps", "updates or share", 0),
    length=Length("max_train_steps", "max_train_epochs", "epochs", ("steps", 1600), ends_pass=True),
    fixed={"init_lora_weights": "default", "use_rslora": False, "adapter": "lora"},
    quiet=QUIET, before=before, after=after, script="accelerate launch train_network.py",
    marks=("network_module", "network_dim", "network_alpha", "network_train_unet_only"), names_repeat=True,
)
