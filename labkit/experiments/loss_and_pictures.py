"""Does the loss choose the checkpoint whose pictures are best?

Many short runs, measured at a few checkpoints each by data/recipes/ship/loss_pictures.py: what loss, distance and
copying say is held against the share of drawn prompts that the reader accepts. No torch here. A lesson shows

    found = study()                  # the table that ships
    display(agreement(found))        # which numbers rise and fall with the share accepted; sentences below
    display(plot_choice(found))      # what choosing a checkpoint by each costs

R runs, T checkpoints of each, P prompts. What a run that broke does not have counts as worse than all else.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from labkit.errors import LabError
from labkit.files import json_text
from labkit.judge.stats import DRAWS, Interval, interval_of, spread
from labkit.settings import data_dir
from labkit.text import counted
from labkit.view.style import STYLE, VERDICTS, LabFigure, name_axes, new_axes
from labkit.view.tables import Table

FILE = "loss_pictures.json"
# What a checkpoint may be chosen by, the less the better, by its column.
QUANTITIES = {"held_out": "held-out loss", "probe": "loss on training pictures", "training": "loss shown in training",
              "distance": "distance to held-out renders", "copying": "nearness to training pictures"}
ACCEPTED = "pictures accepted"
MADE_BY = "in data/, python -m recipes.ship.loss_pictures"


@dataclass(frozen=True, eq=False)
class Study:
    """Hold what was measured of R runs at T checkpoints each."""

    base: str                                                 # fingerprint
    settings: tuple[dict, ...]                                # R: data, learning_rate, rank, n_train, ...
    verdicts: tuple[str, ...]                                 # R
    steps: np.ndarray                                         # (R, T) updates
    values: dict[str, np.ndarray]                             # of each of QUANTITIES, (R, T); inf after a run broke
    accepted: np.ndarray                                      # (R, T, P) bool
    untouched: dict[str, dict]                                # the same of the bare base, by territory

    @property
    def shares(self) -> np.ndarray:
        """Return the share of prompts accepted, (R, T)."""
        return self.accepted.mean(axis=2)

    def at(self, runs: np.ndarray) -> "Study":
        """Return the runs with these numbers."""
        return replace(self, settings=tuple(self.settings[i] for i in runs),
                       verdicts=tuple(self.verdicts[i] for i in runs), steps=self.steps[runs],
                       values={name: values[runs] for name, values in self.values.items()},
                       accepted=self.accepted[runs])

    def territories(self) -> Iterator[np.ndarray]:
        """Yield the numbers of the runs of each territory."""
        names = [settings["data"] for settings in self.settings]
        for name in dict.fromkeys(names):
            yield np.array([i for i, other in enumerate(names) if other == name])


def study(file: Path | None = None) -> Study:
    """Read a table of recipes/ship/loss_pictures.py, by default the one that ships.

    LabError: it is missing or damaged, or its runs do not have equally many checkpoints.
    """
    file = file or data_dir() / "studies" / FILE
    try:
        table = json_text.read(file)
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        return _study(table, rows)
    except OSError:
        raise LabError(f"{file} cannot be read; make it: {MADE_BY}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{file} is damaged ({type(error).__name__}: {error}); make it again: {MADE_BY}.") from None


def _study(table: dict, rows: list[dict]) -> Study:
    runs: dict[str, list[dict]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row)
    if len({len(checkpoints) for checkpoints in runs.values()}) != 1:
        raise ValueError("its runs do not have equally many checkpoints")
    grouped = list(runs.values())
    measured = {"run", "step", "verdict", "accepted", *QUANTITIES}
    settings = tuple({name: value for name, value in run[0].items() if name not in measured} for run in grouped)
    none = "0" * table["prompts"]
    accepted = [[[mark == "1" for mark in row["accepted"] or none] for row in run] for run in grouped]
    return Study(table["base"], settings, tuple(run[0]["verdict"] for run in grouped),
                 np.array([[row["step"] for row in run] for run in grouped]),
                 {name: np.array([[math.inf if row[name] is None else row[name] for row in run] for run in grouped],
                                 dtype=float) for name in QUANTITIES},
                 np.array(accepted, dtype=bool), table["untouched"])


# -- do they rise and fall together?


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values along the last axis, from 1; equal ones, infinite ones too, share their mean rank."""
    values = np.asarray(values, dtype=float)
    others = values[..., None, :]
    below, equal = (others < values[..., None]).sum(-1), (others == values[..., None]).sum(-1)
    return below + (equal + 1) / 2


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rank correlation along the last axis (Spearman 1904); not a number where either is all alike."""
    one, two = (each - each.mean(-1, keepdims=True) for each in (ranks(first), ranks(second)))
    size = np.sqrt((one**2).sum(-1) * (two**2).sum(-1))
    return np.where(size > 0, (one * two).sum(-1) / np.where(size > 0, size, 1), np.nan)


def over_runs(found: Study, one: str, other: str) -> Interval:
    """Return the rank correlation of two quantities over the runs' last checkpoints, with its interval over runs.

    Runs of one territory are compared with each other; it is the mean over territories.
    """
    pairs = [(found_at(found, one)[runs, -1], found_at(found, other)[runs, -1]) for runs in found.territories()]
    estimate = _mean([spearman(*pair)[None] for pair in pairs])[0]
    draws = []
    for first, second in pairs:
        n = len(first)
        again = np.random.default_rng(n).integers(0, n, (DRAWS, n))
        draws.append(spearman(first[again], second[again]))
    drawn = _mean(draws)
    return _within_one(spread(float(estimate), drawn[np.isfinite(drawn)], len(found.settings)))


def within_runs(found: Study, one: str, other: str) -> tuple[Interval, int]:
    """Return the rank correlation over a run's checkpoints, averaged over runs, its interval, and of how many runs.

    Runs in which either is the same at all checkpoints have none and are left out.
    """
    each = spearman(found_at(found, one), found_at(found, other))
    each = each[np.isfinite(each)]
    return (_within_one(interval_of(each)), len(each)) if len(each) else (Interval(math.nan, math.nan, math.nan), 0)


def found_at(found: Study, name: str) -> np.ndarray:
    """Return a quantity by its column, or the share accepted, (R, T)."""
    return found.shares if name == "accepted" else found.values[name]


def _mean(each: list[np.ndarray]) -> np.ndarray:
    """Average correlations (territories, D) over the territories that have one."""
    values = np.array(each)
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def _within_one(interval: Interval) -> Interval:
    return Interval(*(float(np.clip(value, -1, 1)) for value in interval))


# -- which checkpoint does each choose?


def choices(found: Study) -> dict[str, np.ndarray]:
    """Return the share accepted at the checkpoint that each way of choosing takes, (R,), by its words.

    Of checkpoints that are equally good the share is averaged. `the reader, other prompts` chooses by half of the
    prompts and is judged by the other half; `the best of all` is chosen and judged by the same prompts, so that it
    has chance on its side.
    """
    shares = found.shares
    chosen = {words: _at_least(found.values[name], shares) for name, words in QUANTITIES.items()}
    halves = [found.accepted[:, :, start::2].mean(axis=2) for start in (0, 1)]
    crossed = [_at_least(-halves[i], halves[1 - i]) for i in (0, 1)]
    return chosen | {"the last one": shares[:, -1], "the reader, other prompts": np.mean(crossed, axis=0),
                     "the best of all": shares.max(axis=1)}


def _at_least(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the mean share (R,) of the checkpoints where values (R, T) are least."""
    is_least = values == values.min(axis=1, keepdims=True)
    return (shares * is_least).sum(axis=1) / is_least.sum(axis=1)


