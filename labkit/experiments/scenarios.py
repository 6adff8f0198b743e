"""Four scenarios as pictures and scores: high and low rank, strong and faint, where faint is set after training or during it.

K cells, N prompts of the territory and as many ordinary ones.
"""

from dataclasses import dataclass

import numpy as np

from labkit.experiments.strength import Scores, acting, measure_scores, text
from labkit.view.pictures import show_mosaic
from labkit.view.style import STYLE, LabFigure

COLUMNS = ("strong", "faint, set after training", "faint, set in training")
PROMPTS = 2


@dataclass(frozen=True, eq=False)
class Scenarios:
    """Hold the cells row by row: each rank strong, faint afterwards, faint during training."""

    ranks: tuple[int, ...]                                    # of the rows
    faint: float
    scores: Scores                                            # of the cells
    base: np.ndarray                                          # uint8 (2, N, H, W, 3): territory, ordinary
    pictures: np.ndarray                                      # uint8 (K, 2, N, H, W, 3)

    def name(self, k: int) -> str:
        """Name a cell."""
        return f"rank {self.ranks[k // len(COLUMNS)]}, {COLUMNS[k % len(COLUMNS)]}"

    @property
    def sentence(self) -> str:
        """Say which cell gains and which costs most and least, by the mean over pictures."""
        gains, costs = (self.scores.losses[name].mean(1) - self.scores.base[name].mean() for name in ("territory", "ordinary"))
        words = [f"{what}: {self.name(k)}, {text(self.scores.change(name, k, len(gains)))}" for what, name, k in (
            ("Lowest on the territory", "territory", int(gains.argmin())), ("changed least there", "territory", int(np.abs(gains).argmin())),
            ("highest on ordinary places", "ordinary", int(costs.argmax())), ("changed least there", "ordinary", int(np.abs(costs).argmin())))]
        return "; ".join(words) + ". One trained run of each; 95 % intervals over pictures, for all of them together."


def measure_scenarios(lab, strong, trained_faint, faint: float, **options) -> Scenarios:
    """Draw and measure each rank's cells at the same seeds.

    strong          a run of each rank, trained at scaling 1
    trained_faint   a run of each rank, trained at scaling `faint`
    options         num_inference_steps, guidance_scale
    """
    runs = [run for pair in zip(strong, trained_faint) for run in (pair[0], pair[0], pair[1])]
    strengths = [1.0, faint, 1.0] * len(strong)
    pairs = list(zip(lab.territory.prompts, lab.territory.ordinary.captions))[:PROMPTS]
    prompts = [prompt for asked in zip(*pairs) for prompt in asked]
    base = lab.generate(prompts, **options)
    with acting(lab, runs, strengths) as stack:
        drawn = lab.base.generate(prompts, range(len(prompts)), adapters=stack, **options)
    in_sets = [pictures.reshape(*pictures.shape[:-4], 2, len(pairs), *pictures.shape[-3:]) for pictures in (base, drawn)]
    return Scenarios(tuple(run.config.rank for run in strong), faint, measure_scores(lab, runs, strengths), *in_sets)


def plot_scenarios(found: Scenarios, *, width=STYLE["width"]):
    """Draw the cells as blocks of pictures, the territory's above the ordinary ones, each with its changes of the loss. Returns the Figure."""
    left, gap, words, head = 0.8, 0.12, 0.5, 0.3
    columns, N = len(COLUMNS) + 1, found.base.shape[1]
    side = (width - left - gap * (columns - 1)) / columns / N
    block = 2 * side
    rows = len(found.ranks)
    figure = LabFigure(width, head + rows * (block + words), photographic=True, summary=found.sentence)
    for row, rank in enumerate(found.ranks):
        bottom = (rows - 1 - row) * (block + words) + words
        for column in range(row > 0, columns):                # the base is the same for every row
            k = row * len(COLUMNS) + column - 1
            place = left + column * (N * side + gap)
            pictures = found.base if not column else found.pictures[k]
            ax = figure.place_axes(place, bottom, N * side, block)
            show_mosaic(ax, [list(some) for some in pictures])
            ax.set_anchor("SW")
            said = "change of the loss,\n95 % interval" if not column else "\n".join(f"{mark} {text(found.scores.change(name, k, len(found.scores.strengths)))}" for mark, name in (("●", "territory"), ("■", "ordinary")))
            _write(figure, place, bottom - 0.06, said, va="top")
            if not row:
                _write(figure, place, bottom + block + 0.06, "untouched base" if not column else COLUMNS[column - 1].replace("faint", f"faint ({found.faint:g})"), va="bottom")
        _write(figure, 0.03, bottom + block - 0.1, f"rank {rank}", va="top", fontweight="bold")
        _write(figure, 0.03, bottom + 0.62 * block, "● territory", va="center")
        _write(figure, 0.03, bottom + 0.25 * block, "■ ordinary", va="center")
    return figure


def _write(figure, x, y, words, **style) -> None:
    """Write words at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, words, **{"fontsize": STYLE["small"] - 0.5, "color": STYLE["text"]} | style)
