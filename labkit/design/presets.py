"""Designs to begin with, each with what it sets and what to look at: for every verdict, and for single lessons."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.design.config import RunConfig
from labkit.errors import LabError


@dataclass(frozen=True)
class Preset:
    """Hold the fields that a preset changes, and one sentence on what to watch."""

    look: str
    changes: dict[str, Any] = field(default_factory=dict)


def preset(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return one of a panel's presets; LabError gives the nearest name where there is none."""
    if name not in presets:
        near = difflib.get_close_matches(str(name), presets, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(presets) or 'none'}."
        raise LabError(f"{name!r} is not a preset of this panel. {hint}")
    return presets[name]


# What the sets of single lessons were recorded with.
ATTENTION: dict[str, Any] = {"target_modules": ("attention",)}

# Rates and steps are those of the embedded base on one kind of place, the pool; elsewhere the same six happen at other
# rates. A test compares what a text claims with recorded runs (presets.zip, rank_presets.zip, volume_presets.zip in
# data/runs); what nobody measured is asked.
PRESETS = {
    "healthy": Preset(
        "The held-out loss falls, faster at first, and stays down, and the training pictures' loss falls with it."
        " Watch when the rooms turn into pools: is the curve flat by then?",
        {"learning_rate": 1e-2, "lr_scheduler": "linear", "max_train_steps": 100}),
    "stagnating": Preset(
        "The curve is nearly a level line: less than a third of the healthy run's gain, and still falling at the "
        "end. Nothing is broken: the steps are too short to arrive anywhere in this many of them. Do the pictures"
        " change at all?",
        {"learning_rate": 3e-5, "lr_scheduler": "constant", "max_train_steps": 80}),
    "overshooting": Preset(
        "It begins at the healthy run's rate, but where that one falls to nothing this one rises to three times as "
        "much, and only the attention layers are adapted. At first both losses fall. Then the steps become longer "
        "than the valley is wide, and both turn and rise together, on pictures it trains on as well, to far above "
        "where they began. Look at the pictures: what do they still have of a place?",
        {**ATTENTION, "learning_rate": 1e-2, "lr_scheduler": "linear", "lr_end": 3e-2, "max_train_steps": 80}),
    "diverged": Preset(
        "Within fifteen updates the loss is several times the untouched base's, and it stays so to the end of the "
        "run: at four times the healthy run's rate each step undoes more than the last one gained. Look at the "
        "pictures, and compare the rate with the healthy one.",
        {"learning_rate": 4e-2, "lr_scheduler": "constant", "max_train_steps": 60}),
    "overfitting": Preset(
        "Only four pictures and a large adapter. The two losses part: the held-out one turns and rises above where "
        "it began, and meanwhile the training pictures' falls further. Look at the pictures: what of those four do "
        "they keep to?",
        {"learning_rate": 3e-3, "lr_scheduler": "constant", "max_train_steps": 120, "n_train": 4, "rank": 32}),
    "not enough evidence": Preset(
        "One update and two measurements. The loss has moved, but from two points nobody can tell a good "
        "beginning from the first step of a disaster. Train longer, then ask again.",
        {"learning_rate": 3e-3, "lr_scheduler": "constant", "max_train_steps": 1}),
}

# How much is shown, how often, and how many at a time, on pools and mazes.
EPOCHS_AND_BATCHES = {
    "one epoch": Preset(
        "Every picture is shown once. The curve is still on its way down when the run ends: what is missing is "
        "updates. Look at the pictures: have they left the base yet?",
        {"learning_rate": 1e-3, "num_train_epochs": 1}),
    "ten epochs": Preset(
        "The same with ten views of each picture, and more than twice the gain. Look where the two losses lie at the"
        " end: is there a gap between training pictures and held-out ones?",
        {"learning_rate": 1e-3, "num_train_epochs": 10}),
    "too many epochs": Preset(
        "Four pictures, shown a hundred and twenty times each. The two losses part, and the held-out one turns and "
        "ends above where it began: what is learned now is only about those four.",
        {"learning_rate": 3e-3, "num_train_epochs": 120, "n_train": 4, "rank": 32}),
    "one at a time": Preset(
        "Batch 1, as many pictures shown as in eight epochs at any other batch. Look at the single steps: they "
        "scatter far more than sixteen at once do. Then look at the held-out loss: does it?",
        {"learning_rate": 1e-3, "num_train_epochs": 8, "train_batch_size": 1}),
    "sixteen at once": Preset(
        "Batch 16 with the same eight epochs and the same rate: the single steps are calmer, and there are so few "
        "of them that the curve gets less far than one at a time.",
        {"learning_rate": 1e-3, "num_train_epochs": 8, "train_batch_size": 16}),
    "sixteen, rate doubled": Preset(
        "The same with the rate raised by the square root of what the batch was raised by, from 4 to 16. Pin the "
        "run before and compare the ends.",
        {"learning_rate": 2e-3, "num_train_epochs": 8, "train_batch_size": 16}),
}

