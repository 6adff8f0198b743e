"""Look a design over before its first update: what the chapter's synthesis calls for, twelve points of it.

A design's `expected` section says what was decided and found; here it is held against what would really be trained.
"""

import math
from collections import Counter

from labkit.design import volume
from labkit.design.config import load_design
from labkit.design.design_file import Design, read_design
from labkit.design.ladders import rung_text
from labkit.design.schedules import lr_at
from labkit.engine import batches
from labkit.machine import Finding, facts
from labkit.text import counted, rounded

RUNG = 3.4                                                    # a little more than half a decade, the step of the short test's ladder
SAME_LOSS = {"float32": 1e-3, "bfloat16": 1e-2, "float16": 1e-2}  # relative: other machines stay below, a merged adapter that has learned does not
COMPARED = ("short_test_rate", "scaling", "num_train_epochs", "base_loss", "base", "data")


def look_over(design, *, lab=None, **overrides) -> list[Finding]:
    """Return the findings on a design file (or share string, mapping, configuration): what is bad would spoil the run.

    lab               takes the place of the design's own base and data
    overrides         fields of a run that win over the design's; None leaves them
    """
    from labkit.lab import Lab

    config = load_design(design, **overrides)
    lab = lab or Lab.from_config(config)
    said = _said(design)
    resolved = config.resolved(len(lab.territory.train))
    found = [*on_paper(resolved, said), data(lab.territory, resolved, said.expected)]
    return found + on_base(lab.base, lab.cache, resolved, said.expected)


def _said(design) -> Design:
    if isinstance(design, dict):
        from labkit.design.design_file import split
        return split(design)
    is_file = not hasattr(design, "to_dict") and not str(design).startswith("lab1~")
    return read_design(design) if is_file else Design({}, {}, {})


def expectations(lab, config, *, short_test_rate=None, epochs=None) -> dict:
    """Return what a design written now should expect: measured on the untouched base, before anything is trained.

    short_test_rate   the rate that the short test found; epochs: the passes that were decided, where they were
    """
    from labkit.engine.adapters import LoRAStack
    from labkit.engine.monitor import FIRST_SCORED
    from labkit.experiments.distance import base_losses

    config = lab.config(config)
    values = {"short_test_rate": short_test_rate, "scaling": config.scaling, "n_train": config.n_train, "num_train_epochs": epochs,
              "parameters": LoRAStack(lab.base.unet, [config]).theta.numel(),
              "base_loss": float(base_losses(lab.base, lab.cache.validation.take(FIRST_SCORED)).mean()),
              "base": lab.base.fingerprint, "data": lab.cache.fingerprint}
    return {name: value for name, value in values.items() if value is not None}


# -- what the file alone tells

def on_paper(config, said: Design) -> list[Finding]:
    """Judge a resolved configuration by the design's expectations; nothing is loaded."""
    expected = said.expected
    found = [rate(config, expected), scaling(config, expected), length(config, expected), schedule(config), start(config, said.reasons)]
    rule = said.reasons.get("stop")
    found.append(Finding("stop rule", "good" if rule else "note", rule or "not written down", "" if rule else "Add it under reasons, as stop: a rule made afterwards fits anything."))
    if missing := [name for name in COMPARED if name not in expected]:
        found.append(Finding("expected", "note", f"not recorded: {', '.join(missing)}", "What is not recorded cannot be compared: add it under expected."))
    return found


def rate(config, expected) -> Finding:
    """Compare the rate with the one that the short test found."""
    wanted, given = expected.get("short_test_rate"), config.learning_rate
    words = f"{rung_text('learning_rate', given)}, {config.optimizer}"
    if wanted and not 1 / RUNG < given / wanted < RUNG:
        factor = given / wanted if given > wanted else wanted / given
        return Finding("rate", "bad", f"{words}: {factor:.3g} times {'above' if given > wanted else 'below'} the {rung_text('learning_rate', wanted)} that the short test found",
                       f"Set learning_rate to {wanted:g}, or do the short test again and record what it finds.")
    return Finding("rate", "good", words + (f"; the short test found {rung_text('learning_rate', wanted)}" if wanted else ""))