def that_differ(found: Study) -> Study:
    """Return the runs whose checkpoints are not all accepted equally often: in the others nothing can be chosen.

    LabError: there are not even two of them.
    """
    differ = np.ptp(found.shares, axis=1) > 0
    if differ.sum() < 2:
        raise LabError(f"Of {counted(len(differ), 'run')} less than two have checkpoints that differ in the pictures "
                       f"accepted: measure more; {MADE_BY}.")
    return found.at(np.flatnonzero(differ))


def turned_early(found: Study) -> Study:
    """Return the runs whose held-out loss was lowest before the end: those that early stopping would cut short."""
    return found.at(np.flatnonzero(found.values["held_out"].argmin(axis=1) < found.steps.shape[1] - 1))


# -- told


def agreement(found: Study) -> Table:
    """Return one row a quantity: its rank correlation with the share accepted, and what choosing by it costs."""
    differ = that_differ(found)
    shares, rows = choices(differ), []
    best, last = shares["the best of all"], shares["the last one"]
    names = {words: name for name, words in QUANTITIES.items()}
    for words, share in shares.items():
        over = within = ""
        if words in names:
            over = _signed(over_runs(found, names[words], "accepted"))
            within = _signed(within_runs(found, names[words], "accepted")[0])
        rows.append([words, over, within, f"{100 * share.mean():.0f} %", _points(interval_of(best - share)),
                     "" if words == "the last one" else _points(interval_of(share - last))])
    return Table(["chosen by the least", "rank correlation with pictures accepted, over runs", "within runs",
                  "accepted at the checkpoint chosen", "points below the best", "points above the last"],
                 rows, sentences(found))


def correlations(found: Study) -> Table:
    """Return one row a pair of quantities: its rank correlation over runs, and within runs and of how many."""
    words, rows = QUANTITIES | {"accepted": ACCEPTED}, []
    for one, other in combinations(words, 2):
        within, count = within_runs(found, one, other)
        rows.append([words[one], words[other], _signed(over_runs(found, one, other)), _signed(within), count])
    return Table(["of", "and", "over runs, at their end", "within runs", "of so many runs"], rows)


