"""How much of its rank does an adapter use, and how large is its update beside the weights?

A layer's update dW = scaling B A has at most r singular values; they are those of the small product of two triangles,
so that dW (out, in) is never formed. r rank; a convolution's kernel counts as a matrix (out, in x height x width).
"""

from dataclasses import dataclass

import numpy as np

from labkit.errors import LabError
from labkit.view.curves import loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, direct_labels, name_axes, new_axes, ordered_colors

SMALLEST = 1e-3                                               # singular values below are drawn no more
ENDS = {"lora_A": ".lora_A.weight", "lora_B": ".lora_B.weight", "delta": ".delta.weight"}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Hold one layer's update: singular values (r,) from the largest, and the Frobenius norm of the frozen weight."""

    name: str
    values: np.ndarray
    weight_norm: float

    @property
    def norm(self) -> float:
        """Return the Frobenius norm of the update."""
        return float(np.sqrt(np.sum(self.values**2)))

    @property
    def relative_norm(self) -> float:
        """Return ||dW|| / ||W||: the chapter's permeability as a measured size."""
        return self.norm / self.weight_norm

    @property
    def effective_rank(self) -> float:
        """Return exp of the entropy of the singular values' shares: Roy and Vetterli 2007; 0 where nothing changed."""
        shares = self.values[self.values > 0] / max(self.values.sum(), np.finfo(float).tiny)
        return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0

    @property
    def stable_rank(self) -> float:
        """Return ||dW||^2 / (largest singular value)^2: Rudelson and Vershynin 2007; 0 where nothing changed."""
        return float(np.sum((self.values / self.values[0]) ** 2)) if self.values[0] > 0 else 0.0


def spectra(arrays, config, unet) -> list[Spectrum]:
    """Return the spectrum of every adapted layer, in the order of the arrays.

    arrays    of one run, by name: `Checkpoint.adapter`, or `LoRAStack.tensors(k)`
    config    of the run: its scaling is part of the update
    unet      the frozen base's, for the size of the weights the update is added to

    LabError when the arrays are not an adapter of this base.
    """
    names = list(dict.fromkeys(key.removesuffix(end) for key in arrays for end in ENDS.values() if key.endswith(end)))
    if not names:
        raise LabError("arrays: there is no lora_A, lora_B or delta in them; give the adapter of a checkpoint.")
    return [Spectrum(name, config.scaling * _singular_values(arrays, name), _weight_norm(unet, name))
            for name in names]


def spectra_of(lab, run) -> list[Spectrum]:
    """Return the spectra of a run in a lab's store."""
    return spectra(lab.store.run(run.run_id).checkpoint().adapter, run.config, lab.base.unet)


def _singular_values(arrays, name) -> np.ndarray:
    parts = {part: _matrix(arrays[name + end]) for part, end in ENDS.items() if name + end in arrays}
    if "delta" in parts:
        return np.linalg.svd(parts["delta"], compute_uv=False)
    if set(parts) != {"lora_A", "lora_B"}:
        raise LabError(f"arrays: {name} has {' and '.join(parts)} only; give both lora_A and lora_B of every layer.")
    return of_product(parts["lora_B"], parts["lora_A"])


def of_product(B, A) -> np.ndarray:
    """Return the singular values (r,) of B A from the largest: those of the product of two triangles.

    B    (out, r), a 1 x 1 kernel counting as a matrix
    A    (r, in, ...)
    """
    (_, upper), (_, lower) = np.linalg.qr(_matrix(B)), np.linalg.qr(_matrix(A).T)
    return np.linalg.svd(upper @ lower.T, compute_uv=False)


def _matrix(array) -> np.ndarray:
    """Return (rows, ...) as a matrix; single precision would drown the small singular values."""
    return np.asarray(array, dtype=np.float64).reshape(len(array), -1)


def _weight_norm(unet, name) -> float:
    try:
        return float(unet.get_submodule(name).weight.detach().float().norm())
    except AttributeError:
        raise LabError(f"unet: it has no layer {name}; "
                       "give the U-Net of the base that the adapter was trained on.") from None


def relative_norm(layers) -> float:
    """Return ||dW|| / ||W|| over all layers together; at strength s it is s times as large."""
    return float(np.sqrt(sum(layer.norm**2 for layer in layers) / sum(layer.weight_norm**2 for layer in layers)))


def middle(layers, name: str) -> float:
    """Return the median over layers of effective_rank, stable_rank or relative_norm."""
    return float(np.median([getattr(layer, name) for layer in layers]))


