"""Settings of Nerogar/OneTrainer: its configuration and presets in JSON.

Read at commit 23df3832: modules/util/config/TrainConfig.py, ConceptConfig.py, modules/util/lr_scheduler_util.py,
modules/util/create.py, modules/util/optimizer_util.py, modules/util/NamedParameterGroup.py (the root of the batch),
LAYER_PRESETS of modules/modelSetup/BaseStableDiffusionSetup.py and training_presets. What to notice: alpha is 1 at
rank 16 where it is not given, a warm-up counts forward passes and is 200 of them, the text encoder is trained unless
told otherwise, learning_rate_scaler multiplies by a root, COSINE_WITH_RESTARTS ends at its peak, and concepts are
mirrored and cropped at random.
"""

from typing import Any

from labkit.design.trainers import buckets
from labkit.design.trainers.reading import near_optimizer, near_targets, or_zero, side, text, whole, words
from labkit.design.trainers.table import Choice, Curve, Length, Notes, Row, Run, Settings, Tell, Trainer
from labkit.reading import BUCKETS

PRECISION = words({"FLOAT_32": "no", "TFLOAT_32": "no", "FLOAT_16": "fp16", "BFLOAT_16": "bf16"})
END = ("learning_rate_min_factor", "share", 0.0)
CONCEPT = ("concepts.0.image.enable_random_flip", "concepts.0.image.enable_crop_jitter")
# As older files are migrated by TrainConfig.py: a flat name for what is nested now.
OLD = {
    "train_unet": "unet.train", "unet_learning_rate": "unet.learning_rate", "weight_decay": "optimizer.weight_decay",
    "train_text_encoder": "text_encoder.train", "text_encoder_learning_rate": "text_encoder.learning_rate",
    "optimizer": "optimizer.optimizer", "train_unet_epochs": "unet.stop_training_after",
    "train_text_encoder_epochs": "text_encoder.stop_training_after",
}


def _root(flat: Settings, notes: Notes) -> float:
    """Return the factor of learning_rate_scaler on the rate: the root of the batch or passes that it names."""
    scaler = str(flat.pop("learning_rate_scaler", "NONE")).upper()
    batch, passes = flat.get("batch_size", 1), flat.get("gradient_accumulation_steps", 1)
    factor = {"NONE": 1, "BATCH": batch, "GLOBAL_BATCH": batch, "GRADIENT_ACCUMULATION": passes,
              "BOTH": batch * passes, "GLOBAL_BOTH": batch * passes}.get(scaler)
    if factor is None:
        notes.tell("unknown", "learning_rate_scaler", f"{scaler} is not known, so the rate is taken as it is")
    return float(factor or 1) ** 0.5


def _concepts(flat: Settings, notes: Notes) -> Settings:
    """Keep the first concept, and note others, or that pictures are described in another file."""
    more = {name.split(".")[1] for name in flat if name.startswith("concepts.")}
    if not more:
        notes.tell("other", "concept_file_name", "pictures, repeats, mirroring and crops are told in that file; where "
                                                 "it does not say otherwise, pictures are mirrored and cropped at "
                                                 "random there")
        return flat | dict.fromkeys(CONCEPT, False)
    if more - {"0"}:
        notes.tell("none", "concepts", f"a run has one folder of pictures; {len(more) - 1} more are left out")
    flat = {name: value for name, value in flat.items() if not name.startswith("concepts.")
            or name.startswith("concepts.0.")}
    if str(flat.get("concepts.0.balancing_strategy", "REPEATS")).upper() == "SAMPLES":
        samples = flat.pop("concepts.0.balancing", None)
        notes.tell("other", "concepts.0.balancing_strategy", f"a pass shows {samples} pictures of the folder there, "
                                                             "however many it holds")
    return flat


def _family(value: Any, tell: Tell) -> Any:
    """Read a model type that the kit trains as "sd", others by their name."""
    known = ("STABLE_DIFFUSION_15", "STABLE_DIFFUSION_20", "STABLE_DIFFUSION_21", "STABLE_DIFFUSION_XL_10_BASE")
    return "sd" if str(value).upper() in known else str(value)