def sentences(found: Study) -> str:
    """Say what was found, its direction read from the numbers."""
    differ, early = that_differ(found), turned_early(found)
    shares = choices(differ)
    by_loss = "held-out loss"
    over = over_runs(found, "held_out", "accepted")
    runs = f"Over {counted(len(found.settings), 'run')}"
    if over.excludes_zero:
        told = f"{runs} a lower held-out loss goes with {'more' if over.mean < 0 else 'fewer'} pictures accepted"
    else:
        told = f"{runs} held-out loss and pictures accepted have no order in common beyond chance"
    parts = [f"{told} (rank correlation {_signed(over)})."]
    quantities = [words for words in QUANTITIES.values()]
    least = max(quantities, key=lambda words: shares[words].mean())
    parts.append(f"Of the numbers, {least} chooses the checkpoint with the most pictures accepted: "
                 f"{_points(interval_of(shares['the best of all'] - shares[least]))} percentage points below the best "
                 f"of each run, where the last one lies {_points(_regret(shares, 'the last one'))} below.")
    parts.append(f"The lowest held-out loss {_against(shares[by_loss] - shares['the last one'])}, over the "
                 f"{counted(len(differ.settings), 'run')} whose checkpoints differ.")
    if len(early.settings) > 1:
        gains = choices(early)
        parts.append(f"In the {len(early.settings)} runs that early stopping would cut short, the checkpoint of the "
                     f"lowest held-out loss {_against(gains[by_loss] - gains['the last one'])}.")
    return " ".join(parts)


def _regret(shares: dict[str, np.ndarray], words: str) -> Interval:
    return interval_of(shares["the best of all"] - shares[words])


def _against(gain: np.ndarray) -> str:
    """Say how a choice compares with the last checkpoint; gain (R,)."""
    if not gain.any():
        return "has as many pictures accepted as the last one"
    interval = interval_of(gain)
    much = f"({_points(interval)} percentage points)"
    if not interval.excludes_zero:
        return f"cannot be told from the last one {much}"
    return f"has {'more' if interval.mean > 0 else 'fewer'} pictures accepted than the last one {much}"


def _signed(interval: Interval) -> str:
    if not math.isfinite(interval.mean):
        return "none"
    return f"{interval.mean:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def _points(interval: Interval) -> str:
    """Write shares as percentage points."""
    mean, low, high = (round(100 * value) for value in interval)
    return f"{mean} ({low} to {high})"


# -- drawn

HIGHEST = 1.12                                                 # times the untouched loss: all above stands there
LEFT, BOTTOM, ENDS, LABELS, HEIGHT = 0.85, 0.75, 3.4, 2.25, 3.1    # inches


def plot_choice(found: Study) -> LabFigure:
    """Draw each run's end, loss against pictures, and what choosing a checkpoint by each number costs."""
    figure = LabFigure(STYLE["width"], BOTTOM + HEIGHT + 0.5, summary=sentences(found))
    _draw_ends(new_axes(figure.place_axes(LEFT, BOTTOM, ENDS, HEIGHT)), found)
    left = LEFT + ENDS + LABELS
    _draw_costs(new_axes(figure.place_axes(left, BOTTOM, STYLE["width"] - left - 0.3, HEIGHT)), that_differ(found))
    return figure


def _draw_ends(ax, found: Study) -> None:
    before = np.array([found.untouched[settings["data"]]["held_out"] for settings in found.settings])
    loss = np.minimum(found.values["held_out"][:, -1] / before, HIGHEST)
    share = 100 * found.shares[:, -1]
    for verdict, (_, color) in VERDICTS.items():
        of_it = [i for i, other in enumerate(found.verdicts) if other == verdict]
        if of_it:
            ax.plot(loss[of_it], share[of_it], linestyle="", marker=MARKERS[verdict], color=color, alpha=0.75,
                    markersize=STYLE["marker"] + 1, markeredgewidth=1.5, clip_on=False, zorder=3,
                    label=f"{verdict} ({len(of_it)})")
    ax.set_ylim(-3, 103)
    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick < HIGHEST - 0.12 * (high - low)]
    if loss.max() == HIGHEST:
        ax.set_xticks([*ticks, HIGHEST], [*(f"{tick:g}" for tick in ticks), "higher"])
    ax.legend(fontsize=STYLE["small"], frameon=False, loc="upper right", handletextpad=0.2, borderaxespad=0)
    name_axes(ax, "held-out loss at the end,\nshare of the untouched base's", "pictures accepted (%)", "A run's end")


MARKERS = {"healthy": "o", "stagnating": "_", "overshooting": "^", "overfitting": "D", "diverged": "x",
           "not enough evidence": "$?$"}


def _draw_costs(ax, differ: Study) -> None:
    shares = choices(differ)
    costs = {words: _regret(shares, words) for words in shares if words != "the best of all"}
    order = sorted(costs, key=lambda words: costs[words].mean)
    for row, words in enumerate(order):
        color = VERDICTS["healthy" if words == "held-out loss" else "stagnating"][1]
        color = STYLE["faint"] if words in ("the last one", "the reader, other prompts") else color
        mean, low, high = (100 * value for value in costs[words])
        ax.plot([low, high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(mean, row, "o", color=color, markersize=7, zorder=4)
    ax.set_yticks(range(len(order)), order, fontsize=STYLE["small"])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
    ax.grid(False, axis="y")
    name_axes(ax, f"percentage points below the best\n({len(differ.settings)} runs, 95 % intervals)", "",
              "Cost of choosing by")
