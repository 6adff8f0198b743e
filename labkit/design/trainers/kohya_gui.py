"""Settings of bmaltais/kohya_ss: the JSON that its window saves, which becomes options of kohya-ss/sd-scripts.

Read at commit 45088f04 (kohya_gui/lora_gui.py) and in its presets/lora and test/config. What to notice: the warm-up is
a percentage unless lr_warmup_steps is given, text_encoder_lr 0 beside a unet_lr trains the U-Net alone, 0 or an empty
field says nothing, of LoRA_type only Standard, Kohya LoCon, LyCORIS/LoCon and Flux1 are B @ A, and buckets are on
unless told otherwise.
"""

from labkit.design.trainers import buckets, kohya
from labkit.design.trainers.networks import adapts_convolutions
from labkit.design.trainers.reading import near_optimizer, near_targets, or_zero, side, text, whole
from labkit.design.trainers.table import Choice, Length, Notes, Row, Run, Settings, Trainer
from labkit.reading import BUCKETS

KINDS = {("all",): {"LoRA_type": "Kohya LoCon", "conv_dim": "=rank", "conv_alpha": "=alpha"},
         ("linear",): {"LoRA_type": "Standard"}}
OF_LYCORIS = frozenset({
    "LyCORIS_preset", "decompose_both", "factor", "constrain", "rescaled", "rank_dropout_scale", "train_norm",
    "train_on_input", "unit", "use_cp", "use_scalar", "use_tucker", "bypass_mode", "dora_wd", "full_matrix",
})
OFF_AT_ZERO = ("min_snr_gamma", "max_train_steps", "max_train_epochs", "scale_weight_norms", "clip_skip", "vae",
               "multires_noise_iterations", "max_timestep", "stop_text_encoder_training", "block_lr_zero_threshold")
WINDOW = {"learning_rate": 1e-4, "network_dim": 8, "mixed_precision": "fp16", "bucket_no_upscale": True}
START = "lora_network_weights"
OF_SCRIPT = {"resolution": "max_resolution", "network_weights": START, "optimizer_type": "optimizer",
             "model_type": "flux1_checkbox"}      # names of sd-scripts, as additional_parameters have them
