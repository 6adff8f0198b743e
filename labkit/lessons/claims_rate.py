"""What section 11.1 of the chapter says of the learning rate, each sentence judged by runs."""

import itertools
import math
from collections import Counter

import numpy as np

from labkit.experiments.rank import ENOUGH
from labkit.experiments.sensitivity import sensitivity
from labkit.experiments.short_test import PUBLISHED, UNSTABLE, among, chosen, raw_loss, short_test
from labkit.judge.arms import basis, difference, over_seeds, rise
from labkit.judge.compare import as_good, at_edge, best_of, ends_by_rate, final_losses, has_failed, rate_shift
from labkit.judge.diagnose import DIVERGED, STAGNATING, UNSURE, diagnose
from labkit.judge.stats import level_among, wilson
from labkit.lessons import claims, claims_schedule
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim, together
from labkit.lessons.claims_volume import EQUAL_EPOCHS, EQUAL_UPDATES, rate_by_batch
from labkit.store.recorded import recorded_or_none
from labkit.text import counted, rate_text, rounded, share_text, with_interval
from labkit.view.tables import Table, loss

U_CURVE, KNOBS = "u_curve", "knobs"
EXTREME = 10  # times the best rate: what is called extremely high
ALMOST_ANY = 0.8  # of random changes
GUESSED = 1.0  # the loss of a model that answers nothing: the variance of the noise
SURE = 0.95  # of the choices by single steps


def table(**measured) -> Table:
    """Return the verdicts on section 11.1, ordered as `claims.table` does.

    measured    what the lesson made itself: race (runs), first_step (of `gradients.step_zero`), directions
                (RandomDirections), by_batch (GradientByBatch), widths (Width of whole matrices, of LoRA), rounded
                (Lost), and the arms of `best_rate.read`: schedules, optimizers, kinds, sizes, stored
    """
    recorded = {name: recorded_or_none(name) for name in (U_CURVE, KNOBS, EQUAL_EPOCHS, EQUAL_UPDATES)}
    evidence = recorded | claims_schedule.EVIDENCE | measured
    for name, parts in JOINED.items():
        evidence[name] = together(**{part: evidence.get(part) for part in parts})
    return claims.table(CLAIMS + claims_schedule.CLAIMS, IMAGES, evidence, section="section 11.1")


# -- too low, good, too high

def _above(arm, best, among: int) -> str:
    """Write how far above the best an arm ends, or that it breaks."""
    rate = rate_text(arm.config.learning_rate)
    if has_failed(arm):
        return f"{rate} breaks ({loss(arm.validations['validation'].means[-1])})"
    return f"{rate} ends {with_interval(difference(arm, best, among))} above it"


def region(runs):
    """Judge: between too low and too high a rate lies a region of good ones."""
    arms = over_seeds(runs, "learning_rate")
    best, among_all = best_of(arms), len(arms) - 1
    seen = f"Lowest at {rate_text(best.config.learning_rate)}, {loss(final_losses(best).mean())}"
    if at_edge(ends_by_rate(arms)):
        return OPEN, f"{seen}, at the edge of the rates tried."
    ends, gain = (arms[0], arms[-1]), -rise(best, 0).mean
    spans = [difference(end, best, among_all) for end in ends]
    is_worse = [has_failed(end) or span.low > 0 for end, span in zip(ends, spans, strict=True)]
    is_as_good = [not has_failed(end) and span.high < ENOUGH * gain for end, span in zip(ends, spans, strict=True)]
    alike = ", ".join(rate_text(arm.config.learning_rate) for arm in as_good(arms)) or "no other"
    verdict = HOLDS if all(is_worse) else OTHERWISE if any(is_as_good) else OPEN
    return verdict, (f"{seen}; as good within noise: {alike}. {_above(ends[0], best, among_all)}, "
                     f"{_above(ends[1], best, among_all)} ({basis(*arms)}).")


