"""Which layers of a U-Net are adapted: three sets with a name, made of the names that diffusers gives layers.

A name stands for every layer that has it, or whose own name ends with a dot and it, as PEFT finds target_modules.

attention   queries, keys, values and outputs: what diffusers' `train_text_to_image_lora.py` adapts
linear      and the feed-forward layers and projections around them: all of a Transformer2DModel, as kohya's LoRA does
all         and the convolutions of the residual blocks: most of what kohya's LoRA adapts with `conv_dim`, which
            LyCORIS calls LoCon

conv_in, conv_out and time_embedding, with which a U-Net begins and ends, are in none of them, as in kohya's. Down-
and upsamplers, which kohya adapts, are left out: on the embedded base they narrow the room between good and broken.
With them four of four runs at 2e-2 (150 updates, storybook style) ended as noise, without them none of four.
Recorded runs rely on what these names stand for: another choice of layers gets another name.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from labkit.design.fields import is_nothing, refuse
from labkit.errors import LabError
from labkit.text import shown

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
LINEAR = (*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
ALL = (*LINEAR, "conv1", "conv2", "conv_shortcut")
SETS = {"attention": ATTENTION, "linear": LINEAR, "all": ALL}

# What None means, by base: on the embedded one, and on any other what diffusers' script adapts.
DEFAULT_TARGETS = {"embedded": "all"}
DEFAULT_OF_OTHERS = "attention"


def default_targets(base: str) -> tuple[str, ...]:
    """Return the target_modules of this base where a configuration gives none."""
    return (DEFAULT_TARGETS.get(base, DEFAULT_OF_OTHERS),)


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """Replace the names of sets by those of their layers; return each name once."""
    return tuple(dict.fromkeys(layer for name in names for layer in SETS.get(name, (name,))))


def target_names(name: str, value: Any) -> tuple[str, ...] | None:
    """Check names of sets and layers, a list or a text with commas between; None stands for the base's own default.

    Where all layers of a set are among them, the set's name takes their place, so that equal settings compare equal.
    """
    if is_nothing(value):
        return None
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple) else [parts]
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    if not parts or not all(isinstance(part, str) and re.fullmatch(r"[\w.]+", part) for part in parts):
        refuse(name, value, "names of layers such as to_q, to_k, or of a set: " + ", ".join(SETS))
    for part in parts:
        if meant := _meant_set(part):
            raise LabError(f"{name} = {shown(part)} is neither a set nor a layer's name: did you mean {meant}?")
    layers = expanded(parts)
    for set_name in reversed(SETS):                           # the largest first
        if set(SETS[set_name]).issubset(layers):
            return (set_name, *(layer for layer in layers if layer not in SETS[set_name]))
    return layers


def _meant_set(part: str) -> str | None:
    """Guess the set whose name was mistyped; None for a name that is not of letters alone, or near to no set's."""
    if part in SETS or not part.isalpha():
        return None
    return next(iter(difflib.get_close_matches(part.lower(), SETS, 1)), None)


def nearest(target: str, layers: Iterable[str]) -> str:
    """Return a hint for a name that no layer has: the nearest ending of a layer's name, else the names of the sets."""
    endings = {name.split(".", parts)[-1] for name in layers for parts in range(name.count(".") + 1)}
    near = difflib.get_close_matches(target, endings, 1)
    return f"did you mean {near[0]}?" if near else f"the sets are {', '.join(SETS)}."
