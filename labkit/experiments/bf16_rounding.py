"""What becomes of an update when the adapter's numbers are stored in bfloat16?"""

from typing import NamedTuple

import numpy as np

from labkit.design.schedules import rates
from labkit.errors import LabError
from labkit.text import rate_text
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

PARTS = {"lora_A": "A", "lora_B": "B"}
WORDS = {"A": "the factor that starts\nat random (A)", "B": "the factor that starts\nat zero (B)"}


class Lost(NamedTuple):
    """Hold, for each learning rate, the share of numbers in A and in B that an update would leave as they were."""

    rates: tuple[float, ...]
    shares: dict[str, tuple[float, ...]]                      # "A", "B" -> share at each rate


def bfloat16(values) -> np.ndarray:
    """Round float32 numbers to the nearest bfloat16, ties to even, and return them as float32; finite numbers only."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def update_of(checkpoint, config, rate: float | None = None) -> dict[str, np.ndarray]:
    """Return the update of AdamW at the end of a run, from its moments: Loshchilov & Hutter 2019, algorithm 2.

    rate      of the update; None: what the schedule had there

    Returns arrays by the names of the adapter's. LabError: the run is not LoRA with AdamW.
    """
    if config.optimizer != "adamw" or config.adapter != "lora":
        raise LabError("What rounding costs is measured for LoRA with AdamW alone; "
                       f"here it is {config.adapter} with {config.optimizer}.")
    step, update = int(checkpoint.optimizer["step"]), {}
    rate = rates(config)[step - 1] if rate is None else rate
    for name, theta in checkpoint.adapter.items():
        first = checkpoint.optimizer[f"exp_avg.{name}"] / (1 - config.adam_beta1**step)
        second = checkpoint.optimizer[f"exp_avg_sq.{name}"] / (1 - config.adam_beta2**step)
        of_factor = rate * (config.lr_ratio_B if ".lora_B." in name else 1.0)
        update[name] = -of_factor * (first / (np.sqrt(second) + config.adam_epsilon) + config.weight_decay * theta)
    return update


def lost(lab, runs) -> Lost:
    """Measure the share of numbers that an update would not change at the end of each run, if stored in bfloat16.

    It is an update at the run's full rate: where a schedule lets the rate fall to nothing, the last one of all says
    nothing about the rate.

    runs      of the lab's store; those that diverged are left out
    LabError: none is left.
    """
    rates, shares = [], {part: [] for part in WORDS}
    for run in sorted(runs, key=lambda run: run.config.learning_rate):
        checkpoint = None if run.status == "diverged" else lab.store.run(run.run_id).checkpoint()
        if checkpoint is None or not all(np.isfinite(values).all() for values in checkpoint.adapter.values()):
            continue
        rates.append(run.config.learning_rate)
        update = update_of(checkpoint, run.config, run.config.learning_rate)
        for part, of in PARTS.items():
            kept = []
            for name in (name for name in update if f".{part}." in name):
                moved = update[name] != 0
                stored = bfloat16(checkpoint.adapter[name])
                kept.append((bfloat16(stored + update[name]) == stored)[moved])
            shares[of].append(float(np.concatenate(kept).mean()))
    if not rates:
        raise LabError("Every run diverged: no update is left to be rounded. Give runs at lower rates.")
    return Lost(tuple(rates), {part: tuple(values) for part, values in shares.items()})


def plot(result: Lost, ax=None):
    """Draw the share of numbers that an update leaves as they were, against the learning rate."""
    ax, labels = new_axes(ax, height=3.2, top=0.2), []
    for i, (part, color) in enumerate((("A", VERDICTS["diverged"][1]), ("B", VERDICTS["stagnating"][1]))):
        shares = 100 * np.array(result.shares[part])
        ax.plot(result.rates, shares, color=color, linestyle=LINES[i], marker=MARKERS[i], markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        labels.append((shares[-1], WORDS[part], color))
    ax.set_xscale("log")
    ax.set_xticks(result.rates, [rate_text(rate) for rate in result.rates])
    ax.minorticks_off()
    ax.set_ylim(-4, 104)
    name_axes(ax, "learning rate (logarithmic)", "numbers that an\nupdate does not change (%)")
    direct_labels(ax, labels)
    kept = "; ".join(f"at {rate_text(rate)} {a:.0%} of A and {b:.0%} of B"
                     for rate, a, b in zip(result.rates, result.shares["A"], result.shares["B"], strict=True))
    ax.figure.summary = f"Stored in bfloat16, an update at the end would not change {kept}."
    return ax
