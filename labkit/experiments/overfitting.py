"""When do long runs begin to overfit, on few and on many pictures, and what do the pictures drawn then show?

Runs that differ by the seed alone are averaged picture by picture: all are measured on the same pictures and noise.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.errors import LabError
from labkit.experiments.memorization import (
    Memorization,
    distances,
    diversity,
    layout_and_colour,
    memorization,
    plot_nearest,
    thumbnails,
)
from labkit.experiments.turning_points import Scored, boundary, plot_boundary, stopping_table
from labkit.judge.arms import basis, broke, over_seeds, rise
from labkit.judge.compare import as_good, best_of, gap, views
from labkit.judge.early_stopping import Time, time_of_lowest_loss
from labkit.judge.stats import LEVEL, Interval
from labkit.store.history import Run
from labkit.text import with_interval
from labkit.view.curves import SETS, STEP_AXIS, curve, end, loss_axis, mark_not_finite, step_axis
from labkit.view.pictures import prompts_of, sample_pictures, show_mosaic
from labkit.view.style import MARKERS, STYLE, VERDICTS, LabFigure, direct_labels, name_axes, new_axes
from labkit.view.tables import Table, loss

ASKED, SEEDS = 10, 2  # captions drawn to look for copies, and pictures of each
SHOWN = {"count": 5, "width": 6.9}  # of the nearest pictures; a notebook must stay small
FRESH, FEWER = 120, 48  # pictures of the null at most: for evidence, and for a look
LOOKS = {"validation": (VERDICTS["healthy"][1], MARKERS[0]), "probe": (STYLE["text"], MARKERS[1])}
CHANGE_AXIS = "change of the loss on fixed noise\nsince the untouched base (no unit)"


# -- losses


def plot_gaps(runs: Iterable[Run]) -> LabFigure:
    """Draw how the loss on held-out and on training pictures changed, a panel for each number of training pictures."""
    arms = over_seeds(runs)
    left, right, bottom = STYLE["margins"]
    between, height = 0.3, 2.9
    width = (STYLE["width"] - left - right - between * (len(arms) - 1)) / len(arms)
    figure = LabFigure(STYLE["width"], bottom + height + 0.55)
    panels = [
        new_axes(figure.place_axes(left + i * (width + between), bottom, width, height)) for i in range(len(arms))
    ]
    means, bands, summary, is_crowded = [], [], [], len(arms) > 2
    for i, (ax, arm) in enumerate(zip(panels, arms, strict=True)):
        labels = _draw_changes(ax, arm, means, bands)
        turn, last = turn_of(arm), arm.validations["validation"].steps[-1]
        has_turned = math.isfinite(turn)
        if has_turned:
            ax.axvline(turn, color=LOOKS["validation"][0], linewidth=0.9, linestyle=":")
        where = f"lowest at update {turn:,.0f}" if has_turned else "still at its lowest at the end"
        summary.append(f"{arm.config.n_train} pictures: held-out loss {where}")
        step_axis(ax, last)
        if is_crowded:
            ticks = [0, *(10**e for e in range(1, 6) if 10**e <= last)]
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        where = f"lowest at {turn:,.0f}" if has_turned else "no turn yet"
        x_name = STEP_AXIS if not is_crowded and i in (0, len(arms) - 1) else ""
        name_axes(ax, x_name, "" if i else CHANGE_AXIS, f"{arm.config.n_train} pictures\n{where}")
        ax.title.set_fontsize(STYLE["label"])
    for i, ax in enumerate(panels):
        loss_axis(ax, means, bands)
        if i:
            ax.tick_params(labelleft=False)
    direct_labels(panels[-1], labels)
    if is_crowded:
        middle = (left + (STYLE["width"] - right)) / 2 / STYLE["width"]
        figure.text(middle, 0.02, STEP_AXIS, fontsize=STYLE["label"], color=STYLE["text"], ha="center")
    figure.summary = "; ".join(summary)
    return figure


def _draw_changes(ax, run, means, bands) -> list:
    """Draw the change of both losses of a run; add to the means and bands drawn so far, return the lines' labels."""
    labels = []
    for name, (color, marker) in LOOKS.items():
        steps, mean, low, high = curve(run, name)
        mean, low, high = mean - mean[0], low - mean[0], high - mean[0]
        fill = color if name == "validation" else "white"
        ax.plot(steps, mean, color=color, marker=marker, linestyle=SETS[name][1], linewidth=STYLE["line"],
                markersize=STYLE["marker"] - 1, markerfacecolor=fill)
        ax.fill_between(steps, low, high, color=color, alpha=STYLE["band"], linewidth=0)
        mark_not_finite(ax, steps, mean, color)
        means.append(mean)
        bands += [low, high]
        labels.append((end(mean), SETS[name][0], color))
    return labels


