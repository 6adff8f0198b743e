"""What only a loaded base tells of a design: the second half of the checklist of `labkit.experiments.preflight`."""

import math
from collections import Counter

import numpy as np

from labkit.engine import batches
from labkit.engine.adapters import LoRAStack, attached_to, find_targets
from labkit.engine.monitor import FIRST_SCORED, Monitor
from labkit.engine.room import room
from labkit.engine.train import train
from labkit.experiments import gradients
from labkit.experiments.distance import base_losses
from labkit.machine import Finding, facts
from labkit.reading import BUCKETS
from labkit.store.events import Checkpoint

# Relative: other machines stay below, a merged adapter that has learned does not.
SAME_LOSS = {"float32": 1e-3, "bfloat16": 1e-2, "float16": 1e-2}


def on_base(base, cache, config, expected) -> list[Finding]:
    """Judge what only the loaded base shows; nothing on it is changed."""
    clean = foreign_adapter(base)
    findings = [held_out(cache), frozen(base, expected), clean, every_picture(config)]
    if clean.state == "good":                                 # else nothing about a fresh adapter could be measured
        findings += [parameters(base, config, expected), step_zero(base, cache, config),
                     base_loss(base, cache, expected), dry_run(base, cache, config)]
    return findings + [objective(base, config), environment(base)]


def held_out(cache) -> Finding:
    """State what the run is judged by."""
    return Finding("judged by", "good", f"{len(cache.validation)} held-out pictures on stored noise, "
                                        "measured before the first update too")


def frozen(base, expected) -> Finding:
    """Judge whether the base is the one intended, and frozen."""
    words = f"{base.name} ({base.fingerprint[:8]}), {base.prediction_type}"
    if expected.get("base", base.fingerprint) != base.fingerprint:
        return Finding("base", "bad", f"{words}; the design was made for {expected['base'][:8]}",
                       "Give that base, or do the short test again on this one.")
    if any(parameter.requires_grad for parameter in base.unet.parameters()):
        return Finding("base", "bad", f"{words}; some of its own weights would be trained",
                       "Load the base again with load_base, which freezes it.")
    return Finding("base", "good", words + ", frozen")


def foreign_adapter(base) -> Finding:
    """Judge whether an earlier adapter still acts: one of labkit's, or layers that PEFT put in."""
    modules = base.unet.named_modules()
    of_peft = [name for name, module in modules if type(module).__module__.split(".")[0] == "peft"]
    if attached_to(base.unet) is not None or of_peft:
        place = f", first at {of_peft[0]}" if of_peft else ""
        return Finding("stale adapter", "bad", f"an earlier adapter is still on the U-Net{place}",
                       "Unload it, or load the base again.")
    return Finding("U-Net", "good", "carries no other adapter")


def every_picture(config) -> Finding:
    """Count in the batches themselves that an epoch shows every picture once."""
    n, epochs = config.n_train, 2
    if config.crop == BUCKETS:
        return Finding("batches", "good", f"the pictures of each are from one bucket; every {n} updates, all {n} are "
                                          "shown equally often")
    shown = Counter(batches.pictures(config.seed, n, 0, n * epochs))
    if sorted(shown) == list(range(n)) and set(shown.values()) == {epochs}:
        return Finding("batches", "good", f"cut across epochs: every one of {n} pictures is shown once in each, "
                                          "none is dropped")
    words = (f"{n - len(shown)} of {n} pictures are never shown in {epochs} epochs" if len(shown) < n
             else "pictures are not shown equally often")
    return Finding("drop_last", "bad", words, "The batches of this labkit are broken: run labkit test.")


