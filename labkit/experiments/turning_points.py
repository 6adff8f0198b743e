"""The coherence boundary: when a long run was best, by held-out loss, by its pictures and before it began to copy.

Three times that need not be one, each with its interval over pictures; and rules of early stopping, scored against the best
checkpoint of the run. D resamples of the pictures, T evaluations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labkit.design import volume
from labkit.errors import LabError
from labkit.experiments.memorization import CLOSE
from labkit.judge.stats import LEVEL, resampled_means
from labkit.view.curves import SETS, STEP_AXIS, curve, loss_axis, step_axis
from labkit.view.style import LINES, STYLE, VERDICTS, LabFigure, direct_labels, name_axes, new_axes
from labkit.view.tables import Table

NAMES = {"validation": "lowest held-out loss", "score": "best pictures", "copying": "copying begins"}
LOOKS = {"validation": ("o", "healthy"), "score": ("s", "stagnating"), "copying": ("X", "diverged")}


class Scored(NamedTuple):
    """Hold a value for each picture at some evaluations: a score, or whether it was copied."""

    steps: np.ndarray                                         # (T,)
    values: np.ndarray                                        # (T, pictures)


@dataclass(frozen=True)
class Time:
    """Hold after how many updates something happened; inf where it had not by the end of the run."""

    step: float
    low: float
    high: float

    def text(self) -> str:
        """Write the time with its interval."""
        span = f"{self.low:,.0f} to {self.high:,.0f}" if math.isfinite(self.high) else f"{self.low:,.0f} or later"
        return f"{self.step:,.0f} ({span})" if math.isfinite(self.step) else f"not reached ({span})"


def boundary(history, scores: Scored | None = None, copies: Scored | None = None) -> dict[str, Time]:
    """Return the time of the lowest held-out loss, and of the best score and the onset of copying where they are given.

    scores    higher is better, such as the reader's acceptance of generated pictures
    copies    `memorization(...).copied` of the pictures generated at each evaluation

    A minimum or maximum at the last evaluation has not been reached. Intervals are those of 2,000 resamples of the pictures,
    widened to the evaluations beside them, since nothing is known of what lies between; of an `arms.Arm` of several seeds, from
    the lowest to the highest end that any of its seeds gives.
    """
    held = history.validations.get("validation")
    if held is None or len(held.steps) < 3:
        raise LabError(f"The run {history.run_id} has fewer than three evaluations of held-out pictures: train it with a monitor that validates.")
    times = {"validation": _turn(held.steps, held.losses.mean(axis=2).T)}
    for run in getattr(history, "runs", ()):
        own, found = boundary(run)["validation"], times["validation"]
        times["validation"] = Time(found.step, min(found.low, own.low), max(found.high, own.high))
    if scores is not None:
        steps, values = _checked("scores", scores)
        times["score"] = _turn(steps, -values)
    if copies is not None:
        times["copying"] = _onset(*_checked("copies", copies))
    return times


def chance_copies(n: int) -> int:
    """Return how many of n pictures may look copied by chance, with the confidence of an interval: a binomial quantile."""
    reached, count = 0.0, -1
    while reached < (1 + LEVEL) / 2:
        count += 1
        reached += math.comb(n, count) * CLOSE**count * (1 - CLOSE) ** (n - count)
    return count


def _checked(name, scored):
    steps, values = np.asarray(scored.steps), np.asarray(scored.values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(steps) or not len(steps):
        raise LabError(f"{name}: values of shape {values.shape} for {len(steps)} steps; give one row of pictures for each step.")
    return steps, values.T


def _turn(steps, values) -> Time:
    """Return when the mean over pictures (pictures, T) is lowest, give or take the distance to the evaluations beside it."""
    at, low, high = _drawn(values, lambda means: np.nan_to_num(means, nan=np.inf).argmin(axis=1))
    last = len(steps) - 1
    return Time(math.inf if at == last else float(steps[at]), float(steps[max(low - 1, 0)]), math.inf if high == last else float(steps[high + 1]))


def _onset(steps, values) -> Time:
    """Return from which evaluation on more pictures are copied than chance gives; it began after the evaluation before."""
    n, T = values.shape

    def first(shares):
        stays = np.logical_and.accumulate((shares > chance_copies(n) / n)[:, ::-1], axis=1)[:, ::-1]
        return np.where(stays.any(axis=1), stays.argmax(axis=1), T)

    at, low, high = _drawn(values, first)
    return Time(*(float([*steps, math.inf][i]) for i in (at, max(low - 1, 0), high)))


def _drawn(values, find) -> tuple[int, int, int]:
    """Return which evaluation is found in the mean over pictures, and the ends of those found in the resamples."""
    low, high = np.quantile(find(resampled_means(values)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return int(find(values.mean(axis=0, keepdims=True))[0]), int(low), int(high)


# -- rules of early stopping: curves (D, T) -> whether a rule says stop at each evaluation (D, T)


@dataclass(frozen=True)
class Rule:
    """Name a rule of early stopping; one that restores gives the best checkpoint before it stopped, else the last."""

    name: str
    says_stop: Callable
    restores: bool = True


def patience(evaluations: int) -> Rule:
    """Stop when the lowest loss lies so many evaluations back."""
    return Rule(f"patience {evaluations}", lambda losses: np.arange(losses.shape[1]) - _last_best(losses) >= evaluations)


def generalization_loss(percent: float) -> Rule:
    """Stop when the loss lies so many per cent above its lowest: GL of Prechelt 1998, section 2.2."""
    return Rule(f"GL {percent:g} %", lambda losses: losses > (1 + percent / 100) * np.minimum.accumulate(losses, axis=1))


def rise_of_gain(share: float) -> Rule:
    """Stop when this share of what was gained is lost again: the loss of a denoiser moves by per cents, its gain is the scale."""

    def says_stop(losses):
        lowest = np.minimum.accumulate(losses, axis=1)
        return losses - lowest > share * (losses[:, :1] - lowest)

    return Rule(f"a rise by {share:.0%} of the gain", says_stop)


def fixed_epochs(epochs: int, run) -> Rule:
    """Stop after so many epochs, whatever the loss, as a recipe does."""
    config, steps = run.config, run.validations["validation"].steps
    last = volume.updates(config.n_train, config.effective_batch_size, epochs)
    return Rule(f"{epochs} epochs", lambda losses: np.broadcast_to(steps >= last, losses.shape), restores=False)


def usual_rules(run) -> list[Rule]:
    """Return the rules that the lesson compares."""
    return [patience(1), patience(2), patience(3), generalization_loss(1), generalization_loss(5), rise_of_gain(0.1), rise_of_gain(0.25),
            *(fixed_epochs(epochs, run) for epochs in (5, 10, 50))]


def _last_best(losses):
    """Return the number of the best evaluation so far (D, T)."""
    lowest = np.minimum.accumulate(losses, axis=1)
    before = np.hstack([np.full((len(losses), 1), np.inf), lowest[:, :-1]])
    return np.maximum.accumulate(np.where(losses < before, np.arange(losses.shape[1]), 0), axis=1)


class Score(NamedTuple):
    """Hold what a rule would have done to a run; 1 is the gain of the best checkpoint."""

    rule: str
    stopped: float                                            # updates spent; inf where the rule never said stop
    kept: int                                                 # updates of the checkpoint it gives
    gain: tuple[float, float, float]                          # share of the best checkpoint's gain: mean, low, high


def score(rule: Rule, run) -> Score:
    """Run a rule over a finished run, on the mean and on every resample of the pictures."""
    held = run.validations["validation"]
    losses = np.nan_to_num(held.losses.astype(np.float64).mean(axis=2).T, nan=np.inf)
    (at, says, kept, gain), (*_, gains) = (_played(rule, means) for means in (losses.mean(axis=0, keepdims=True), resampled_means(losses)))
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(rule.name, float(held.steps[at[0]]) if says[0] else math.inf, int(held.steps[kept[0]]), (float(gain[0]), float(low), float(high)))


def _played(rule, means):
    """Return the evaluation of the stop, whether there was one, the checkpoint kept and its share of the best gain, each (D,)."""
    says_stop, row = rule.says_stop(means), np.arange(len(means))
    says = says_stop.any(axis=1)
    at = np.where(says, says_stop.argmax(axis=1), means.shape[1] - 1)
    kept = _last_best(means)[row, at] if rule.restores else at
    best = means[:, 0] - means.min(axis=1)
    return at, says, kept, np.where(best > 0, (means[:, 0] - means[row, kept]) / np.where(best > 0, best, 1), 1.0)


def stopping_table(run, rules=None) -> Table:
    """Return one row a rule: when it stopped, which checkpoint it gives, and how much of the best checkpoint's gain that has."""
    rows = []
    for found in (score(rule, run) for rule in rules or usual_rules(run)):
        mean, low, high = found.gain
        spent = f"{found.stopped:,.0f}" if math.isfinite(found.stopped) else "the run ends first"
        rows.append([found.rule, spent, f"{found.kept:,}", f"{mean:.0%} ({low:.0%} to {high:.0%})"])
    return Table(["rule", "stops after updates", "gives the checkpoint of", "share of the best gain (95 % interval over pictures, one run)"], rows)


