"""How strongly should an adapter act after training, and what does alpha mix inside the model?

K adapters side by side on one base, each at a strength of its own; n pictures. A strength acts after training and
multiplies the scaling that the adapter was trained with.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import add_noise
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.errors import LabError
from labkit.experiments.gradients import fixed_draws, gradients_of
from labkit.judge.stats import Interval, by_picture, interval_of, level_among
from labkit.text import with_interval
from labkit.view.curves import LOSS_AXIS, loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes
from labkit.view.tables import Table

STRENGTHS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)  # some in each range that the chapter names
PICTURES, STRATA = 32, 1
BLUE, ORANGE = VERDICTS["stagnating"][1], VERDICTS["diverged"][1]
SETS = {"territory": ("● this territory", BLUE),
        "ordinary": ("■ ordinary places", ORANGE)}

MIXED_AT, MIXED_PICTURES = (0.5, 1.0, 2.0), 8  # strengths and pictures of `mixing`


@contextmanager
def acting(lab, runs, strengths):
    """Put the adapters of K runs on a lab's base, run k at strengths[k]; gives the stack, for `generate` and losses.

    LabError: a run is not in the lab's store.
    """
    folders = [lab.store.run(run.run_id) for run in runs]
    for folder in folders:
        if not folder.path.exists():
            raise LabError(f"The run {folder.run_id} is not in the store {lab.store.root}: "
                           "train it first, or give another run.")
    with lab.base.lock:
        stack = LoRAStack(lab.base.unet, [folder.load().config for folder in folders])
        for k, folder in enumerate(folders):
            stack.load(k, folder.checkpoint().adapter)
        stack.strength = list(strengths)
        with stack.attached():
            yield stack


# -- the loss over the strength

@dataclass(frozen=True, eq=False)
class Scores:
    """Hold fixed-noise losses on 'territory' and 'ordinary': of the untouched base (n,), with each adapter (K, n)."""

    strengths: tuple[float, ...]
    base: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]

    def change(self, name: str, k: int, among: int = 1) -> Interval:
        """Return how much adapter k changes the loss on a set, paired over pictures.

        among    of how many adapters k was chosen by what was measured: their intervals then hold together
        """
        return interval_of(self.losses[name][k] - self.base[name], level_among(among))

    @property
    def lowest(self) -> int:
        """Return the number of the adapter that is lowest on the territory."""
        return int(np.nanargmin(self.losses["territory"].mean(1)))

    @property
    def sentence(self) -> str:
        """Say where the loss on the territory is lowest, and what that costs elsewhere."""
        K, full = len(self.strengths), int(np.argmin(np.abs(np.array(self.strengths) - 1)))
        lowest, trained = ([with_interval(self.change(name, k, K)) for name in SETS] for k in (self.lowest, full))
        return (f"The loss on the territory is lowest at strength {self.strengths[self.lowest]:g}, {lowest[0]} "
                f"against the base; on ordinary places it changes by {lowest[1]} there. As trained, at strength 1: "
                f"{trained[0]} and {trained[1]}. "
                "One trained run; 95 % intervals over pictures, for all strengths together.")


def measure_scores(lab, runs, strengths) -> Scores:
    """Measure K adapters at K strengths on held-out pictures of the territory and on ordinary ones.

    The held-out pictures are those kept for final scores, where there are any.
    """
    kept = lab.cache.validation.drop(FIRST_SCORED)
    encoded_sets = {"territory": kept if len(kept) else lab.cache.validation, "ordinary": lab.cache.ordinary}
    timesteps = len(lab.base.noise_scheduler.alphas_cumprod)
    sets = {name: ValidationSet(encoded, PICTURES, STRATA, timesteps=timesteps)
            for name, encoded in encoded_sets.items()}
    base = {name: by_picture(untouched_losses(lab.base, fixed)[0]) for name, fixed in sets.items()}
    with acting(lab, runs, strengths) as stack:
        losses = {name: np.stack([by_picture(of_adapter) for of_adapter in fixed.losses(lab.base.denoiser, stack.K)])
                  for name, fixed in sets.items()}
    return Scores(tuple(strengths), base, losses)


def measure_strengths(lab, run, strengths=STRENGTHS) -> Scores:
    """Measure one run's adapter at every strength."""
    return measure_scores(lab, [run] * len(strengths), strengths)


