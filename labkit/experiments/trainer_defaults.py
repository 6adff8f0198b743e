"""Learning rates that trainers publish as defaults, and what the recorded runs make of each."""

import numpy as np

from labkit.errors import LabError
from labkit.judge.diagnose import LABELS, diagnose
from labkit.text import rate_text
from labkit.view.tables import Table, loss

# Trainer, where it stands, rate, rank, alpha (None: as rank); read in the sources of 2026. Rates of the U-Net where several are given.
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


def by_rate(histories) -> dict[float, tuple[float, str]]:
    """Return {rate: (final held-out loss, verdict)}, the mean and the commonest verdict over seeds."""
    histories, groups = list(histories), {}
    for history in histories:
        groups.setdefault(history.config.learning_rate, []).append(history)
    found = {}
    for rate, runs in sorted(groups.items()):
        labels = [diagnose(run, [other for other in histories if other.config.seed == run.config.seed]).label for run in runs]
        found[rate] = float(np.mean([run.validations["validation"].means[-1] for run in runs])), max(LABELS, key=labels.count)
    return found


def at(rate, known) -> tuple[str, str]:
    """Return loss and verdict at a rate, from those known at others: interpolated over the logarithm of the rate, never beyond the ends."""
    tried = sorted(known)
    if not tried:
        raise LabError("No recorded runs to read published rates against.")
    if rate < tried[0]:
        return f"above {loss(known[tried[0]][0])}", f"{known[tried[0]][1]}, as at {rate_text(tried[0])} or slower"
    if rate > tried[-1]:
        return "not recorded", f"{known[tried[-1]][1]}, as at {rate_text(tried[-1])} or worse"
    below, above = max(r for r in tried if r <= rate), min(r for r in tried if r >= rate)
    labels = dict.fromkeys(known[r][1] for r in (below, above))
    value = np.interp(np.log(rate), np.log([below, above]), [known[below][0], known[above][0]]) if below != above else known[rate][0]
    return loss(value) + (" (between two)" if below != above else ""), " or ".join(labels)


def table(runs) -> Table:
    """Return one row a published default, with the loss and the verdict that its rate has among recorded runs on this base."""
    runs = list(runs)
    known, rows = by_rate(runs), []
    for trainer, where, rate, rank, alpha in PUBLISHED:
        scaling = 1 if alpha is None else None if rank is None else alpha / rank
        rows.append([trainer, where, rate_text(rate), "free" if rank is None else rank, "as rank" if alpha is None else alpha,
                     "depends on the rank" if scaling is None else f"{scaling:.3g}", *at(rate, known)])
    first = runs[0].config
    return Table(["trainer", "where", "learning rate", "rank", "alpha", "its scaling", f"held-out loss here (rank {first.rank}, scaling {first.scaling:g}, {first.max_train_steps} updates)", "verdict here"], rows)
