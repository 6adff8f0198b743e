"""What section 11.2 of the chapter says of rank, each sentence judged by runs; `table` has those on alpha as well."""

import math

import numpy as np

from labkit.design.ladders import LADDERS
from labkit.experiments.rank import ENOUGH, Capacity, capacity
from labkit.judge.arms import Arm, losses, over_seeds
from labkit.judge.compare import best_of, rate_shift
from labkit.judge.stats import interval_of, level_among, seed_noise, seeds_difference
from labkit.lessons import claims, claims_alpha
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim, together
from labkit.store.recorded import recorded_or_none
from labkit.text import counted, rounded, share_text, with_interval
from labkit.view.tables import Table

NEAR, FAR, TRAINING = "ranks_near", "ranks_liminal", "training_alpha"
ROUNDED = 1e-4  # of a loss: what other last digits of a sum come to
LOW = 8  # the chapter's example of a low rank
SEVERELY = 0.1  # of the gain: what a severe limit costs at least
IN_USE = 0.9  # of the rank: what may pass for all of it
# The chapter's words, and the lowest and highest rank that each is said of.
WORDS = {"low": (8, 8), "moderate": (4, 32), "high": (32, 64), "dramatic": (64, math.inf)}


def table(**measured) -> Table:
    """Return the verdicts on section 11.2, ordered as `claims.table` does.

    measured    what the lesson made itself: runs (of one territory), costs ({rank: Size}), learned ({rank: spectra}),
                by_rank (StepByRank), frontier (Frontier), mixed (Mixing), strengths (Scores)
    """
    evidence = {name: recorded_or_none(name) for name in (NEAR, FAR, TRAINING)}
    evidence |= {"words": WORDS, "bands": claims_alpha.BANDS} | measured
    for name, parts in JOINED.items():
        evidence[name] = together(**{part: evidence.get(part) for part in parts})
    return claims.table(CLAIMS + claims_alpha.CLAIMS, IMAGES, evidence, section="section 11.2")


# -- what a rank is

WHOLE = OPEN, "The matrices were trained whole here: such changes have no rank."


def _are_whole(costs) -> bool:
    """Tell whether no number is spare, as always is in the product of two matrices."""
    return any(size.freedom == size.trained for size in costs.values())


def frozen(runs):
    """Judge: the base stays as it is while adapters train; runs: of one territory, some trained after others."""
    first, *others = (run.validations["validation"].losses[0] for run in runs)
    alike = [untouched for untouched in others if untouched.shape == first.shape]  # measured on as many pictures
    changed = sum(not np.allclose(untouched, first, rtol=ROUNDED) for untouched in alike)
    verdict = OPEN if not alike else OTHERWISE if changed else HOLDS
    return verdict, (f"The untouched base was measured on {counted(len(first), 'picture')} before each of "
                     f"{counted(len(alike) + 1, 'run')}: {changed} times otherwise than before the first.")


def small_matrices(costs):
    """Judge: small matrices are added, and more rank is more numbers to train."""
    if _are_whole(costs):
        return WHOLE
    each = {size.trained / rank for rank, size in costs.items()}
    numbers = ", ".join(f"rank {rank} trains {size.trained:,} numbers" for rank, size in costs.items())
    verdict = OPEN if len(costs) < 2 else HOLDS if len(each) == 1 else OTHERWISE
    a_rank = f"exactly {min(each):,.0f}" if len(each) == 1 else f"{min(each):,.0f} to {max(each):,.0f}"
    return verdict, f"{numbers[0].upper()}{numbers[1:]}: {a_rank} for each."


def directions(costs):
    """Judge: the rank is the number of independent directions along which learning can go."""
    if _are_whole(costs):
        return WHOLE
    rank, size = min(costs.items())
    return (OTHERWISE if size.freedom > rank else HOLDS), (
        f"At rank {rank} there are {counted(size.freedom, 'degree')} of freedom: a rank bounds each single matrix, "
        "there are many, and both factors of each are learned.")


def dimensions(learned):
    """Judge: a rank is as many independent dimensions that are learned."""
    rank = max(learned)
    if max(len(layer.values) for layer in learned[rank]) > rank:
        return WHOLE
    in_use = np.array([layer.effective_rank for layer in learned[rank]])
    share = interval_of(in_use / rank)
    verdict = HOLDS if share.low > IN_USE else OTHERWISE if share.high < IN_USE else OPEN
    return verdict, (
        f"At rank {rank}, the largest of the race, the effective rank is {in_use.mean():.1f} in the mean of "
        f"{counted(len(in_use), 'layer')} ({in_use.min():.1f} to {in_use.max():.1f}): {share_text(share)} of it.")


