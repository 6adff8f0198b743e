"""What section 11.3 of the chapter says of epochs and batches, each sentence judged by runs."""

import math

import numpy as np

from labkit.design import volume
from labkit.experiments import batch_size as batch_sizes
from labkit.experiments import turning_points as boundary
from labkit.experiments.batch_size import by_batch, exponent
from labkit.judge import arms, early_stopping
from labkit.judge.arms import basis, difference
from labkit.judge.compare import at_edge, best_of, ends_by_rate, final_losses, views
from labkit.judge.stats import level_among
from labkit.lessons import claims, worked_examples
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim
from labkit.store.recorded import recorded_or_none
from labkit.text import counted, with_interval
from labkit.view.tables import Table, loss

LONG, EQUAL_EPOCHS, EQUAL_UPDATES, EIGHTFOLD = "long_runs", "batch_equal_epochs", "batch_equal_updates", "eightfold"
OPTIMIZERS = {"adamw": "AdamW", "sgd": "plain gradient descent"}
ONE = 2  # times the other: times that lie within it may pass for one
LINEAR_FROM = 0.75  # halfway from the square root's power to the linear rule's
FEW_FOR_UPDATES = " It holds if the pictures are few for the updates."


def table(**measured) -> Table:
    """Return the verdicts on section 11.3, ordered as `claims.table` does.

    measured    what the lesson made itself: race (runs of plot_rules), noise (GradientByBatch), cost (CostByBatch),
                judged (list of Judged)
    """
    recorded = {name: recorded_or_none(name) for name in (LONG, EQUAL_EPOCHS, EQUAL_UPDATES, EIGHTFOLD)}
    evidence = recorded | {"arithmetic": True} | measured
    evidence["scaling"] = claims.together(**{name: evidence[name] for name in (EQUAL_EPOCHS, EQUAL_UPDATES)})
    return claims.table(CLAIMS, IMAGES, evidence, section="section 11.3")


# -- epochs

def _turned(runs):
    """Return [(arm, Time of the lowest held-out loss, rise from there to the end)].

    The rise is None where the loss has not turned, or does not rise beyond noise.
    """
    turns = []
    for run in arms.over_seeds(runs):
        time = boundary.boundary(run)["validation"]
        rise = None
        if math.isfinite(time.step):
            rise = arms.rise(run, int(np.nanargmin(run.validations["validation"].means)))
        turns.append((run, time, rise if rise is not None and rise.low > 0 else None))
    return turns


def _by_pictures(observations) -> str:
    """Write pairs (number of pictures, what was seen with so many)."""
    return "; ".join(f"{n} pictures: {text}" for n, text in observations)


def turns(runs):
    """Judge: after some point the held-out loss worsens while the loss on training pictures still falls."""
    turned = _turned(runs)
    seen = _by_pictures((run.config.n_train, f"lowest at update {time.text()}, then up by {with_interval(rise)}"
                         if rise else "no rise beyond noise") for run, time, rise in turned)
    rising = sum(rise is not None for *_, rise in turned)
    verdict = HOLDS if rising == len(turned) else IF if rising else OPEN
    return verdict, f"{seen} ({basis(*(run for run, *_ in turned))}).{FEW_FOR_UPDATES if verdict == IF else ''}"


def not_always_better(runs):
    """Judge: more updates are not always better."""
    worse = [(run.config.n_train, f"the last update is worse than update {time.step:,.0f} by {with_interval(rise)}")
             for run, time, rise in _turned(runs) if rise]
    return (HOLDS, _by_pictures(worse) + ".") if worse else (OPEN, "No run got worse again within its updates.")


def fewer_epochs(runs):
    """Judge: larger sets need fewer epochs."""
    turned = [(run, time) for run, time, rise in _turned(runs) if rise]
    if len(turned) < 2:
        return OPEN, "Fewer than two of the sets have turned, so their epochs cannot be compared."
    spans = [tuple(views(run, step) for step in (time.step, time.low, time.high)) for run, time in turned]
    seen = _by_pictures(
        (run.config.n_train, f"lowest after {at:.3g} epochs ({low:.3g} to {high:.3g}), {time.step:,.0f} updates")
        for (run, time), (at, low, high) in zip(turned, spans, strict=True))
    falls = [later[2] < earlier[1] for earlier, later in zip(spans, spans[1:], strict=False)]
    grows = [later[1] > earlier[2] for earlier, later in zip(spans, spans[1:], strict=False)]
    verdict = HOLDS if all(falls) else OTHERWISE if any(grows) else OPEN
    return verdict, seen + ("; these intervals overlap." if verdict == OPEN else ".")


