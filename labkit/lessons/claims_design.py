"""What the chapter's synthesis says, each sentence judged by what the lesson measured: a verdict and the numbers behind it.

The identifiers are those of the project's ledger of claims.
"""

import dataclasses
import math

from labkit.design.config import RunConfig
from labkit.experiments.short_test import chosen
from labkit.lessons.claims_volume import HOLDS, IF, IMAGE, OPEN, ORDER, OTHERWISE, Claim
from labkit.store.recorded import recorded_or_none
from labkit.text import rate_text
from labkit.view.tables import Table

DISTINCT = 0.1                                                # of the variance: where pairs explain less, knobs act apart
SIX = {"learning_rate", "lr_scheduler", "rank", "alpha", "train_batch_size", "num_train_epochs", "max_train_steps"}
PLACES = {"base", "revision", "data", "parent", "n_train", "resolution"}  # what is trained on, not how


def table(**measured) -> Table:
    """Return the verdicts in the order holds, holds if, measured otherwise, not decided, an image.

    measured   divided (Sensitivity), trials (of the short test), proposals (with the rate that was derived), caught (Table of `faults.caught`)
    """
    evidence = {"knobs": recorded_or_none("knobs"), "fields": True} | measured
    evidence["derived"] = (measured["proposals"], measured["trials"]) if {"proposals", "trials"} <= measured.keys() else None
    rows = sorted((claim.row(evidence) for claim in CLAIMS), key=lambda row: ORDER.index(row[0]))
    return Table(["", "the chapter (synthesis)", "here"], rows + [[IMAGE, words, "Not a claim about training; not judged."] for words in IMAGES])


def distinct(divided):
    """Judge: each parameter is a dimension of its own."""
    pair, share = max(divided.pairs.items(), key=lambda item: item[1].mean)
    seen = (f"Pairs of knobs explain {divided.together.mean:.0%} ({divided.together.low:.0%} to {divided.together.high:.0%}) of what separates {divided.runs} runs beyond what each does alone, most of it "
            f"{pair[0]} with {pair[1]} ({share.mean:.0%}, {share.low:.0%} to {share.high:.0%}).")
    return (HOLDS if divided.together.high < DISTINCT else OTHERWISE if divided.together.low > DISTINCT else OPEN), seen


def tasks(divided):
    """Judge: each setting has its own effect, so that one line can say what it does."""
    sure = [name for name, share in divided.alone.items() if share.low > 0 and share.mean >= 0.01]
    ranked = sorted(divided.alone.items(), key=lambda item: -item[1].mean)
    seen = "Alone they explain " + ", ".join(f"{name} {share.mean:.0%}" for name, share in ranked) + ": averaged over all settings of the others."
    return (IF if sure else OTHERWISE), seen


def derived(given):
    """Judge: values are derived from understanding and need no search."""
    proposals, trials = given
    rate = next(proposal.value for proposal in proposals if proposal.field == "learning_rate")
    stable = [trial for trial in trials if math.isfinite(trial.loss)]
    best = chosen(trials)
    own = min(stable, key=lambda trial: abs(math.log(trial.learning_rate / rate)))
    if own is best:
        return IF, f"The proposed rate of {rate_text(rate)} was the best of {len(trials)} that were tried here, with one seed each; that it is could only be known by trying its neighbours."
    return OTHERWISE, (f"The short test found {rate_text(best.learning_rate)} where {rate_text(rate)} was proposed: held-out loss {best.loss:.3f} instead of {own.loss:.3f} "
                       f"after as many updates, one seed each.")


def complete(_):
    """Judge: with these six settings the training loop is fully determined."""
    others = [field.name for field in dataclasses.fields(RunConfig) if field.name not in SIX | PLACES]
    return OTHERWISE, f"A design needs {len(others)} more fields, each of which changes the numbers of a run: {', '.join(others)}."


def between(trials):
    """Judge: too aggressive is chaos, too cautious is stagnation, and the good region lies between."""
    order = sorted(trials, key=lambda trial: trial.learning_rate)
    best = order.index(chosen(trials))
    seen = ", ".join(f"{rate_text(trial.learning_rate)} {trial.verdict.label} ({trial.loss:.3f})" for trial in order) + ", one seed each."
    if 0 < best < len(order) - 1:
        return HOLDS, f"For the rate: {seen}"
    return OPEN, f"The best rate is at the edge of those that the short test tried: {seen}"


def checked(caught):
    """Judge: verify before the start that everything is exactly as specified."""
    found = sum(row[2] != "not found" for row in caught.rows)
    return (HOLDS if found == len(caught.rows) else OTHERWISE), f"{found} of {len(caught.rows)} planted mistakes were found before the first update."


CLAIMS = (
    Claim(("SYN-02",), "Each parameter is a distinct dimension of learning.", distinct, "divided"),
    Claim(("SYN-06",), "One line says what each of the six is for.", tasks, "divided"),
    Claim(("SYN-03",), "The values are derived from understanding, not searched for.", derived, "derived"),
    Claim(("SYN-04",), "With these six settings the training loop is completely determined.", complete, "fields"),
    Claim(("SYN-07",), "Before the first step, verify methodically that all is as specified.", checked, "caught"),
    Claim(("SYN-08", "LR-06"), "Too aggressive is chaos, too conservative is stagnation.", between, "trials"),
)
IMAGES = ("The parameters are fixed constants, the physics of a creation.", "Laws of assimilation; the threshold of activation.")
