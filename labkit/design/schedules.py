"""The learning rate as a pure function of the step."""

import math

from labkit.errors import LabError

# The chapter's worked example: 100 updates of warm-up and 100 of a fixed low rate in 5,100.
THREE_PHASE_SHARE = 100 / 5100
THREE_PHASE_START = 0.1


def lr_at(step: int, config) -> float:
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


def rates(config) -> list[float]:
    """Return the rate of every update of a run, as it will really be applied."""
    return [lr_at(step, config) for step in range(config.max_train_steps)]


def check_warmup(config):
    """Refuse a run that would end before its warm-up: it never reaches the rate that was asked for. LabError names both lengths."""
    if config.lr_warmup_steps > config.max_train_steps:
        raise LabError(f"lr_warmup_steps = {config.lr_warmup_steps:,} is more than the run's max_train_steps = {config.max_train_steps:,}, so the rate "
                       "would never reach learning_rate: make the warm-up shorter or the run longer.")


def _scheduled(step, config) -> float:
    if config.lr_scheduler == "three_phase":
        return _three_phase(step, config)
    warmup, peak = config.lr_warmup_steps, config.learning_rate
    if step < warmup:
        return peak * (step / warmup)
    if config.lr_scheduler == "constant":
        return peak
    return _decayed(config.lr_scheduler, step - warmup, max(1, config.max_train_steps - warmup), peak, _lr_end(config))


def _lr_end(config) -> float:
    if config.lr_end is not None:
        return config.lr_end
    return 0.0 if config.lr_scheduler in ("linear", "cosine") else config.learning_rate / 10


def _decayed(name, done, updates, peak, end) -> float:
    """Return the rate after `done` of the updates of a decay from peak to end."""
    done = min(done, updates)
    if name == "exponential":
        return peak * (end / peak) ** (done / updates)
    share = (updates - done) / updates if name == "linear" else max(0.0, 0.5 * (1 + math.cos(math.pi * (done / updates))))
    return end + (peak - end) * share


def three_phases(config) -> tuple[int, int, int]:
    """Return the updates of the chapter's phases: warm-up, main training, fine-tuning.

    A warm-up that is not given takes the chapter's share of the run, as the last phase always does.
    """
    total = config.max_train_steps
    tail = round(total * THREE_PHASE_SHARE)
    warmup = config.lr_warmup_steps or tail
    return warmup, max(0, total - warmup - tail), tail


def _three_phase(step, config) -> float:
    warmup, main, _ = three_phases(config)
    peak, end = config.learning_rate, _lr_end(config)
    if step < warmup:
        return peak * (THREE_PHASE_START + (1 - THREE_PHASE_START) * step / warmup)
    return _decayed("exponential", step - warmup, max(1, main), peak, end)