def turn_of(run: Run) -> float:
    """Return the update of the lowest held-out loss; inf where it is the last one or too little was measured."""
    try:
        return time_of_lowest_loss(run).step
    except LabError:
        return math.inf


def turns(runs: Iterable[Run]) -> Table:
    """Return one row for each number of pictures: when the held-out loss was lowest, in updates and in epochs.

    Then how far it rose from there, and how much further the loss fell on training pictures.
    """
    rows, arms = [], over_seeds(runs)
    for arm in arms:
        held = arm.validations["validation"]
        time, best = time_of_lowest_loss(arm), int(np.nanargmin(held.means))
        has_turned = math.isfinite(time.step)
        epochs = f"{views(arm, time.step):,.3g}" if has_turned else f"more than {views(arm, held.steps[-1]):,.3g}"
        after = with_interval(rise(arm, best)) if has_turned else ""
        rows.append([arm.config.n_train, time.text(), epochs, loss(held.means[best]), after, f"{gap(arm):.3f}"])
    return Table([
        "training pictures", "held-out loss lowest at update (95 % interval)", "epochs by then", "lowest",
        f"rise from there to the end (95 % interval {basis(*arms)})", "further fall on training pictures",
    ], rows)


def predictions(runs: Sequence[Run], pictures=None, turn=None) -> str:
    """Compare what was predicted of runs on few and many pictures with the runs. No answer is not wrong.

    pictures    the number of training pictures predicted to end lowest
    turn        the update predicted to be the best of the run on the fewest pictures
    """
    fewest = min(runs, key=lambda run: run.config.n_train)
    ended = [run for run in runs if not broke(run)]
    beside, lowest, time = "", None, time_of_lowest_loss(fewest)
    if ended:
        lowest = best_of(ended).config.n_train
        rivals = [str(run.config.n_train) for run in as_good(ended)]
        beside = f" (within noise also {' and '.join(rivals)})" if rivals else ""
    first = "" if pictures is None else f" You said {pictures}{': yes' if pictures == lowest else ''}."
    said = ""
    if turn is not None:
        said = f" You said {turn}{': yes' if time.low <= turn <= time.high else ''}."
    return (f"Lowest at the end: the run on {lowest or 'none of the'} pictures{beside}.{first}\n"
            f"On {fewest.config.n_train} pictures the held-out loss was lowest at update {time.text()}.{said}")


# -- what the pictures show


def asked(territory, pictures: int = ASKED, seeds: int = SEEDS) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return prompts and seeds to look for copies with: captions of the first training pictures, a few seeds each."""
    captions = territory.train.captions[:pictures]
    return tuple(caption for caption in captions for _ in range(seeds)), tuple(range(seeds * len(captions)))


def redrawn(lab, encoded) -> np.ndarray:
    """Return pictures as the base's autoencoder gives them back: its blur must not tell a copy from its original."""
    return lab.base.decode(encoded.whole)