def never_settles(runs):
    """Judge: at an extremely high rate training never settles."""
    labels: dict[float, list[str]] = {}
    for run in sorted(runs, key=lambda run: run.config.learning_rate):
        peers = [other for other in runs if other.config.seed == run.config.seed]
        labels.setdefault(run.config.learning_rate, []).append(diagnose(run, peers).label)
    best, fastest = best_of(over_seeds(runs, "learning_rate")).config.learning_rate, max(labels)
    diverged = labels[fastest].count(DIVERGED)
    seen = (f"At {rate_text(fastest)}, {rounded(fastest / best)} times the best rate, {diverged} of "
            f"{counted(len(labels[fastest]), 'seed')} diverge")
    if diverged == len(labels[fastest]):
        border = max((rate for rate in labels if set(labels[rate]) != {DIVERGED}), default=best)
        lowest = min(rate for rate in labels if rate > border)
        return HOLDS, f"{seen}; all do from {rate_text(lowest)} on, {rounded(lowest / best)} times the best."
    if diverged:
        return IF, f"{seen}: it depends on the seed."
    return (OTHERWISE if fastest >= EXTREME * best else OPEN), f"{seen}."


def between(race):
    """Judge: too low a rate stagnates, too high a rate is chaos."""
    ordered = sorted(race, key=lambda run: run.config.learning_rate)
    labels = [diagnose(run, ordered).label for run in ordered]
    heats = [0 if label == STAGNATING else 2 if label in UNSTABLE else 1 for label in labels if label != UNSURE]
    verdict = OTHERWISE if heats != sorted(heats) else HOLDS if {*heats} == {0, 1, 2} else OPEN
    outcomes = [f"{rate_text(run.config.learning_rate)} {label}" for run, label in zip(ordered, labels, strict=True)]
    return verdict, f"The race: {', '.join(outcomes)}, one seed each."


# -- how a rate is found

def _good_rates(runs) -> list[float]:
    """Return the best rate, then those as good within noise."""
    arms = over_seeds(runs, "learning_rate")
    return [arm.config.learning_rate for arm in (best_of(arms), *as_good(arms))]


def short_test_finds(runs):
    """Judge: a test of a few short runs finds the rate."""
    good, trials = _good_rates(runs), list(short_test(among(runs), runs[0].config))
    found = chosen(trials).learning_rate
    steps: dict[float, list[float]] = {}
    for run in runs:
        last = raw_loss(run)[1]
        steps.setdefault(run.config.learning_rate, []).append(last if math.isfinite(last) else math.inf)
    rates = list(steps)
    choices = [rates[int(np.argmin(drawn))] for drawn in itertools.product(*steps.values())]
    share = float(np.mean([rate in good for rate in choices]))
    verdict = OTHERWISE if found not in good else HOLDS if share >= SURE else IF
    is_good = "as good as the best" if found in good else f"worse than {rate_text(good[0])}"
    return verdict, (
        f"On fixed noise {counted(len(trials), 'run')} of {runs[0].config.max_train_steps} updates, schedule off, "
        f"lead to {rate_text(found)}, {is_good} within noise. By the losses of single steps, each rate with draws "
        f"of its own, {share:.0%} of the choices would be as good."
        + " It holds if it is read on fixed noise." * (verdict == IF))


def published(runs):
    """Judge: established rates are where to begin, and no search is needed."""
    [(rate, _)] = Counter(rate for _, _, rate, rank, _ in PUBLISHED if rank).most_common(1)
    trials = list(short_test(among(runs), runs[0].config, start=rate))
    arms = {arm.config.learning_rate: arm for arm in over_seeds(runs, "learning_rate")}
    best, good, found = best_of(list(arms.values())), _good_rates(runs), chosen(trials).learning_rate
    lack = difference(arms[trials[0].learning_rate], best, len(arms) - 1)
    mean, low, high = (span / -rise(best, 0).mean for span in lack)
    verdict = OTHERWISE if found not in good else HOLDS if high <= ENOUGH else OPEN if low <= ENOUGH else IF
    reach = f"reach {share_text((1 - mean, 1 - high, 1 - low))} of the best gain" if math.isfinite(mean) else "break"
    return verdict, (
        f"At {rate_text(rate)}, the commonest default for adapters, runs {reach}; a search from there ends after "
        f"{counted(len(trials), 'run')} at {rate_text(found)}, the best is {rate_text(good[0])} "
        f"({basis(*arms.values())})." + " It holds if that is where a search begins." * (verdict == IF))


