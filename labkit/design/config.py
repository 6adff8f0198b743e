"""Every knob of a run in one frozen, checked, hashable object."""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from labkit.design import adapter_start, fields
from labkit.design.design_file import ALSO_REASONED, read_design, split
from labkit.design.target_modules import ATTENTION, default_targets, expanded, target_names
from labkit.errors import LabError
from labkit.reading import CROPS
from labkit.text import shown

ENGINE_VERSION = 1
SHARE_PREFIX = "lab2~"
OLD_PREFIX = "lab1~"                                          # from when every base's default was attention
DEFAULT_STEPS = 200

# What other trainers call our fields, so that a pasted setting is answered with the right name.
OTHER_NAMES = {
    "lr": "learning_rate", "unet_lr": "learning_rate", "lora_alpha": "alpha", "network_alpha": "alpha",
    "r": "rank", "dim": "rank", "network_dim": "rank", "lora_rank": "rank", "batch_size": "train_batch_size",
    "steps": "max_train_steps", "epochs": "num_train_epochs", "max_train_epochs": "num_train_epochs",
    "scheduler": "lr_scheduler", "warmup_steps": "lr_warmup_steps", "min_snr_gamma": "snr_gamma",
    "model": "base", "pretrained_model_name_or_path": "base", "dataset": "data", "train_data_dir": "data",
    "caption_column": "captions", "instance_prompt": "captions", "center_crop": "crop",
}
SCHEDULERS = ("constant", "linear", "cosine", "exponential", "three_phase")


def knob(default: Any, check: fields.Check, help: str) -> Any:
    """Declare a field with its default, its check and one line of explanation."""
    return dataclasses.field(default=default, metadata={"check": check, "help": help})


def whole(low: int, high: int, **options: bool) -> fields.Check:
    """Return a check for a whole number; options: those of `fields.number`."""
    return fields.number(int, low, high, **options)