def plot_strengths(scores: Scores, ax=None):
    """Draw both losses over the strength; the band is the 95 % interval of the change against the untouched base."""
    ax, labels, means, bands = new_axes(ax, top=0.15), [], [], []
    strengths = scores.strengths
    for i, (name, (words, color)) in enumerate(SETS.items()):
        changes = np.array([scores.change(name, k) for k in range(len(strengths))])
        mean, low, high = (scores.base[name].mean() + changes).T
        ax.plot(strengths, mean, color=color, marker=MARKERS[i], linestyle=LINES[i], markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        ax.fill_between(strengths, low, high, color=color, alpha=STYLE["band"], linewidth=0)
        labels.append((mean[-1], words, color))
        means.append(mean)
        bands += [low, high]
    loss_axis(ax, means, bands)
    lowest = strengths[scores.lowest]
    ax.axvline(lowest, color=STYLE["text"], linewidth=1, linestyle=LINES[3])
    ax.annotate(f"lowest at {lowest:g}", (lowest, 1), (4, -4), xycoords=("data", "axes fraction"),
                textcoords="offset points", va="top", fontsize=STYLE["small"], color=STYLE["text"])
    name_axes(ax, "strength after training (0: the base, 1: as trained)", LOSS_AXIS)
    direct_labels(ax, labels)
    ax.figure.summary = scores.sentence
    return ax


# -- what alpha mixes inside a model

def scaling_table(ranks=(1, 4, 8, 16, 64), alphas=(1, 8, None)) -> Table:
    """Return the scaling that each alpha gives at each rank, plain and stabilized (rsLoRA, Kalajdzievski 2023)."""
    rows = []
    for use_rslora, rule in ((False, "alpha / rank"), (True, "alpha / √rank")):
        for alpha in alphas:
            scalings = [RunConfig(rank=rank, alpha=alpha, use_rslora=use_rslora).scaling for rank in ranks]
            name = "alpha = rank" if alpha is None else f"alpha = {alpha}"
            rows.append([rule, name, *(f"{scaling:.3g}" for scaling in scalings)])
    return Table(["rule", "", *(f"rank {rank}" for rank in ranks)], rows)


@dataclass(frozen=True)
class Mixing:
    """Hold what one trained adapter adds inside each layer, and how linear that is in the strength."""

    names: tuple[str, ...]
    shares: tuple[float, ...]                                 # of each layer: RMS of s B A x / RMS of W x, as trained
    strengths: tuple[float, ...]
    layer_error: float                                        # largest deviation of a layer from a straight line ...
    model_error: tuple[float, ...]                            # ... and that of the model's output at each strength,
    #                                                           both as a share of the change itself

    @property
    def sentence(self) -> str:
        """Say how large the adapter's part is, and where the formula is exact."""
        off = ", ".join(f"{error:.0%} at strength {s:g}"
                        for s, error in zip(self.strengths, self.model_error, strict=True) if s not in (0, 1))
        shares = self.shares
        return (f"As trained, the adapter's part of a layer's output is {np.median(shares):.2g} of the frozen part "
                f"(median over {len(shares)} layers, from {min(shares):.2g} to {max(shares):.2g}). "
                "Inside a layer the sum is exact: it deviates from a straight line by at most "
                f"{self.layer_error:.0e}. The model's answer as a whole does not follow one; it is off by {off}, of "
                "the change at that strength.")


def mixing(lab, run, strengths=MIXED_AT) -> Mixing:
    """Measure what a run's adapter adds on noised training pictures."""
    draws = fixed_draws(lab.base, lab.cache.train, MIXED_PICTURES, run.config.seed, "mixing")
    noisy = add_noise(draws.latents, draws.noise, draws.timesteps, lab.base.denoiser.alphas_cumprod)

    def answer():
        return lab.base.denoiser(noisy, draws.timesteps, draws.cond)

    with torch.no_grad(), acting(lab, [run], [1.0]) as stack:
        with _inputs_of(stack.layers) as inputs:
            answers = {1.0: answer()}
        added, shares, errors = {}, [], []
        for layer in stack.layers:
            x = inputs[layer.name]
            alone = layer.plain(x)
            added[layer.name] = layer.forward(x) - alone
            bias = layer.plain(torch.zeros_like(x))
            shares.append(rms(added[layer.name]) / rms(alone - bias))
        for s in (0.0, *strengths):
            stack.strength = [s]
            answers[s] = answer()
            for layer in stack.layers:
                x, straight = inputs[layer.name], s * added[layer.name]
                errors.append(rms(layer.forward(x) - layer.plain(x) - straight) / rms(added[layer.name]))
        whole, model_error = answers[1.0] - answers[0.0], []
        for s in strengths:
            change = answers[s] - answers[0.0]
            model_error.append(rms(change - s * whole) / rms(change))
    names = tuple(layer.name for layer in stack.layers)
    return Mixing(names, tuple(shares), tuple(strengths), max(errors), tuple(model_error))


@contextmanager
def _inputs_of(layers):
    """Give a dict that takes what each layer is given during one pass: name -> tensor."""
    inputs = {}

    def keeper(name):
        def keep(_, args):
            inputs[name] = args[0]

        return keep

    hooks = [layer.module.register_forward_pre_hook(keeper(layer.name)) for layer in layers]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def rms(x) -> float:
    """Return the root of the mean square."""
    return float(x.float().cpu().double().square().mean().sqrt())  # mps has no float64


def plot_mixing(result: Mixing, ax=None):
    """Draw the adapter's part of every layer's output as a share of the frozen part."""
    ax = new_axes(ax, height=3.4, top=0.15)
    shares, median, color = result.shares, float(np.median(result.shares)), BLUE
    ax.plot(np.arange(1, len(shares) + 1), shares, color=color, marker="o", markersize=STYLE["marker"], linewidth=1.0)
    ax.axhline(1, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
    ax.axhline(median, color=color, linestyle=LINES[1], linewidth=1.0)
    ax.set_ylim(0, max(1.15, 1.1 * max(shares)))
    name_axes(ax, "adapted layer, from input to output",
              "size of what the adapter adds,\nas a share of the frozen part")
    direct_labels(ax, [(1, "equal shares", STYLE["faint"]), (median, f"○ median {median:.2f}", color)])
    ax.figure.summary = result.sentence
    return ax


# -- what alpha makes of one update, by rank

@dataclass(frozen=True)
class StepByRank:
    """Hold how far one update of the same rate moves the model's output at each rank, under each rule for alpha."""

    ranks: tuple[int, ...]
    change: dict[str, tuple[float, ...]]                      # rule -> RMS change of the output at each rank
    power: dict[str, float]                                   # rule -> slope of log change on log rank


def change_by_rank(base, cache, config, *, ranks=(1, 2, 4, 8, 16, 32, 64), n=16) -> StepByRank:
    """Make one Adam update of equal rate at each rank and measure how far the output moves, with alpha by three rules.

    The rules agree at rank 8. The first update moves B alone, by the rate in the gradient's direction, whatever the
    scaling.
    """
    scalings = {"alpha = rank": lambda rank: 1.0,
                "alpha = 8": lambda rank: 8 / rank,
                "alpha / √rank": lambda rank: math.sqrt(8 / rank)}
    draws = fixed_draws(base, cache.train, n, config.seed, "change_by_rank")
    noisy = add_noise(draws.latents, draws.noise, draws.timesteps, base.denoiser.alphas_cumprod)
    change = {rule: [] for rule in scalings}
    with base.lock:
        for rank in ranks:
            stack = LoRAStack(base.unet, [config.replace(rank=rank, alpha=rank, use_rslora=False)]).initialize()
            with stack.attached():
                B = stack.theta[:, stack.first_B :]
                gradient = gradients_of(base, stack, draws, torch.arange(n))[:, stack.first_B :]
                with torch.no_grad():
                    before = base.denoiser(noisy, draws.timesteps, draws.cond)
                    B.copy_(-config.learning_rate * gradient.sign())
                    for rule, scaling in scalings.items():
                        stack.strength = scaling(rank)
                        moved = base.denoiser(noisy, draws.timesteps, draws.cond) - before
                        change[rule].append(float(moved.square().mean().sqrt()))
    power = {rule: float(np.polyfit(np.log(ranks), np.log(values), 1)[0]) for rule, values in change.items()}
    return StepByRank(tuple(ranks), {rule: tuple(values) for rule, values in change.items()}, power)


def plot_change_by_rank(step, ax=None):
    """Draw how far one update of equal rate moves the model's output, against the rank, under each rule for alpha."""
    ax, labels = new_axes(ax, height=3.4, top=0.15), []
    for i, ((rule, change), color) in enumerate(zip(step.change.items(), (ORANGE, BLUE, STYLE["text"]), strict=True)):
        ax.plot(step.ranks, change, color=color, marker=MARKERS[i], linestyle=LINES[i], markersize=STYLE["marker"],
                linewidth=STYLE["line"])
        labels.append((change[-1], f"{rule}: rank to\nthe power {step.power[rule]:+.2f}", color))
    ax.set_xscale("log", base=2)
    loss_axis(ax, [np.array(change) for change in step.change.values()])
    ax.set_xticks(step.ranks, [str(rank) for rank in step.ranks])
    name_axes(ax, "rank (logarithmic)", "change of the model's output\nby one update of equal rate")
    direct_labels(ax, labels)
    powers = ", ".join(f"{power:+.2f} with {rule}" for rule, power in step.power.items())
    ax.figure.summary = f"Power of the rank by which one update of equal rate moves the model's output: {powers}."
    return ax