def most_critical(runs):
    """Judge: the learning rate is the most critical of all settings."""
    divided = sensitivity(runs)
    rate = divided.alone["learning_rate"]
    others = {name: share for name, share in divided.alone.items() if name != "learning_rate"}
    name, rival = max(others.items(), key=lambda item: item[1].mean)
    verdict = (HOLDS if rate.low > max(share.high for share in others.values()) else
               OTHERWISE if max(share.low for share in others.values()) > rate.high else OPEN)
    low, high = (rate_text(divided.levels["learning_rate"][at]) for at in (0, -1))
    return verdict, (
        f"From {low} to {high} it alone explains {share_text(rate)} of what separates {divided.runs} runs, "
        f"{name.replace('_', ' ')} {share_text(rival)}. Such shares depend on how far each setting is varied.")


# -- what the best rate depends on

def _shift(arms) -> tuple:
    """Return the names of the first and the last arm, and how many times the best rate of one that of the other is."""
    (first, runs), *_, (last, others) = arms.items()
    return first, last, rate_shift(*(over_seeds(group, "learning_rate") for group in (runs, others)))


def _shift_text(first, last, shift) -> str:
    mean, low, high = map(rounded, shift)
    return f"From {first} to {last} the best rate becomes {mean} times what it was ({low} to {high} within noise)."


def concepts(kinds):
    """Judge: more concepts want lower rates; kinds: arms, from the fewest to the most."""
    first, last, shift = _shift(kinds)
    verdict = HOLDS if shift.high < 1 else OTHERWISE if shift.low >= 1 else OPEN
    return verdict, _shift_text(first, last, shift)


def pixels(sizes):
    """Judge: pictures of more pixels sometimes allow higher rates and sometimes need lower ones."""
    first, last, shift = _shift(sizes)
    verdict = IF if shift.low > 1 or shift.high < 1 else OTHERWISE if shift.low == shift.high else OPEN
    return verdict, f"{_shift_text(first, last, shift)} Only a rate that stays would contradict it."


def magnitude(optimizers):
    """Judge: the learning rate is how far each step moves the parameters."""
    first, last, shift = _shift(optimizers)
    verdict = IF if shift.low > 1 or shift.high < 1 else HOLDS if shift.low == shift.high else OPEN
    return verdict, (
        f"{_shift_text(first, last, shift)} AdamW divides gradients by their usual size, plain descent does not."
        + " It holds if the optimizer is told with it." * (verdict == IF))


def sixteen_bits(evidence):
    """Judge: where numbers have 16 bits, rates must be lower; evidence: (arms by precision, Lost)."""
    stored, lost = evidence
    first, last, shift = _shift(stored)
    shares = lost.shares["A"]
    verdict = HOLDS if shift.high < 1 else OTHERWISE if shift.low >= 1 or shares[0] > shares[-1] else OPEN
    return verdict, (
        f"In bfloat16 an update at {rate_text(lost.rates[0])} would leave {shares[0]:.0%} of the numbers of A as "
        f"they were, one at {rate_text(lost.rates[-1])} {shares[-1]:.0%}. {_shift_text(first, last, shift)}")


# -- the first updates

def random_start(evidence):
    """Judge: at first the parameters are essentially random; evidence: (first step, race)."""
    first_step, race = evidence
    start = float(race[0].validations["validation"].means[0])
    is_neutral = first_step["largest_change"] == 0
    verdict = HOLDS if start >= GUESSED else OTHERWISE if is_neutral else OPEN
    return verdict, (
        f"A fresh adapter changes the model's answer by at most {first_step['largest_change']:g}; the loss before "
        f"training is {loss(start)}, where a model that answers nothing has {GUESSED:g}.")