def _weighting(value: Any, tell: Tell) -> Any:
    """Read a weighting of timesteps by its name; None for no weighting and for Min-SNR, which is snr_gamma."""
    return None if str(value).upper() in ("CONSTANT", "MIN_SNR_GAMMA") else value


def before(flat: Settings, notes: Notes) -> Settings:
    """Convert the settings that need more than a rename: old names, the rate and its scaling, the text encoder's."""
    flat = {OLD.get(name, name): value for name, value in flat.items()}
    flat = _concepts(flat, notes)
    if flat.pop("unet.train", True) is False:
        notes.tell("none", "unet.train", "the U-Net is not trained there; the kit trains it alone")
    base = flat.get("learning_rate", 3e-6)
    rate, root = flat.pop("unet.learning_rate", None) or base, _root(flat, notes)
    if root != 1:
        notes.tell("other", "learning_rate_scaler", f"the rate that is given is multiplied by {root:.4g} there, the "
                                                    f"root of the batch; the product {rate * root:.4g} is taken")
    flat["learning_rate"] = rate * root
    _tell_early_ends(flat, notes)
    trained = [part for part in ("text_encoder", "text_encoder_2") if flat.pop(f"{part}.train", part[-1] != "2")]
    rates = [flat.pop(f"{part}.learning_rate", None) or base for part in ("text_encoder", "text_encoder_2")]
    flat["text_encoder.learning_rate"] = rates[0] * root if trained else 0.0
    if str(flat.get("training_method", "LORA")).upper() != "LORA":
        flat["peft_type"] = str(flat["training_method"])
        if flat["peft_type"].upper() == "FINE_TUNE":
            notes.tell("none", "training_method", "FINE_TUNE changes all weights of the U-Net without an adapter")
    flat.pop("training_method", None)
    strengths = {name: flat.get(f"{name}_strength", 0.0) for name in ("mae", "log_cosh", "huber")}
    strengths = {"mse": flat.get("mse_strength", 1.0)} | {name: part for name, part in strengths.items() if part}
    if len(strengths) > 2 or len(strengths) > 1 and strengths["mse"]:
        flat["loss_type"] = " + ".join(f"{part:g} {name}" for name, part in strengths.items())
    return flat


def _tell_early_ends(flat: Settings, notes: Notes) -> None:
    """Take out the settings of when a part stops learning, and note a stop before the training's own end."""
    epochs = flat.get("epochs", 100)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        name = f"{part}.stop_training_after"
        until, unit = flat.pop(name, None), str(flat.pop(f"{name}_unit", "EPOCH")).upper()
        learns = part == "unet" or flat.get(f"{part}.train", part == "text_encoder")
        are_numbers = all(isinstance(value, int | float) for value in (until, epochs))
        is_late = unit == "EPOCH" and are_numbers and until >= epochs
        if learns and until is not None and unit != "NEVER" and not is_late:
            notes.tell("none", name, f"{part} stops learning after {until} ({unit.lower()}) there, others go on")


def after(flat: Settings, run: Run, notes: Notes) -> Settings:
    """Add training_method, whether the text encoder is trained, and the preset name of the layer filter."""
    if "concepts.0.path" not in flat:                         # what its pictures are is told in another file
        flat = {name: value for name, value in flat.items() if not name.startswith("concepts.")}
    notes.tell("default", "model_type", "name the base's: STABLE_DIFFUSION_15 is taken where it is not given")
    rate = flat.pop("text_encoder.learning_rate", 0.0)
    preset = {"attn": "attn-only", "attentions": "attn-mlp", "": "full"}.get(flat.get("layer_filter", ""), "custom")
    flat |= {"training_method": "LORA", "layer_filter_preset": preset, "text_encoder.train": bool(rate)}
    if rate:
        flat["text_encoder.learning_rate"] = rate
    return flat


