"""Will a design train what was decided? Twelve points to look over before its first update.

They are those of the chapter's synthesis. A design's `expected` section says what was decided and found; here it is
held against what would really be trained.
"""

import math
from collections import Counter

import numpy as np

from labkit.design import volume
from labkit.design.config import is_share_string, load_design
from labkit.design.design_file import Design, read_design, split
from labkit.design.ladders import rung_text
from labkit.design.schedules import lr_at
from labkit.engine import batches
from labkit.engine.adapters import LoRAStack, attached_to, find_targets
from labkit.engine.monitor import FIRST_SCORED, Monitor
from labkit.engine.train import train
from labkit.experiments import gradients
from labkit.experiments.distance import base_losses
from labkit.lab import Lab
from labkit.machine import Finding, facts
from labkit.store.events import Checkpoint
from labkit.text import counted, rounded

RUNG = 3.4                                  # a little more than half a decade, the step of the short test's ladder
# Relative: other machines stay below, a merged adapter that has learned does not.
SAME_LOSS = {"float32": 1e-3, "bfloat16": 1e-2, "float16": 1e-2}
COMPARED = ("short_test_rate", "scaling", "num_train_epochs", "base_loss", "base", "data")


def look_over(design, *, lab=None, **overrides) -> list[Finding]:
    """Return the findings on a design file (or share string, mapping, configuration): what is bad would spoil the run.

    lab               takes the place of the design's own base and data
    overrides         fields of a run that win over the design's; None leaves them
    """
    config = load_design(design, **overrides)
    lab = lab or Lab.from_config(config)
    sections = _sections(design)
    resolved = config.resolved(len(lab.territory.train))
    findings = [*on_paper(resolved, sections), data(lab.territory, resolved, sections.expected)]
    return findings + on_base(lab.base, lab.cache, resolved, sections.expected)


def _sections(design) -> Design:
    """Return a design's sections; a share string and a configuration have neither reasons nor expectations."""
    if isinstance(design, dict):
        return split(design)
    is_file = not hasattr(design, "to_dict") and not is_share_string(design)
    return read_design(design) if is_file else Design({}, {}, {})


def expectations(lab, config, *, short_test_rate=None, epochs=None) -> dict:
    """Return what a design written now should expect: measured on the untouched base, before anything is trained.

    short_test_rate   the rate that the short test found
    epochs            the passes that were decided, where they were
    """
    config = lab.config(config)
    values = {"short_test_rate": short_test_rate, "scaling": config.scaling, "n_train": config.n_train,
              "num_train_epochs": epochs, "parameters": LoRAStack(lab.base.unet, [config]).theta.numel(),
              "base_loss": _base_loss(lab.base, lab.cache),
              "base": lab.base.fingerprint, "data": lab.cache.fingerprint}
    return {name: value for name, value in values.items() if value is not None}


# -- what the file alone tells

def on_paper(config, design: Design) -> list[Finding]:
    """Judge a resolved configuration by the design's expectations; nothing is loaded."""
    expected = design.expected
    findings = [rate(config, expected), scaling(config, expected), length(config, expected), schedule(config),
                start(config, design.reasons)]
    if rule := design.reasons.get("stop"):
        findings.append(Finding("stop rule", "good", rule))
    else:
        findings.append(Finding("stop rule", "note", "not written down",
                                "Add it under reasons, as stop: a rule made afterwards fits anything."))
    if missing := [name for name in COMPARED if name not in expected]:
        findings.append(Finding("expected", "note", f"not recorded: {', '.join(missing)}",
                                "What is not recorded cannot be compared: add it under expected."))
    return findings


def rate(config, expected) -> Finding:
    """Compare the rate with the one that the short test found."""
    wanted, actual = expected.get("short_test_rate"), config.learning_rate
    words = f"{rung_text('learning_rate', actual)}, {config.optimizer}"
    if not wanted:
        return Finding("rate", "good", words)
    if 1 / RUNG < actual / wanted < RUNG:
        return Finding("rate", "good", f"{words}; the short test found {rung_text('learning_rate', wanted)}")
    factor, side = (actual / wanted, "above") if actual > wanted else (wanted / actual, "below")
    return Finding("rate", "bad", f"{words}: {factor:.3g} times {side} the {rung_text('learning_rate', wanted)} "
                                  "that the short test found",
                   f"Set learning_rate to {wanted:g}, or do the short test again and record what it finds.")


def scaling(config, expected) -> Finding:
    """Compare the factor on B @ A with the one intended, and say which misreading made another of it."""
    wanted, alpha, rank = expected.get("scaling"), config.alpha, config.rank
    flag, flipped = (str(value).lower() for value in (config.use_rslora, not config.use_rslora))
    words = f"rank {rank}, alpha {alpha:g}, use_rslora {flag}: scaling {config.scaling:.4g}"
    if wanted is None and alpha <= 1 < rank:
        return Finding("scaling", "note", words, "An alpha of at most 1 is often the intended scaling itself; "
                                                 "record it under expected, as scaling.")
    if wanted is None or config.adapter == "full" or math.isclose(config.scaling, wanted, rel_tol=1e-3):
        return Finding("scaling", "good", words)
    if math.isclose(config.replace(use_rslora=not config.use_rslora).scaling, wanted, rel_tol=1e-3):
        return Finding("use_rslora", "bad", f"{words}, where {wanted:g} is intended",
                       f"The flag is flipped: set use_rslora to {flipped}.")
    right = wanted * (math.sqrt(rank) if config.use_rslora else rank)
    if math.isclose(alpha, wanted, rel_tol=1e-3):
        return Finding("alpha", "bad", f"{words}: alpha holds the intended scaling {wanted:g} itself",
                       f"alpha is lora_alpha, which is divided by the rank: set it to {right:g}.")
    return Finding("scaling", "bad", f"{words}, where {wanted:g} is intended", f"Set alpha to {right:g}.")


