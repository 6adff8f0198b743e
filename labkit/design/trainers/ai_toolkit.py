"""Settings of ostris/ai-toolkit: its YAML of one job, or the same in JSON.

Read at commit 27a03a91: toolkit/config_modules.py (NetworkConfig, TrainConfig, DatasetConfig), toolkit/scheduler.py,
toolkit/optimizer.py, toolkit/lora_special.py, jobs/process/BaseSDTrainProcess.py, config/examples. What to notice:
linear_alpha is 1 where it is not given, `linear` alone rises from a third of the rate to all of it, a warm-up is only
known to constant_with_warmup (1,000 where it is not given), gradient_accumulation_steps counts forward passes as
steps while gradient_accumulation counts updates, the optimizer's epsilon is 1e-6, and pictures are in buckets unless
told otherwise (square_crop makes squares of these).
"""

from labkit.design.trainers import buckets
from labkit.design.trainers.reading import near_targets, positive, side, words
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Run, Settings, Trainer
from labkit.reading import BUCKETS

PRECISION = words({"fp32": "no", "float32": "no", "float": "no", "fp16": "fp16", "float16": "fp16", "bf16": "bf16",
                   "bfloat16": "bf16"})
TOLERANCE = "datasets.0.bucket_tolerance"
PARAMS = "train.lr_scheduler_params."


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: the job's first process and data set, rates and steps."""
    flat = {name.removeprefix("config.process.0."): value for name, value in flat.items()}
    for name in [name for name in flat if name.startswith("config.process.")]:
        notes.tell("none", name, "a run is one process, and the first one of the job is taken")
        del flat[name]
    more = {name.split(".")[1] for name in flat if name.startswith("datasets.")} - {"0"}
    if more:
        notes.tell("none", "datasets", f"a run has one folder of pictures; {len(more)} more of the job are left out")
    flat = {name: value for name, value in flat.items() if not name.startswith(tuple(f"datasets.{n}." for n in more))}
    if "network.rank" in flat:
        flat["network.linear"] = flat.pop("network.rank")
    if "network.alpha" in flat:
        flat.setdefault("network.linear_alpha", flat.pop("network.alpha"))
    if flat.pop("model.is_flux", False):
        flat.setdefault("model.arch", "flux")
    if flat.pop("train.train_unet", True) is False:
        notes.tell("none", "train.train_unet", "the U-Net is not trained there; the kit trains it alone")
    rate = flat.pop("train.unet_lr", None)
    flat["train.lr"] = rate if rate is not None else flat.get("train.lr", 1e-6)
    if flat.pop("train.train_text_encoder", False):
        flat.setdefault("train.text_encoder_lr", flat["train.lr"])
    else:
        flat.pop("train.text_encoder_lr", None)
    if flat.pop("datasets.0.square_crop", False):
        flat["datasets.0.buckets"] = False
    if flat.get("datasets.0.buckets") is False:
        flat = buckets.left_idle(flat, (TOLERANCE,), notes)
    passes = flat.pop("train.gradient_accumulation_steps", 1)
    if passes > 1:
        flat["train.gradient_accumulation"] = passes
        flat["train.steps"] = max(1, int(flat.get("train.steps", 1000)) // passes)
        notes.tell("other", "gradient_accumulation_steps",
                   f"it counts each of {passes} forward passes as a step there, so that {flat['train.steps']:,} "
                   "updates are made")
    return flat


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Put the settings into a job, and add which parts of the model are trained."""
    flat |= {"train.train_text_encoder": "train.text_encoder_lr" in flat, "train.train_unet": True}
    if flat["train.lr_scheduler"] != "constant_with_warmup":
        flat.pop(PARAMS + "num_warmup_steps", None)           # the other schedules stop with an error
    flat = {f"config.process.0.{name}": value for name, value in flat.items()}
    return {"job": "extension", "config.name": "run", "config.process.0.type": "sd_trainer", **flat}


TRAINER = Trainer(
    name="ai-toolkit", title="ostris/ai-toolkit", form="yaml",
    source="ostris/ai-toolkit: toolkit/config_modules.py, toolkit/scheduler.py, toolkit/optimizer.py",
    rows=(
        Row("base", "model.name_or_path"), Row("family", "model.arch", write=None,
            read=lambda value, tell: "sd" if str(value) in ("sd", "sd1", "sd15", "sd2", "sdxl") else value),
        Row("data", "datasets.0.folder_path"),
        Row("resolution", "datasets.0.resolution", 512, side, lambda value, tell: [value]),
        Row("caption_dropout", "datasets.0.caption_dropout_rate", 0.0),
        Row("learning_rate", "train.lr", 1e-6), Row("rank", "network.linear", 4),
        Row("alpha", "network.linear_alpha", 1.0), Row("train_batch_size", "train.batch_size", 1),
        Row("gradient_accumulation_steps", "train.gradient_accumulation", 1),
        Row("max_grad_norm", "train.max_grad_norm", 1.0),
        Row("adam_beta1", "train.optimizer_params.betas.0", 0.9),
        Row("adam_beta2", "train.optimizer_params.betas.1", 0.999),
        Row("weight_decay", "train.optimizer_params.weight_decay", 1e-2),
        Row("snr_gamma", "train.min_snr_gamma", read=positive),
        Row("mixed_precision", "train.dtype", "no", *PRECISION),
        Row("noise_offset", "train.noise_offset", spare=True), Row("loss_type", "train.loss_type", spare=True,
            read=lambda value, tell: {"mse": "l2", "mae": "l1"}.get(value, value),
            write=lambda value, tell: {"l2": "mse", "l1": "mae"}.get(value, value)),
        Row("text_encoder_lr", "train.text_encoder_lr", spare=True),
        Row("lora_dropout", "network.dropout", spare=True),
        Row("initial_weights", "network.pretrained_lora_path", spare=True),
        Row("repeats", "datasets.0.num_repeats", spare=True),
        Row("flip", "datasets.0.flip_x", spare=True), Row("bucket_reso_steps", TOLERANCE, spare=True),
        Row("random_crop", "datasets.0.random_crop", spare=True), Row("ema", "train.ema_config.use_ema", spare=True),
        Row("keep_tokens", "datasets.0.keep_tokens", spare=True), Row("trigger_word", "trigger_word", spare=True),
        Row("shuffle_caption", "datasets.0.shuffle_tokens", spare=True),
        Row("caption_tag_dropout_rate", "datasets.0.token_dropout_rate", spare=True),
        Row("min_timestep", "train.min_denoising_steps", spare=True),
        Row("max_timestep", "train.max_denoising_steps", spare=True,
            read=lambda value, tell: 1000 if value >= 999 else value),
        Row("vae", "model.vae_path", spare=True), Row("fp8_base", "model.quantize", spare=True),
        Row("reg_data", "datasets.0.is_reg", spare=True), Row("masked_loss", "datasets.0.mask_path", spare=True),
        Row("timestep_distribution", "train.content_or_style", spare=True,
            read=lambda value, tell: "uniform" if value == "balanced" else value,
            write=lambda value, tell: "balanced" if value == "uniform" else value),
    ),
    choices=(
        Choice("adapter_kind", "network.type", {"lora": {"network.type": "lora"}}, "lora"),
        Choice("optimizer", "train.optimizer", {
            "adamw": {"train.optimizer": "adamw"}, "adamw8bit": {"train.optimizer": "adamw8bit"},
            "adafactor": {"train.optimizer": "adafactor"}, "prodigy": {"train.optimizer": "prodigy"},
            "lion": {"train.optimizer": "lion"},
        }, "adamw", lambda value: "adamw"),
        Choice("target_modules", "network.conv", {
            ("all",): {"network.conv": "=rank", "network.conv_alpha": "=alpha"}, ("linear",): {},
        }, ("linear",), near_targets, {
            ("linear",): "every linear layer of the U-Net is adapted there, time embedding included, which the kit's "
                         "set linear leaves out",
            ("all",): "every layer of the U-Net is adapted there, samplers and time embedding included, which the "
                      "kit's set all leaves out"}),
        Choice("prediction_type", "model.is_v_pred", {"v_prediction": {"model.is_v_pred": True}, None: {}}, None),
        buckets.choice("datasets.0.buckets", {"datasets.0.buckets": True}, {"datasets.0.buckets": False}, BUCKETS,
                       buckets.OF_AI_TOOLKIT),
    ),
    scheduler="train.lr_scheduler",
    curves=(
        Curve("constant", "constant", warmup=False), Curve("constant_with_warmup", "constant"),
        Curve("cosine", "cosine", warmup=False, end=(PARAMS + "eta_min", "rate", 0.0)),
        Curve("cosine_with_restarts", "cosine", warmup=False, end=(PARAMS + "eta_min", "rate", 0.0),
              note="its one period is all steps of the run, so that nothing restarts"),
        Curve("linear", "line", warmup=False,
              options=(("start", PARAMS + "start_factor", 1 / 3), ("stop", PARAMS + "end_factor", 1.0)),
              note="torch's LinearLR rises from a third of the rate to all of it unless start_factor and end_factor "
                   "say otherwise"),
        Curve("step", "steps", warmup=False, options=(("step_size", PARAMS + "step_size", 1000),
                                                      ("gamma", PARAMS + "gamma", 0.1))),
    ),
    default_curve="constant", warmup=(PARAMS + "num_warmup_steps", "updates", 1000),
    length=Length("train.steps", None, "steps", ("steps", 1000)),
    fixed={"init_lora_weights": "default", "use_rslora": False, "adapter": "lora", "adam_epsilon": 1e-6},
    quiet=frozenset({
        "job", "config.name", "type", "training_folder", "device", "performance_log_every", "save.*", "sample.*",
        "logging.*", "meta.*", "train.gradient_checkpointing", "train.noise_scheduler", "train.skip_first_sample",
        "train.disable_sampling", "train.xformers", "train.sdp", "model.arch", "model.is_xl",
        "model.is_v2", "model.is_flux", "model.low_vram", "model.dtype", "datasets.0.caption_ext",
        "datasets.0.cache_latents*", "train.ema_config.ema_decay", "network.rank",
        "network.transformer_only", "datasets.0.default_caption", "train.force_first_sample",
        "train.unload_text_encoder", "train.cache_text_embeddings",
    }),
    before=before, after=after, marks=("config.process.0.train.lr", "config.process.0.network.linear"),
)