# -- what it buys, each rank at its own best rate; evidence: recorded runs of the near and of the far territory

def _capacities(evidence) -> list[Capacity]:
    return [capacity(runs) for runs in evidence]


def _open(each: Capacity) -> tuple[float, float]:
    """Return the smallest rank that may be enough, and the smallest that surely is; inf where none is sure."""
    may, sure = each.open
    return may, math.inf if sure is None else sure


def _enough(capacities) -> str:
    return "; ".join(f"{each.territory}: {each.enough} in the mean, {each.range} by the intervals"
                     for each in capacities)


def richer(evidence):
    """Judge: higher rank lets richer patterns be encoded."""
    is_richer, seen = [], []
    for each in _capacities(evidence):
        first, best = each.ranks[0], min(each.ranks, key=lambda rank: each.end(rank).mean())
        lack = each.lacks(first, each.ranks)
        is_known = not (each.at_edge(first) or each.at_edge(best)) and not lack.low <= ENOUGH < lack.high
        is_richer.append(lack.low > ENOUGH if is_known else None)
        seen.append(f"{each.territory}: rank {first} lacks {share_text(lack)} of the gain of the best, rank {best}")
    verdict = (HOLDS if all(is_richer) else IF if any(is_richer) else OPEN if None in is_richer else OTHERWISE)
    return verdict, (f"Each at its own best rate, {'; '.join(seen)}."
                     + " It holds where the smallest rank binds." * (verdict == IF))


def distance(evidence):
    """Judge: the further the territory is from what the base knows, the higher the rank."""
    near, far = capacities = _capacities(evidence)
    (near_may, near_sure), (far_may, far_sure) = map(_open, capacities)
    is_same = near_may == near_sure == far_may == far_sure
    verdict = IF if far_may > near_sure else OTHERWISE if near_may > far_sure or is_same else OPEN
    return verdict, (f"Smallest rank that is enough, {_enough(capacities)}."
                     + " It holds if two territories are a trend." * (verdict == IF))


def start_values(evidence):
    """Judge: 4 to 32 for moderate complexity, 32 to 64 for high, 64 and more for what is dramatically different."""
    capacities = _capacities(evidence)
    (near_may, near_sure), (far_may, far_sure) = map(_open, capacities)
    (low, high), far_low = WORDS["moderate"], WORDS["high"][0]
    verdict = (HOLDS if low <= near_may and near_sure <= high and far_low <= far_may else
               OTHERWISE if near_sure < low or near_may > high or far_sure < far_low else OPEN)
    return verdict, (f"Smallest rank that is enough, {_enough(capacities)}. The near territory is read as moderate, "
                     "the far one as high or more.")


def limits(evidence):
    """Judge: rank 8 severely limits what can be learned of a territory that is truly new."""
    near, far = ((each, each.lacks(LOW, each.ranks)) for each in _capacities(evidence))
    lack = far[1]
    verdict = HOLDS if lack.low > SEVERELY else OTHERWISE if lack.high < SEVERELY else OPEN
    seen = "; ".join(f"{each.territory}: {share_text(lack)}" for each, lack in (far, near))
    return verdict, f"Of the gain of the best rank, rank {LOW} lacks, {seen} (each at its own best rate)."


def _bests(runs) -> dict[int, Arm]:
    """Return the arm of each rank at its best rate."""
    arms: dict[int, list[Arm]] = {}
    for arm in over_seeds(runs, "rank"):
        arms.setdefault(arm.config.rank, []).append(arm)
    return {rank: best_of(of_rates) for rank, of_rates in arms.items()}