def five_to_fifty(runs):
    """Judge: 5 to 50 epochs are right for most sets, 5 to 10 views of each picture to begin with."""
    is_inside, seen, turned = [], [], _turned(runs)
    for run, time, _ in turned:
        rules = [early_stopping.fixed_epochs(passes, run) for passes in (5, 10, 50)]
        gains = [early_stopping.apply_rule(rule, run).gain[0] for rule in rules]
        has_turned = math.isfinite(time.step)
        best = views(run, time.step if has_turned else run.validations["validation"].steps[-1])
        low, high = views(run, time.low), views(run, time.high)
        is_inside.append(True if 5 <= low and high <= 50 else False if high < 5 or low > 50 else None)
        span = f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"{low:.3g} or later"
        seen.append((run.config.n_train, f"best after {'' if has_turned else 'more than '}{best:.3g} epochs ({span}); "
                     f"5, 10, 50 give {', '.join(f'{gain:.0%}' for gain in gains)} of its gain"))
    known = [answer for answer in is_inside if answer is not None]
    verdict = OPEN if not known else HOLDS if all(is_inside) else IF if any(known) else OTHERWISE
    return verdict, f"{_by_pictures(seen)} ({basis(*(run for run, *_ in turned))})."


def target_volume(runs):
    """Judge: 50,000 to 200,000 updates, for as few pictures as were tried."""
    turned = _turned(runs)
    multiples = [
        (run.config.n_train, f"50,000 is {50_000 / time.step:,.0f} times the update of the lowest loss")
        for run, time, rise in turned if rise]
    if not multiples:
        return OPEN, "No run turned within its updates, so where more is too much is not known."
    others = [str(run.config.n_train) for run, _, rise in turned if not rise]
    rest = f" Sets of {', '.join(others)} had not turned." if others else ""
    return OTHERWISE, (f"For so few pictures: {_by_pictures(multiples)}.{rest} "
                       "What typical sets, of thousands, want was not measured.")


def copies(judged):
    """Judge: too many passes memorize single pictures."""
    times = [(single.run.config.n_train, single.times["copying"]) for single in judged]
    is_reached = [math.isfinite(time.step) for _, time in times]
    words = ["copying beyond chance", "copies beyond chance from update"]
    seen = _by_pictures((n, f"{words[reached]} {time.text()}, one seed")
                        for (n, time), reached in zip(times, is_reached, strict=True))
    verdict = HOLDS if all(is_reached) else IF if any(is_reached) else OPEN
    return verdict, f"{seen}.{FEW_FOR_UPDATES if verdict == IF else ''}"


def one_boundary(judged):
    """Judge: there is one coherence boundary; the intervals of all times hold together."""
    are_apart, are_one, seen, level = [], [], [], level_among(sum(len(single.times) for single in judged))
    for single in judged:
        named = single.times_at(level)
        times = list(named.values())  # one that was not reached lies beyond its low end
        are_apart += [a.high < b.low or b.high < a.low for i, a in enumerate(times) for b in times[:i]
                      if math.isfinite(min(a.step, b.step))]
        are_one.append(max(time.high for time in times) <= ONE * min(time.low for time in times))
        words = ", ".join(f"{boundary.NAMES[name]} {time.text()}" for name, time in named.items())
        seen.append((single.run.config.n_train, f"{words}, one seed"))
    verdict = OTHERWISE if any(are_apart) else HOLDS if all(are_one) else OPEN
    return verdict, _by_pictures(seen) + (", intervals that overlap." if verdict == OPEN and are_apart else ".")


# -- batches

def steadier(measured):
    """Judge: a large batch points reliably to where the loss falls."""
    signal, noise, scale = max(measured.noise.signal, 0), measured.noise.noise, measured.noise.batch
    cosines = {batch: math.sqrt(signal / (signal + noise / batch)) for batch in (1, 4, 32, 256)}
    words = ", ".join(f"{cosine:.2f} at batch {batch}" for batch, cosine in cosines.items())
    return (HOLDS if cosines[256] > 0.9 else IF), (
        f"Cosine with the gradient of all pictures: {words}; noise equals signal at {scale.mean:.3g} "
        f"({scale.low:.3g} to {scale.high:.3g}).")


