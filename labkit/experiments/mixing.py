"""How does alpha mix base and adapter: which scalings does it give, and what does each add inside a trained model?

T timesteps times pictures, s strength after training.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from labkit.design.config import RunConfig
from labkit.engine.loss import add_noise
from labkit.experiments.gradients import fixed_draws
from labkit.experiments.strength import acting
from labkit.view.style import LINES, STYLE, VERDICTS, direct_labels, name_axes, new_axes
from labkit.view.tables import Table

STRENGTHS = (0.1, 0.5, 1.0, 2.0)
PICTURES = 16


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
    """Hold what one trained adapter adds inside each layer, and how straight that is in the strength."""

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


def mixing(lab, run, strengths=STRENGTHS) -> Mixing:
    """Measure what a run's adapter adds on noised training pictures."""
    draws = fixed_draws(lab.base, lab.cache.train, PICTURES, run.config.seed, "mixing")
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
    return float(x.double().square().mean().sqrt())


def plot_mixing(result: Mixing, ax=None):
    """Draw the adapter's part of every layer's output as a share of the frozen part."""
    ax = new_axes(ax, height=3.4, top=0.15)
    shares, median, color = result.shares, float(np.median(result.shares)), VERDICTS["stagnating"][1]
    ax.plot(np.arange(1, len(shares) + 1), shares, color=color, marker="o", markersize=STYLE["marker"], linewidth=1.0)
    ax.axhline(1, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
    ax.axhline(median, color=color, linestyle=LINES[1], linewidth=1.0)
    ax.set_ylim(0, max(1.15, 1.1 * max(shares)))
    name_axes(ax, "adapted layer, from input to output",
              "size of what the adapter adds,\nas a share of the frozen part")
    direct_labels(ax, [(1, "equal shares", STYLE["faint"]), (median, f"○ median {median:.2f}", color)])
    ax.figure.summary = result.sentence
    return ax