def almost_any(directions):
    """Judge: at first almost any change lowers the loss."""
    level = level_among(len(directions.factors))
    spans = [wilson(share, directions.count, level) for share in directions.shares]
    is_any = [low > ALMOST_ANY for low, _ in spans]
    verdict = (HOLDS if all(is_any) else IF if any(is_any) else
               OTHERWISE if all(high < ALMOST_ANY for _, high in spans) else OPEN)
    rows = zip(directions.factors, directions.shares, spans, directions.median_change, directions.along_gradient,
               strict=True)
    seen = "; ".join(f"{factor:g} times as long {share_text((share, *span))} lower the loss, they change it by "
                     f"{median:+.2g} in the median, the real one by {along:+.2g}"
                     for factor, share, span, median, along in rows)
    return verdict, f"Of {directions.count} random changes, against a real first update: {seen}."


def dilution(widths):
    """Judge: in a large model each change is diluted; widths: of updates of whole matrices, of LoRA."""
    full, lora = widths
    low, high = full.interval
    verdict = HOLDS if high < 0 else OTHERWISE if low > 0 else OPEN
    return verdict, (
        f"One update of equal rate moves a layer's output as its width to the power {full.slope:+.2f} ({low:+.2f} to "
        f"{high:+.2f}) where whole matrices are trained, {lora.slope:+.2f} ({lora.interval[0]:+.2f} to "
        f"{lora.interval[1]:+.2f}) with LoRA.")


def mean_gradients(by_batch):
    """Judge: larger batches have smaller gradients on average."""
    small, large = by_batch.batch_sizes[0], by_batch.batch_sizes[-1]
    noise = by_batch.noise
    verdict = OTHERWISE if math.isfinite(noise.batch.high) else OPEN
    share = max(noise.signal, 0) / (noise.signal + noise.noise)
    signal = f"{share:.0%} is signal, which stays" if verdict == OTHERWISE else "no signal is sure in so few draws"
    return verdict, (
        f"From batch {small} to {large} their length falls to {by_batch.norm[-1] / by_batch.norm[0]:.2f} of itself, "
        f"as noise averages away: of a single gradient's squared length {signal}. The mean of all gradients is the "
        "same at every batch by construction, since each is the mean over its pictures.")


JOINED = {"scaling": (EQUAL_EPOCHS, EQUAL_UPDATES), "precision": ("stored", "rounded"),
          "start": ("first_step", "race")}
CLAIMS = (
    Claim(("LR-10",), "There is a region of coherence between stagnation and chaos.", region, U_CURVE),
    Claim(("LR-07",), "At an extremely high rate training never settles.", never_settles, U_CURVE),
    Claim(("LR-06", "LR-09"), "Too low a rate stagnates, too high a rate is chaos.", between, "race"),
    Claim(("LR-22",), "A short test of 100 to 500 updates finds the rate.", short_test_finds, U_CURVE),
    Claim(("LR-20",), "Begin at established rates instead of searching.", published, U_CURVE),
    Claim(("LR-02",), "The learning rate is the most critical parameter of all.", most_critical, KNOBS),
    Claim(("LR-01",), "The learning rate is how far each step moves the parameters.", magnitude, "optimizers"),
    Claim(("LR-16",), "Double the batch, double the rate.", rate_by_batch, "scaling"),
    Claim(("LR-11", "LR-17"), "Territories with many concepts want lower rates.", concepts, "kinds"),
    Claim(("LR-19",), "More pixels sometimes allow higher rates and sometimes need lower ones.", pixels, "sizes"),
    Claim(("LR-18",), "Numbers of 16 bits want lower rates.", sixteen_bits, "precision"),
    Claim(("SCHED-02",), "Early in training the parameters are essentially random.", random_start, "start"),
    Claim(("SCHED-03",), "Early on, almost any adjustment lowers the loss.", almost_any, "directions"),
    Claim(("LR-13",), "In a large model each change is diluted.", dilution, "widths"),
    Claim(("LR-15",), "Larger batches have smaller gradients on average.", mean_gradients, "by_batch"),
)
IMAGES = ("Exposure that is too intense is like trauma.",)
