"""What the chapter's synthesis says, each sentence judged by what the lesson measured."""

import dataclasses
import math

from labkit.design.config import RunConfig
from labkit.experiments.short_test import chosen
from labkit.lessons import claims
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim
from labkit.store.recorded import recorded_or_none
from labkit.text import rate_text
from labkit.view.tables import Table

DISTINCT = 0.1  # of the variance: where pairs explain less, knobs act apart
SIX = {"learning_rate", "lr_scheduler", "rank", "alpha", "train_batch_size", "num_train_epochs", "max_train_steps"}
PLACES = {"base", "revision", "data", "parent", "n_train", "resolution"}  # what is trained on, not how


def table(**measured) -> Table:
    """Return the verdicts on the synthesis, ordered as `claims.table` does.

    measured    divided (Sensitivity), trials (of the short test), proposals (with the rate that was derived),
                caught (Table of `planted_mistakes.caught`)
    """
    evidence = {"knobs": recorded_or_none("knobs"), "fields": True} | measured
    if {"proposals", "trials"} <= measured.keys():
        evidence["derived"] = measured["proposals"], measured["trials"]
    return claims.table(CLAIMS, IMAGES, evidence, section="synthesis")


def distinct(divided):
    """Judge: each parameter is a dimension of its own."""
    together = divided.together
    pair, share = max(divided.pairs.items(), key=lambda item: item[1].mean)
    verdict = HOLDS if together.high < DISTINCT else OTHERWISE if together.low > DISTINCT else OPEN
    return verdict, (
        f"Pairs of knobs explain {together.mean:.0%} ({together.low:.0%} to {together.high:.0%}) of what separates "
        f"{divided.runs} runs beyond what each does alone, most of it {pair[0]} with {pair[1]} "
        f"({share.mean:.0%}, {share.low:.0%} to {share.high:.0%}).")


def tasks(divided):
    """Judge: each setting has its own effect, so that one line can say what it does."""
    has_effect = any(share.low > 0 and share.mean >= 0.01 for share in divided.alone.values())
    ranked = sorted(divided.alone.items(), key=lambda item: -item[1].mean)
    shares = ", ".join(f"{name} {share.mean:.0%}" for name, share in ranked)
    return (IF if has_effect else OTHERWISE), f"Alone they explain {shares}: averaged over all settings of the others."


def derived(evidence):
    """Judge: values are derived from understanding and need no search; evidence: (proposals, trials)."""
    proposals, trials = evidence
    rate = next(proposal.value for proposal in proposals if proposal.field == "learning_rate")
    stable = [trial for trial in trials if math.isfinite(trial.loss)]
    best = chosen(trials)
    nearest = min(stable, key=lambda trial: abs(math.log(trial.learning_rate / rate)))
    if nearest is best:
        return IF, (f"The proposed rate of {rate_text(rate)} was the best of {len(trials)} that were tried here, "
                    "with one seed each; that it is could only be known by trying its neighbours.")
    return OTHERWISE, (f"The short test found {rate_text(best.learning_rate)} where {rate_text(rate)} was proposed: "
                       f"held-out loss {best.loss:.3f} instead of {nearest.loss:.3f} after as many updates, "
                       "one seed each.")


def complete(_):
    """Judge: with these six settings the training loop is fully determined."""
    others = [field.name for field in dataclasses.fields(RunConfig) if field.name not in SIX | PLACES]
    return OTHERWISE, (f"A design needs {len(others)} more fields, each of which changes the numbers of a run: "
                       f"{', '.join(others)}.")


def between(trials):
    """Judge: too aggressive is chaos, too cautious is stagnation, and the good region lies between."""
    ordered = sorted(trials, key=lambda trial: trial.learning_rate)
    outcomes = ", ".join(f"{rate_text(trial.learning_rate)} {trial.verdict.label} ({trial.loss:.3f})"
                         for trial in ordered)
    if 0 < ordered.index(chosen(trials)) < len(ordered) - 1:
        return HOLDS, f"For the rate: {outcomes}, one seed each."
    return OPEN, f"The best rate is at the edge of those that the short test tried: {outcomes}, one seed each."


def checked(caught):
    """Judge: verify before the start that everything is exactly as specified."""
    count = sum(row[2] != "not found" for row in caught.rows)
    verdict = HOLDS if count == len(caught.rows) else OTHERWISE
    return verdict, f"{count} of {len(caught.rows)} planted mistakes were found before the first update."


CLAIMS = (
    Claim(("SYN-02",), "Each parameter is a distinct dimension of learning.", distinct, "divided"),
    Claim(("SYN-06",), "One line says what each of the six is for.", tasks, "divided"),
    Claim(("SYN-03",), "The values are derived from understanding, not searched for.", derived, "derived"),
    Claim(("SYN-04",), "With these six settings the training loop is completely determined.", complete, "fields"),
    Claim(("SYN-07",), "Before the first step, verify methodically that all is as specified.", checked, "caught"),
    Claim(("SYN-08", "LR-06"), "Too aggressive is chaos, too conservative is stagnation.", between, "trials"),
)
IMAGES = ("The parameters are fixed constants, the physics of a creation.",
          "Laws of assimilation; the threshold of activation.")