def scaling(config, expected) -> Finding:
    """Compare the factor on B @ A with the one intended, and say which misreading made another of it."""
    wanted, alpha, rank = expected.get("scaling"), config.alpha, config.rank
    words = f"rank {rank}, alpha {alpha:g}, use_rslora {str(config.use_rslora).lower()}: scaling {config.scaling:.4g}"
    if wanted is None and alpha <= 1 < rank:
        return Finding("scaling", "note", words, "An alpha of at most 1 is often the intended scaling itself; record it under expected, as scaling.")
    if wanted is None or config.adapter == "full" or math.isclose(config.scaling, wanted, rel_tol=1e-3):
        return Finding("scaling", "good", words)
    if math.isclose(config.replace(use_rslora=not config.use_rslora).scaling, wanted, rel_tol=1e-3):
        return Finding("use_rslora", "bad", f"{words}, where {wanted:g} is intended",
                       f"The flag is flipped: set use_rslora to {str(not config.use_rslora).lower()}.")
    right = wanted * (math.sqrt(rank) if config.use_rslora else rank)
    if math.isclose(alpha, wanted, rel_tol=1e-3):
        return Finding("alpha", "bad", f"{words}: alpha holds the intended scaling {wanted:g} itself", f"alpha is lora_alpha, which is divided by the rank: set it to {right:g}.")
    return Finding("scaling", "bad", f"{words}, where {wanted:g} is intended", f"Set alpha to {right:g}.")


def length(config, expected) -> Finding:
    """Compare the updates with the passes they stand for, and say which formula made another number of them."""
    n, batch, steps, epochs = config.n_train, config.effective_batch_size, config.max_train_steps, expected.get("num_train_epochs")
    words = f"{counted(steps, 'update')} of {batch} from {counted(n, 'picture')}: {volume.exposures(steps, batch):,} shown, each {rounded(volume.views(steps, batch, n))} times"
    if expected.get("n_train", n) != n:
        return Finding("volume", "bad", f"{words}; the design was made for {expected['n_train']:g} pictures", "Set n_train and max_train_steps again for the pictures there are now.")
    if epochs is None or steps == (right := volume.updates(n, batch, epochs)):
        return Finding("volume", "good", words)
    remedy = f"{epochs:g} epochs take {counted(right, 'update')}: set max_train_steps to it."
    if steps == volume.updates(n, batch, epochs, last_batch="drop"):
        return Finding("drop_last", "bad", f"{words}; counted without the last {n % batch} pictures of every epoch, as with drop_last", remedy)
    if steps == volume.updates(n, batch, epochs, last_batch="keep"):
        return Finding("volume", "note", f"{words}; counted with a smaller last batch in every epoch, which labkit does not make", remedy)
    if steps in (n * epochs, n * epochs * batch):
        return Finding("schedule", "bad", f"{words}; {epochs:g} epochs of {n} pictures were counted as updates without dividing by the batch", remedy)
    return Finding("volume", "bad", f"{words}, where {epochs:g} times is intended", remedy)


