"""Trained adapters side by side on one base, each at a strength of its own: their losses on the territory and on ordinary places.

K adapters, n pictures. A strength acts after training and multiplies the scaling that the adapter was trained with.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from labkit.engine.adapters import LoRAStack
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.errors import LabError
from labkit.judge.stats import LEVEL, Interval, by_picture, interval_of
from labkit.view.curves import LOSS_AXIS, loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
PICTURES, STRATA = 32, 2
SETS = {"territory": ("● this territory", VERDICTS["stagnating"][1]), "ordinary": ("■ ordinary places", VERDICTS["diverged"][1])}


@contextmanager
def acting(lab, runs, strengths):
    """Put the adapters of K runs on a lab's base, run k at strengths[k]; gives the stack, for `generate` and losses."""
    folders = [lab.store.run(run.run_id) for run in runs]
    for folder in folders:
        if not folder.path.exists():
            raise LabError(f"The run {folder.run_id} is not in the store {lab.store.root}: train it first, or give another run.")
    with lab.base.lock:
        stack = LoRAStack(lab.base.unet, [folder.load().config for folder in folders])
        for k, folder in enumerate(folders):
            stack.load(k, folder.checkpoint().adapter)
        stack.strength = list(strengths)
        with stack.attached():
            yield stack


@dataclass(frozen=True, eq=False)
class Scores:
    """Hold fixed-noise losses by set ('territory', 'ordinary'): of the untouched base (n,), and with each of K adapters (K, n)."""

    strengths: tuple[float, ...]
    base: dict
    losses: dict

    def change(self, name: str, k: int, among: int = 1) -> Interval:
        """Return how much adapter k changes the loss on a set, paired over pictures.

        among    of how many adapters k was chosen by what was measured: then the intervals of all of them hold together
        """
        return interval_of(self.losses[name][k] - self.base[name], 1 - (1 - LEVEL) / among)

    @property
    def lowest(self) -> int:
        """Return the number of the adapter that is lowest on the territory."""
        return int(np.nanargmin(self.losses["territory"].mean(1)))

    @property
    def sentence(self) -> str:
        """Say where the loss on the territory is lowest, and what that costs elsewhere."""
        k, K, full = self.lowest, len(self.strengths), int(np.argmin(np.abs(np.array(self.strengths) - 1)))
        return (f"The loss on the territory is lowest at strength {self.strengths[k]:g}, {text(self.change('territory', k, K))} against the base; on ordinary places it changes by "
                f"{text(self.change('ordinary', k, K))} there. As trained, at strength 1: {text(self.change('territory', full, K))} and {text(self.change('ordinary', full, K))}. "
                "One trained run; 95 % intervals over pictures, for all strengths together.")


def measure_scores(lab, runs, strengths) -> Scores:
    """Measure K adapters at K strengths on held-out pictures of the territory, those kept for final scores, and on ordinary ones."""
    kept = lab.cache.validation.drop(FIRST_SCORED)
    sets = {"territory": kept if len(kept) else lab.cache.validation, "ordinary": lab.cache.ordinary}
    sets = {name: ValidationSet(encoded, PICTURES, STRATA, timesteps=len(lab.base.noise_scheduler.alphas_cumprod)) for name, encoded in sets.items()}
    base = {name: by_picture(untouched_losses(lab.base, fixed)[0]) for name, fixed in sets.items()}
    with acting(lab, runs, strengths) as stack:
        losses = {name: np.stack([by_picture(one) for one in fixed.losses(lab.base.denoiser, stack.K)]) for name, fixed in sets.items()}
    return Scores(tuple(strengths), base, losses)


def measure_strengths(lab, run, strengths=STRENGTHS) -> Scores:
    """Measure one run's adapter at every strength."""
    return measure_scores(lab, [run] * len(strengths), strengths)


def plot_strengths(found: Scores, ax=None):
    """Draw both losses over the strength; the band is the 95 % interval of the change against the untouched base."""
    ax, labels, seen, bands = new_axes(ax, top=0.15), [], [], []
    for i, (name, (words, color)) in enumerate(SETS.items()):
        base, changes = found.base[name].mean(), np.array([found.change(name, k) for k in range(len(found.strengths))])
        ax.plot(found.strengths, base + changes[:, 0], color=color, marker=MARKERS[i], linestyle=LINES[i], markersize=STYLE["marker"], linewidth=STYLE["line"])
        ax.fill_between(found.strengths, base + changes[:, 1], base + changes[:, 2], color=color, alpha=STYLE["band"], linewidth=0)
        labels.append((base + changes[-1, 0], words, color))
        seen.append(base + changes[:, 0])
        bands.append(base + changes[:, 1:].ravel())
    loss_axis(ax, seen, bands)
    at = found.strengths[found.lowest]
    ax.axvline(at, color=STYLE["text"], linewidth=1, linestyle=LINES[3])
    ax.annotate(f"lowest at {at:g}", (at, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points", va="top", fontsize=STYLE["small"], color=STYLE["text"])
    name_axes(ax, "strength after training (0: the base, 1: as trained)", LOSS_AXIS)
    direct_labels(ax, labels)
    ax.figure.summary = found.sentence
    return ax


def text(interval) -> str:
    """Write a change with its interval."""
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