def length(config, expected) -> Finding:
    """Compare the updates with the passes they stand for, and say which formula made another number of them."""
    n, batch, steps = config.n_train, config.effective_batch_size, config.max_train_steps
    epochs = expected.get("num_train_epochs")
    words = (f"{counted(steps, 'update')} of {batch} from {counted(n, 'picture')}: "
             f"{volume.exposures(steps, batch):,} shown, each {rounded(volume.views(steps, batch, n))} times")
    if expected.get("n_train", n) != n:
        return Finding("volume", "bad", f"{words}; the design was made for {expected['n_train']:g} pictures",
                       "Set n_train and max_train_steps again for the pictures there are now.")
    if epochs is None or steps == (right := volume.updates(n, batch, epochs)):
        return Finding("volume", "good", words)
    remedy = f"{epochs:g} epochs take {counted(right, 'update')}: set max_train_steps to it."
    if steps == volume.updates(n, batch, epochs, last_batch="drop"):
        return Finding("drop_last", "bad", f"{words}; counted without the last {n % batch} pictures of every epoch, "
                                           "as with drop_last", remedy)
    if steps == volume.updates(n, batch, epochs, last_batch="keep"):
        return Finding("volume", "note", f"{words}; counted with a smaller last batch in every epoch, "
                                         "which labkit does not make", remedy)
    if steps in (n * epochs, n * epochs * batch):
        return Finding("schedule", "bad", f"{words}; {epochs:g} epochs of {n} pictures were counted as updates "
                                          "without dividing by the batch", remedy)
    return Finding("volume", "bad", f"{words}, where {epochs:g} times is intended", remedy)


def schedule(config) -> Finding:
    """State the rate as it will really be applied, and whether it ever reaches its peak."""
    warmup, last = config.lr_warmup_steps, config.max_train_steps - 1
    rates = ", ".join(f"{rung_text('learning_rate', lr_at(step, config))} at update {step + 1:,}"
                      for step in sorted({0, min(warmup, last), last // 2, last}))
    words = f"{config.lr_scheduler}: {rates}; sum {volume.lr_sum(config):.3g}"
    if warmup > last:
        return Finding("warm-up", "bad", f"{words}; the warm-up of {counted(warmup, 'update')} is not over when the "
                                         "run ends", "Set lr_warmup_steps below max_train_steps.")
    return Finding("rates", "good", words)


def start(config, reasons) -> Finding:
    """Say whether the run begins from a fresh adapter."""
    if not config.parent:
        return Finding("adapter", "good", f"fresh: A by seed {config.seed}, {config.init_lora_weights}; B zero")
    words = f"begins from the adapter of run {config.parent}"
    if "parent" in reasons:
        return Finding("adapter", "good", words)
    return Finding("adapter", "bad", words, "Take parent out for a fresh adapter, or give its reason under reasons.")


# -- what pictures and base tell

def data(territory, config, expected) -> Finding:
    """Judge the three sets: no picture in two of them, and the pictures those that the design was made for."""
    sets = {name: getattr(territory, name) for name in ("train", "validation", "ordinary")}
    words = ", ".join(f"{name} {len(folder)}" for name, folder in sets.items())
    trained_on = set(sets["train"].hashes)
    for name in ("validation", "ordinary"):
        if both := trained_on & set(sets[name].hashes):
            return Finding("data", "bad", f"{words}; {len(both)} training pictures are also in {name}",
                           f"Take them out of {name}: they cannot show what was not trained on.")
    if expected.get("data", territory.fingerprint) != territory.fingerprint:
        return Finding("data", "bad", f"{words}; pictures or captions are not those that the design was made for",
                       "Give the pictures back, or decide anew on these and write the design again.")
    if copies := len(sets["train"]) - len(trained_on):
        return Finding("data", "note", words, f"{copies} training pictures are copies of others: they count double.")
    return Finding("data", "good", words)


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
    loss = _base_loss(base, cache)
    if math.isclose(loss, wanted, rel_tol=SAME_LOSS[_dtype(base)]):
        return Finding("base loss", "good", f"{loss:.4g} before training, as recorded")
    return Finding("stale adapter", "bad", f"the loss before training is {loss:.4g}, the design recorded {wanted:.4g}",
                   "The base's weights in memory are not those it was measured with, as after merging an adapter: "
                   "load it again. Else pictures or base are others.")


def _base_loss(base, cache) -> float:
    return float(base_losses(base, cache.validation.take(FIRST_SCORED)).mean())


def _dtype(base) -> str:
    return str(base.dtype).removeprefix("torch.")


def dry_run(base, cache, config) -> Finding:
    """Make 3 updates, and 2 with a checkpoint and 1 after it: the same adapter must come out."""
    short, monitor = config.replace(max_train_steps=3, lr_edits=(), parent=None), Monitor(images=0)

    def checkpoints(**options):
        events = train(base, cache, [short], monitor=monitor, **options)
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
