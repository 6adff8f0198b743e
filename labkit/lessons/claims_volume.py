"""What section 11.3 of the chapter says, each sentence judged by runs: a verdict and the numbers behind it, never by hand.

The identifiers are those of the project's ledger of claims.
"""

import math
from dataclasses import dataclass

import numpy as np

from labkit.design import volume as plan
from labkit.errors import LabError
from labkit.experiments import batch_size as batch_sizes
from labkit.experiments import overfitting
from labkit.experiments import turning_points as boundary
from labkit.experiments.batch_size import best_of, by_batch, exponent, on_edge
from labkit.judge import arms
from labkit.judge.arms import basis, difference
from labkit.lessons import worked_examples
from labkit.store.recorded import missing, recorded_or_none
from labkit.view.evidence import Note
from labkit.view.tables import Table, loss

HOLDS, IF, OTHERWISE, OPEN, IMAGE = "holds", "holds if", "measured otherwise", "not decided here", "an image"
ORDER = (HOLDS, IF, OTHERWISE, OPEN, IMAGE)
LONG, EQUAL_EPOCHS, EQUAL_UPDATES, EIGHTFOLD = "long_runs", "batch_equal_epochs", "batch_equal_updates", "eightfold"
LINEAR_FROM = 0.75                                            # halfway from the square root's power to the linear rule's


@dataclass(frozen=True)
class Claim:
    """Hold one sentence of the chapter in our words, and how it is judged: evidence -> (verdict, what was seen)."""

    ids: tuple[str, ...]
    says: str
    judge: object
    needs: str                                                # a recorded set, or what the lesson measured

    def row(self, evidence) -> list[str]:
        """Return verdict, sentence and what was seen; evidence that is not there is named with what makes it."""
        given = evidence.get(self.needs)
        if given is None or isinstance(given, Note):
            return [OPEN, self.says, given.sentence if given is not None else missing(self.needs)]
        try:
            verdict, seen = self.judge(given)
        except LabError as error:
            return [OPEN, self.says, str(error)]
        return [verdict, self.says, seen]


def table(**measured) -> Table:
    """Return the verdicts in the order holds, holds if, measured otherwise, not decided, an image.

    measured   what the lesson made itself: race (runs of plot_rules), noise (GradientByBatch), cost (CostByBatch), judged (list of Judged)
    """
    evidence = {name: recorded_or_none(name) for name in (LONG, EQUAL_EPOCHS, EQUAL_UPDATES, EIGHTFOLD)} | {"arithmetic": True} | measured
    evidence["scaling"] = [evidence[EQUAL_EPOCHS], evidence[EQUAL_UPDATES]] if evidence[EQUAL_EPOCHS] and evidence[EQUAL_UPDATES] else Note(missing(EQUAL_UPDATES))
    rows = sorted((claim.row(evidence) for claim in CLAIMS), key=lambda row: ORDER.index(row[0]))
    images = [[IMAGE, words, "Not a claim about training; not judged."] for words in IMAGES]
    return Table(["", "the chapter (section 11.3)", "here"], rows + images)


# -- epochs

def _turned(runs):
    """Return (arm, update of the lowest held-out loss, rise from there to the end), with inf and None where it has not turned."""
    found = []
    for run in arms.over_seeds(runs):
        time = boundary.boundary(run)["validation"]
        rise = arms.rise(run, int(np.nanargmin(run.validations["validation"].means))) if math.isfinite(time.step) else None
        found.append((run, time, rise if rise is not None and rise.low > 0 else None))
    return found


def _by_pictures(words) -> str:
    return "; ".join(f"{n} pictures: {text}" for n, text in words)


def turns(runs):
    """Judge: after some point the held-out loss worsens while the loss on training pictures still falls."""
    found = _turned(runs)
    seen = _by_pictures((run.config.n_train, f"lowest at update {time.text()}, then up by {batch_sizes.text(rise)}" if rise else "no rise beyond noise") for run, time, rise in found)
    rising = sum(rise is not None for *_, rise in found)
    return (HOLDS if rising == len(found) else IF if rising else OPEN), f"{seen} ({basis(*(run for run, *_ in found))})." + (" It holds if the pictures are few for the updates." if 0 < rising < len(found) else "")