# A lesson's own, on pools and mazes, all at one rate: only rank and alpha differ.
FALLING: dict[str, Any] = {"learning_rate": 3e-3, "lr_scheduler": "linear", "max_train_steps": 60}
RANK_AND_ALPHA = {
    "one direction": Preset(
        "A single direction in every matrix, and still more than half of what thirty-two gain at this rate. Look "
        "at the pictures: does more than one thing change, the kind of place, its colours, its light? Now raise "
        "the rate and train it again: thirty-two directions take longer steps at the same rate.",
        {**FALLING, "rank": 1}),
    "many directions": Preset(
        "Thirty-two directions at the same rate. Look at the beginning of the curve: it starts faster than one "
        "direction, since a larger adapter takes longer steps as well. Pin it and lower the rate by a rung before"
        " you say what the directions themselves gave.",
        {**FALLING, "rank": 32}),
    "alpha forgotten": Preset(
        "The same rank with alpha left at 1, as some trainers do unless told otherwise: see the scaling "
        "below the knobs. Nothing is broken, the loss falls, only slower than with many directions. Now raise the"
        " rate instead of alpha.",
        {**FALLING, "rank": 32, "alpha": 1}),
    "alpha too high": Preset(
        "The rate is that of the other three and the scaling is not: within four updates the loss jumps above the"
        " untouched base's, and it has not come back to it at the end. Look at the pictures, then at the scaling "
        "below the knobs.",
        {**FALLING, "rank": 8, "alpha": 1024}),
}

SETS = {"verdicts": PRESETS, "rank and alpha": RANK_AND_ALPHA, "epochs and batches": EPOCHS_AND_BATCHES}


def preset_set(presets: str | Mapping[str, Preset], design: RunConfig) -> dict[str, Preset]:
    """Return presets that were given, or those of a name: one of SETS, or 'variations' of the design.

    LabError: there is no set of that name.
    """
    if not isinstance(presets, str):
        return dict(presets)
    if presets not in (*SETS, "variations"):
        raise LabError(f"presets = {presets!r} is no set of presets: there are {', '.join(SETS)} and variations.")
    return SETS[presets] if presets in SETS else variations(design)


def variations(design: RunConfig) -> dict[str, Preset]:
    """Return presets that each change one thing of a finished, resolved design, to show what that was worth."""
    panel_sets = ("base", "data", "seed", "revision")
    kept = {name: value for name, value in design.to_dict().items() if name not in panel_sets}

    def vary(look: str, **changes: Any) -> Preset:
        return Preset(look, kept | changes)

    return {
        "half as long": vary(
            "Half of the updates. Pin the design's own run and compare the ends: how much of the gain had been made "
            "by then?",
            max_train_steps=max(1, design.steps // 2)),
        "rank 1": vary(
            "A single direction in every matrix, everything else as designed. If the curve ends where the design's "
            "does, its rank was not what counted.",
            rank=1, alpha=design.scaling),
        "no decay": vary(
            "The rate stays at its peak to the end. Look at the last third of the curve: is it as calm as the "
            "design's?",
            lr_scheduler="constant", lr_end=None),
        "ten times the rate": vary(
            "The design at ten times the rate that was found for it: what the short test kept you from.",
            learning_rate=10 * design.learning_rate, lr_end=None if design.lr_end is None else 10 * design.lr_end),
    }