def memory(cost):
    """Judge: a larger batch needs more memory."""
    batches, kept = cost.batch_sizes, cost.kept_bytes
    return (HOLDS if kept[-1] > kept[0] else OTHERWISE), (
        f"{kept[0] / batches[0] / 1e6:.3g} MB a picture at batch {batches[0]}, "
        f"{kept[-1] / batches[-1] / 1e6:.3g} MB at batch {batches[-1]}.")


def as_large_as_fits(runs):
    """Judge: the largest batch is the best, at equal epochs and each batch at its own best rate."""
    bests = {batch: best_of(group) for batch, group in by_batch(runs).items()}
    ends = {batch: final_losses(run).mean() for batch, run in bests.items()}
    lowest, largest = min(bests, key=ends.get), max(bests)
    seen = ", ".join(f"{loss(end)} at batch {batch}" for batch, end in ends.items())
    if any(at_edge(ends_by_rate(group)) for group in by_batch(runs).values()):
        return OPEN, f"{seen}; a best rate lies at the edge of those tried, so this is no fair comparison."
    how = basis(*bests.values())
    if largest != lowest:
        above = difference(bests[largest], bests[lowest], len(bests) - 1)
        return (OTHERWISE if above.low > 0 else OPEN), (
            f"At equal epochs: {seen}; the largest ends higher by {with_interval(above)}, {how}.")
    others = [difference(run, bests[largest], len(bests) - 1) for batch, run in bests.items() if batch != largest]
    least = min(others, key=lambda above: above.low)
    return (HOLDS if least.low > 0 else OPEN), (
        f"At equal epochs: {seen}; the others end higher by {with_interval(least)} at least, {how}.")


def rate_by_batch(sets):
    """Judge: double the batch, double the rate; sets: runs of equal epochs, runs of equal updates."""
    powers = [exponent(runs) for runs in sets]
    least, most = min(low for _, low, _ in powers), max(high for *_, high in powers)
    verdict = HOLDS if least > LINEAR_FROM else OTHERWISE if most < LINEAR_FROM else OPEN
    return verdict, (f"The best rate goes as the batch to the power {_power_text(*powers[0])} at equal epochs, "
                     f"{_power_text(*powers[1])} at equal updates (linear is 1, the square root 0.5).")


def _power_text(power, low, high) -> str:
    return f"{power:.2f}" + (f" ({low:.2f} to {high:.2f} within noise)" if low < high else "")


def same_update(race):
    """Judge: a rate in proportion to the batch keeps the length of an update, for the optimizer of the race."""
    reference = batch_sizes.reference_of(race)
    lengths = {"none": {}, "linear": {}}  # of an update by batch size, in multiples of the reference's
    for run in race:
        for rule in lengths.keys() & set(batch_sizes.rules_of(run.config, reference.config)):
            length = batch_sizes.update_size(run) / batch_sizes.update_size(reference)
            lengths[rule][run.config.train_batch_size] = length
    low, high = min(lengths["linear"]), max(lengths["linear"])
    growth = {rule: by_size[high] / by_size[low] for rule, by_size in lengths.items()}
    return (HOLDS if 0.5 < growth["linear"] < 2 else OTHERWISE), (
        f"With {OPTIMIZERS[reference.config.optimizer]} alone, from batch {low} to {high}: the length of an update "
        f"changes by {growth['linear']:.3g} times under that rule, by {growth['none']:.3g} times at one rate. "
        "AdamW's updates have the length of the rate; those of plain gradient descent have that of the gradient, too.")


