"""One territory from its pictures to a file: the tables, figures and verdicts of the lesson on parameter design."""

import dataclasses
import math
import textwrap

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.ladders import rung_text
from labkit.engine.base import diffusers_picture
from labkit.errors import LabError
from labkit.experiments.short_test import UNSTABLE, chosen
from labkit.judge.arms import broke
from labkit.judge.diagnose import STAGNATING, diagnose
from labkit.judge.early_stopping import kept_step
from labkit.judge.score_text import short
from labkit.lessons import claims
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim
from labkit.store.adapter_files import save_adapter
from labkit.store.recorded import recorded_or_none
from labkit.text import counted, rate_text, share_text
from labkit.view.pictures import caption_below, show_mosaic
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, LabFigure, name_axes, new_axes
from labkit.view.tables import Table

SAME = 2.0  # of 255, in the mean: what rounding in another order comes to stays far below
BLUE = "#0072B2"  # what was decided
SEEDS = 6  # prompts of the closing figure, each with a seed of its own
NAMES, PANELS, HEAD = 1.0, 1.9, 0.62  # inches: at left of the pictures, of both curves, of the verdict above them
DISTINCT = 0.1  # of the variance: where pairs explain less, knobs act apart
SIX = {"learning_rate", "lr_scheduler", "rank", "alpha", "train_batch_size", "num_train_epochs", "max_train_steps"}
# What is trained on, not how.
PLACES = {"base", "revision", "data", "crop", "captions", "parent", "n_train", "resolution"}
FEW = 8  # pictures, or updates: so few of them are what a design is known by


def in_brief(run) -> str:
    """Name a run by what its design is known by: its rate, whether that changes, and few pictures or updates."""
    config = run.config
    parts, end = [rate_text(config.learning_rate)], config.lr_end or 0
    if config.lr_scheduler == "linear":
        parts.append("falling" if end < config.learning_rate else f"rising to {rate_text(end)}")
    parts += [counted(n, noun) for n, noun in ((config.pictures, "picture"), (config.steps, "update")) if n < FEW]
    return ", ".join(parts)


def reasons_table(proposals) -> Table:
    """Return one row a proposal: field, value, reason and where it comes from."""
    rows = [[proposal.field, rung_text(proposal.field, proposal.value), proposal.reason, proposal.source]
            for proposal in proposals]
    return Table(["field", "proposed", "because", "from"], rows)


def checkpoint_to_keep(lab, run) -> tuple[int, str]:
    """Return the update whose checkpoint to keep of those that the lab's store has, and the reason."""
    return kept_step(run, lab.store.run(run.run_id).checkpoints())


def plot_journey(lab, trials, run, kept, *, seeds=SEEDS):
    """Draw the short test, the run, and the first held-out prompts: untouched, trained, and a real picture of each.

    trials      of `short_test.short_test`
    kept        the update whose checkpoint is kept, and draws
    seeds       how many prompts, each from noise of its own
    """
    validation, verdict = lab.territory.validation.take(seeds), diagnose(run)
    captions, whole = validation.captions, [trial for trial in trials if not broke(trial.run)]
    rows = {"untouched": lab.generate(captions), "trained": lab.generate(captions, run=run, step=kept),
            "a real picture": validation.pixels(lab.base.resolution)}
    side = (STYLE["width"] - NAMES) / len(captions)
    wrapped = [textwrap.wrap(caption, round(side * 13), max_lines=4, placeholder=" …") for caption in captions]
    below = 0.1 + 0.15 * max(map(len, wrapped))
    figure = LabFigure(height=below + side * len(rows) + HEAD + PANELS + 1.0, photographic=True)
    bottom, room = below + side * len(rows) + HEAD + 0.55, STYLE["width"] / 2
    axes = [new_axes(figure.place_axes(left, bottom, room - 1.15, PANELS)) for left in (0.85, room + 0.85)]
    _rates(axes[0], whole)
    _losses(axes[1], run, kept)
    ax = figure.place_axes(NAMES, below, STYLE["width"] - NAMES, side * len(rows))
    xs, ys = show_mosaic(ax, list(rows.values()))
    for y, name in zip(ys, rows, strict=True):
        ax.annotate(name.replace("real ", "real\n"), (0, y), (-6, 0), textcoords="offset points", ha="right",
                    va="center", fontsize=STYLE["small"], color=STYLE["text"], annotation_clip=False)
    for x, lines in zip(xs, wrapped, strict=True):
        caption_below(ax, x, ys[-1] + ys[0], "\n".join(lines), STYLE["small"] - 1.5)
    symbol, tint = VERDICTS[verdict.label]
    before, after, ordinary = (short(verdict.score, *of) for of in (("validation", "before"), ("validation", "after"),
                                                                  ("ordinary", "after")))
    outcome = f"{symbol} {verdict.label}" + (f": {after} prompts accepted, {before} untouched" if after else "")
    outcome += f"; ordinary {ordinary}" if ordinary else ""
    height = (below + side * len(rows)) / figure.get_figheight()
    figure.text(0, height + 0.36 / figure.get_figheight(), f"3  {outcome}", fontsize=STYLE["title"], color=tint,
                fontweight="bold", va="center")
    drawn_by = "" if kept == run.config.max_train_steps else f"; drawn after {kept:,} updates, scored at the end"
    figure.text(0, height + 0.13 / figure.get_figheight(), f"the first {counted(len(captions), 'held-out prompt')}, "
                f"none of them trained on; the same seed in a column{drawn_by}", fontsize=STYLE["small"],
                color=STYLE["text"], va="center", fontstyle="italic")
    figure.summary = (f"{len(trials)} short runs led to the rate {rate_text(run.config.learning_rate)}; "
                      f"of {counted(run.config.max_train_steps, 'update')} the checkpoint after {kept:,} is kept; "
                      f"{outcome}. Pictures of {'; '.join(captions)}")
    return figure


