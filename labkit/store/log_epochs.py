"""Losses of a log that count epochs where the rest of it counts steps: told from each other, and put on one axis.

kohya sd-scripts logs its averages over an epoch with the number of the epoch in the place of the step (`epoch_logging`
of train_network.py), beside a loss and a rate for every step. OneTrainer, SimpleTuner, ai-toolkit, EveryDream2trainer,
transformers' Trainer and the scripts of diffusers count steps throughout, as does kohya itself in wandb. A name is
therefore not enough: the training must also have gone on far beyond the last of these numbers.
"""

from collections.abc import Iterable, Mapping

from labkit.store.log_series import series
from labkit.store.log_tables import Columns
from labkit.store.log_tags import fitting, plain

FAR_BEYOND = 2.0                                              # times: less may be a last epoch that was not finished


def is_by_epoch(tag: str) -> bool:
    """Tell whether a tag says that it is logged once an epoch."""
    return "epoch" in plain(tag).split("_")


def in_steps(columns: Columns, reached: Mapping[str, list[float]]) -> tuple[Columns, list[str]]:
    """Return the columns of a log with epochs turned into steps, and a note on it; unchanged where none are counted.

    reached    for each tag that is logged by epochs, the step that was written last before each of its values; where
               it is not known, or does not tell the epochs apart, all epochs are taken to be equally long
    """
    by_epoch = [tag for role in ("validation", "train") for tag in fitting(role, columns) if is_by_epoch(tag)]
    if not by_epoch:
        return columns, []
    by_step = [tag for role in ("train", "rate") for tag in fitting(role, columns) if not is_by_epoch(tag)]
    epochs, steps = _last(columns, by_epoch), _last(columns, by_step)
    if not epochs or steps < FAR_BEYOND * epochs:
        return columns, []
    each = steps / epochs
    turned: Columns = {}
    for tag in by_epoch:
        numbers, values = columns[tag]
        places = reached.get(tag, [])
        is_known = len(places) == len(numbers) and len(set(places)) == len(set(numbers))
        turned[tag] = (places if is_known else [each * number for number in numbers]), values
    return columns | turned, [f"{', '.join(by_epoch)}: logged by epochs, which were turned into steps, about "
                              f"{each:,.3g} for each."]


def _last(columns: Columns, tags: Iterable[str]) -> float:
    """Return the last step among columns, 0 where they have none."""
    return max((float(one.steps[-1]) for tag in tags if len(one := series(tag, *columns[tag]))), default=0.0)