TRAINER = Trainer(
    name="onetrainer", title="Nerogar/OneTrainer", form="json",
    source="Nerogar/OneTrainer: modules/util/config/TrainConfig.py, modules/util/lr_scheduler_util.py, "
           "modules/util/create.py",
    rows=(
        Row("base", "base_model_name"), Row("family", "model_type", write=None, read=_family),
        Row("data", "concepts.0.path"),
        Row("repeats", "concepts.0.balancing", spare=True, read=whole), Row("flip", CONCEPT[0], True),
        Row("random_crop", CONCEPT[1], True),
        Row("shuffle_caption", "concepts.0.text.enable_tag_shuffling", spare=True),
        *(Row("color_aug", f"concepts.0.image.enable_random_{what}", write=None)
          for what in ("brightness", "contrast", "saturation", "hue")),
        Row("learning_rate", "learning_rate", 3e-6),
        Row("rank", "lora_rank", 16), Row("alpha", "lora_alpha", 1.0), Row("train_batch_size", "batch_size", 1),
        Row("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
        Row("max_grad_norm", "clip_grad_norm", 1.0, or_zero),
        Row("adam_beta1", "optimizer.beta1", 0.9), Row("adam_beta2", "optimizer.beta2", 0.999),
        Row("adam_epsilon", "optimizer.eps", 1e-8), Row("weight_decay", "optimizer.weight_decay", 1e-2),
        Row("momentum", "optimizer.momentum", spare=True),
        Row("resolution", "resolution", 512, side, text),
        Row("mixed_precision", "train_dtype", "fp16", *PRECISION),
        Row("caption_dropout", "text_encoder.dropout_probability", 0.0),
        Row("lora_dropout", "dropout_probability", spare=True),
        Row("noise_offset", "offset_noise_weight", spare=True),
        Row("input_perturbation", "perturbation_noise_weight", spare=True),
        Row("zero_terminal_snr", "rescale_noise_scheduler_to_zero_terminal_snr", spare=True),
        Row("text_encoder_lr", "text_encoder.learning_rate", spare=True),
        Row("use_dora", "lora_decompose", spare=True),
        Row("adapter_kind", "peft_type", spare=True, read=lambda value, tell: str(value).lower()),
        Row("initial_weights", "lora_model_name", spare=True),
        Row("min_timestep", "min_noising_strength", read=lambda value, tell: round(1000 * value),
            write=lambda value, tell: value / 1000, spare=True),
        Row("max_timestep", "max_noising_strength", read=lambda value, tell: round(1000 * value),
            write=lambda value, tell: value / 1000, spare=True),
        Row("timestep_distribution", "timestep_distribution", spare=True,
            read=lambda value, tell: str(value).lower(), write=lambda value, tell: str(value).upper()),
        Row("clip_skip", "text_encoder_layer_skip", read=lambda value, tell: value + 1,
            write=lambda value, tell: value - 1, spare=True),
        Row("masked_loss", "masked_training", spare=True),
        Row("vae", "vae.model_name", spare=True),
        Row("loss_weight", "loss_weight_fn", write=None, read=_weighting), Row("gpus", "multi_gpu", spare=True),
        Row("ema", "ema", spare=True, read=lambda value, tell: str(value).upper() != "OFF",
            write=lambda value, tell: "GPU" if value else "OFF"),
    ),
    choices=(
        Choice("optimizer", "optimizer.optimizer", {
            "adamw": {"optimizer.optimizer": "ADAMW"}, "adamw8bit": {"optimizer.optimizer": "ADAMW_8BIT"},
            "sgd": {"optimizer.optimizer": "SGD"}, "adafactor": {"optimizer.optimizer": "ADAFACTOR"},
            "lion": {"optimizer.optimizer": "LION"}, "prodigy": {"optimizer.optimizer": "PRODIGY"},
        }, "adamw", near_optimizer),
        Choice("target_modules", "layer_filter", {
            ("attention",): {"layer_filter": "attn"}, ("linear",): {"layer_filter": "attentions"},
            ("all",): {"layer_filter": ""},
        }, ("all",), near_targets, {
            ("all",): "without a filter conv_in, conv_out, samplers and time embedding are adapted there too, which "
                      "the kit's set all leaves out"}),
        Choice("snr_gamma", "loss_weight_fn", {
            "=": {"loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": "="},
            None: {"loss_weight_fn": "CONSTANT"},
        }, None),
        Choice("loss_type", "loss_type", {
            "l1": {"mse_strength": 0.0, "mae_strength": 1.0}, "huber": {"mse_strength": 0.0, "huber_strength": 1.0},
            "l2": {},
        }, "l2"),
        Choice("prediction_type", "force_v_prediction", {
            "v_prediction": {"force_v_prediction": True}, "epsilon": {"force_epsilon_prediction": True}, None: {},
        }, None),
        buckets.choice("aspect_ratio_bucketing", {"aspect_ratio_bucketing": True}, {"aspect_ratio_bucketing": False},
                       BUCKETS, buckets.OF_ONETRAINER),
    ),
    scheduler="learning_rate_scheduler",
    curves=(
        Curve("CONSTANT", "constant"), Curve("LINEAR", "linear", end=END), Curve("COSINE", "cosine", end=END),
        Curve("COSINE_WITH_HARD_RESTARTS", "cosine_with_restarts", end=END,
              options=(("cycles", "learning_rate_cycles", 1.0),)),
        Curve("COSINE_WITH_RESTARTS", "waves", end=END, options=(("cycles", "learning_rate_cycles", 1.0),),
              note="it is a smooth wave: with one cycle the rate falls to 0 at half time and ends at its peak"),
        Curve("REX", "rex", end=END),
    ),
    default_curve="CONSTANT", warmup=("learning_rate_warmup_steps", "passes or share", 200.0),
    length=Length(None, "epochs", "epochs", ("epochs", 100)),
    fixed={"init_lora_weights": "default", "use_rslora": False, "adapter": "lora"},
    quiet=frozenset({
        "__version", "concepts.0.name", "concepts.0.seed", "concepts.0.enabled", "concepts.0.type",
        "concepts.0.__version", "concepts.0.include_subdirectories", "concepts.0.validation_concept",
        "concepts.0.image_variations", "concepts.0.text_variations", "concepts.0.image.*", "concepts.0.text.*",
        "concepts.0.balancing_strategy", "debug_*", "workspace_dir", "cache_dir", "tensorboard*", "validat*",
        "continue_last_backup", "prevent_overwrites", "include_train_config", "output_*", "compile", "image_caching",
        "text_caching", "latent_caching*", "clear_cache_before_training", "concept_file_name", "caching_threads",
        "prefetch_next_batch", "train_device", "temp_device", "fallback_train_dtype", "enable_autocast_cache",
        "only_cache", "frames", "attention_mechanism", "vb_loss_strength", "loss_scaler", "ema_*", "sample*",
        "backup*", "rolling_backup*", "save_*", "non_ema_sampling", "secrets*", "cloud*", "lora_weight_dtype",
        "weight_dtype", "*_weight_dtype", "bundle_additional_embeddings", "optimizer_defaults*", "device_indexes",
        "gradient_reduce*", "fused_gradient_reduce", "async_*", "layer_filter_preset", "gradient_checkpointing",
        "unet.*", "prior.*", "transformer.*", "text_encoder.*", "text_encoder_2.*", "text_encoder_3.*",
        "text_encoder_4.*", "vae.*", "effnet_encoder.*", "decoder*", "embedding*", "additional_embeddings*",
        "quantization*", "log_cosh_strength", "mae_strength", "huber_strength", "oft_*", "lokr_*", "dora_oft",
        "unmasked_*", "normalize_masked_area_loss", "extra_model_name", "masked_prior_preservation_weight",
        "text_encoder_weight_dtype", "unet_weight_dtype", "vae_weight_dtype", "lora_decompose_*", "noising_*",
        "timestep_shift", "dynamic_timestep_shifting", "huber_delta", "text_encoder_2_*",
        "text_encoder_sequence_length", "text_encoder_3_*", "text_encoder_4_*", "circular_mask_generation",
        "token_count", "initial_embedding_text", "unconditional_transformer.*", "optimizer.fused", "optimizer.foreach",
        "optimizer.amsgrad", "optimizer.capturable", "optimizer.maximize", "optimizer.differentiable",
        "optimizer.fused_back_pass", "force_circular_padding", "preserve_embedding_norm",
    }),
    before=before, after=after, marks=("training_method", "lora_rank", "learning_rate_scheduler", "base_model_name"),
)
