"""The learning rate as a pure function of the step."""

import math

from labkit.design.config import RunConfig
from labkit.errors import LabError

# The chapter's worked example: 100 updates of warm-up and 100 of a fixed low rate in 5,100.
THREE_PHASE_SHARE = 100 / 5100
THREE_PHASE_START = 0.1


def lr_at(step: int, config: RunConfig) -> float:
    """Return the rate applied at update `step`, counted from 0, of a configuration whose max_train_steps is known.

    Constant, linear and cosine with lr_end = 0 equal diffusers' get_scheduler, warm-up included. From the step of an
    edit on, the schedule is rescaled so that the rate at that step is the edited one.
    """
    if config.max_train_steps is None:
        raise LabError("The schedule needs max_train_steps: call config.resolved(n_images) first.")
    rate = _scheduled(step, config)
    for edit_step, edit_rate in reversed(config.lr_edits):
        if step >= edit_step:
            before = _scheduled(edit_step, config)
            return edit_rate * (rate / before) if before else edit_rate
    return rate


def rates(config: RunConfig) -> list[float]:
    """Return the rate of every update of a run, as it will really be applied."""
    return [lr_at(step, config) for step in range(config.steps)]


def check_warmup(config: RunConfig) -> None:
    """Raise LabError for a run that ends before its warm-up, and so never reaches the rate that was asked for."""
    if config.lr_warmup_steps > config.steps:
        raise LabError(
            f"lr_warmup_steps = {config.lr_warmup_steps:,} is more than the run's max_train_steps = {config.steps:,}, "
            "so the rate would never reach learning_rate: make the warm-up shorter or the run longer.")


def _scheduled(step: int, config: RunConfig) -> float:
    """Return the rate of the schedule alone, edits left aside."""
    if config.lr_scheduler == "three_phase":
        return _three_phase(step, config)
    warmup, peak = config.lr_warmup_steps, config.learning_rate
    if step < warmup:
        return peak * (step / warmup)
    if config.lr_scheduler == "constant":
        return peak
    return _decayed(config.lr_scheduler, step - warmup, max(1, config.steps - warmup), peak, _lr_end(config))


def _lr_end(config: RunConfig) -> float:
    if config.lr_end is not None:
        return config.lr_end
    return 0.0 if config.lr_scheduler in ("linear", "cosine") else config.learning_rate / 10


def _decayed(scheduler: str, done: int, updates: int, peak: float, end: float) -> float:
    """Return the rate after `done` of the updates of a decay from peak to end."""
    progress = min(done, updates) / updates
    if scheduler == "exponential":
        return peak * (end / peak) ** progress
    shares = {"linear": (updates - min(done, updates)) / updates,
              "cosine": max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))}
    return end + (peak - end) * shares[scheduler]


def three_phases(config: RunConfig) -> tuple[int, int, int]:
    """Return the updates of the chapter's phases: warm-up, main training, fine-tuning.

    A warm-up that is not given takes the chapter's share of the run, as the last phase always does.
    """
    total = config.steps
    tail = round(total * THREE_PHASE_SHARE)
    warmup = config.lr_warmup_steps or tail
    return warmup, max(0, total - warmup - tail), tail


def _three_phase(step: int, config: RunConfig) -> float:
    warmup, main, _ = three_phases(config)
    peak, end = config.learning_rate, _lr_end(config)
    if step < warmup:
        return peak * (THREE_PHASE_START + (1 - THREE_PHASE_START) * step / warmup)
    return _decayed("exponential", step - warmup, max(1, main), peak, end)
