"""The learning rate of every update as each trainer's own scheduler gives it, from that trainer's settings.

diffusers' script, sd-scripts and ai-toolkit call schedulers of diffusers, transformers and torch, which are called
here too. OneTrainer's and SimpleTuner's own are written down once more from their definitions (lr_scheduler_util.py,
custom_schedule.py), in another form than labkit/design/trainers/curves.py has them.
"""

import math
import warnings

import torch
from diffusers import optimization as of_diffusers
from torch.optim import lr_scheduler as of_torch
from transformers import optimization as of_transformers


def stepped(scheduler, total):
    """Return the rate before each of `total` updates."""
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                       # torch wants the optimizer to step first
        for _ in range(total):
            rates.append(scheduler.get_last_lr()[0])
            scheduler.step()
    return rates


def optimizer(rate):
    return torch.optim.SGD([torch.zeros(1)], lr=rate)


def of_kohya(flat, rate, total):
    """As library/train_util.py:get_scheduler_fix calls them."""
    name, warmup = flat["lr_scheduler"], flat.get("lr_warmup_steps", 0)
    warmup = int(warmup * total) if 0 < warmup < 1 else int(warmup)
    function = of_transformers.TYPE_TO_SCHEDULER_FUNCTION[of_transformers.SchedulerType(name)]
    options = {"num_warmup_steps": warmup, "num_training_steps": total}
    ratio = flat.get("lr_scheduler_min_lr_ratio")
    if name == "constant":
        assert warmup == 0
        options = {}
    elif name == "constant_with_warmup":
        del options["num_training_steps"]
    elif name == "inverse_sqrt":
        options = {"num_warmup_steps": warmup, "timescale": flat.get("lr_scheduler_timescale")}
    elif name == "cosine_with_restarts":
        options["num_cycles"] = flat.get("lr_scheduler_num_cycles", 1)
    elif name == "polynomial":
        options["power"] = flat.get("lr_scheduler_power", 1)
    elif name == "cosine_with_min_lr":
        options |= {"num_cycles": 0.5, "min_lr_rate": ratio}
    elif name == "warmup_stable_decay":
        decay = flat.get("lr_decay_steps", 0)
        decay = int(decay * total) if 0 < decay < 1 else decay
        options = {"num_warmup_steps": warmup, "num_decay_steps": decay, "num_cycles": 0.5,
                   "num_stable_steps": total - warmup - decay, "min_lr_ratio": ratio or 0.0}
    return stepped(function(optimizer(rate), **options), total)


def of_script(flat, rate, total):
    """As train_text_to_image_lora.py calls get_scheduler, and the scripts for DreamBooth with cycles and power."""
    return stepped(of_diffusers.get_scheduler(
        flat["lr_scheduler"], optimizer(rate), num_training_steps=total,
        num_warmup_steps=flat.get("lr_warmup_steps", 500), num_cycles=flat.get("lr_num_cycles", 1),
        power=flat.get("lr_power", 1.0)), total)


def of_ai_toolkit(flat, rate, total):
    """As toolkit/scheduler.py calls them, with total_iters that BaseSDTrainProcess.py gives."""
    start = "train.lr_scheduler_params."
    flat = {name.removeprefix("config.process.0."): value for name, value in flat.items()}
    params = {name.removeprefix(start): value for name, value in flat.items() if name.startswith(start)}
    name = flat["train.lr_scheduler"]
    if name == "constant_with_warmup":
        return stepped(of_diffusers.get_constant_schedule_with_warmup(
            optimizer(rate), params.get("num_warmup_steps", 1000)), total)
    make, own = {"constant": (of_torch.ConstantLR, {"factor": 1.0, "total_iters": total}),
                 "linear": (of_torch.LinearLR, {"total_iters": total}), "step": (of_torch.StepLR, {}),
                 "cosine": (of_torch.CosineAnnealingLR, {"T_max": total}),
                 "cosine_with_restarts": (of_torch.CosineAnnealingWarmRestarts, {"T_0": total})}[name]
    return stepped(make(optimizer(rate), **own, **params), total)


def of_simpletuner(flat, rate, total):
    flat = {name.lstrip("-"): value for name, value in flat.items()}
    name, warmup, end = flat["lr_scheduler"], flat.get("lr_warmup_steps", 0), float(flat.get("lr_end", 4e-7))
    if name in ("cosine", "sine"):
        wave = {"cosine": math.cos, "sine": math.sin}[name]
        heights = [(1 + wave(math.pi * step / (warmup or 1000))) / 2 for step in range(total)]
        return [math.floor((end + (rate - end) * height) * 1e9) / 1e9 for height in heights]
    if name == "cosine_with_restarts":                        # CosineAnnealingHardRestarts with steps_per_epoch = -1
        return [end + (rate - end) * (1 + math.cos(math.pi * (step % -1) / warmup)) / 2 for step in range(total)]
    if name == "polynomial":
        return stepped(of_diffusers.get_polynomial_decay_schedule_with_warmup(
            optimizer(rate), warmup, total, lr_end=end, power=flat.get("lr_power", 0.8)), total)
    return stepped(of_diffusers.get_scheduler(name, optimizer(rate), num_warmup_steps=warmup,
                                              num_training_steps=total), total)


def of_onetrainer(flat, rate, total):
    name, given = flat["learning_rate_scheduler"], flat.get("learning_rate_warmup_steps", 200.0)
    warmup = int(given / flat.get("gradient_accumulation_steps", 1)) if given > 1 else int(given * total)
    cycles, least = flat.get("learning_rate_cycles", 1.0), flat.get("learning_rate_min_factor", 0.0)
    rates = []
    for step in range(total):
        share = max(0, step - warmup) / max(1, total - warmup)
        height = {
            "CONSTANT": 1.0, "LINEAR": 1 - share, "COSINE": math.cos(math.pi * share / 2) ** 2,
            "COSINE_WITH_HARD_RESTARTS": math.cos(math.pi * math.fmod(share * cycles, 1) / 2) ** 2,
            "COSINE_WITH_RESTARTS": math.cos(math.pi * share * cycles) ** 2, "REX": (1 - share) / (1 - 0.9 * share),
        }[name]
        height = height if name == "CONSTANT" else least + (1 - least) * height
        rates.append(rate * (step / warmup if step < warmup else height))
    return rates


THEIRS = {"kohya": of_kohya, "kohya_ss": of_kohya, "diffusers": of_script, "ai-toolkit": of_ai_toolkit,
          "simpletuner": of_simpletuner, "onetrainer": of_onetrainer, "dreambooth": of_script,
          "dreambooth-xl": of_script}