def aligned(evidence):
    """Judge: low rank keeps everything else aligned with the base."""
    spans, learned, seen = [], [], []
    for runs in evidence:
        bests = _bests(runs)
        low, high = min(bests), max(bests)
        ends = {rank: losses(arm, name="ordinary") for rank, arm in bests.items()}
        level, noise = level_among(len(evidence)), seed_noise(ends.values())
        spans.append(seeds_difference(ends[low], ends[high], noise, level))
        learned.append(seeds_difference(losses(bests[low]), losses(bests[high]), bests[low].noise, level))
        seen.append(f"{runs[0].config.data}: on ordinary places rank {low} ends {with_interval(spans[-1])} against "
                    f"rank {high}, on the territory {with_interval(learned[-1])}")
    is_less, is_more = [span.high < 0 for span in spans], [span.low > 0 for span in spans]
    verdict = OTHERWISE if any(is_more) and not any(is_less) else OPEN
    if all(is_less):
        verdict = IF if any(span.low > 0 for span in learned) else HOLDS
    return verdict, (f"Each at its own best rate, {'; '.join(seen)}."
                     + " It holds if it may learn less as well." * (verdict == IF))


# -- rank and alpha together

def separate(evidence):
    """Judge: rank and alpha are separate controls; evidence: runs at other scalings, of all ranks, and StepByRank."""
    training, ranks, by_rank = evidence
    of_scalings, of_ranks = over_seeds(training, "learning_rate"), over_seeds(ranks, "learning_rate")
    scalings = sorted({arm.config.scaling for arm in of_scalings})
    sizes = sorted({arm.config.rank for arm in of_ranks})
    low, high = ([arm for arm in of_scalings if arm.config.scaling == each] for each in (scalings[0], scalings[-1]))
    few, many = ([arm for arm in of_ranks if arm.config.rank == each] for each in (sizes[0], sizes[-1]))
    shifts = rate_shift(low, high), rate_shift(few, many)
    moves = any(shift.high < 1 or shift.low > 1 for shift in shifts)
    stays = all(shift.low == shift.high == 1 for shift in shifts)
    words = ["{} times ({} to {} within noise)".format(*map(rounded, shift)) for shift in shifts]
    powers = ", ".join(f"{power:+.2f} with {rule}" for rule, power in by_rank.power.items())
    return (OTHERWISE if moves else HOLDS if stays else OPEN), (
        f"In training, from scaling {scalings[0]:g} to {scalings[-1]:g} the best rate becomes {words[0]}, from rank "
        f"{sizes[0]} to {sizes[-1]} {words[1]}. A first update grows as the rank to the power {powers}.")


def words_for_ranks(words):
    """Judge: the words for ranks tell them apart."""
    said = {rank: [word for word, (low, high) in words.items() if low <= rank <= high] for rank in LADDERS["rank"]}
    several = [f"{rank} is {' and '.join(found)}" for rank, found in said.items() if len(found) > 1]
    without = [str(rank) for rank, found in said.items() if not found]
    seen = several + [f"{', '.join(without)} have no word"] * bool(without)
    return (OTHERWISE if seen else HOLDS), f"{'; '.join(seen) or 'Each rank has one word'}."


JOINED = {"territories": (NEAR, FAR), "controls": (TRAINING, FAR, "by_rank"), "whispers": (TRAINING, FAR, "strengths"),
          "balance": ("frontier", "strengths")}
CLAIMS = (
    Claim(("RANK-02",), "The base stays frozen.", frozen, "runs"),
    Claim(("RANK-02", "RANK-09"), "Small matrices are added; more rank, more numbers to train.", small_matrices,
          "costs"),
    Claim(("RANK-03",), "Rank is the number of independent directions in which learning can go.", directions, "costs"),
    Claim(("RANK-04",), "Rank 64 means 64 independent dimensions that are learned.", dimensions, "learned"),
    Claim(("RANK-05",), "Higher rank encodes richer patterns.", richer, "territories"),
    Claim(("RANK-06",), "Rank 8 severely limits what can be learned of a new territory.", limits, "territories"),
    Claim(("RANK-07", "RANK-11"), "Rank should match the distance of the territory from what is known.", distance,
          "territories"),
    Claim(("RANK-08",), "4 to 32 for moderate complexity, 32 to 64 for high, 64 and more for dramatic difference.",
          start_values, "territories"),
    Claim(("RANK-10",), "Low rank keeps everything else aligned with the base.", aligned, "territories"),
    Claim(("RANK-12", "ALPHA-10"), "Rank and Alpha are separate controls.", separate, "controls"),
    Claim(("RANK-06", "RANK-08"), "8 is low, 4 to 32 moderate, 32 to 64 high, 64 and more dramatic.", words_for_ranks,
          "words"),
)
IMAGES = ("The landscape, its hills and roads; grafting and fusing.",)