def _rates(ax, trials):
    """Draw the held-out loss of each short run, numbered in the order in which they were made, the best enlarged."""
    ordered = sorted(trials, key=lambda trial: trial.learning_rate)
    rates, best = [trial.learning_rate for trial in ordered], chosen(trials)
    ax.plot(rates, [trial.loss for trial in ordered], color=STYLE["faint"], linestyle=LINES[1], linewidth=1)
    for number, trial in enumerate(trials, start=1):
        size = STYLE["marker"] + 4 * (trial is best)
        ax.plot(trial.learning_rate, trial.loss, MARKERS[0], color=BLUE, markersize=size, markeredgecolor="black")
        ax.annotate(str(number), (trial.learning_rate, trial.loss), (0, 7), textcoords="offset points", ha="center",
                    fontsize=STYLE["small"])
    ax.set_xscale("log")
    ax.set_xticks(rates, list(map(rate_text, rates)))
    ax.minorticks_off()
    ax.margins(x=0.15, y=0.25)
    name_axes(ax, "learning rate", "held-out loss", "1  short test")


def _losses(ax, run, kept):
    """Draw held-out and training pictures' loss over the run and mark the checkpoint that is kept."""
    for number, (measure, name) in enumerate([("validation", "held-out"), ("probe", "training")]):
        curve = run.validations[measure]
        _line(ax, number, curve.steps, curve.means, name)
    ax.axvline(kept, color=BLUE, linestyle=LINES[3])
    ax.annotate(f"kept: {kept:,}", (kept, 1), (-3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="right", va="top", fontsize=STYLE["small"], color=BLUE)
    ax.legend(fontsize=STYLE["small"] - 1, frameon=False, loc="best")
    name_axes(ax, "update", "loss", "2  training")


def _line(ax, number, x, y, name) -> None:
    """Draw a named line, told from the others of its axes by dashes and marker."""
    ax.plot(x, y, color=STYLE["text"], linestyle=LINES[number], marker=MARKERS[number], markersize=3, linewidth=1.4,
            label=name)


def take_home(lab, run, step, adapter_file) -> str:
    """Write a checkpoint's adapter to a file and say whether plain diffusers draws the same picture with it.

    LabError for a dense change, which is no adapter that other programs load.
    """
    if run.config.adapter != "lora":
        raise LabError(f"Nothing to take home: adapter = {run.config.adapter!r} changes whole matrices, "
                       "which no other program loads as an adapter.")
    save_adapter(adapter_file, lab.store.run(run.run_id).checkpoint(step).adapter, run.config)
    prompt, inference_steps = lab.territory.validation.captions[0], lab.base.num_inference_steps
    here = lab.generate(prompt, [0], run=run, step=step, num_inference_steps=inference_steps, guidance_scale=3.0)[0]
    elsewhere = diffusers_picture(lab.base, prompt, 0, adapter_file, num_inference_steps=inference_steps)
    difference = np.abs(here.astype(int) - elsewhere.astype(int))
    what = "the same picture" if difference.mean() < SAME else "ANOTHER picture"
    return (f"{adapter_file.name}, {adapter_file.stat().st_size / 1e3:,.0f} kB: plain diffusers draws {what} with it, "
            f"pixels differ by {difference.mean():.2f} of 255 on average, {difference.max()} at most.")


# -- what the chapter's synthesis says, each sentence judged by what the lesson measured

def claims_table(**measured) -> Table:
    """Return the verdicts on the synthesis, ordered as `claims.table` does.

    measured    divided (Sensitivity), trials (of the short test), proposals (with the rate that was derived),
                caught (Table of `preflight.caught`)
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
        f"Pairs of knobs explain {share_text(together)} of what separates "
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
    whole = [trial for trial in trials if not broke(trial.run)]
    best = chosen(trials)
    nearest = min(whole, key=lambda trial: abs(math.log(trial.learning_rate / rate)))
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
        is_chaos, is_still = ordered[-1].verdict.label in UNSTABLE, ordered[0].verdict.label == STAGNATING
        if is_chaos and is_still:
            return HOLDS, f"For the rate: {outcomes}, one seed each."
        return IF, (f"For the rate: {outcomes}, one seed each. No other is lower beyond noise; how far one must go "
                    "to meet both chaos and stagnation was not tried here.")
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
