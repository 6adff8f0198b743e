"""How alpha mixes: the scalings that alpha gives, and what base and adapter contribute inside a trained model.

T timesteps times pictures, s strength after training.
"""

from dataclasses import dataclass

import numpy as np
import torch

from labkit.design.config import RunConfig
from labkit.engine.loss import add_noise
from labkit.experiments.strength import acting
from labkit.experiments.gradients import fixed_draws
from labkit.view.style import LINES, STYLE, VERDICTS, direct_labels, name_axes, new_axes
from labkit.view.tables import Table

STRENGTHS = (0.1, 0.5, 1.0, 2.0)
PICTURES = 16


def scaling_table(ranks=(1, 4, 8, 16, 64), alphas=(1, 8, None)) -> Table:
    """Return the scaling that each alpha gives at each rank, with and without rank stabilization (Kalajdzievski 2023)."""
    rows = []
    for root, rule in ((False, "alpha / rank"), (True, "alpha / √rank")):
        for alpha in alphas:
            configs = [RunConfig(rank=rank, alpha=alpha, use_rslora=root) for rank in ranks]
            rows.append([rule, "alpha = rank" if alpha is None else f"alpha = {alpha}", *(f"{config.scaling:.3g}" for config in configs)])
    return Table(["rule", "", *(f"rank {rank}" for rank in ranks)], rows)


@dataclass(frozen=True)
class Mixing:
    """Hold what one trained adapter adds inside each layer, and how straight that is in the strength."""

    names: tuple[str, ...]
    shares: tuple[float, ...]                                 # of each layer: RMS of s B A x / RMS of W x, as trained
    strengths: tuple[float, ...]
    layer_error: float                                        # largest deviation from a straight line within a layer, in its own change
    model_error: tuple[float, ...]                            # the same of the whole model's output at each strength

    @property
    def sentence(self) -> str:
        """Say how large the adapter's part is, and where the formula is exact."""
        off = ", ".join(f"{error:.0%} at strength {s:g}" for s, error in zip(self.strengths, self.model_error) if s not in (0, 1))
        return (f"As trained, the adapter's part of a layer's output is {np.median(self.shares):.2g} of the frozen part (median over {len(self.shares)} layers, "
                f"from {min(self.shares):.2g} to {max(self.shares):.2g}). Inside a layer the sum is exact: it deviates from a straight line by at most "
                f"{self.layer_error:.0e}. The model's answer as a whole does not follow one; it is off by {off}, of the change at that strength.")


def mixing(lab, run, strengths=STRENGTHS) -> Mixing:
    """Measure what a run's adapter adds on noised training pictures."""
    draws, inputs = fixed_draws(lab.base, lab.cache.train, PICTURES, run.config.seed, "mixing"), {}
    noisy = add_noise(draws.latents, draws.noise, draws.timesteps, lab.base.denoiser.alphas_cumprod)

    def answer():
        return lab.base.denoiser(noisy, draws.timesteps, draws.cond)

    with torch.no_grad(), acting(lab, [run], [1.0]) as stack:
        hooks = [layer.module.register_forward_pre_hook(lambda _, args, name=layer.name: inputs.__setitem__(name, args[0])) for layer in stack.layers]
        try:
            answers = {1.0: answer()}
        finally:
            for hook in hooks:
                hook.remove()
        added, shares, bent = {}, [], []
        for layer in stack.layers:
            x = inputs[layer.name]
            alone = layer.plain(x)
            added[layer.name] = layer.forward(x) - alone
            shares.append(rms(added[layer.name]) / rms(alone - layer.plain(torch.zeros_like(x))))     # without the bias
        for s in (0.0, *strengths):
            stack.strength = [s]
            answers[s] = answer()
            bent += [rms(layer.forward(inputs[layer.name]) - layer.plain(inputs[layer.name]) - s * added[layer.name]) / rms(added[layer.name]) for layer in stack.layers]
        whole = answers[1.0] - answers[0.0]
        model_error = [rms(answers[s] - answers[0.0] - s * whole) / rms(answers[s] - answers[0.0]) for s in strengths]
    return Mixing(tuple(layer.name for layer in stack.layers), tuple(shares), tuple(strengths), max(bent), tuple(model_error))


def rms(x) -> float:
    """Return the root of the mean square."""
    return float(x.double().square().mean().sqrt())


def plot_mixing(found: Mixing, ax=None):
    """Draw the adapter's part of every layer's output as a share of the frozen part."""
    ax = new_axes(ax, height=3.4, top=0.15)
    at, color = np.arange(1, len(found.shares) + 1), VERDICTS["stagnating"][1]
    ax.plot(at, found.shares, color=color, marker="o", markersize=STYLE["marker"], linewidth=1.0)
    ax.axhline(1, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2)
    ax.axhline(np.median(found.shares), color=color, linestyle=LINES[1], linewidth=1.0)
    ax.set_ylim(0, max(1.15, 1.1 * max(found.shares)))
    name_axes(ax, "adapted layer, from input to output", "size of what the adapter adds,\nas a share of the frozen part")
    direct_labels(ax, [(1, "equal shares", STYLE["faint"]), (float(np.median(found.shares)), f"○ median {np.median(found.shares):.2f}", color)])
    ax.figure.summary = found.sentence
    return ax
