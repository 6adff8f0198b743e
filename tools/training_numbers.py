"""What a run in a page is made of besides its model: encoded pictures, captions, held-out noise, and the design.

Everything is the engine's own, so that the page's run of a seed is the engine's. P numbers of the adapter, n pictures,
C H W latent, L tokens, D width.
"""

import json
import math
import warnings
from typing import NamedTuple

import numpy as np
import torch

from labkit.design.ladders import LADDERS
from labkit.design.schedules import rates
from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import add_noise
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.errors import LabError
from labkit.store.adapter_files import adapter_bytes

PROMPT = "encoder_hidden_states"
SHORTER = (10, 30, 75)                                        # updates of runs that are offered beside the recorded


class Numbers(NamedTuple):
    """Hold what a page reads."""

    data: bytes                                               # all arrays, float32, one after the other
    arrays: dict                                              # name -> [first number, how many]
    design: dict                                              # for JSON


def numbers(base, cache, run, lengths=None):
    """Return what a page needs to train as a recorded run was trained.

    run        a recorded Run, whose design, measurements and pictures are taken over
    lengths    numbers of updates that are offered; None: SHORTER ones, and the run's own
    LabError: the run's design has what a page does not do.
    """
    config, first = run.config, run.samples[0]
    check(config, base)
    check_rows(config, run)
    lengths = lengths or [*(n for n in SHORTER if n < config.steps), config.steps]
    stack = LoRAStack(base.unet, [config]).initialize()
    held_out = ValidationSet(cache.validation.take(FIRST_SCORED), *run.validations["validation"].losses.shape[1:])
    check_held_out(base, held_out, run)
    latents, noise = held_out.latents.flatten(0, 1), held_out.noise.flatten(0, 1)
    timesteps = torch.from_numpy(held_out.timesteps).flatten()
    words = base.encode_captions([""] * len(first.prompts) + list(first.prompts))[PROMPT]
    arrays = {"mean": cache.train.mean, "std": cache.train.std, "text": cache.train.cond[PROMPT],
              "heldLatents": add_noise(latents, noise, timesteps, base.denoiser.alphas_cumprod), "heldNoise": noise,
              "heldText": held_out.cond[PROMPT].repeat_interleave(held_out.timesteps.shape[1], 0), "prompts": words}
    places, at = {}, 0
    for name, value in arrays.items():
        places[name], at = [at, value.numel()], at + value.numel()
    data = b"".join(value.contiguous().float().numpy().astype("<f4").tobytes() for value in arrays.values())
    return Numbers(data, places, design(base, run, stack, len(cache.train), timesteps.tolist(), lengths))


def check(config, base):
    """Refuse designs that the page's code has no form for, or its text no words; LabError names the field."""
    plain = {"optimizer": "adamw", "adapter": "lora", "gradient_accumulation_steps": 1, "prior_loss_weight": 0.0,
             "snr_gamma": None, "caption_dropout": 0.0, "mixed_precision": "no", "init_lora_weights": "default",
             "lr_ratio_B": 1.0, "lr_edits": (), "lr_scheduler": "linear", "lr_warmup_steps": 0,
             "data": "near", "target_modules": ("all",)}
    odd = [name for name, value in plain.items() if getattr(config, name) != value]
    if config.lr_end:                                         # open, or 0: to nothing
        odd, plain = [*odd, "lr_end"], plain | {"lr_end": 0.0}
    if odd:
        raise LabError(f"{odd[0]} = {getattr(config, odd[0])!r} of the recorded race is not what a page trains with "
                       f"({plain[odd[0]]!r}): build the site without --trainable.")
    if base.prediction_type != "epsilon":
        raise LabError(f"A page trains bases that predict noise, and this one predicts {base.prediction_type}: "
                       "build the site without --trainable.")


def check_rows(config, run):
    """Refuse numbers that do not come out as whole batches, which is all that the models take; LabError says which."""
    B, prompts, pairs = config.train_batch_size, len(run.samples[0].prompts), run.timesteps["validation"].size
    if 2 * prompts != B or pairs % B:
        raise LabError(f"A page computes {B} rows at once, the batch: the recorded race must be drawn for {B // 2} "
                       f"prompts, not {prompts}, and measured on a multiple of {B} losses, not {pairs}.")


