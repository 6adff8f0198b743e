"""What would the learning rates that trainers publish as defaults do here, judged by recorded runs?"""

from collections.abc import Iterable, Mapping

import numpy as np

from labkit.errors import LabError
from labkit.judge.diagnose import LABELS, diagnose
from labkit.store.history import Run
from labkit.text import rate_text
from labkit.view.tables import Table, loss

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
        end = float(np.mean([run.validations["validation"].means[-1] for run in group]))
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


def table(runs: Iterable[Run]) -> Table:
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
