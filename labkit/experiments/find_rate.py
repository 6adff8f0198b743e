"""Which learning rate, in the fewest updates? A race of short runs that the losing and the broken ones leave early.

All rates see the same pictures and noise, so two of them are compared picture by picture. A race is looked at a few
times, and the intervals of all looks hold together:

broken      a verdict says diverged or overshooting: it leaves, and so does every rate above it
behind      a lower rate is lower beyond chance: a higher one falls further behind, so it leaves
too slow    a higher rate b is lower beyond chance, and was so after r / b of all updates: by the end the lower rate r
            will have spent that much, since Adam moves a weight by about the rate each time; so it leaves

At each look the neighbours of the best come in, and at the end those of all that cannot be told from it, until a rung
that is worse beyond chance lies on each side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from labkit.design.ladders import LADDERS, rung_of
from labkit.errors import LabError
from labkit.judge.arms import broke
from labkit.judge.compare import final_losses
from labkit.judge.diagnose import diagnose, gain_at
from labkit.judge.findings import picture_losses
from labkit.judge.ranking import loss_name
from labkit.judge.stats import Interval, interval_of, level_among
from labkit.store.history import Run
from labkit.text import rate_text, with_interval

LADDER: tuple[float, ...] = LADDERS["learning_rate"]
UNSTABLE = ("diverged", "overshooting")
LOOKS = 4, 2, 1                                               # of all updates, one over these
BELOW, ABOVE = 1, 2                                           # rungs that begin, beside the one where a race starts


class Track(Protocol):
    """Interface of what trains a race: `advance` trains runs up to a step, `run` returns one as it is then."""

    def advance(self, rates: Sequence[float], step: int) -> None:
        """Train the runs of these rates up to `step` updates."""
        ...

    def run(self, rate: float, step: int) -> Run:
        """Return what a run had told after `step` updates."""
        ...


@dataclass
class Racer:
    """Hold one rate of a race: how far it came, and why it left."""

    rate: float
    step: int = 0
    run: Run | None = None
    left: str = ""                                            # "broken", "behind" or "too slow"; "" while it goes on
    why: str = ""                                             # it left, in words


@dataclass
class Race:
    """Hold a race of rungs; `found` says how it ended."""

    track: Track
    updates: int                                              # of a run that goes to its end
    tell: Callable[[str], None] = lambda text: None
    racers: dict[float, Racer] = field(default_factory=dict)  # by rate

    @property
    def spent(self) -> int:
        """Return how many updates were made, all rates together."""
        return sum(racer.step for racer in self.racers.values())

    @property
    def running(self) -> list[Racer]:
        """Return those that did not leave, the lowest rate first."""
        return [racer for _, racer in sorted(self.racers.items()) if not racer.left]

    def looks(self) -> list[int]:
        """Return after how many updates the race is looked at."""
        return sorted({max(1, self.updates // part) for part in LOOKS})

    def measured_at(self) -> tuple[int, ...]:
        """Return after how many updates a run is measured: at each look, and where forecasts are read off."""
        evenly = {round(self.updates * share) for share in (0.05, 0.1, 0.18, 1 / math.sqrt(10), 0.4, 0.63, 0.75, 0.88)}
        return tuple(sorted({*self.looks(), *(max(1, step) for step in evenly)}))


def find_rate(race: Race, start: float) -> Race:
    """Run a race from the rungs around `start`, and return it; LabError where no rung of the ladder is stable."""
    first = rung_of(start, LADDER)
    _enter(race, range(first - BELOW, first + ABOVE + 1))
    for look in race.looks():
        new = race.running
        while new:
            for earlier in (one for one in race.looks() if one <= look):          # so that a late one may leave early
                moved = [racer for racer in new if not racer.left and racer.step < earlier]
                _advance(race, moved, earlier)
                _leave(race, race.running if earlier == look else moved, earlier)
            new = _come_in(race, look)
    if not race.running:
        raise LabError("No rate of the ladder is stable on this base with these settings: look at the pictures and at "
                       "the settings beside the rate first (`labkit checkup`).")
    return race


def _enter(race: Race, rungs: Sequence[int]) -> list[Racer]:
    """Let rungs of the ladder come in that were not tried, and return them."""
    rates = [LADDER[rung] for rung in rungs if 0 <= rung < len(LADDER) and LADDER[rung] not in race.racers]
    race.racers |= {rate: Racer(rate) for rate in rates}
    return [race.racers[rate] for rate in rates]


def _advance(race: Race, racers: Sequence[Racer], look: int) -> None:
    """Train racers up to a look, those that stand at one step together."""
    for step in sorted({racer.step for racer in racers}):
        rates = [racer.rate for racer in racers if racer.step == step]
        race.tell(f"{', '.join(map(rate_text, rates))}: updates {step + 1:,} to {look:,}")
        race.track.advance(rates, look)
    for racer in racers:
        racer.run, racer.step = race.track.run(racer.rate, look), look
        if racer.run.stopped is not None:                     # one that broke made no more
            racer.step = min(look, racer.run.stopped.global_step)


def _leave(race: Race, judged: Sequence[Racer], look: int) -> None:
    """Let those of the judged go that are broken, behind or too slow at a look."""
    runs = {racer.rate: race.track.run(racer.rate, look) for racer in race.running if racer.step}
    for racer in judged:
        label = diagnose(runs[racer.rate], runs.values()).label
        if label in UNSTABLE or broke(runs[racer.rate]):
            _out(race, racer, "broken", f"{label} after {racer.step:,} updates")
    broken = min((racer.rate for racer in race.racers.values() if racer.left == "broken"), default=math.inf)
    for racer in judged:
        if racer.rate > broken and not racer.left:
            _out(race, racer, "broken", f"above {rate_text(broken)}, which is broken")
    # a run that the store already had may have been measured at other updates: it waits for the end, which all share
    here = [racer for racer in race.running if racer.rate in runs
            and runs[racer.rate].validations["validation"].steps[-1] == look]
    best = min(here, key=lambda racer: final_losses(runs[racer.rate]).mean(), default=None)
    for racer in judged:
        if best is None or racer is best or racer not in here:
            continue
        ahead = runs[best.rate]
        above = apart(race, final_losses(runs[racer.rate]) - final_losses(ahead))
        if racer.rate > best.rate and above.low > 0:
            _out(race, racer, "behind", f"{with_interval(above)} above {rate_text(best.rate)} after {look:,} updates")
        elif racer.rate < best.rate and above.low > 0 and look < race.updates:
            by_its_end = _forecast(race, racer.rate, ahead)
            if by_its_end.low > 0:
                _out(race, racer, "too slow", f"by its end it will be where {rate_text(best.rate)} was after "
                     f"{race.updates * racer.rate / best.rate:,.0f} updates, {with_interval(by_its_end)} above it")


def _come_in(race: Race, look: int) -> list[Racer]:
    """Let rungs come in beside the best, at the end beside all that cannot be told from it; return them."""
    best = _best(race.running)
    if best is None:                                          # all that were tried are broken: look below
        return _enter(race, [rung_of(min(race.racers), LADDER) - 1])
    is_last = look == race.updates
    alike = [rung_of(rate, LADDER) for rate in _alike(race)] if is_last else [rung_of(best.rate, LADDER)]
    beside = [alike[0] - 1, alike[-1] + 1]
    came = _enter(race, beside)
    below = race.racers.get(LADDER[beside[0]]) if beside[0] >= 0 else None
    if is_last and below is not None and below.left == "too slow" and \
            _forecast(race, below.rate, best.run).low <= 0:
        below.left = below.why = ""                           # the best rose since: what left may have been better
        came.append(below)
    return came


def _out(race: Race, racer: Racer, left: str, why: str) -> None:
    racer.left, racer.why = left, why
    race.tell(f"{rate_text(racer.rate)} leaves, {left}: {why}")


def _best(racers: Sequence[Racer]) -> Racer | None:
    """Return the lowest of those that run, each as measured last."""
    return min(racers, key=lambda racer: final_losses(racer.run).mean(), default=None)


def _forecast(race: Race, rate: float, ahead: Run) -> Interval:
    """Return how much higher a lower rate is forecast to end than a run of a higher one stands now.

    Without ends where the other has not spent as much by now: then nothing is forecast.
    """
    curve, spent = ahead.validations["validation"], race.updates * rate / ahead.config.learning_rate
    if spent >= curve.steps[-1]:
        return Interval(0.0, -math.inf, math.inf)
    losses = picture_losses(curve)
    return apart(race, losses[0] - gain_at(spent, curve.steps, losses) - losses[-1])


def _alike(race: Race) -> list[float]:
    """Return the rates that went to the end and cannot be told from the best, it among them, the lowest first."""
    best = _best(race.running)
    return [racer.rate for racer in race.running if racer is best
            or racer.step == race.updates and apart(race, final_losses(racer.run) - final_losses(best.run)).low <= 0]


def apart(race: Race, values: np.ndarray) -> Interval:
    """Return the mean of differences (images,) with an interval that holds for all pairs and looks together."""
    pairs = len(LOOKS) * max(1, len(race.racers) - 1)
    return interval_of(values, level_among(pairs))


# -- what was found


@dataclass(frozen=True)
class Found:
    """Hold where a race ended: the best rung and those that cannot be told from it."""

    rate: float
    low: float                                                # the lowest and the highest rate that may be as good
    high: float
    is_bracketed: bool                                        # a rung on each side was tried and is worse
    sentence: str


def found(race: Race) -> Found:
    """Return the recommendation of a race that is over."""
    best, alike = _best(race.running), _alike(race)
    low, high = alike[0], alike[-1]
    worse = {rate for rate in race.racers if rate not in alike}
    is_bracketed = any(rate < low for rate in worse) and any(rate > high for rate in worse)
    loss, base = final_losses(best.run).mean(), picture_losses(best.run.validations["validation"])[0].mean()
    said = (f"Take {rate_text(best.rate)}: {loss_name([best.run])} {loss:.3f} after {race.updates:,} updates, "
            f"{base:.3f} before.")
    if len(alike) > 1:
        others = ", ".join(rate_text(rate) for rate in alike if rate != best.rate)
        said += f" These pictures cannot tell {others} from it, so the right rate lies from {rate_text(low)} to " \
                f"{rate_text(high)}."
    nearest = [max((rate for rate in worse if rate < low), default=None),
               min((rate for rate in worse if rate > high), default=None)]
    if is_bracketed:
        said += f" {rate_text(nearest[0])} below and {rate_text(nearest[1])} above are worse beyond chance."
    else:
        said += _edge(race, best.rate, low, high)
    return Found(best.rate, low, high, is_bracketed, said + " One seed.")


def _edge(race: Race, best: float, low: float, high: float) -> str:
    """Say that the best rate lies at an edge of the rates that were tried, and what to do next."""
    if (low, high) == (min(race.racers), max(race.racers)):
        return " None of the rates tried is worse beyond chance: give more held-out pictures or more --updates."
    is_low = low == min(race.racers)
    edge, side, beyond = (low, "lower", "below") if is_low else (high, "upper", "above")
    rates = ",".join(rate_text(edge * factor) for factor in ((0.1, 0.3, 1) if is_low else (1, 10 / 3, 10)))
    return (f" The best rate {'lies' if best == edge else 'may lie'} at the {side} edge of the rates tried, so one "
            f"{beyond} it may be better still: train some with your other settings, `labkit sweep --set "
            f"learning_rate={rates} --set max_train_steps={race.updates}`.")