def parameters(base, config, expected) -> Finding:
    """Count the trained numbers from the layers' shapes and in the adapter itself."""
    shapes = [module.weight.shape for module in find_targets(base.unet, config.targets).values()]
    if config.adapter == "full":
        numbers = sum(math.prod(shape) for shape in shapes)
    else:
        numbers = sum(config.rank * (shape[0] + math.prod(shape[1:])) for shape in shapes)
    stack = LoRAStack(base.unet, [config])
    wanted, factor = expected.get("parameters", numbers), float(stack.scale[0])
    words = f"{numbers:,} numbers in {len(shapes)} layers, the factor on each {factor:.4g}"
    if numbers == stack.theta.numel() == wanted and math.isclose(factor, config.scaling, rel_tol=1e-6):
        return Finding("trained", "good", words)
    return Finding("trained", "bad", f"{words}; intended {wanted:,.0f}, factor {config.scaling:.4g}",
                   "Compare rank, adapter and target_modules with what was decided.")


def step_zero(base, cache, config) -> Finding:
    """Measure that the fresh adapter changes nothing."""
    measured = gradients.step_zero(base, cache, config)
    if measured["largest_change"] or measured["grad_A"]:
        return Finding("step zero", "bad", f"the fresh adapter changes the output by {measured['largest_change']:.2g}",
                       "An adapter of before is active: load the base again.")
    return Finding("step zero", "good", "with the fresh adapter the output is the base's to the last bit")


def base_loss(base, cache, expected) -> Finding:
    """Measure the untouched base and compare with what the design recorded."""
    wanted = expected.get("base_loss")
    if wanted is None:
        return Finding("base loss", "good", "not recorded in the design, so not measured")
    loss = untouched_loss(base, cache)
    if math.isclose(loss, wanted, rel_tol=SAME_LOSS[_dtype(base)]):
        return Finding("base loss", "good", f"{loss:.4g} before training, as recorded")
    return Finding("stale adapter", "bad", f"the loss before training is {loss:.4g}, the design recorded {wanted:.4g}",
                   "The base's weights in memory are not those it was measured with, as after merging an adapter: "
                   "load it again. Else pictures or base are others.")


def untouched_loss(base, cache) -> float:
    """Return the loss of the untouched base on held-out pictures, fixed noise."""
    return float(base_losses(base, cache.validation.take(FIRST_SCORED)).mean())


def _dtype(base) -> str:
    return str(base.dtype).removeprefix("torch.")


def dry_run(base, cache, config) -> Finding:
    """Make 3 updates, and 2 with a checkpoint and 1 after it: the same adapter must come out."""
    short, monitor = config.replace(max_train_steps=3, lr_edits=(), parent=None), Monitor(images=0)
    again = room(base, cache, config, config.rows).gradient_checkpointing

    def checkpoints(**options):
        events = train(base, cache, [short], monitor=monitor, gradient_checkpointing=again, **options)
        return {event.global_step: event for event in events if isinstance(event, Checkpoint)}

    straight = checkpoints(checkpoint_at=(2,))
    if 3 not in straight:
        return Finding("dry run", "bad", "the loss is not finite within three updates",
                       "Lower learning_rate: this design diverges at once.")
    resumed = checkpoints(resume=[straight[2]])[3]
    on_cpu = base.device.type == "cpu"
    for name, array in straight[3].adapter.items():
        other = resumed.adapter[name]
        if not (np.array_equal(array, other) if on_cpu else np.allclose(array, other, rtol=1e-3, atol=1e-6)):
            return Finding("dry run", "bad", "two updates, a checkpoint and a third are not three updates",
                           "Resuming would change this run here: keep it going to its end.")
    return Finding("dry run", "good", "two updates, a checkpoint and a third are the same as three")


def objective(base, config) -> Finding:
    """State what is minimized, and by what."""
    loss = f"{base.prediction_type}, Min-SNR {config.snr_gamma or 'off'}, caption dropout {config.caption_dropout:g}"
    optimizer = (f"{config.optimizer}, betas {config.adam_beta1:g} and {config.adam_beta2:g}, "
                 f"epsilon {config.adam_epsilon:g}, weight decay {config.weight_decay:g}, "
                 f"clipping at {config.max_grad_norm:g}")
    return Finding("objective", "good", f"{loss}; {optimizer}")


def environment(base) -> Finding:
    """State what the run would be computed with."""
    about = facts()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return Finding("machine", "good", f"{base.device.type}, U-Net in {_dtype(base)}, {about['threads']} threads, "
                                      f"{versions}")
