"""What a run reports while it trains: frozen records of plain numbers and arrays."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Event:
    """Hold of every event its run, the completed updates and the pictures shown so far (repeats counted)."""

    run_id: str
    global_step: int
    samples_seen: int


@dataclass(frozen=True, eq=False)
class Step(Event):
    """Report one completed update; no verdict follows from it, since timestep and noise are new each time."""

    loss: float
    learning_rate: float
    grad_norm: float  # over all layers, before clipping
    update_norm: float  # ||change of the adapter|| / ||adapter||, over all layers
    max_alloc: int | None = None  # bytes, on a GPU


@dataclass(frozen=True, eq=False)
class Validation(Event):
    """Report fixed-noise losses on one set of pictures."""

    name: str  # "validation" (held out), "probe" (training pictures) or "ordinary" (the base's own)
    grade: str  # "monitor" or "verdict"
    losses: np.ndarray  # (images, strata) float32
    timesteps: np.ndarray  # (images, strata) int


@dataclass(frozen=True, eq=False)
class Sample(Event):
    """Report pictures drawn with the adapter as it is after these updates."""

    images: np.ndarray  # (N, H, W, 3) uint8
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance_scale: float
    strength: float = 1.0  # of the adapter


@dataclass(frozen=True, eq=False)
class Score(Event):
    """Report which pictures, drawn with the adapter as it is after these updates, show what was asked for."""

    name: str  # "validation" (captions of held-out pictures) or "ordinary" (of the base's own)
    accepted: np.ndarray  # (N,) bool
    prompts: tuple[str, ...]  # (N,)
    asked: tuple[str, ...]  # (N,) what each picture had to show
    scored_by: str  # who accepted


@dataclass(frozen=True, eq=False)
class Checkpoint(Event):
    """Hold everything needed to resume: adapter and optimizer state by name, as float32 arrays.

    Adapter keys are `<module>.lora_A.weight` (rank, in) and `<module>.lora_B.weight` (out, rank).
    """

    adapter: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Stopped(Event):
    """Report the end of a run: "finished", "stopped" (on request), "diverged" (a result) or "error"."""

    reason: str
    message: str = ""