def schedule(config) -> Finding:
    """State the rate as it will really be applied, and whether it ever reaches its peak."""
    last = config.max_train_steps - 1
    at = sorted({0, min(config.lr_warmup_steps, last), last // 2, last})
    words = f"{config.lr_scheduler}: " + ", ".join(f"{rung_text('learning_rate', lr_at(step, config))} at update {step + 1:,}" for step in at) + f"; sum {volume.lr_sum(config):.3g}"
    if config.lr_warmup_steps > last:
        return Finding("warm-up", "bad", f"{words}; the warm-up of {counted(config.lr_warmup_steps, 'update')} is not over when the run ends", "Set lr_warmup_steps below max_train_steps.")
    return Finding("rates", "good", words)


def start(config, reasons) -> Finding:
    """Say whether the run begins from a fresh adapter."""
    if config.parent and "parent" not in reasons:
        return Finding("adapter", "bad", f"begins from the adapter of run {config.parent}", "Take parent out for a fresh adapter, or give its reason under reasons.")
    return Finding("adapter", "good", f"begins from the adapter of run {config.parent}" if config.parent else f"fresh: A by seed {config.seed}, {config.init_lora_weights}; B zero")


# -- what pictures and base tell

def data(territory, config, expected) -> Finding:
    """Judge the three sets: no picture in two of them, and the pictures those that the design was made for."""
    sets = {name: getattr(territory, name) for name in ("train", "validation", "ordinary")}
    words = ", ".join(f"{name} {len(folder)}" for name, folder in sets.items())
    for name in ("validation", "ordinary"):
        if both := set(sets["train"].hashes) & set(sets[name].hashes):
            return Finding("data", "bad", f"{words}; {len(both)} training pictures are also in {name}", f"Take them out of {name}: they cannot show what was not trained on.")
    if expected.get("data", territory.fingerprint) != territory.fingerprint:
        return Finding("data", "bad", f"{words}; pictures or captions are not those that the design was made for", "Give the pictures back, or decide anew on these and write the design again.")
    twice = len(sets["train"]) - len(set(sets["train"].hashes))
    return Finding("data", "note" if twice else "good", words, f"{twice} training pictures are copies of others: they count double." if twice else "")


def on_base(base, cache, config, expected) -> list[Finding]:
    """Judge what only the loaded base shows; nothing on it is changed."""
    found = [held_out(cache), frozen(base, expected), foreign_adapter(base), every_picture(config)]
    if found[2].state == "good":                              # else nothing about a fresh adapter could be measured
        found += [parameters(base, config, expected), step_zero(base, cache, config), base_loss(base, cache, expected), dry_run(base, cache, config)]
    return found + [objective(base, config), environment(base)]


def held_out(cache) -> Finding:
    """State what the run is judged by."""
    return Finding("judged by", "good", f"{len(cache.validation)} held-out pictures on stored noise, measured before the first update too")


def frozen(base, expected) -> Finding:
    """Judge whether the base is the one intended, and frozen."""
    words = f"{base.name} ({base.fingerprint[:8]}), {base.prediction_type}"
    if expected.get("base", base.fingerprint) != base.fingerprint:
        return Finding("base", "bad", f"{words}; the design was made for {expected['base'][:8]}", "Give that base, or do the short test again on this one.")
    if any(parameter.requires_grad for parameter in base.unet.parameters()):
        return Finding("base", "bad", f"{words}; some of its own weights would be trained", "Load the base again with load_base, which freezes it.")
    return Finding("base", "good", words + ", frozen")


def foreign_adapter(base) -> Finding:
    """Judge whether an earlier adapter still acts: one of labkit's, or layers that PEFT put in."""
    from labkit.engine.adapters import attached_to

    left = [name for name, module in base.unet.named_modules() if type(module).__module__.split(".")[0] == "peft"]
    if attached_to(base.unet) is not None or left:
        return Finding("stale adapter", "bad", f"an earlier adapter is still on the U-Net{f', first at {left[0]}' if left else ''}", "Unload it, or load the base again.")
    return Finding("U-Net", "good", "carries no other adapter")


def every_picture(config) -> Finding:
    """Count in the batches themselves that an epoch shows every picture once."""
    n, epochs = config.n_train, 2
    shown = Counter(batches.pictures(config.seed, n, 0, n * epochs))
    if sorted(shown) != list(range(n)) or set(shown.values()) != {epochs}:
        return Finding("drop_last", "bad", f"{n - len(shown)} of {n} pictures are never shown in {epochs} epochs" if len(shown) < n else "pictures are not shown equally often", "The batches of this labkit are broken: run labkit test.")
    return Finding("batches", "good", f"cut across epochs: every one of {n} pictures is shown once in each, none is dropped")


def parameters(base, config, expected) -> Finding:
    """Count the trained numbers from the layers' shapes and in the adapter itself."""
    from labkit.engine.adapters import LoRAStack, find_targets

    modules = find_targets(base.unet, config.target_modules)
    shapes = [module.weight.shape for module in modules.values()]
    counted = sum(math.prod(shape) if config.adapter == "full" else config.rank * (shape[0] + math.prod(shape[1:])) for shape in shapes)
    stack = LoRAStack(base.unet, [config])
    words = f"{counted:,} numbers in {len(modules)} layers, the factor on each {float(stack.scale[0]):.4g}"
    if not counted == stack.theta.numel() == expected.get("parameters", counted) or not math.isclose(float(stack.scale[0]), config.scaling, rel_tol=1e-6):
        return Finding("trained", "bad", f"{words}; intended {expected.get('parameters', counted):,.0f}, factor {config.scaling:.4g}", "Compare rank, adapter and target_modules with what was decided.")
    return Finding("trained", "good", words)


def step_zero(base, cache, config) -> Finding:
    """Measure that the fresh adapter changes nothing."""
    from labkit.experiments import gradients

    found = gradients.step_zero(base, cache, config)
    if found["largest_change"] or found["grad_A"]:
        return Finding("step zero", "bad", f"the fresh adapter changes the output by {found['largest_change']:.2g}", "An adapter of before is active: load the base again.")
    return Finding("step zero", "good", "with the fresh adapter the output is the base's to the last bit")


def base_loss(base, cache, expected) -> Finding:
    """Measure the untouched base and compare with what the design recorded."""
    from labkit.engine.monitor import FIRST_SCORED
    from labkit.experiments.distance import base_losses

    wanted = expected.get("base_loss")
    if wanted is None:
        return Finding("base loss", "good", "not recorded in the design, so not measured")
    loss = float(base_losses(base, cache.validation.take(FIRST_SCORED)).mean())
    if not math.isclose(loss, wanted, rel_tol=SAME_LOSS[str(base.dtype).removeprefix('torch.')]):
        return Finding("stale adapter", "bad", f"the loss before training is {loss:.4g}, the design recorded {wanted:.4g}",
                       "The base's weights in memory are not those it was measured with, as after merging an adapter: load it again. Else pictures or base are others.")
    return Finding("base loss", "good", f"{loss:.4g} before training, as recorded")


def dry_run(base, cache, config) -> Finding:
    """Make 3 updates, and 2 with a checkpoint and 1 after it: the same adapter must come out."""
    import numpy as np

    from labkit.engine.monitor import Monitor
    from labkit.engine.train import train
    from labkit.store.events import Checkpoint

    short, options = config.replace(max_train_steps=3, lr_edits=(), parent=None), {"monitor": Monitor(images=0)}
    straight = {event.global_step: event for event in train(base, cache, [short], checkpoint_at=(2,), **options) if isinstance(event, Checkpoint)}
    if 3 not in straight:
        return Finding("dry run", "bad", "the loss is not finite within three updates", "Lower learning_rate: this design diverges at once.")
    resumed = [event for event in train(base, cache, [short], resume=[straight[2]], **options) if isinstance(event, Checkpoint)][-1]
    close = np.array_equal if base.device.type == "cpu" else lambda a, b: np.allclose(a, b, rtol=1e-3, atol=1e-6)
    if not all(close(array, resumed.adapter[name]) for name, array in straight[3].adapter.items()):
        return Finding("dry run", "bad", "two updates, a checkpoint and a third are not three updates", "Resuming would change this run here: keep it going to its end.")
    return Finding("dry run", "good", "two updates, a checkpoint and a third are the same as three")


def objective(base, config) -> Finding:
    """State what is minimized, and by what."""
    return Finding("objective", "good", f"{base.prediction_type}, Min-SNR {config.snr_gamma or 'off'}, caption dropout {config.caption_dropout:g}; {config.optimizer}, betas "
                   f"{config.adam_beta1:g} and {config.adam_beta2:g}, epsilon {config.adam_epsilon:g}, weight decay {config.weight_decay:g}, clipping at {config.max_grad_norm:g}")


def environment(base) -> Finding:
    """State what the run would be computed with."""
    about = facts()
    return Finding("machine", "good", f"{base.device.type}, U-Net in {str(base.dtype).removeprefix('torch.')}, {about['threads']} threads, " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()))
