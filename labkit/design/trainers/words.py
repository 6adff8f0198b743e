"""Settings of trainers that the kit lacks, in one vocabulary: the neutral value, and what another value changes.

Most are names of kohya's sd-scripts or of diffusers, whose words the field uses.
"""

from typing import Any, NamedTuple

from labkit.design.adapter_start import is_file
from labkit.design.config import RunConfig
from labkit.reading import BUCKETS


class Word(NamedTuple):
    """Hold the neutral value of a setting that the kit lacks, and what another value changes."""

    neutral: Any
    changes: str


WORDS = {
    "family": Word("sd", "the base is no U-Net of Stable Diffusion 1, 2 or XL, which alone the kit trains: layers, "
                         "targets of the loss and fitting rates are others"),
    "text_encoder_lr": Word(0.0, "the text encoder is adapted too, at this rate, so that words change their meaning"),
    "noise_offset": Word(0.0, "each channel's noise is shifted by a random constant, with which overall brightness is "
                              "learned faster"),
    "noise_offset_random_strength": Word(False, "the noise offset is drawn between 0 and its value"),
    "multires_noise_iterations": Word(0, "coarse noise is added to the noise, with which large areas are learned "
                                         "faster"),
    "multires_noise_discount": Word(0.3, "how much each coarser level of the multi-resolution noise adds"),
    "adaptive_noise_scale": Word(0.0, "the noise offset grows with the latents' mean"),
    "input_perturbation": Word(0.0, "the noise that is added differs from the noise that is asked for"),
    "zero_terminal_snr": Word(False, "the noise schedule ends in noise alone, so that the targets differ"),
    "prediction_type": Word(None, "what the U-Net is asked for; the kit takes what the base's own scheduler says"),
    "min_timestep": Word(0, "no timestep below it is trained, so that little noise is left out"),
    "max_timestep": Word(1000, "no timestep above it is trained, so that much noise is left out"),
    "timestep_distribution": Word("uniform", "some timesteps are drawn more often than others"),
    "loss_type": Word("l2", "large errors count otherwise than in the mean squared error"),
    "loss_weight": Word(None, "timesteps count otherwise in the loss, and not by Min-SNR"),
    "debiased_estimation_loss": Word(False, "each timestep's loss is divided by the root of its SNR"),
    "v_pred_like_loss": Word(0.0, "a loss as of v-prediction is added"),
    "scale_v_pred_loss_like_noise_pred": Word(False, "the loss of v-prediction is weighted by timestep"),
    "masked_loss": Word(False, "parts of each picture count less or not at all"),
    "scale_weight_norms": Word(None, "the adapter's matrices are scaled back when their norm passes this"),
    "lora_dropout": Word(0.0, "a share of the adapter's inputs is left out at random"),
    "rank_dropout": Word(0.0, "a share of the ranks is left out at random"),
    "module_dropout": Word(0.0, "a share of the adapted layers is left out at random"),
    "use_dora": Word(False, "the size of each weight is trained apart from its direction"),
    "adapter_kind": Word("lora", "the change is not B @ A, so that its rank and alpha mean something else"),
    "conv_rank": Word(None, "convolutions get another rank than linear layers"),
    "conv_alpha": Word(None, "convolutions get another alpha than linear layers"),
    "clip_skip": Word(1, "captions are read from an earlier layer of the text encoder"),
    "max_token_length": Word(75, "captions are cut after more tokens than the text encoder was trained on"),
    "weighted_captions": Word(False, "brackets in captions weigh words"),
    "shuffle_caption": Word(False, "the parts of a caption change places at every view"),
    "keep_tokens": Word(0, "so many parts of a caption stay in front when they are shuffled"),
    "caption_tag_dropout_rate": Word(0.0, "a share of each caption's tags is left out at random"),
    "caption_dropout_every_n_epochs": Word(0, "in every n-th pass all captions are empty"),
    "trigger_word": Word(None, "a word is put into every caption; write it into the captions"),
    "flip": Word(False, "pictures are mirrored at random; mirrored copies in the folder do the same"),
    "color_aug": Word(False, "colours are changed at random"),
    "random_crop": Word(False, "another part of each picture is seen at every view; the kit crops the middle"),
    "random_square": Word(False, "which square is used of a picture is drawn once; the kit crops the middle"),
    "min_bucket_reso": Word(None, "it is the least side of a bucket; the kit's is half the resolution"),
    "max_bucket_reso": Word(None, "it is the most that a side of a bucket has; the kit's is twice the resolution"),
    "bucket_reso_steps": Word(64, "sides of buckets are multiples of it; the kit's are multiples of what the base "
                                  "needs, 64 pixels for Stable Diffusion 1 and 2, 32 for SDXL"),
    "bucket_no_upscale": Word(False, "buckets have the pictures' own sizes, and small ones are not enlarged; the kit "
                                     "enlarges them to its buckets"),
    "validation_split": Word(0.0, "so large a share of the pictures is held out and never trained on; the kit holds "
                                  "a part out by itself"),
    "repeats": Word(1, "a pass shows each picture so many times"),
    "ema": Word(False, "an average of the adapter over the updates is kept and saved"),
    "clip_by_value": Word(False, "each entry of the gradient is cut by itself, which turns it"),
    "initial_weights": Word(None, "training begins at an adapter that is there already; the kit begins at a "
                                  ".safetensors file"),
    "base_weights": Word(None, "adapters are merged into the base first"),
    "reg_data": Word(None, "pictures of a class are trained beside; put them into a folder class in that of your "
                           "pictures, with prior_loss_weight above 0, which without them has the base draw some"),
    "vae": Word(None, "pictures are encoded by another autoencoder"),
    "half_precision_adapter": Word(False, "the adapter is kept in 16 bits, in which small updates round to nothing"),
    "fp8_base": Word(False, "the frozen base is kept in 8 bits, with an error in every layer"),
    "gpus": Word(1, "each device has its own batch, so that an update has so many times the pictures"),
    "lr_layers": Word(None, "layers get rates, ranks or alphas of their own"),
    "blocks": Word(None, "only these blocks of the U-Net are adapted"),
    "textual_inversion": Word(False, "new words are learned beside the adapter, which its captions then need"),
    "lr_cycles": Word(1, "how often the schedule starts again"),
    "lr_power": Word(1.0, "the power of a polynomial schedule"),
    "momentum": Word(0.0, "plain gradient descent keeps a part of its last step"),
}
# What the kit has and a trainer may have not: what is lost without it.
LOST = {
    "base": "name a base of your own",
    "data": "the pictures are named in another file there",
    "adapter": "a dense change would be trained as a LoRA",
    "use_rslora": "alpha is divided by the rank there, not by its root",
    "init_lora_weights": "A begins with other numbers, of another size",
    "lr_ratio_B": "A and B get the same rate",
    "lr_edits": "changes of the rate during the run are left out",
    "parent": "training begins at the untouched base",
    "prior_loss_weight": "no pictures of the base's own are trained beside",
    "target_modules": "other layers are adapted",
    "alpha": "the scaling alpha / rank is another",
    "weight_decay": "the optimizer's own is taken",
    "n_train": "all pictures of the folder are used",
    "revision": "the newest revision of the base is taken",
    "seed": "order, noise and A cannot be repeated",
    "snr_gamma": "all timesteps count the same in the loss",
    "caption_dropout": "no captions are replaced by the empty one",
    "resolution": "the trainer's own side is taken",
    "crop": "the trainer takes another part of pictures that are no squares",
    "captions": "captions are read as the trainer has them: write those that are meant beside the pictures",
    "mixed_precision": "the trainer's own precision is taken",
    "max_grad_norm": "gradients are clipped otherwise",
    "adam_beta1": "the optimizer's own is taken", "adam_beta2": "the optimizer's own is taken",
    "adam_epsilon": "the optimizer's own is taken",
}
OPTIMIZERS = {
    "8bit": "its moments are kept in 8 bits", "bf16": "its weights and moments are kept in 16 bits",
    "prodigy": "it finds its rate itself, and learning_rate is only a factor of it",
    "dadapt": "it finds its rate itself, and learning_rate is only a factor of it",
    "automagic": "it finds its rate itself", "schedulefree": "it replaces the schedule by an average of the weights",
    "adafactor": "its second moments are products of rows and columns", "lion": "it steps by the sign of the moments, "
    "with a rate several times lower",
}
OWN_RATE = ("prodigy", "dadapt", "automagic")                 # of these, those that find a rate themselves
DEFAULTS = RunConfig().to_dict() | {"prior_loss_weight": 0.0}


def neutral(name: str) -> Any:
    """Return the neutral value of a word, or the default of a run's field."""
    return WORDS[name].neutral if name in WORDS else DEFAULTS.get(name)


def finds_rate(optimizer: Any) -> bool:
    """Tell whether an optimizer finds its rate itself, so that what is called its rate is a factor."""
    return any(part in str(optimizer).replace("_", "") for part in OWN_RATE)


def changes(name: str, value: Any = None) -> str:
    """Say what a setting that the kit lacks changes, or what is lost without one that a trainer lacks.

    value    counts for the optimizer, the adapter's start and the crop
    """
    if name == "optimizer":
        change = next((text for part, text in OPTIMIZERS.items() if part in str(value).replace("_", "")), None)
        return change or "it steps otherwise"
    if name == "crop" and value == BUCKETS:
        return "pictures are cropped to squares there instead of keeping nearly their own shape"
    name = "parent" if name == "init_lora_weights" and is_file(value) else name
    return WORDS[name].changes if name in WORDS else LOST.get(name, "it cannot be set there")