def plot_spectrum(runs, ax=None):
    """Draw the singular values of several runs, as shares of each layer's largest: median over layers, and quartiles.

    runs      label -> what `spectra` gave, in the order to draw
    """
    ax = new_axes(ax, top=0.15)
    labels, styles = [], _styles(len(runs))
    longest = max(len(layer.values) for layers in runs.values() for layer in layers)
    for i, (label, layers) in enumerate(runs.items()):
        length = min(len(layer.values) for layer in layers)
        shares = np.array([layer.values[:length] / max(layer.values[0], np.finfo(float).tiny) for layer in layers])
        low, median, high = np.quantile(shares.clip(SMALLEST / 10), [0.25, 0.5, 0.75], axis=0)
        at, style = np.arange(1, length + 1), styles[i]
        ax.plot(at, median, **style, markersize=STYLE["marker"], linewidth=STYLE["line"],
                markevery=max(1, length // 12))
        ax.fill_between(at, low, high, color=style["color"], alpha=STYLE["band"], linewidth=0)
        # A thin line joins the end of the curve to its label.
        ax.plot([length, 1.15 * longest], [median[-1]] * 2, color=style["color"], linestyle=LINES[3], linewidth=0.7)
        effective, stable = middle(layers, "effective_rank"), middle(layers, "stable_rank")
        words = f"{label}: effective {effective:.1f},\nstable {stable:.1f}"
        labels.append((max(median[-1], SMALLEST), words, style["color"]))
    ax.set_xscale("log", base=2)
    _powers_of_two(ax.set_xticks, longest)
    ax.set_xlim(0.9, 1.15 * longest)
    loss_axis(ax, [np.array([1, *(y for y, *_ in labels)])])
    name_axes(ax, "number of the singular value (logarithmic)", "singular value, as a share of\nits layer's largest")
    direct_labels(ax, labels)
    ax.figure.summary = "; ".join(
        f"{label}: effective rank {middle(layers, 'effective_rank'):.1f}, "
        f"stable rank {middle(layers, 'stable_rank'):.1f}, relative size {relative_norm(layers):.3g}"
        for label, layers in runs.items())
    return ax


def plot_effective_rank(runs, ax=None):
    """Draw effective against nominal rank: every layer as a ring, their median, a diagonal where all of it is used.

    runs      nominal rank -> what `spectra` gave
    """
    ax = new_axes(ax, top=0.15)
    ranks = sorted(runs)
    for rank in ranks:
        in_use = [layer.effective_rank for layer in runs[rank]]
        ax.plot([rank] * len(in_use), in_use, "o", color=STYLE["faint"], markerfacecolor="none", markersize=4,
                zorder=2)
    labels = []
    for name, style in zip(("effective_rank", "stable_rank"), _styles(2), strict=True):
        medians = [middle(runs[rank], name) for rank in ranks]
        ax.plot(ranks, medians, **style, markersize=STYLE["marker"] + 1, linewidth=STYLE["line"], zorder=3)
        words = f"{name.replace('_', ' ')}\n{medians[-1]:.1f} at rank {ranks[-1]}"
        labels.append((max(medians[-1], 1), words, style["color"]))
    ax.plot(ranks, ranks, color=STYLE["faint"], linestyle=LINES[3], linewidth=1.2, zorder=1)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(ranks, [str(rank) for rank in ranks])
    _powers_of_two(ax.set_yticks, ranks[-1])
    name_axes(ax, "nominal rank (logarithmic)", "rank in use (logarithmic)\n○ effective rank of each layer")
    direct_labels(ax, [*labels, (ranks[-1], "all of it in use", STYLE["faint"])])
    ax.figure.summary = "; ".join(
        f"rank {rank}: effective {middle(runs[rank], 'effective_rank'):.1f}, "
        f"stable {middle(runs[rank], 'stable_rank'):.1f}" for rank in ranks)
    return ax


def _styles(count: int) -> list[dict]:
    """Return colour, marker and line of `count` curves that have an order."""
    return [{"color": color, "marker": MARKERS[i % len(MARKERS)], "linestyle": LINES[i % len(LINES)]}
            for i, color in enumerate(ordered_colors(count))]


def _powers_of_two(set_ticks, largest) -> None:
    ticks = [2**i for i in range(int(np.log2(max(largest, 1))) + 1)]
    set_ticks(ticks, [str(tick) for tick in ticks])