def not_always_better(runs):
    """Judge: more updates are not always better."""
    worse = [(run.config.n_train, f"the last update is worse than update {time.step:,.0f} by {batch_sizes.text(rise)}") for run, time, rise in _turned(runs) if rise]
    return (HOLDS, _by_pictures(worse) + ".") if worse else (OPEN, "No run got worse again within its updates.")


def fewer_epochs(runs):
    """Judge: larger sets need fewer epochs."""
    turned = [(run, time) for run, time, rise in _turned(runs) if rise]
    if len(turned) < 2:
        return OPEN, "Fewer than two of the sets have turned, so their epochs cannot be compared."
    spans = [tuple(overfitting.views(run, step) for step in (time.step, time.low, time.high)) for run, time in turned]
    seen = _by_pictures((run.config.n_train, f"lowest after {at:.3g} epochs ({low:.3g} to {high:.3g}), {time.step:,.0f} updates")
                        for (run, time), (at, low, high) in zip(turned, spans))
    falls = [later[2] < earlier[1] for earlier, later in zip(spans, spans[1:])]
    grows = [later[1] > earlier[2] for earlier, later in zip(spans, spans[1:])]
    verdict = HOLDS if all(falls) else OTHERWISE if any(grows) else OPEN
    return verdict, f"{seen}" + ("; these intervals overlap." if verdict == OPEN else ".")


def five_to_fifty(runs):
    """Judge: 5 to 50 epochs are right for most sets, 5 to 10 views of each picture to begin with."""
    inside, seen = [], []
    for run, time, rise in _turned(runs):
        shares = [boundary.score(boundary.fixed_epochs(passes, run), run).gain[0] for passes in (5, 10, 50)]
        best = overfitting.views(run, time.step if math.isfinite(time.step) else run.validations["validation"].steps[-1])
        low, high = overfitting.views(run, time.low), overfitting.views(run, time.high)
        inside.append(True if 5 <= low and high <= 50 else False if high < 5 or low > 50 else None)
        span = f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"{low:.3g} or later"
        seen.append((run.config.n_train, f"best after {'' if math.isfinite(time.step) else 'more than '}{best:.3g} epochs ({span}); 5, 10, 50 give {', '.join(f'{share:.0%}' for share in shares)} of its gain"))
    known = [one for one in inside if one is not None]
    return (OPEN if not known else HOLDS if all(inside) else IF if any(known) else OTHERWISE), _by_pictures(seen) + f" ({basis(*(run for run, *_ in _turned(runs)))})."


def target_volume(runs):
    """Judge: 50,000 to 200,000 updates."""
    found = [(run.config.n_train, f"50,000 is {50_000 / time.step:,.0f} times the update of the lowest loss") for run, time, rise in _turned(runs) if rise]
    return (OTHERWISE, _by_pictures(found) + ".") if found else (OPEN, "No run turned within its updates, so where more is too much is not known.")


def copies(judged):
    """Judge: too many passes memorize single pictures."""
    seen = [(one.run.config.n_train, f"copies beyond chance from update {one.times['copying'].text()}, one seed") for one in judged]
    reached = [math.isfinite(one.times["copying"].step) for one in judged]
    return (HOLDS if all(reached) else IF if any(reached) else OPEN), _by_pictures(seen) + "." + (" It holds if the pictures are few for the updates." if any(reached) and not all(reached) else "")


def one_boundary(judged):
    """Judge: there is one coherence boundary."""
    apart, seen = [], []
    for one in judged:
        times = list(one.times.values())                      # one not reached is known to lie beyond its low end
        apart += [a.high < b.low or b.high < a.low for i, a in enumerate(times) for b in times[:i] if math.isfinite(min(a.step, b.step))]
        seen.append((one.run.config.n_train, ", ".join(f"{boundary.NAMES[name]} {time.text()}" for name, time in one.times.items()) + ", one seed"))
    return (OPEN if not apart else OTHERWISE if any(apart) else HOLDS), _by_pictures(seen) + "."


