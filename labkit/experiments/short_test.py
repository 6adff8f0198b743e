"""Which learning rate? A few short runs find it, and recorded ones say what the defaults of trainers would do here.

The short test says at each of its runs what was decided and why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from labkit.design.config import RunConfig
from labkit.design.ladders import LADDERS, rung_of
from labkit.errors import LabError
from labkit.judge.compare import final_losses
from labkit.judge.diagnose import LABELS, Verdict, diagnose
from labkit.judge.stats import paired_difference
from labkit.store.history import Run
from labkit.text import rate_text
from labkit.view.tables import Table, loss

# Half a decade a rung: about the smallest step that a short test tells apart.
LADDER = LADDERS["learning_rate"]
UNSTABLE = ("diverged", "overshooting")


@dataclass(frozen=True)
class Trial:
    """Hold one short run and what the test made of it."""

    learning_rate: float
    run: Run
    verdict: Verdict
    loss: float  # held-out, fixed noise, as last measured, even where the run broke
    raw_loss: tuple[float, float]  # mean of single steps in the first and in the last fifth
    decision: str


def among(runs: Iterable[Run]) -> Callable[[RunConfig], Run]:
    """Return what stands in for training in `short_test` where there are runs already.

    It gives the run of the rate that is wanted, of the first seed; LabError where there is none.
    """
    runs_by_rate = {run.config.learning_rate: run for run in sorted(runs, key=lambda run: -run.config.seed)}

    def train(config):
        if config.learning_rate not in runs_by_rate:
            rates = ", ".join(map(rate_text, sorted(runs_by_rate)))
            raise LabError(f"No run at {rate_text(config.learning_rate)} is among these: they have {rates}.")
        return runs_by_rate[config.learning_rate]

    return train


def first_rungs(start: float) -> list[float]:
    """Return the rungs that a test from `start` is likely to need, for one pass: the nearest and its neighbours."""
    rung = rung_of(start)
    return list(LADDER[max(rung - 1, 0) : rung + 2])


def short_test(train: Callable[[RunConfig], Run], config: RunConfig, *, start: float = 1e-4) -> Iterator[Trial]:
    """Climb or descend the ladder of rates from `start`, one short run a rung, until the best has no better neighbour.

    train     takes a configuration, gives its Run: `Lab.train`, or `among` finished runs
    config    of the short runs; its schedule should be constant, since a warm-up of 100 updates swallows a test of 100

    A rung is better when its held-out loss on fixed noise is lower and the paired interval over pictures excludes
    zero, one seed each: single steps' losses are drawn at new timesteps and cannot tell two rates apart.
    """
    rung = rung_of(start)
    runs, best, direction = {}, None, +1
    while rung is not None:
        run = runs[rung] = train(config.replace(learning_rate=LADDER[rung]))
        verdict = diagnose(run)
        better, why = _compare(run, runs.get(best), verdict)
        if better:
            best = rung
        elif direction > 0 and best in (None, min(runs)):
            direction = -1                                    # nothing above is better: look below the lowest
        elif best is not None:
            direction = 0
        if direction > 0 and rung + 1 == len(LADDER) and best == min(runs):
            direction = -1                                    # the ladder ends: only below is anything left
        beyond = rung + 1 if direction > 0 else min(runs) - 1
        decision = {+1: "go on up", -1: "try lower", 0: ""}[direction]
        tried, rung = rung, beyond if direction and 0 <= beyond < len(LADDER) else None
        if rung is None:
            decision = "no rate of the ladder is stable" if best is None else f"stop, {rate_text(LADDER[best])} it is"
        yield Trial(LADDER[tried], run, verdict, _last_loss(run), raw_loss(run), f"{why}: {decision}")


def chosen(trials: Iterable[Trial]) -> Trial:
    """Return the trial whose rate the test ends with: stable, and better than those before it beyond noise.

    LabError: none was stable.
    """
    best = None
    for trial in trials:
        if _compare(trial.run, best.run if best else None, trial.verdict)[0]:
            best = trial
    if best is None:
        raise LabError("No rate of the short test was stable: begin it lower.")
    return best


def _compare(run, best, verdict) -> tuple[bool, str]:
    """Tell whether a run is better than the best so far, and why."""
    if verdict.label in UNSTABLE:
        return False, verdict.label
    if best is None:
        return True, verdict.label
    last, lowest = (each.validations["validation"].losses[-1] for each in (run, best))
    difference = paired_difference(last, lowest)
    if difference.high < 0:
        return True, f"lower by {-difference.mean:.3f}"
    if difference.low > 0:
        return False, f"higher by {difference.mean:.3f}"
    return False, "no different beyond the noise of pictures"


def _last_loss(run) -> float:
    return float(run.validations["validation"].means[-1])


def raw_loss(run: Run) -> tuple[float, float]:
    """Return the mean loss of single steps in the first and in the last fifth of a run."""
    loss = run.steps["loss"]
    fifth = max(1, len(loss) // 5)
    return float(np.mean(loss[:fifth])), float(np.mean(loss[-fifth:]))


def trial_table(trials: Iterable[Trial]) -> Table:
    """Return one row a short run: rate, held-out loss, verdict, what single steps would have said, the decision."""
    rows = []
    for trial in trials:
        first, last = trial.raw_loss
        rows.append([rate_text(trial.learning_rate), f"{trial.loss:.3f}", trial.verdict.label,
                     f"{first:.3f}, {last:.3f}", trial.decision])
    steps = "mean loss of single steps, first and last fifth"
    return Table(["learning rate", "held-out loss", "verdict", steps, "decision (one seed each)"], rows)


# -- where a search starts: rates that trainers publish as defaults

# Trainer, where it stands, rate, rank, alpha (None: as rank); read in the sources of 2026. Rates of the U-Net where
# several are given.
PUBLISHED = (
    ("SimpleTuner", "field defaults", 4e-7, 16, None),
    ("ai-toolkit", "TrainConfig default", 1e-6, 4, 1),
    ("kohya sd-scripts", "command line default", 2e-6, None, 1),
    ("OneTrainer", "TrainConfig default", 3e-6, 16, 1),
    ("diffusers", "train_text_to_image_lora.py", 1e-4, 4, None),
    ("kohya sd-scripts", "docs/train_network.md", 1e-4, 16, 1),
    ("ai-toolkit", "user interface", 1e-4, 32, 32),
    ("SimpleTuner", "example sd1x-dreamshaper", 1e-4, 16, 16),
    ("OneTrainer", "presets SD 1.5 and SDXL LoRA", 3e-4, 16, 1),
    ("diffusers", "train_dreambooth_lora.py", 5e-4, 4, None),
    ("PyTorch", "AdamW's own default", 1e-3, None, None),
)


def by_rate(runs: Iterable[Run]) -> dict[float, tuple[float, str]]:
    """Return {rate: (final held-out loss, verdict)}, the mean and the commonest verdict over seeds."""
    groups, by_seed = {}, {}
    for run in runs:
        groups.setdefault(run.config.learning_rate, []).append(run)
        by_seed.setdefault(run.config.seed, []).append(run)
    outcomes = {}
    for rate, group in sorted(groups.items()):
        labels = [diagnose(run, by_seed[run.config.seed]).label for run in group]
        end = float(np.mean([final_losses(run).mean() for run in group]))
        outcomes[rate] = end, max(LABELS, key=labels.count)
    return outcomes


def at(rate: float, outcomes: Mapping[float, tuple[float, str]]) -> tuple[str, str]:
    """Return loss and verdict at a rate in words, from those of `by_rate` at other rates.

    The loss is interpolated over the logarithm of the rate, never beyond the ends. LabError: there are none.
    """
    tried = sorted(outcomes)
    if not tried:
        raise LabError("No recorded runs to read published rates against.")
    slowest, fastest = tried[0], tried[-1]
    if rate < slowest:
        end, label = outcomes[slowest]
        return f"above {loss(end)}", f"{label}, as at {rate_text(slowest)} or slower"
    if rate > fastest:
        return "not recorded", f"{outcomes[fastest][1]}, as at {rate_text(fastest)} or worse"
    below, above = max(r for r in tried if r <= rate), min(r for r in tried if r >= rate)
    labels = dict.fromkeys(outcomes[r][1] for r in (below, above))
    ends = [outcomes[r][0] for r in (below, above)]
    if below == above:
        return loss(ends[0]), " or ".join(labels)
    return f"{loss(np.interp(np.log(rate), np.log([below, above]), ends))} (between two)", " or ".join(labels)


def defaults_table(runs: Iterable[Run]) -> Table:
    """Return one row a published default: the loss and the verdict of its rate among recorded runs on this base."""
    runs = list(runs)
    outcomes, rows = by_rate(runs), []
    for trainer, where, rate, rank, alpha in PUBLISHED:
        scaling = "1" if alpha is None else "depends on the rank" if rank is None else f"{alpha / rank:.3g}"
        rows.append([trainer, where, rate_text(rate), "free" if rank is None else rank,
                     "as rank" if alpha is None else alpha, scaling, *at(rate, outcomes)])
    first = runs[0].config
    here = f"held-out loss here (rank {first.rank}, scaling {first.scaling:g}, {first.max_train_steps} updates)"
    return Table(["trainer", "where", "learning rate", "rank", "alpha", "its scaling", here, "verdict here"], rows)
