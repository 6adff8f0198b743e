"""The arithmetic of a run before it starts: updates, exposures, views, the sum of the rate, durations."""

import math
from typing import Any, NamedTuple

from labkit.design import fields
from labkit.design.config import RunConfig
from labkit.design.schedules import rates
from labkit.errors import LabError


def updates(n_images: int, batch_size: int, epochs: int, *, last_batch: str = "across") -> int:
    """Return the optimizer updates of a run.

    last_batch: "across" cuts batches across the borders of epochs (labkit), "keep" makes a smaller last batch of every
    epoch (the default of a DataLoader), "drop" leaves its pictures out (drop_last, the chapter's 156 for 5,000 by 32).
    """
    if not (n_images > 0 and batch_size > 0 and epochs > 0):
        raise LabError(f"n_images = {n_images}, batch_size = {batch_size}, epochs = {epochs}: all must be above 0.")
    if last_batch == "across":
        return math.ceil(n_images * epochs / batch_size)
    if last_batch == "keep":
        return math.ceil(n_images / batch_size) * epochs
    if last_batch == "drop":
        return n_images // batch_size * epochs
    raise LabError(f"last_batch = {last_batch!r} is not possible: it must be across, keep or drop.")


def exposures(n_updates: int, batch_size: int) -> int:
    """Return how many pictures are shown in all, repeats counted."""
    return n_updates * batch_size


def views(n_updates: float, batch_size: int, n_images: int) -> float:
    """Return how often each picture is shown."""
    if n_images < 1:
        raise LabError(f"n_images = {n_images}: there must be a picture to be shown.")
    return n_updates * batch_size / n_images


def epochs_for(n_updates: int, batch_size: int, n_images: int) -> int:
    """Return the least whole number of epochs that gives at least n_updates."""
    return math.ceil(n_updates * batch_size / n_images)


def lr_sum(config: RunConfig) -> float:
    """Return the sum of the rate over all updates: how far Adam can move a weight in all."""
    return math.fsum(rates(config))


class Volume(NamedTuple):
    """Hold the pictures, updates and views of a run, and the sum of its rates."""

    pictures: int
    batch: int  # pictures behind one update, accumulation included
    updates: int
    epochs: float  # passes over the pictures, and so the views of each
    exposures: int  # pictures shown, repeats counted
    lr_sum: float


def volume(n_images: int, **knobs: Any) -> Volume:
    """Return the volume of a run on n_images pictures, from any fields of a RunConfig.

    Epochs give updates, updates give epochs. LabError when both are given, when a batch is larger than the pictures,
    or when a field is unknown.
    """
    config = RunConfig.from_dict(knobs).resolved(fields.number(int, 1, 10**7)("n_images", n_images))
    pictures, batch, steps = config.pictures, config.effective_batch_size, config.steps
    return Volume(pictures, batch, steps, views(steps, batch, pictures), exposures(steps, batch), lr_sum(config))


def scaled_learning_rate(learning_rate: float, from_batch: int, to_batch: int, rule: str = "sqrt") -> float:
    """Return the rate for another batch size.

    rule: "linear" (Goyal 2017, for SGD), "sqrt" (Malladi 2022, for Adam) or "none".
    """
    powers = {"none": 0, "sqrt": 0.5, "linear": 1}
    if rule not in powers:
        raise LabError(f"rule = {rule!r} is not possible: it must be none, sqrt or linear.")
    if not (from_batch > 0 and to_batch > 0):
        raise LabError(f"from_batch = {from_batch}, to_batch = {to_batch}: a batch holds at least one picture.")
    return learning_rate * (to_batch / from_batch) ** powers[rule]


