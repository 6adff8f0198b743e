"""Say of each setting that a set of runs varied alone at which values they learn, stagnate or break."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from labkit.design.config import differing_fields
from labkit.design.ladders import rung_text
from labkit.design.naming import DERIVED, order_of, setting_text
from labkit.judge.advice import PLAINLY
from labkit.judge.verdict_text import DIVERGED

MOST = 6  # sentences
FOLLOWING = {*DERIVED, "seed", "scaling"}  # never varied by themselves, or only to repeat a run
NAMES = {"n_train": "Number of pictures", "train_batch_size": "Batch size", "max_train_steps": "Updates"}

Entry = Mapping  # of one run, as `labkit.judge.listing.entry` gives it


def what_holds(entries: Sequence[Entry]) -> list[str]:
    """Return a sentence for each setting that was varied alone, those of most runs first.

    entries: of runs on one territory. Runs that differ by the seed are told together.
    """
    fields = [name for name in differing_fields([entry["config"] for entry in entries]) if name not in FOLLOWING]
    comparisons = []
    for name in fields:
        groups = [group for group in _alike(entries, name) if len(_by_value(group, name)) > 1]
        for group in groups:
            others = [other for other in fields if other not in (name, "alpha")] if len(groups) > 1 else []
            comparisons.append((group, _sentence(group, name, others)))
    return [words for _, words in sorted(comparisons, key=lambda pair: -len(pair[0]))[:MOST]]


def _alike(entries: Iterable[Entry], name: str) -> list[list[Entry]]:
    """Return the runs that differ by one field alone, the seed aside; alpha follows the rank where scaling stays."""
    groups: dict[tuple, list[Entry]] = defaultdict(list)
    free = {*FOLLOWING, "alpha", name} - ({"scaling"} if name != "alpha" else set())
    for entry in entries:
        groups[tuple(str(value) for field, value in entry["config"].items() if field not in free)].append(entry)
    return list(groups.values())


def _by_value(group: Iterable[Entry], name: str) -> dict[object, list[Entry]]:
    """Return the runs at each value of a field, in its order; a value that is derived comes last."""
    values: dict[object, list[Entry]] = defaultdict(list)
    for entry in group:
        values[entry["config"][name]].append(entry)
    return dict(sorted(values.items(), key=lambda item: order_of(item[0])))


def _sentence(group: list[Entry], name: str, others: list[str]) -> str:
    """Say of one comparison what happened at which values, and where the loss ended lowest."""
    values = _by_value(group, name)
    stretches = [(words, [value for value, _ in stretch])
                 for words, stretch in groupby(((value, _verdict(runs)) for value, runs in values.items()),
                                               key=lambda pair: pair[1])]
    parts = ", ".join(f"{words} {_where(name, at)}" for words, at in stretches)
    context = ", ".join(setting_text(other, group[0]["config"][other]) for other in others)
    title = NAMES.get(name, name.removeprefix("lr_").replace("_", " ").capitalize())
    title += f" ({context})" if context else ""
    losses = {value: _loss(runs) for value, runs in values.items()}
    finite = [value for value, loss in losses.items() if math.isfinite(loss)]
    if len(finite) < 2:
        return f"{title}: {parts}."
    lowest = min(finite, key=losses.__getitem__)
    pictures = next((run["evidence"]["measured_on"] for run in group if "measured_on" in run["evidence"]),
                    "held-out pictures")
    return f"{title}: {parts}. The loss on {pictures} ended lowest at {rung_text(name, lowest)}."


def _verdict(runs: Sequence[Entry]) -> str:
    """Say in plain words what most runs at a value are, and in how many of them where not all agree."""
    label, count = Counter(run["label"] for run in runs).most_common(1)[0]
    words = PLAINLY.get(label, "not clear")
    return words if count == len(runs) else f"{words} in {count} of {len(runs)} runs"


def _where(name: str, values: list) -> str:
    """Write the values of a stretch: "at 1e-3", "at 1e-3 and 3e-3", "from 1e-4 to 1e-2"."""
    texts = [rung_text(name, value) for value in values]
    if len(texts) > 2 and isinstance(values[-1], (int, float)):
        return f"from {texts[0]} to {texts[-1]}"
    return "at " + " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def _loss(runs: Sequence[Entry]) -> float:
    """Return the mean held-out loss at the end; infinite where a run broke, NaN where none was measured."""
    ends = [math.inf if run["label"] == DIVERGED else run["evidence"].get("loss_at_end", math.nan) for run in runs]
    return sum(ends) / len(ends)