ARGUMENTS = "network_args."                       # what the window has fields of their own for
SIDES = (256, 2048)                               # of buckets where nothing is said, as the window has them


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: warm-up in percent, 0 for off, kinds that are not B @ A."""
    flat |= {theirs: flat.pop(name) for name, theirs in OF_SCRIPT.items() if name in flat}
    flat |= {name.removeprefix(ARGUMENTS): flat.pop(name) for name in list(flat) if name.startswith(ARGUMENTS)}
    kohya.tell_unread(flat, notes)
    flat = kohya.class_pictures(flat, notes)
    flat = {name: value for name, value in flat.items() if not (value == 0 and name in OFF_AT_ZERO)}
    percent = flat.pop("lr_warmup", None)
    if percent and not flat.get("lr_warmup_steps"):
        flat["lr_warmup_steps"] = f"{percent}%"
    multires = str(flat.pop("noise_offset_type", "Original")).lower() == "multires"
    for name in ("noise_offset", "adaptive_noise_scale") if multires else ("multires_noise_iterations",
                                                                           "multires_noise_discount"):
        if flat.pop(name, None) and name != "multires_noise_discount":
            notes.tell("contradiction", name, f"it has no effect while noise_offset_type is "
                                              f"{'Multires' if multires else 'Original'}")
    passes = flat.pop("max_train_epochs", None)
    if passes:                                                # sd-scripts lets it count instead of the steps
        flat["epoch"] = passes
        flat.pop("max_train_steps", None)
    flat = _kind(flat, notes)
    unet, text_lr = flat.get("unet_lr"), flat.get("text_encoder_lr")
    if not text_lr and unet:
        flat["network_train_unet_only"] = True
    elif not unet:                                            # without both, learning_rate counts for both
        flat |= {"unet_lr": None, "text_encoder_lr": text_lr or None}
        flat["network_train_text_encoder_only"] = bool(text_lr)
    return kohya.rates(_buckets(kohya.sizes(flat, notes, START), notes), notes)


def _kind(flat: Settings, notes: Notes) -> Settings:
    """Read what LoRA_type and the kind of base stand for, and leave out what is saved although it does not count."""
    kind = str(flat.get("LoRA_type", "Standard"))
    flat = {**flat, "flux1_checkbox": "sd3" if flat.pop("sd3_checkbox", None) else flat.get("flux1_checkbox")
            or kind.startswith("Flux1")}
    unused = frozenset() if kind.startswith("LyCORIS") else OF_LYCORIS
    if kind in ("LoCon", "LyCORIS/LoCon"):                    # one name of it is older
        preset = str(flat.pop("LyCORIS_preset", "full"))
        convolutions = adapts_convolutions(preset, notes, "LyCORIS_preset") and flat.get("conv_dim") != 0
        kind = "Kohya LoCon" if convolutions else "Standard"
    elif kind == "Flux1":
        kind = "Standard"
    if kind in ("Standard", "Kohya LoCon"):
        flat["LoRA_type"] = kind
    else:
        flat["network_module"] = kind
    unused |= {"conv_dim", "conv_alpha"} if kind == "Standard" else frozenset()
    return {name: value for name, value in flat.items() if name not in unused}


def _buckets(flat: Settings, notes: Notes) -> Settings:
    """Read the settings of buckets; by the window's defaults there are some, and no picture is enlarged for them."""
    flat = {"enable_bucket": True, **flat}
    if flat["enable_bucket"]:
        flat.setdefault("bucket_no_upscale", WINDOW["bucket_no_upscale"])
    return {"bucket_no_upscale": False, **buckets.read_kohya(flat, notes, flat.get("max_resolution"), SIDES)}


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Add both rates, which the window asks for, and a warm-up of 0 percent."""
    flat = kohya.without_weight(flat, notes)
    flat = {**flat, "lr_warmup": 0} | ({"unet_lr": flat["learning_rate"]} if "learning_rate" in flat else {})
    return buckets.write_kohya(flat, run, SIDES) | {"text_encoder_lr": flat.get("text_encoder_lr") or 0}


def _row(row: Row) -> Row:
    """Return a row of sd-scripts as the window has it: no sections, its own defaults, and 8.0 read as 8."""
    name = OF_SCRIPT.get(row.theirs, row.theirs.removeprefix(ARGUMENTS))
    row = row._replace(theirs=name, default=WINDOW.get(name, row.default))
    if row.ours == "family":
        return row._replace(read=lambda value, tell: "flux" if value is True else value or None)
    if row.ours == "resolution":
        return row._replace(read=side, write=text)
    if row.ours == "snr_gamma":
        return row._replace(write=or_zero)
    return row._replace(read=whole) if isinstance(row.default, int) and row.default is not True else row


TRAINER = Trainer(
    name="kohya_ss", title="bmaltais/kohya_ss, the JSON of its window", form="json",
    source="bmaltais/kohya_ss: kohya_gui/lora_gui.py, presets/lora, test/config",
    rows=tuple(_row(row) for row in kohya.TRAINER.rows) + (
        Row("lr_layers", "block_lr", write=None), Row("gpus", "num_processes", write=None),
    ),
    choices=(
        Choice("optimizer", "optimizer", {name: {"optimizer": values["optimizer_type"]}
                                          for name, values in kohya.OPTIMIZERS.items()}, "adamw8bit", near_optimizer),
        Choice("target_modules", "LoRA_type", KINDS, ("linear",), near_targets, {("all",): kohya.SAMPLERS}),
        *(choice for choice in kohya.TRAINER.choices if choice.ours == "prediction_type"),
        buckets.choice("enable_bucket", {"enable_bucket": True}, {"enable_bucket": False}, BUCKETS, buckets.OF_KOHYA),
    ),
    scheduler="lr_scheduler", curves=kohya.CURVES, default_curve="cosine",
    warmup=("lr_warmup_steps", "updates", 0), length=Length("max_train_steps", "epoch", "steps", ("epochs", 1)),
    fixed=kohya.TRAINER.fixed,
    quiet=kohya.QUIET | {
        "block_alphas", "block_lr_zero_threshold", "conv_block*", "gpu_ids", "multi_gpu", "num_machines", "model_list",
        "sdxl*", "extra_accelerate*", "dynamo*", "main_process_port", "noise_offset_type", "use_wandb",
    },
    before=before, after=after, marks=("LoRA_type", "max_resolution", "model_list"), names_repeat=True,
)