def fresh_like(territory, prompts: Sequence[str], most: int = FRESH) -> list[int]:
    """Return numbers of held-out pictures of the kinds that the prompts ask for, in the same shares.

    All, but no more than `most`, where the kind of a prompt is not known.
    """
    kinds = _kinds(territory)
    wanted = [kinds.get(prompt) for prompt in dict.fromkeys(prompts)]
    waiting = {}
    for i, attributes in enumerate(territory.validation.attributes):
        waiting.setdefault(attributes.get("kind"), []).append(i)
    if None in wanted:
        return list(range(min(most, len(territory.validation))))
    rounds = min(len(waiting.get(kind, ())) // wanted.count(kind) for kind in wanted)
    rounds = min(rounds, max(1, most // len(wanted)))
    return sorted(i for kind in dict.fromkeys(wanted) for i in waiting[kind][: rounds * wanted.count(kind)])


def _kinds(territory) -> dict:
    """Return {caption: kind} of the training pictures; None for a kind that is not told."""
    kinds = (attributes.get("kind") for attributes in territory.train.attributes)
    return dict(zip(territory.train.captions, kinds, strict=True))


@dataclass(frozen=True, eq=False)
class Judged:
    """Hold what the pictures drawn along a run show, step by step."""

    run: Run
    pictures: dict[int, np.ndarray]  # uint8 (N, H, W, 3)
    training: np.ndarray  # redrawn, as are the fresh ones
    fresh: np.ndarray
    memorization: dict[int, Memorization]
    accepted: Scored | None  # by the reader; None where it does not know these kinds
    copied: Scored
    diversity: dict[int, Interval]

    @property
    def times(self) -> dict[str, Time]:
        """Return the three times of the run, each with its 95 % interval."""
        return self.times_at(LEVEL)

    def times_at(self, level: float) -> dict[str, Time]:
        """Return the three times with intervals of another level, for those of several runs to hold together."""
        return boundary(self.run, self.accepted, self.copied, level)


def judge(lab, run: Run, *, reader=None, eye=thumbnails, redrawn_pictures=None) -> Judged:
    """Judge the pictures that were drawn along a run: are they what was asked, are they copies, do they differ?

    Copies are looked for with an eye for layout and light; the reader says whether the kind is right.

    redrawn_pictures    training pictures, at least those of the run, and fresh ones; None has them drawn
    """
    pictures = {step: drawn for step, drawn in sample_pictures(run).items() if step}
    prompts = prompts_of(run)
    if not pictures:
        raise LabError(f"Of the run {run.run_id} no picture was kept: train it with prompts.")
    training, fresh = redrawn_pictures or (_training(lab, run), _fresh(lab, prompts))
    training = training[: run.config.n_train]
    copies = {step: memorization(drawn, training, fresh, eye) for step, drawn in pictures.items()}
    copied = Scored(np.array(list(pictures)), np.stack([at_step.copied for at_step in copies.values()]))
    differ = {step: diversity(drawn, prompts, eye) for step, drawn in pictures.items()}
    accepted = _accepted(lab, pictures, prompts, reader)
    return Judged(run, pictures, training, fresh, copies, accepted, copied, differ)


def _training(lab, run) -> np.ndarray:
    return redrawn(lab, lab.cache.train.take(run.config.n_train))


def _fresh(lab, prompts, most=FRESH) -> np.ndarray:
    encoded, chosen = lab.cache.validation, fresh_like(lab.territory, prompts, most)
    return redrawn(lab, replace(encoded, mean=encoded.mean[chosen]))


def _accepted(lab, pictures, prompts, reader) -> Scored | None:
    from labkit.engine.attribute_reader import asked_of, load_reader  # here, since it imports torch

    train = lab.territory.train
    by_caption = dict(zip(train.captions, asked_of(train) or (), strict=False))
    if not set(prompts) <= set(by_caption):
        return None
    reader, wanted = reader or load_reader(), [by_caption[prompt] for prompt in prompts]
    accepted = np.stack([reader.accepted(drawn, wanted) for drawn in pictures.values()])
    return Scored(np.array(list(pictures)), accepted.astype(float))


def plot_pairs(lab, runs: Sequence[Run], *, pairs: int = 3) -> LabFigure:
    """Draw a row a run: held-out prompts as its adapter draws them, beside each the nearest of its training pictures.

    Prompts and starting noise are the same in every row. Near is told by an eye for layout and colour.
    """
    prompts = list(lab.territory.prompts[:pairs])
    training, rows = _training(lab, max(runs, key=lambda run: run.config.n_train)), []
    for run in runs:
        drawn = lab.generate(prompts, run=run, num_inference_steps=lab.monitor().num_inference_steps)
        own = training[: run.config.n_train]
        nearest = own[distances(layout_and_colour(drawn), layout_and_colour(own)).argmin(axis=1)]
        rows.append([picture for pair in zip(drawn, nearest, strict=True) for picture in pair])
    names, head, between = 1.2, 0.62, 0.1  # inches for words at left and above; between two rows
    side = (STYLE["width"] - names - 0.05) / (2 * len(prompts) + 0.2)
    figure = LabFigure(STYLE["width"], head + (side + between) * len(rows), photographic=True)
    ax = figure.place_axes(names, 0, STYLE["width"] - names - 0.05, figure.get_figheight() - head)
    xs, ys = show_mosaic(ax, rows, range(2, 2 * len(prompts), 2), round(between / side * len(training[0])))
    ax.set_anchor("NW")
    small = {"fontsize": STYLE["small"], "color": STYLE["text"], "textcoords": "offset points", "ha": "center"}
    for i, prompt in enumerate(prompts):
        ax.annotate(textwrap.shorten(prompt, round(side * 2 * 14), placeholder=" …"),
                    ((xs[2 * i] + xs[2 * i + 1]) / 2, 0), (0, 20), va="bottom", fontstyle="italic", **small)
        for x, words in zip(xs[2 * i:], ("drawn", "nearest seen"), strict=False):
            ax.annotate(words, (x, 0), (0, 4), va="bottom", **small)
    for y, run in zip(ys, runs, strict=True):
        ax.annotate(f"{run.config.n_train}\npictures", (0, y), (-8, 0), textcoords="offset points", ha="right",
                    va="center", fontsize=STYLE["title"], fontweight="bold", color=STYLE["text"],
                    annotation_clip=False)
    figure.summary = "; ".join(f"{run.config.n_train} pictures: drawn prompts beside the nearest training picture"
                               for run in runs)
    return figure


def plot_copies(lab, run: Run, *, pictures: int = 4, seeds: int = SEEDS) -> LabFigure:
    """Draw pictures with a run's adapter, asked for what it was trained on, over the nearest training pictures.

    Fresh pictures stand below, with the training pictures nearest to them.
    """
    prompts, numbers = asked(lab.territory, min(pictures, run.config.n_train), seeds)
    drawn = lab.generate(prompts, numbers, run=run, num_inference_steps=lab.monitor().num_inference_steps)
    training, fresh = _training(lab, run), _fresh(lab, prompts, FEWER)
    return plot_nearest(memorization(drawn, training, fresh, thumbnails), drawn, training, fresh, **SHOWN)


def plot_times(judged: Sequence[Judged]) -> LabFigure:
    """Draw the three times of the first of the judged runs."""
    first = judged[0]
    return plot_boundary(first.run, first.times, first.accepted, first.copied)


def judged_runs(runs: Sequence[Run], lab, most: int = FRESH) -> list[Judged]:
    """Judge the runs of which pictures were kept, ordered by their number of training pictures.

    most    fresh pictures of the null, at most
    """
    if any(run.meta.get("base_fingerprint", lab.base.fingerprint) != lab.base.fingerprint for run in runs):
        raise LabError(
            "These runs were recorded on another base than this lesson's: "
            "leave `base` and `data` out to see their pictures judged."
        )
    drawn = sorted((run for run in runs if run.samples), key=lambda run: run.config.n_train)
    if not drawn:
        return []
    if drawn[0].config.data != lab.data_name:                 # recorded on more kinds of place than a lesson's
        lab = lab.with_data(drawn[0].config.data)
    training = _training(lab, drawn[-1])                      # those of the others are its first ones
    fresh = {prompts: _fresh(lab, prompts, most) for prompts in {tuple(prompts_of(run)) for run in drawn}}
    return [judge(lab, run, redrawn_pictures=(training, fresh[tuple(prompts_of(run))])) for run in drawn]


def along(judged: Sequence[Judged]) -> Table:
    """Return one row for each step at which the first of the judged runs was drawn.

    How many pictures are accepted, how many are copied beyond chance, how different they are from one another.
    """
    first, rows = judged[0], []
    for i, step in enumerate(first.pictures):
        excess, differ = first.memorization[step].excess, first.diversity[step]
        accepted = f"{first.accepted.values[i].mean():.0%}" if first.accepted else "not read"
        rows.append([
            f"{step:,}", f"{views(first.run, step):.3g}", accepted,
            f"{excess.mean:+.0%} ({excess.low:+.0%} to {excess.high:+.0%})",
            f"{differ.mean:.2f} ({differ.low:.2f} to {differ.high:.2f})",
        ])
    return Table([
        "updates", "epochs", "show what was asked", "copies beyond chance (95 % interval)",
        "difference between two seeds (95 % interval)",
    ], rows)


def stopping(judged: Sequence[Judged]) -> Table:
    """Return what rules of early stopping would have made of the first of the judged runs."""
    return stopping_table(judged[0].run)
