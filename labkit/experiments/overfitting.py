"""Long runs on few and on many pictures: when the two losses part, what the pictures then show, and how that moves with their number.

Runs that differ by the seed alone are averaged picture by picture, since all are measured on the same pictures and noise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from labkit.design import volume
from labkit.errors import LabError
from labkit.experiments.memorization import Memorization, diversity, memorization, plot_nearest, thumbnails
from labkit.experiments.turning_points import NAMES, Scored, boundary, plot_boundary, stopping_table
from labkit.judge.arms import basis, over_seeds, rise
from labkit.judge.stats import Interval
from labkit.view.curves import SETS, STEP_AXIS, curve, loss_axis, mark_not_finite, step_axis
from labkit.view.pictures import prompts_of, sample_pictures
from labkit.view.style import MARKERS, STYLE, VERDICTS, LabFigure, direct_labels, name_axes, new_axes
from labkit.view.tables import Table, loss

ASKED, SEEDS = 10, 2                                          # captions drawn to look for copies, and pictures of each
SHOWN = {"count": 5, "width": 6.9}                             # of the nearest pictures; a notebook must stay small
FRESH, FEWER = 120, 48                                        # pictures of the null at most: for evidence, and for a look
LOOKS = {"validation": (VERDICTS["healthy"][1], MARKERS[0]), "probe": (STYLE["text"], MARKERS[1])}


def views(run, step) -> float:
    """Return how often each training picture was shown in the mean after so many updates: epochs."""
    return volume.views(step, run.config.effective_batch_size, run.config.n_train)


def gap(run) -> float:
    """Return how much further the loss fell on training than on held-out pictures: the two sets are not equally hard to begin with."""
    held, probe = run.validations["validation"].means, run.validations["probe"].means
    return float((held[-1] - held[0]) - (probe[-1] - probe[0]))


def plot_gaps(histories):
    """Draw how the loss on held-out and on training pictures changed, a panel for each number of training pictures, on one scale."""
    runs = over_seeds(histories)
    left, right, bottom = STYLE["margins"]
    gap, height = 0.3, 2.9
    wide = (STYLE["width"] - left - right - gap * (len(runs) - 1)) / len(runs)
    figure = LabFigure(STYLE["width"], bottom + height + 0.55)
    panels = [new_axes(figure.place_axes(left + i * (wide + gap), bottom, wide, height)) for i in range(len(runs))]
    seen, bands, said = [], [], []
    for i, (ax, run) in enumerate(zip(panels, runs)):
        labels = []
        for name, (color, marker) in LOOKS.items():
            steps, mean, low, high = curve(run, name)
            mean, low, high = mean - mean[0], low - mean[0], high - mean[0]
            ax.plot(steps, mean, color=color, marker=marker, linestyle=SETS[name][1], linewidth=STYLE["line"], markersize=STYLE["marker"] - 1,
                    markerfacecolor=color if name == "validation" else "white")
            ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
            mark_not_finite(ax, steps, mean, color)
            seen.append(mean)
            bands += [low, high]
            labels.append((mean[-1] if np.isfinite(mean[-1]) else 1e30, SETS[name][0], color))
        turn = or_inf(run)
        if math.isfinite(turn):
            ax.axvline(turn, color=LOOKS["validation"][0], linewidth=0.9, linestyle=":")
        said.append(f"{run.config.n_train} pictures: held-out loss {f'lowest at update {turn:,.0f}' if math.isfinite(turn) else 'still at its lowest at the end'}")
        step_axis(ax, steps[-1])
        if len(runs) > 2:
            ticks = [0, *(10**e for e in range(1, 6) if 10**e <= steps[-1])]
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        words = f"lowest at {turn:,.0f}" if math.isfinite(turn) else "no turn yet"
        name_axes(ax, STEP_AXIS if i == 0 and len(runs) < 3 else "", "change of the loss on fixed noise\nsince the untouched base (no unit)" if i == 0 else "", f"{run.config.n_train} pictures\n{words}")
        ax.title.set_fontsize(STYLE["label"])
    for i, ax in enumerate(panels):
        loss_axis(ax, seen, bands)
        if i:
            ax.tick_params(labelleft=False)
    direct_labels(panels[-1], labels)
    if len(runs) > 2:
        figure.text((left + (STYLE["width"] - right)) / 2 / STYLE["width"], 0.02, STEP_AXIS, fontsize=STYLE["label"], color=STYLE["text"], ha="center")
    else:
        panels[0].set_xlabel(STEP_AXIS)
        panels[-1].set_xlabel(STEP_AXIS, fontsize=STYLE["label"], color=STYLE["text"])
    figure.summary = "; ".join(said)
    return figure


def or_inf(run) -> float:
    """Return the update of the lowest held-out loss; inf where it is the last one or too little was measured."""
    try:
        return boundary(run)["validation"].step
    except LabError:
        return math.inf


def turns(runs) -> Table:
    """Return one row for each number of pictures: when the held-out loss was lowest, in updates and in epochs, and what came after."""
    rows, arms = [], over_seeds(runs)
    for run in arms:
        held = run.validations["validation"]
        time, best = boundary(run)["validation"], int(np.nanargmin(held.means))
        after = rise(run, best)
        reached = math.isfinite(time.step)
        rows.append([run.config.n_train, time.text(), f"{views(run, time.step):,.3g}" if reached else f"more than {views(run, held.steps[-1]):,.3g}", loss(held.means[best]),
                     f"{after.mean:+.3f} ({after.low:+.3f} to {after.high:+.3f})" if reached else "", f"{gap(run):.3f}"])
    return Table(["training pictures", "held-out loss lowest at update (95 % interval)", "epochs by then", "lowest",
                  f"rise from there to the end (95 % interval {basis(*arms)})", "further fall on training pictures"], rows)


# -- what the pictures show

def asked(territory, pictures=ASKED, seeds=SEEDS) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return prompts and seeds to look for copies with: captions of the first training pictures, several seeds of each."""
    captions = territory.train.captions[:pictures]
    return tuple(caption for caption in captions for _ in range(seeds)), tuple(range(seeds * len(captions)))