def real(low: float, high: float, **options: bool) -> fields.Check:
    """Return a check for a number; options: those of `fields.number`."""
    return fields.number(float, low, high, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Hold every knob of one run; raise LabError naming the field when a value is not possible.

    Rates are per update, sizes in pictures, steps in optimizer updates. `None` means: derived by `resolved`.
    """

    base: str = knob(
        "embedded", fields.text(), "frozen base model: embedded, a folder, a .safetensors file or a hub name")
    revision: str | None = knob(None, fields.text(optional=True), "revision of a hub name")
    data: str = knob("liminal", fields.text(), "territory that ships, or a folder of pictures with captions")
    n_train: int | None = knob(None, whole(1, 10**7, optional=True), "training pictures used; None takes all")
    crop: str = knob(
        "center", fields.choice(*CROPS), "square that is used: center, or at an edge; or buckets, near its own shape")
    captions: str | None = knob(
        None, fields.source_of_captions, "None: as the folder has them; names, lines, column:NAME or text:CAPTION")
    resolution: int | None = knob(
        None, whole(64, 4096, optional=True), "side of a training picture in pixels; None takes the base's own")
    adapter: str = knob("lora", fields.choice("lora", "full"), "lora, or full: a dense change of the same matrices")
    target_modules: tuple[str, ...] | None = knob(
        None, target_names, "what is adapted: attention, linear, all, or names of layers; None takes the base's own")
    rank: int = knob(8, whole(1, 4096), "rank of the update")
    alpha: float | None = knob(
        None, real(0, 1e6, above=True, optional=True), "lora_alpha; None takes the rank, so that scaling is 1")
    use_rslora: bool = knob(False, fields.flag, "scaling = alpha / sqrt(rank) instead of alpha / rank")
    init_lora_weights: str = knob(
        "default", adapter_start.init_weights,
        "how A is drawn: default (Kaiming-uniform) or gaussian (N(0, 1/rank^2)); or an adapter's .safetensors file")
    learning_rate: float = knob(1e-3, real(0, 1000, above=True), "highest rate of the schedule")
    lr_ratio_B: float = knob(1.0, real(0, 1e4, above=True), "rate of B over rate of A (LoRA+)")
    lr_scheduler: str = knob("constant", fields.choice(*SCHEDULERS), "how the rate changes over the run")
    lr_warmup_steps: int = knob(
        0, whole(0, 10**7), "updates over which the rate rises; 0 leaves three_phase its own share, 100 in 5,100")
    lr_end: float | None = knob(
        None, real(0, 1000, optional=True),
        "rate at the end; None: 0 for linear and cosine, a tenth for exponential and three_phase")
    lr_edits: tuple[tuple[int, float], ...] = knob(
        (), fields.edits, "changes made during the run: (step, rate from there on)")
    parent: str | None = knob(
        None, fields.text(optional=True, pattern="[0-9a-f]{16}", allowed="a run id of 16 hexadecimal digits"),
        "run this one was forked from; an adapter's file is taken for init_lora_weights")
    optimizer: str = knob("adamw", fields.choice("adamw", "sgd"), "optimizer")
    adam_beta1: float = knob(0.9, real(0, 0.9999999), "decay of the first moment")
    adam_beta2: float = knob(0.999, real(0, 0.9999999), "decay of the second moment")
    adam_epsilon: float = knob(1e-8, real(0, 1, above=True), "added to the root of the second moment")
    weight_decay: float = knob(1e-2, real(0, 100), "decoupled weight decay")
    max_grad_norm: float = knob(1.0, real(0, 1e6), "gradients are clipped to this norm; 0 turns clipping off")
    train_batch_size: int = knob(4, whole(1, 65536), "pictures in one forward pass")
    gradient_accumulation_steps: int = knob(1, whole(1, 65536), "forward passes to one update")
    max_train_steps: int | None = knob(
        None, whole(1, 10**7, optional=True), f"updates; {DEFAULT_STEPS} when epochs are not given either")
    num_train_epochs: int | None = knob(
        None, whole(1, 10**7, optional=True), "passes over the pictures, instead of max_train_steps")
    snr_gamma: float | None = knob(
        None, real(0, 1e6, above=True, optional=True), "Min-SNR weighting of the loss; None is off")
    prior_loss_weight: float = knob(
        0.0, real(0, 1e6), "weight of the loss on as many pictures that the untouched base drew itself; 0 shows none")
    caption_dropout: float = knob(0.0, real(0, 1), "share of captions replaced by the empty one")
    mixed_precision: str = knob(
        "no", fields.choice("no", "bf16", "fp16"),
        "bf16 or fp16: precision of the frozen base, whatever the device; no leaves it to the device. "
        "The adapter is always float32")
    seed: int = knob(0, whole(0, 2**63 - 1), "seed of A, of the order of pictures, of noise and timesteps")

    def __post_init__(self) -> None:
        """Check every field by itself, then those that depend on each other."""
        self._take_file()
        for knob_ in dataclasses.fields(self):
            value = knob_.metadata["check"](knob_.name, getattr(self, knob_.name))
            object.__setattr__(self, knob_.name, value)
        if self.max_train_steps and self.num_train_epochs:
            raise LabError("max_train_steps and num_train_epochs are both given: keep one of them.")
        if not self.max_train_steps and not self.num_train_epochs:
            object.__setattr__(self, "max_train_steps", DEFAULT_STEPS)
        if self.resolution and self.resolution % 8:
            fields.refuse("resolution", self.resolution, "a multiple of 8")
        if self.lr_scheduler == "constant" and self.lr_end is not None:
            raise LabError(
                "lr_end has no effect on lr_scheduler = 'constant': leave it out or choose another schedule.")
        if self.lr_scheduler in ("exponential", "three_phase") and self.lr_end == 0:
            fields.refuse("lr_end", self.lr_end, f"above 0 when lr_scheduler is {self.lr_scheduler}")
        if self.adapter != "lora" and adapter_start.is_file(self.init_lora_weights):
            raise LabError("init_lora_weights names a file, which begins a run with adapter = 'lora' alone: "
                           "leave one of the two out.")
        if self.max_train_steps and self.lr_edits and self.lr_edits[-1][0] >= self.max_train_steps:
            fields.refuse("lr_edits", self.lr_edits, f"before the last of max_train_steps = {self.max_train_steps}")

    def _take_file(self) -> None:
        """Move an adapter file that was given as `parent` to `init_lora_weights`."""
        if not adapter_start.is_file(self.parent):
            return
        if self.init_lora_weights not in ("default", self.parent):
            raise LabError("parent and init_lora_weights both say how the adapter begins: keep one of them.")
        object.__setattr__(self, "init_lora_weights", self.parent)
        object.__setattr__(self, "parent", None)

    @property
    def scaling(self) -> float:
        """Return the factor on B @ A: alpha / rank, or alpha / sqrt(rank); 1 for a dense change."""
        if self.adapter == "full":
            return 1.0
        alpha = self.rank if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)

    @property
    def targets(self) -> tuple[str, ...]:
        """Return target_modules, sets by their names; the base's own where they are None."""
        return self.target_modules or default_targets(self.base)

    @property
    def effective_batch_size(self) -> int:
        """Return the pictures behind one update."""
        return self.train_batch_size * self.gradient_accumulation_steps

    @property
    def rows(self) -> int:
        """Return the pictures in one forward pass, those of the base's own included."""
        return self.train_batch_size * (2 if self.prior_loss_weight else 1)

    @property
    def is_resolved(self) -> bool:
        """Tell whether pictures, updates, alpha, adapted layers, the last rate and the first adapter are fixed."""
        return (None not in (self.n_train, self.max_train_steps, self.alpha, self.target_modules)
                and adapter_start.is_pinned(self.init_lora_weights))

    @property
    def pictures(self) -> int:
        """Return n_train as a number; LabError where it is still to be resolved."""
        return _known(self.n_train)

    @property
    def steps(self) -> int:
        """Return max_train_steps as a number; LabError where it is still to be resolved."""
        return _known(self.max_train_steps)

    def replace(self, **changes: Any) -> "RunConfig":
        """Return a copy with some fields changed.

        Giving steps drops epochs and the other way round; another schedule drops the last rate.
        """
        values = self.to_dict()
        if changes.get("lr_scheduler", self.lr_scheduler) != self.lr_scheduler:
            values["lr_end"] = None                           # each schedule has its own
        if changes.get("num_train_epochs") is not None:
            values["max_train_steps"] = None
        if changes.get("max_train_steps") is not None:
            values["num_train_epochs"] = None
        return RunConfig.from_dict(values | changes)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, defaults included, in a form that JSON keeps."""
        values = {knob_.name: getattr(self, knob_.name) for knob_ in dataclasses.fields(self)}
        values["target_modules"] = list(self.target_modules) if self.target_modules else None
        values["lr_edits"] = [list(edit) for edit in self.lr_edits]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Build a configuration from names and values; an unknown name is refused with a suggestion."""
        if not isinstance(values, dict):
            raise LabError(f"A configuration is a mapping of fields to values, not {type(values).__name__}.")
        for name in values:
            cls.check_name(name)
        return cls(**values)

    @classmethod
    def check_name(cls, name: object, where: str = "") -> None:
        """Raise LabError for a name that is no field, with the nearest that is; where: the start of the message."""
        known = [knob_.name for knob_ in dataclasses.fields(cls)]
        if name in known:
            return
        ours = OTHER_NAMES.get(name) if isinstance(name, str) else None
        close = [ours] if ours else difflib.get_close_matches(str(name)[:40], known, 1)
        hint = f"did you mean {close[0]}?" if close else "the fields are " + ", ".join(known) + "."
        written = name if isinstance(name, str) and len(name) <= 80 else shown(name)
        raise LabError(f"{where}{written} is not a field of a run: {hint}")

    def resolved(self, n_images: int) -> "RunConfig":
        """Return the configuration with everything derived filled in, for a folder of n_images training pictures.

        updates = ceil(n_train * epochs / effective batch): batches are cut across the borders of epochs. Of a folder
        with fewer pictures than the default train_batch_size, a batch is all of them.
        LabError: it needs more pictures than there are, or the adapter's file that it begins from is not there.
        """
        n_train = self.n_train or n_images
        if n_train > n_images:
            fields.refuse("n_train", n_train, f"at most {n_images}, the training pictures there are")
        is_usual = self.train_batch_size == RunConfig.train_batch_size         # the default, which nobody asked for
        batch = n_train if is_usual and n_images < self.train_batch_size else self.train_batch_size
        if n_train < batch:
            fields.refuse("train_batch_size", batch, f"at most {n_train}, the training pictures used")
        steps = self.max_train_steps
        if steps is None:                                     # then epochs are given: see __post_init__
            steps = math.ceil(n_train * _known(self.num_train_epochs) / (batch * self.gradient_accumulation_steps))
        alpha = float(self.rank) if self.alpha is None else self.alpha
        derived = {"n_train": n_train, "max_train_steps": steps, "num_train_epochs": None, "alpha": alpha,
                   "train_batch_size": batch, "target_modules": self.targets,
                   "init_lora_weights": adapter_start.pinned(self.init_lora_weights)}
        if self.lr_scheduler != "constant" and self.lr_end is None:
            derived["lr_end"] = 0.0 if self.lr_scheduler in ("linear", "cosine") else self.learning_rate / 10
        return self.replace(**derived)

    def share(self) -> str:
        """Return a short text, safe in a URL, of the fields that differ from the defaults; `load_design` reads it."""
        defaults = RunConfig().to_dict()
        pairs = {name: _written(value) for name, value in self.to_dict().items() if value != defaults[name]}
        words = [quote(word, safe=",:/").replace("~", "%7E") for pair in pairs.items() for word in pair]
        return SHARE_PREFIX + "~".join([*words, _checksum(pairs)])


def _known(value: int | None) -> int:
    if value is None:
        raise LabError("This configuration is not resolved: call config.resolved(n_images) first.")
    return value


def _shared(text: str) -> dict[str, str]:
    """Return the fields and values, as texts, of a share string; LabError when it was cut short or altered.

    A field that an old string does not name has the value that was its default then.
    """
    prefix, rest = text.strip()[:len(SHARE_PREFIX)], text.strip()[len(SHARE_PREFIX):]
    *words, checksum = rest.split("~")
    words = [unquote(word) for word in words]
    pairs = dict(zip(words[::2], words[1::2], strict=False))         # of an odd number, the last is left over
    if len(words) % 2 or checksum != _checksum(pairs):
        raise LabError(f"The share string {shown(text)} is damaged: copy it again, from {prefix} to its end.")
    return {"target_modules": ",".join(ATTENTION)} | pairs if prefix == OLD_PREFIX else pairs


def _written(value: Any) -> str:
    """Write a value so that the checks read the same value back."""
    if isinstance(value, list):
        return ",".join(":".join(map(str, item)) if isinstance(item, list) else item for item in value)
    return str(value)


def _checksum(pairs: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(pairs, sort_keys=True).encode()).hexdigest()[:6]


def load_design(design: RunConfig | dict[str, Any] | Path | str | None = None, **overrides: Any) -> RunConfig:
    """Build a configuration from a YAML or JSON file, a share string, a mapping or nothing, then apply overrides.

    Reasons and expectations of a design file are checked and left out. Overrides that are None leave the design as it
    is, so a notebook's parameters can default to None.
    """
    config = design if isinstance(design, RunConfig) else RunConfig.from_dict(named_fields(design))
    return config.replace(**{name: value for name, value in overrides.items() if value is not None})


def is_share_string(design: object) -> bool:
    """Tell whether a design is a share string, of today's form or of the one before."""
    return isinstance(design, str) and design.strip().startswith((SHARE_PREFIX, OLD_PREFIX))


def named_fields(design: RunConfig | dict[str, Any] | Path | str | None = None) -> dict[str, Any]:
    """Return the fields and values that a design itself gives, so that all others are open.

    design: as for `load_design`.
    """
    if isinstance(design, RunConfig):
        return design.to_dict()
    if is_share_string(design):
        return _shared(str(design))
    parts = split(design or {}) if isinstance(design, dict | None) else read_design(design)
    for name in parts.reasons:
        if name not in ALSO_REASONED:
            RunConfig.check_name(name, "reasons: ")
    return parts.fields


def differing_fields(configs: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the fields that are not the same in all configurations, in the order of the first.

    configs: each as `RunConfig.to_dict` gives it; of none, no field differs.
    """
    first = configs[0] if configs else {}
    return [name for name, value in first.items() if any(config[name] != value for config in configs)]


def run_id(config: RunConfig, base_fingerprint: str, data_fingerprint: str) -> str:
    """Return 16 hexadecimal digits that name a run: all training fields, base, pictures and captions, engine.

    `base`, `revision`, `data` and how its pictures and captions are read are replaced by fingerprints of the content.
    `parent` is left out: it tells where a run came from, and the same run replayed from step 0 gives the same curve.
    A set of layers is named by them, a file that the adapter begins from by its hash.
    """
    if not config.is_resolved:
        raise LabError("This configuration is not resolved: call config.resolved(n_images) before naming a run.")
    values = config.to_dict() | {"base": base_fingerprint, "data": data_fingerprint, "engine": ENGINE_VERSION}
    values["target_modules"] = sorted(expanded(config.targets))
    values["init_lora_weights"] = adapter_start.named(config.init_lora_weights)
    for name in ("revision", "crop", "captions", "parent"):
        del values[name]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