def check_held_out(base, held_out, run):
    """Refuse another measure than that of the recorded curves, or another base; LabError says so."""
    again = "record it again (python -m recipes.ship.recorded race, in the folder data)."
    if not np.array_equal(held_out.timesteps, run.timesteps["validation"]):
        raise LabError(f"The recorded race was measured on other held-out noise than a run is now: {again}")
    if not np.allclose(untouched_losses(base, held_out)[0], run.validations["validation"].losses[0], atol=1e-3):
        raise LabError(f"The recorded race began from another base or other pictures than a run does now: {again}")


def design(base, run, stack, pictures, timesteps, lengths):
    """Return the design of the run as what JSON can say."""
    config, (C, H, W) = run.config, base.latent_shape
    drawn = [samples.global_step for samples in run.samples]
    rows = {"latents": [config.train_batch_size, C, H, W], "timesteps": [config.train_batch_size],
            "text": [config.train_batch_size, *base.encode_captions([""])[PROMPT].shape[1:]],
            "adapter": [stack.theta.shape[1]]}
    layers, header = layout(stack)
    return {
        "pictures": config.pictures, "batch": config.train_batch_size, "size": C * H * W, "side": base.resolution,
        "levels": len(base.noise_scheduler.alphas_cumprod), "captionSize": math.prod(rows["text"][1:]),
        "adapterSize": stack.theta.shape[1], "layers": layers, "header": header,
        "optimizer": {"beta1": config.adam_beta1, "beta2": config.adam_beta2, "epsilon": config.adam_epsilon,
                      "decay": config.weight_decay, "maxNorm": config.max_grad_norm},
        "lengths": {n: course(config, n, drawn) for n in lengths}, "last": config.steps,
        "heldOut": timesteps, "seeds": list(run.samples[0].seeds), "seed": config.seed,
        "sampler": sampler(base, run.samples[0].guidance_scale),
        "ladder": list(LADDERS["learning_rate"]),
        "shapes": {"update": {**rows, "noise": rows["latents"]}, "prediction": rows,
                   "picture": {"latents": [len(run.samples[0].prompts), C, H, W]}},
    }


def course(config, updates, drawn):
    """Return how a run of so many updates goes: the rate's factors, and after which updates it is looked at.

    drawn    updates after which the recorded run was drawn: there this one is measured and drawn
    """
    peak = config.replace(learning_rate=1.0, max_train_steps=updates, lr_end=config.lr_end or 0.0)
    return {"factors": rates(peak), "looks": sorted({0, updates, *(step for step in drawn if step < updates)})}


def layout(stack):
    """Return where each layer's part lies in an adapter and in its file, and that file's header.

    The parts that are drawn (A) come first, and have a `bound`: they are uniform in plus and minus that.
    """
    file = adapter_bytes(stack.tensors(0), stack.configs[0])
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8:8 + length])
    del header["__metadata__"]["checksum"]                    # of the numbers, which are others when it is saved
    ends = {"A": "lora_A.weight", "B": "lora_B.weight"}
    layers = []
    for (name, part), (columns, shape) in stack.slots.items():
        entry = {"name": name, "start": columns.start, "shape": list(shape),
                 "offset": header[f"unet.{name}.{ends[part]}"]["data_offsets"][0],
                 "isKernel": part == "A" and len(shape) == 4}
        if part == "A":
            entry["bound"] = 1 / math.sqrt(math.prod(shape) / stack.configs[0].rank)
        layers.append(entry)
    return layers, json.dumps(header, separators=(",", ":"))


def sampler(base, guidance):
    """Return the sampler as a table: what each step makes of the first noise and of all predictions until then.

    It is linear in them, so it is asked once what it makes of each alone.
    """
    made = base.sampler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)   # as `Base.generate` does
        made.set_timesteps(base.num_inference_steps)
    steps = len(made.timesteps)
    each = torch.eye(steps + 1, dtype=torch.float64)
    latents, table = each[0], []
    for i, t in enumerate(made.timesteps):
        latents = made.step(each[i + 1], t, latents).prev_sample
        table.append(latents[: i + 2].tolist())
    return {"table": table, "timesteps": [int(t) for t in made.timesteps], "guidance": guidance}