# -- batches

def steadier(found):
    """Judge: a large batch points reliably to where the loss falls."""
    signal, noise = max(found.noise.signal, 0), found.noise.noise
    cosine = {size: math.sqrt(signal / (signal + noise / size)) for size in (1, 4, 32, 256)}
    scale = found.noise.batch
    return (HOLDS if cosine[256] > 0.9 else IF), (f"Cosine with the gradient of all pictures: {', '.join(f'{value:.2f} at batch {size}' for size, value in cosine.items())}; noise equals signal "
                                                 f"at {scale.mean:.3g} ({scale.low:.3g} to {scale.high:.3g}).")


def memory(found):
    """Judge: a larger batch needs more memory."""
    each = [kept / batch / 1e6 for batch, kept in zip(found.batch_sizes, found.kept_bytes)]
    return (HOLDS if found.kept_bytes[-1] > found.kept_bytes[0] else OTHERWISE), f"{each[0]:.3g} MB a picture at batch {found.batch_sizes[0]}, {each[-1]:.3g} MB at batch {found.batch_sizes[-1]}."


def as_large_as_fits(runs):
    """Judge: the largest batch is the best, at equal epochs and each batch at its own best rate."""
    bests = {batch: best_of(some) for batch, some in by_batch(runs).items()}
    lowest = min(bests, key=lambda batch: batch_sizes.final(bests[batch]).mean())
    largest = max(bests)
    seen = ", ".join(f"{loss(batch_sizes.final(run).mean())} at batch {batch}" for batch, run in bests.items())
    if any(on_edge(some) for some in by_batch(runs).values()):
        return OPEN, f"{seen}; a best rate lies at the edge of those tried, so this is no fair comparison."
    how = basis(*bests.values())
    if largest != lowest:
        above = difference(bests[largest], bests[lowest], len(bests) - 1)
        return (OTHERWISE if above.low > 0 else OPEN), f"At equal epochs: {seen}; the largest ends higher by {batch_sizes.text(above)}, {how}."
    least = min((difference(bests[batch], bests[largest], len(bests) - 1) for batch in bests if batch != largest), key=lambda above: above.low)
    return (HOLDS if least.low > 0 else OPEN), f"At equal epochs: {seen}; the others end higher by {batch_sizes.text(least)} at least, {how}."


def rate_by_batch(sets):
    """Judge: double the batch, double the rate."""
    powers = [exponent(runs) for runs in sets]
    return (HOLDS if min(low for _, low, _ in powers) > LINEAR_FROM else OTHERWISE if max(high for _, _, high in powers) < LINEAR_FROM else IF), (
        f"The best rate goes as the batch to the power {_power(powers[0])} at equal epochs, {_power(powers[1])} at equal updates (linear is 1, the square root 0.5).")


def _power(found):
    power, low, high = found
    return f"{power:.2f}" + (f" ({low:.2f} to {high:.2f} within noise)" if low < high else "")


def same_update(race):
    """Judge: a rate in proportion to the batch keeps the length of an update."""
    reference = batch_sizes.reference_of(race)
    sizes = {rule: {run.config.train_batch_size: batch_sizes.update_size(run) / batch_sizes.update_size(reference) for run in race
                    if rule in batch_sizes.rules_of(run.config, reference.config)} for rule in ("none", "linear")}
    low, high = min(sizes["linear"]), max(sizes["linear"])
    grows = {rule: found[high] / found[low] for rule, found in sizes.items()}
    return (HOLDS if 0.5 < grows["linear"] < 2 else OTHERWISE), (f"From batch {low} to {high} the length of an update changes by {grows['linear']:.3g} times under that rule, by {grows['none']:.3g} times at one rate: "
                                                                "AdamW's updates have the length of the rate.")


