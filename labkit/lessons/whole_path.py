"""One territory from start to finish in one figure: the rate that was found, the run, the strength that was chosen."""

import math

import numpy as np

from labkit.datasets.folders import load_picture
from labkit.design.ladders import rung_text
from labkit.engine.base import diffusers_picture
from labkit.errors import LabError
from labkit.experiments.short_test import chosen
from labkit.store.adapter_files import save_adapter
from labkit.text import counted, rate_text
from labkit.view.pictures import caption_below, show_mosaic
from labkit.view.style import LINES, MARKERS, STYLE, LabFigure, name_axes, new_axes
from labkit.view.tables import Table

SAME = 2.0  # of 255, in the mean: what rounding in another order comes to stays far below
PANEL, GAP, LEFT = 2.15, 0.72, 0.8  # inches
BLUE = "#0072B2"  # what was decided


def reasons_table(proposals) -> Table:
    """Return one row a proposal: field, value, reason and where it comes from."""
    rows = [[proposal.field, rung_text(proposal.field, proposal.value), proposal.reason, proposal.source]
            for proposal in proposals]
    return Table(["field", "proposed", "because", "from"], rows)


def plot_journey(lab, trials, run, kept, frontier, *, caption=None, seed=0):
    """Draw the short test, the run, both scores over the strength, and one caption's picture along the way.

    trials      of `short_test.short_test`
    kept        the update whose checkpoint is kept
    frontier    of `measure_frontier` at that checkpoint
    caption     of the pictures; None takes the first held-out one
    seed        of the noise from which all pictures are drawn
    """
    validation = lab.territory.validation
    place = validation.captions.index(caption) if caption in validation.captions else 0
    caption, strength = caption or validation.captions[place], frontier.strengths[frontier.chosen]
    stable = [trial for trial in trials if math.isfinite(trial.loss)]
    first = stable[0].run
    drawn = [lab.generate(caption, [seed])[0], lab.generate(caption, [seed], run=first)[0],
             *lab.generate(caption, [seed], run=run, step=kept, strength=[1.0, strength])[:, 0],
             load_picture(validation.paths[place], lab.base.resolution)]
    names = ["untouched base", f"short test, {rate_text(first.config.learning_rate)}", "the run, strength 1",
             f"the run, strength {strength:g}", "a real picture\nof this caption"]
    side = STYLE["width"] / len(drawn)
    height = PANEL * 0.8
    figure = LabFigure(height=side + 0.55 + height + 1.0, photographic=True)
    bottom = side + 0.55 + 0.55
    axes = [new_axes(figure.place_axes(LEFT + i * (PANEL + GAP), bottom, PANEL, height)) for i in range(3)]
    _rates(axes[0], stable)
    _losses(axes[1], run, kept)
    _strengths(axes[2], frontier)
    xs, ys = show_mosaic(figure.place_axes(0, 0.5, STYLE["width"], side), [drawn])
    for x, name in zip(xs, names, strict=True):
        caption_below(figure.axes[-1], x, 2 * ys[0], name, STYLE["small"])
    figure.summary = (f"{caption}: {len(stable)} short runs led to the rate {rate_text(run.config.learning_rate)}; "
                      f"of {counted(run.config.max_train_steps, 'update')} the checkpoint after {kept:,} is kept; "
                      f"{frontier.sentence}")
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
    name_axes(ax, "update", "", "2  training")


def _strengths(ax, frontier):
    """Draw both scores over the inference strength and mark the one that was chosen."""
    for number, (scores, name) in enumerate([(frontier.target, "territory"), (frontier.kept, "ordinary")]):
        _line(ax, number, frontier.strengths, scores.mean(1), name)
    ax.axvline(frontier.strengths[frontier.chosen], color=BLUE, linestyle=LINES[3])
    ax.set_ylim(-0.05, 1.05)
    ax.legend(fontsize=STYLE["small"] - 1, frameon=False, loc="best")
    name_axes(ax, "strength", "", "3  score of prompts")


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
