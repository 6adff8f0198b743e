"""Will a design train what was decided? Twelve points to look over before its first update.

They are those of the chapter's synthesis. A design's `expected` section says what was decided and found; here it is
held against what would really be trained. `caught` plants mistakes in a design, to see whether that finds them.
"""

import json
import math

from labkit.design import volume
from labkit.design.adapter_start import is_file
from labkit.design.config import is_share_string, load_design
from labkit.design.design_file import Design, read_design, split
from labkit.design.ladders import rung_text
from labkit.design.schedules import lr_at
from labkit.engine.adapters import LoRAStack
from labkit.errors import LabError
from labkit.experiments.preflight_base import foreign_adapter, on_base, untouched_loss
from labkit.lab import Lab
from labkit.machine import Finding
from labkit.text import counted, rounded
from labkit.view.tables import Table

MARKS = {"good": "✓", "note": "·", "bad": "✗"}
RUNG = 3.4                                  # a little more than half a decade, the step of the short test's ladder
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


def checklist(design, *, lab=None, **overrides) -> Table:
    """Return what `look_over` finds as a table, with a remedy beside whatever is not as it should be."""
    findings = look_over(design, lab=lab, **overrides)
    return Table(["", "checked", "found"],
                 [[MARKS[finding.state], finding.name, f"{finding.found}. {finding.remedy}".rstrip(". ")]
                  for finding in findings])


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
              "base_loss": untouched_loss(lab.base, lab.cache),
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
    name, words = "parent", f"begins from the adapter of run {config.parent}"
    if is_file(config.init_lora_weights):
        name, words = "init_lora_weights", f"begins from the file {config.init_lora_weights}"
    elif not config.parent:
        return Finding("adapter", "good", f"fresh: A by seed {config.seed}, {config.init_lora_weights}; B zero")
    if name in reasons:
        return Finding("adapter", "good", words)
    return Finding("adapter", "bad", words, f"Take {name} out for a fresh adapter, or give its reason under reasons.")


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


# -- does it find anything?

def planted(config, expected) -> dict[str, tuple[dict, dict]]:
    """Return {mistake: (fields that it changes, what the design then expects)}: every trainer lets these pass.

    config      the resolved design
    expected    of `expectations`; LabError where short_test_rate, scaling or num_train_epochs is missing
    """
    n, batch, epochs = config.n_train, config.effective_batch_size, expected.get("num_train_epochs")
    if not epochs or not expected.get("scaling") or not expected.get("short_test_rate"):
        raise LabError("A mistake can be told from an intention only where the design says what it expects: "
                       "give short_test_rate, scaling and num_train_epochs.")
    fewer = n if n % batch else n - 1  # with whole batches only, drop_last loses nothing
    updates = volume.updates(fewer, batch, epochs, last_batch="drop")
    return {
        "the rate is off by ten": ({"learning_rate": 10 * config.learning_rate}, {}),
        "alpha holds the intended scaling": ({"alpha": expected["scaling"]}, {}),
        "use_rslora is flipped": ({"use_rslora": not config.use_rslora}, {}),
        "the last pictures of every epoch are dropped": (
            {"n_train": fewer, "max_train_steps": updates}, {"n_train": fewer}),
        "updates are counted without the batch": ({"max_train_steps": int(n * epochs)}, {}),
    }


def caught(lab, config, expected) -> Table:
    """Return one row a mistake: what it changes, by what the checklist found it, and what it says."""
    config, rows = lab.config(config), []
    for mistake, (changes, intended) in planted(config, expected).items():
        notes = split({"expected": dict(expected) | intended})
        findings = on_paper(load_design(config.to_dict(), **changes).resolved(config.n_train), notes)
        written = ", ".join(f"{name}: {json.dumps(value)}" for name, value in changes.items())
        rows.append(_row(mistake, written, "the file", findings))
    stack = LoRAStack(lab.base.unet, [config])
    with lab.base.lock, stack.attached():
        finding = foreign_adapter(lab.base)
    rows.append(_row("an earlier adapter is left on", "nothing in the file", "the loaded base", [finding]))
    return Table(["planted", "what it changes", "found in", "by", "what to do"], rows)


def _row(mistake, changes, where, findings) -> list[str]:
    """Return a row with the first finding that is bad, or one that says there is none."""
    bad = next((finding for finding in findings if finding.state == "bad"), None)
    return [mistake, changes, where, bad.name, bad.remedy] if bad else [mistake, changes, "not found", "", ""]