def eight_times(runs):
    """Judge: batch 4 instead of 32 needs 8 times the epochs."""
    averaged = arms.over_seeds(runs)
    large = max(averaged, key=lambda run: run.config.train_batch_size)
    small = [run for run in averaged if run is not large]
    passes = min(run.config.max_train_steps for run in small)
    same = [run for run in small if run.config.max_train_steps == passes]
    more = [run for run in small if run not in same]
    best, over = (min(some, key=lambda run: batch_sizes.final(run).mean()) for some in (same, more))
    gap, further = difference(best, large, len(same)), difference(over, best)
    return (HOLDS if gap.low > 0 else OTHERWISE if gap.high < 0 else OPEN), (f"With the same epochs batch {best.config.train_batch_size} ends {batch_sizes.text(gap)} against batch {large.config.train_batch_size}; "
                                                    f"{over.config.max_train_steps / best.config.max_train_steps:.0f} times the epochs then change it by {batch_sizes.text(further)}, {basis(large, best, over)}.")


def formulas(_):
    """Judge: total = batch x examples an epoch x epochs; updates = examples an epoch x epochs."""
    counted = worked_examples.count(worked_examples.PICTURES, 32, 10)
    return OTHERWISE, (f"For {worked_examples.PICTURES:,} pictures, batch 32, 10 epochs a data loader gives {counted.exposures:,} pictures and {counted.updates:,} updates; the formulas give "
                       f"{32 * worked_examples.PICTURES * 10:,} and {worked_examples.PICTURES * 10:,}, too many by the batch.")


def worked_numbers(_):
    """Judge: the chapter's worked numbers."""
    return HOLDS, f"{plan.updates(worked_examples.PICTURES, 32, 10, last_batch='drop'):,} and {plan.updates(worked_examples.PICTURES, 4, 10):,} updates, as it says, if the last batch is dropped."


CLAIMS = (
    Claim(("EPOCH-16", "EPOCH-17", "EPOCH-20"), "There is a coherence boundary: beyond it more training worsens what unseen pictures show, while training pictures still gain.", turns, LONG),
    Claim(("VOL-09",), "More updates are not always better.", not_always_better, LONG),
    Claim(("EPOCH-09", "EPOCH-11"), "Too many passes memorize single pictures; what is drawn then resembles them.", copies, "judged"),
    Claim(("EPOCH-16", "EPOCH-18"), "There is one boundary, and the held-out loss shows it.", one_boundary, "judged"),
    Claim(("EPOCH-14",), "Larger sets need fewer epochs.", fewer_epochs, LONG),
    Claim(("EPOCH-13", "EPOCH-15", "EPOCH-08"), "5 to 50 epochs for most territories, 5 to 10 views of each picture to begin with.", five_to_fifty, LONG),
    Claim(("VOL-10",), "50,000 to 200,000 updates for typical models.", target_volume, LONG),
    Claim(("BATCH-03", "BATCH-02"), "A large batch averages the noise away and points reliably to improvement.", steadier, "noise"),
    Claim(("BATCH-07",), "A larger batch needs more memory.", memory, "cost"),
    Claim(("BATCH-11", "BATCH-16"), "Choose the batch as large as the hardware holds.", as_large_as_fits, EQUAL_EPOCHS),
    Claim(("BATCH-12",), "Scale the rate in proportion to the batch.", rate_by_batch, "scaling"),
    Claim(("BATCH-12", "BATCH-04"), "A rate in proportion to the batch keeps the size of an update the same.", same_update, "race"),
    Claim(("BATCH-13", "BATCH-15", "VOL-08"), "If the batch must be 4 instead of 32, use 8 times the epochs.", eight_times, EIGHTFOLD),
    Claim(("VOL-01", "VOL-03", "VOL-04", "VOL-07"), "5,000 pictures, 10 epochs: 1,560 updates at batch 32, 12,500 at batch 4.", worked_numbers, "arithmetic"),
    Claim(("VOL-05", "VOL-06"), "Total examples = batch × examples an epoch × epochs; updates = examples an epoch × epochs.", formulas, "arithmetic"),
)
IMAGES = ("Repetition is a ritual that impresses will upon matter.", "The pulse of batches and epochs replaces the void by structure.")