def redrawn(lab, encoded) -> np.ndarray:
    """Return pictures as the base's autoencoder gives them back: what it blurs must not tell a copy from its original."""
    return lab.base.decode(encoded.mean)


def fresh_like(territory, prompts, most=FRESH) -> list[int]:
    """Return numbers of held-out pictures of the kinds that the prompts ask for, in the same shares; all where no kinds are told."""
    kinds = dict(zip(territory.train.captions, (own.get("kind") for own in territory.train.attributes)))
    wanted = [kinds.get(prompt) for prompt in dict.fromkeys(prompts)]
    waiting = {}
    for i, own in enumerate(territory.validation.attributes):
        waiting.setdefault(own.get("kind"), []).append(i)
    if None in wanted:
        return list(range(min(most, len(territory.validation))))
    rounds = min(len(waiting.get(kind, ())) // wanted.count(kind) for kind in wanted)
    rounds = min(rounds, max(1, most // len(wanted)))
    return sorted(i for kind in dict.fromkeys(wanted) for i in waiting[kind][: rounds * wanted.count(kind)])


@dataclass(frozen=True, eq=False)
class Judged:
    """Hold what the pictures drawn along a run show, step by step."""

    run: object
    pictures: dict[int, np.ndarray]                           # uint8 (N, H, W, 3)
    training: np.ndarray                                      # redrawn, as are the fresh ones
    fresh: np.ndarray
    found: dict[int, Memorization]
    accepted: Scored | None                                   # by the reader; None where it does not know these kinds
    copied: Scored
    spread: dict[int, Interval]                               # diversity

    @property
    def times(self) -> dict:
        """Return the three times of the run."""
        return boundary(self.run, self.accepted, self.copied)


def judge(lab, run, *, reader=None, eye=thumbnails, again=None) -> Judged:
    """Judge the pictures that were drawn along a run: are they what was asked, are they copies, do they differ?

    Copies are looked for with an eye for layout and light; the reader says whether the kind is right.
    again     redrawn training pictures, at least those of the run, and fresh ones; None has them drawn
    """
    pictures, prompts = {step: some for step, some in sample_pictures(run).items() if step}, prompts_of(run)
    if not pictures:
        raise LabError(f"Of the run {run.run_id} no picture was kept: train it with prompts.")
    training, fresh = again or (redrawn(lab, lab.cache.train.take(run.config.n_train)), _fresh(lab, prompts))
    training = training[: run.config.n_train]
    found = {step: memorization(some, training, fresh, eye) for step, some in pictures.items()}
    steps = np.array(list(pictures))
    return Judged(run, pictures, training, fresh, found, _accepted(lab, pictures, prompts, reader),
                  Scored(steps, np.stack([one.copied for one in found.values()])),
                  {step: diversity(some, prompts, eye) for step, some in pictures.items()})


def _fresh(lab, prompts, most=FRESH):
    encoded, chosen = lab.cache.validation, fresh_like(lab.territory, prompts, most)
    return redrawn(lab, replace(encoded, mean=encoded.mean[chosen]))


def _accepted(lab, pictures, prompts, reader):
    from labkit.experiments.attribute_reader import load_reader

    kinds = dict(zip(lab.territory.train.captions, (own.get("kind") for own in lab.territory.train.attributes)))
    reader, asked_for = reader or load_reader(), [kinds.get(prompt) for prompt in prompts]
    if not set(asked_for) <= set(reader.kinds):
        return None
    return Scored(np.array(list(pictures)), np.stack([reader.accepted(some, asked_for) for some in pictures.values()]).astype(float))


def plot_copies(lab, run, *, pictures=4, seeds=SEEDS):
    """Draw pictures with a run's adapter, asked for what it was trained on, over the nearest training pictures; fresh ones below. Returns the Figure."""
    prompts, numbers = asked(lab.territory, min(pictures, run.config.n_train), seeds)
    drawn = lab.generate(prompts, numbers, run=run, num_inference_steps=lab.monitor().num_inference_steps)
    training, fresh = redrawn(lab, lab.cache.train.take(run.config.n_train)), _fresh(lab, prompts, FEWER)
    return plot_nearest(memorization(drawn, training, fresh, thumbnails), drawn, training, fresh, **SHOWN)


def plot_times(judged):
    """Draw the three times of the first of some judged runs. Returns the Figure."""
    one = judged[0]
    return plot_boundary(one.run, one.times, one.accepted, one.copied)


def plot_last_copies(judged):
    """Draw the last pictures of the first of some judged runs over the nearest training pictures. Returns the Figure."""
    judged = judged[0]
    last = max(judged.pictures)
    return plot_nearest(judged.found[last], judged.pictures[last], judged.training, judged.fresh, **SHOWN)


def judged_runs(runs, lab) -> list[Judged]:
    """Judge the runs of which pictures were kept, ordered by their number of training pictures."""
    if any(run.meta.get("base_fingerprint", lab.base.fingerprint) != lab.base.fingerprint for run in runs):
        raise LabError("These runs were recorded on another base than this lesson's: leave `base` and `data` out to see their pictures judged.")
    drawn = sorted((run for run in runs if run.samples), key=lambda run: run.config.n_train)
    if not drawn:
        return []
    training = redrawn(lab, lab.cache.train.take(drawn[-1].config.n_train))    # those of the others are its first ones
    fresh = {prompts: _fresh(lab, prompts) for prompts in {tuple(prompts_of(run)) for run in drawn}}
    return [judge(lab, run, again=(training, fresh[tuple(prompts_of(run))])) for run in drawn]


def along(judged) -> Table:
    """Return one row for each step at which the first of some judged runs was drawn: accepted, copied beyond chance, how different from one another."""
    judged, rows = judged[0], []
    for i, step in enumerate(judged.pictures):
        excess, spread = judged.found[step].excess, judged.spread[step]
        right = f"{judged.accepted.values[i].mean():.0%}" if judged.accepted else "not read"
        rows.append([f"{step:,}", f"{views(judged.run, step):.3g}", right, f"{excess.mean:+.0%} ({excess.low:+.0%} to {excess.high:+.0%})",
                     f"{spread.mean:.2f} ({spread.low:.2f} to {spread.high:.2f})"])
    return Table(["updates", "epochs", "show the kind that was asked", "copies beyond chance (95 % interval)", "difference between two seeds (95 % interval)"], rows)


def stopping(judged) -> Table:
    """Return what rules of early stopping would have made of the first of some judged runs."""
    return stopping_table(judged[0].run)


def times_table(judged) -> Table:
    """Return one row for each number of pictures with the three times, in updates."""
    names = list(dict.fromkeys(name for one in judged for name in one.times))
    rows = [[one.run.config.n_train, *(one.times[name].text() if name in one.times else "not read" for name in names)] for one in judged]
    return Table(["training pictures", *(f"{NAMES[name]} (95 % interval over pictures, one seed)" for name in names)], rows)