def plot_boundary(run, times, scores: Scored | None = None, copies: Scored | None = None):
    """Draw a long run's losses, under them its score (0 to 1) and its share of copies where given, and the three times with their intervals."""
    shares = [(name, scored) for name, scored in (("score", scores), ("copying", copies)) if scored is not None]
    left, right, bottom = STYLE["margins"]
    last, gap, panels, floor = int(run.validations["validation"].steps[-1]), 0.15, [], bottom
    heights = [0.38 * len(times) + 0.1, *[1.5] * bool(shares), 2.6]                        # inches, from below: times, shares, losses
    figure = LabFigure(STYLE["width"], bottom + sum(heights) + gap * len(heights) + 0.5)
    for height in heights:
        panels.append(new_axes(figure.place_axes(left, floor, STYLE["width"] - left - right, height)))
        step_axis(panels[-1], last)
        floor += height + gap
    _draw_losses(panels[-1], run)
    if shares:
        _draw_shares(panels[1], shares)
    _draw_times(panels[0], times, last)
    for ax in panels[1:]:
        ax.tick_params(labelbottom=False)
    for ax in panels:
        for name, time in times.items():
            if math.isfinite(time.step):
                ax.axvline(time.step, color=VERDICTS[LOOKS[name][1]][1], linewidth=0.9, linestyle=LINES[3], zorder=1)
    _epochs_above(panels[-1], run, last)
    figure.summary = "; ".join(f"{NAMES[name]}: {time.text()} updates" for name, time in times.items())
    return figure