def eight_times(runs):
    """Judge: batch 4 instead of 32 needs 8 times the epochs."""
    groups = list(by_batch(runs).values())
    small, large = groups[0], groups[-1]
    fewest = min(run.config.max_train_steps for run in small)
    same = [run for run in small if run.config.max_train_steps == fewest]
    more = [run for run in small if run.config.max_train_steps > fewest]
    best, longer, against = best_of(same), best_of(more), best_of(large)
    gap = difference(best, against, len(same) * len(large))
    further = difference(longer, best, len(same) * len(more))
    verdict = HOLDS if gap.low > 0 else OTHERWISE if gap.high < 0 else OPEN
    times = longer.config.max_train_steps / best.config.max_train_steps
    favoured, note = {HOLDS: same, OTHERWISE: large}.get(verdict), ""  # whom another rate might help
    if favoured and at_edge(ends_by_rate(favoured)):
        verdict, batch = OPEN, favoured[0].config.train_batch_size
        note = f" The best rate of batch {batch} is at the edge of those tried, so this is no fair comparison."
    return verdict, (
        f"With the same epochs batch {best.config.train_batch_size}, the best of {counted(len(same), 'rate')}, ends "
        f"{with_interval(gap)} against batch {against.config.train_batch_size}, the best of "
        f"{counted(len(large), 'rate')}; {times:.0f} times the epochs then change it by {with_interval(further)}, "
        f"{basis(against, best, longer)}.{note}")


# -- arithmetic

def formulas(_):
    """Judge: total = batch x examples an epoch x epochs; updates = examples an epoch x epochs."""
    n = worked_examples.PICTURES
    counted = worked_examples.count(n, 32, 10)
    return OTHERWISE, (
        f"For {n:,} pictures, batch 32, 10 epochs a data loader gives {counted.exposures:,} pictures and "
        f"{counted.updates:,} updates; the formulas give {32 * n * 10:,} and {n * 10:,}, too many by the batch.")


def worked_numbers(_):
    """Judge: the chapter's worked numbers."""
    n = worked_examples.PICTURES
    dropped, small = volume.updates(n, 32, 10, last_batch="drop"), volume.updates(n, 4, 10)
    return HOLDS, f"{dropped:,} and {small:,} updates, as it says, if the last batch is dropped."


CLAIMS = (
    Claim(("EPOCH-16", "EPOCH-17", "EPOCH-20"),
          "There is a coherence boundary: beyond it more training worsens what unseen pictures show, "
          "while training pictures still gain.", turns, LONG),
    Claim(("VOL-09",), "More updates are not always better.", not_always_better, LONG),
    Claim(("EPOCH-09", "EPOCH-11"),
          "Too many passes memorize single pictures; what is drawn then resembles them.", copies, "judged"),
    Claim(("EPOCH-16", "EPOCH-18"), "There is one boundary, and the held-out loss shows it.", one_boundary, "judged"),
    Claim(("EPOCH-14",), "Larger sets need fewer epochs.", fewer_epochs, LONG),
    Claim(("EPOCH-13", "EPOCH-15", "EPOCH-08"),
          "5 to 50 epochs for most territories, 5 to 10 views of each picture to begin with.", five_to_fifty, LONG),
    Claim(("VOL-10",), "50,000 to 200,000 updates for typical models.", target_volume, LONG),
    Claim(("BATCH-03", "BATCH-02"),
          "A large batch averages the noise away and points reliably to improvement.", steadier, "noise"),
    Claim(("BATCH-07",), "A larger batch needs more memory.", memory, "cost"),
    Claim(("BATCH-11", "BATCH-16"),
          "Choose the batch as large as the hardware holds.", as_large_as_fits, EQUAL_EPOCHS),
    Claim(("BATCH-12",), "Scale the rate in proportion to the batch.", rate_by_batch, "scaling"),
    Claim(("BATCH-12", "BATCH-04"),
          "A rate in proportion to the batch keeps the size of an update the same.", same_update, "race"),
    Claim(("BATCH-13", "BATCH-15", "VOL-08"),
          "If the batch must be 4 instead of 32, use 8 times the epochs.", eight_times, EIGHTFOLD),
    Claim(("VOL-01", "VOL-03", "VOL-04", "VOL-07"),
          "5,000 pictures, 10 epochs: 1,560 updates at batch 32, 12,500 at batch 4.", worked_numbers, "arithmetic"),
    Claim(("VOL-05", "VOL-06"),
          "Total examples = batch × examples an epoch × epochs; updates = examples an epoch × epochs.",
          formulas, "arithmetic"),
)
IMAGES = ("Repetition is a ritual that impresses will upon matter.",
          "The pulse of batches and epochs replaces the void by structure.")
