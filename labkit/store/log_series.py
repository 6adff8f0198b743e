"""Put one series of a log in order: points that a resumed run wrote twice, steps out of order, gaps."""

from dataclasses import dataclass

import numpy as np

from labkit.text import counted

FEW = 0.02                                                    # of all steps: a run is resumed now and then
LARGEST, LAST = 1e30, 1e15                                    # of a loss, beyond which it is none, and of a step
WIDE = 5                                                      # times the usual distance of two points is a gap


@dataclass(frozen=True, eq=False)
class Series:
    """Hold one series: steps rising, each once; values may be not finite.

    steps, values    (N,)
    notes            what was put in order, as sentences
    """

    tag: str
    steps: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.steps)


def series(tag: str, steps: list[float], values: list[float]) -> Series:
    """Return a series of points that are given in the order in which they were written.

    Where the steps fall back now and then, a run was resumed from there: what it had written from that step on is
    replaced, as TensorBoard does. Where they fall back often, the rows are only out of order and are sorted. Values
    that share a step are averaged.
    """
    order = np.asarray(steps, np.float64)
    numbers = np.asarray(values, np.float64)
    numbers = np.where(np.abs(numbers) > LARGEST, np.inf, numbers)
    usable = np.abs(order) < LAST                             # false for a step that is no number
    order, numbers = order[usable], numbers[usable]
    notes = []
    if not usable.all():
        notes.append(f"{tag}: {counted(int((~usable).sum()), 'row')} without a step left out.")
    back = np.flatnonzero(np.diff(order) < 0)
    if len(back) and len(back) <= max(3, FEW * len(order)):
        kept = np.ones(len(order), bool)
        for at in back:
            kept[: at + 1] &= order[: at + 1] < order[at + 1]
        dropped = int((~kept).sum())
        notes.append(f"{tag}: the log goes back to step {order[back[-1] + 1]:,.0f}, as a resumed run does; "
                     f"{counted(dropped, 'older value')} from there on left out.")
        order, numbers = order[kept], numbers[kept]
    elif len(back):
        notes.append(f"{tag}: the steps are not in order; they were sorted.")
    places, index, counts = np.unique(order, return_inverse=True, return_counts=True)
    if len(places) < len(order):
        sums = np.zeros(len(places))
        np.add.at(sums, index, numbers)
        notes.append(f"{tag}: {counted(int((counts > 1).sum()), 'step')} with several values; they were averaged.")
        numbers = sums / counts
    else:
        numbers = numbers[np.argsort(order, kind="stable")]
    gap = _gap(places)
    if gap:
        notes.append(f"{tag}: nothing was logged between steps {gap[0]:,.0f} and {gap[1]:,.0f}.")
    return Series(tag, places, numbers, tuple(notes))


def _gap(steps: np.ndarray) -> tuple[float, float] | None:
    """Return the ends of the widest gap, None where the points lie about evenly, also on a logarithmic axis."""
    if len(steps) < 5:
        return None
    apart = np.diff(steps)
    at = int(apart.argmax())
    beside = np.concatenate([apart[:at], apart[at + 1 :]])
    nearby = apart[max(0, at - 1) : at + 2]
    if apart[at] > WIDE * np.median(beside) and apart[at] > WIDE / 2 * np.sort(nearby)[-2]:
        return float(steps[at]), float(steps[at + 1])
    return None