def _draw_losses(ax, run):
    labels, seen, bands = [], [], []
    for name, marker, tint in (("validation", "o", VERDICTS["healthy"][1]), ("probe", "s", STYLE["text"])):
        if name in run.validations:
            steps, mean, low, high = curve(run, name)
            ax.plot(steps, mean, color=tint, marker=marker, linestyle=SETS[name][1], markersize=STYLE["marker"], linewidth=STYLE["line"],
                    markerfacecolor=tint if name == "validation" else "white")
            ax.fill_between(steps, low, high, color=tint, alpha=STYLE["band"], linewidth=0)
            labels.append((mean[-1], f"{SETS[name][0]} {mean[-1]:.3f}", tint))
            seen.append(mean)
            bands += [low, high]
    loss_axis(ax, seen, bands)
    name_axes(ax, "", "loss on fixed noise\n(no unit)")
    direct_labels(ax, labels)


def _draw_shares(ax, shares):
    labels = []
    for name, scored in shares:
        steps, values = _checked(name, scored)
        marker, verdict = LOOKS[name]
        color, mean = VERDICTS[verdict][1], 100 * values.mean(axis=0)
        ax.plot(steps, mean, color=color, marker=marker, linestyle="-" if name == "score" else LINES[1], markersize=STYLE["marker"], linewidth=STYLE["line"])
        labels.append((mean[-1], {"score": f"pictures accepted {mean[-1]:.0f} %", "copying": f"pictures copied {mean[-1]:.0f} %"}[name], color))
    ax.set_ylim(-4, 104)
    name_axes(ax, "", "pictures drawn\n(%)")
    direct_labels(ax, labels)


def _draw_times(ax, times, last):
    ax.set_ylim(len(times) - 0.5, -0.5)
    ax.set_yticks([])
    ax.grid(False, axis="y")
    for row, (name, time) in enumerate(times.items()):
        marker, verdict = LOOKS[name]
        color, (at, low, high) = VERDICTS[verdict][1], (min(step, last) for step in (time.step, time.low, time.high))
        ax.plot([low, high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(at, row, marker if math.isfinite(time.step) else ">", color=color, markersize=8, zorder=4, clip_on=False)
        ax.annotate(f"{NAMES[name]}:\n{time.text()}", (1, row), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                    fontsize=STYLE["small"], color=color, annotation_clip=False)
    name_axes(ax, STEP_AXIS, "")


def _epochs_above(ax, run, last):
    """Add a second scale in epochs, which is what changes with the number of pictures."""
    per_epoch = run.config.n_train / run.config.effective_batch_size
    marks = [m * 10**e for e in range(6) for m in (1, 3) if per_epoch * m * 10**e <= last]
    top = ax.twiny()                                          # a secondary axis knows no scale that is linear up to 1
    step_axis(top, last)
    top.set_xticks([mark * per_epoch for mark in marks], [f"{mark:,}" for mark in marks], fontsize=STYLE["small"], color=STYLE["text"])
    top.tick_params(length=3)
    for side, spine in top.spines.items():
        spine.set_visible(side == "top")
        spine.set_color(STYLE["faint"])
    top.set_xlabel(f"epochs of {run.config.n_train} pictures", fontsize=STYLE["label"], color=STYLE["text"])
