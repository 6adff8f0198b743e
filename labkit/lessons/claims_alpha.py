"""What section 11.2 of the chapter says of Alpha, each sentence judged by runs. Its Alpha is a strength: a scaling."""

import math

import numpy as np

from labkit.judge.arms import basis, difference, over_seeds, rise
from labkit.judge.compare import best_of
from labkit.judge.stats import LEVEL, interval_of, level_among, resampled_means, shares_difference
from labkit.lessons.claims import HOLDS, IF, OPEN, OTHERWISE, Claim
from labkit.text import interval_text, rate_text, share_text, with_interval

SETS = ("territory", "ordinary")
SAME = 1e-3  # of a loss or a change: what rounding comes to
STRAIGHT = 0.05  # of a change: a deviation below may pass for none
EQUAL = 2  # times the other: shares within it may pass for equal
TENTATIVE = 0.3  # of the gain, and of the harm, at strength 1
# The chapter's ranges: for the known, for both the known and the new, for the new.
BANDS = {"low": (0.0, 0.1), "both": (0.2, 0.5), "high": (1.0, math.inf)}


# -- what it mixes

def form(mixed):
    """Judge: output = base output + Alpha × new output."""
    off = max((error for s, error in zip(mixed.strengths, mixed.model_error, strict=True) if s not in (0, 1)),
              default=math.nan)
    verdict = OTHERWISE if mixed.layer_error > SAME else HOLDS if off < STRAIGHT else IF if off > STRAIGHT else OPEN
    return verdict, (
        f"The output of a layer deviates from it by {mixed.layer_error:.0e} of the change at most, the answer of the "
        f"whole model by {off:.0%}." + " It holds if each layer's output is meant." * (verdict == IF))


def average(mixed):
    """Judge: at 1 the output is a balanced average of base and new."""
    shares = np.maximum(mixed.shares, np.finfo(float).tiny)  # of a layer that nothing changed
    mean, low, high = np.exp(interval_of(np.log(shares)))
    verdict = HOLDS if low > 1 / EQUAL and high < EQUAL else OTHERWISE if high < 1 / EQUAL or low > EQUAL else OPEN
    return verdict, (
        f"At 1 what is added has {interval_text((mean, low, high))} times the size of the frozen part, in the "
        f"geometric mean of {len(mixed.shares)} layers: a sum, not an average, and training decides the shares.")


# -- the dial after training; scores: Scores over strengths, the untouched base the first

def _number(scores, strength: float) -> int:
    """Return the number of the strength nearest to one."""
    return min(range(len(scores.strengths)), key=lambda k: abs(scores.strengths[k] - strength))


def dial(scores):
    """Judge: at 0 the model is the base; up to 1 the new grows and the known suffers."""
    none, full = _number(scores, 0.0), _number(scores, 1.0)
    off = max(float(np.abs(scores.losses[name][none] / scores.base[name] - 1).max()) for name in SETS)
    new, known = (scores.change(name, full, len(SETS)) for name in SETS)
    up_to = [k for k, strength in enumerate(scores.strengths) if strength <= 1]
    falls, rises = (np.diff([scores.losses[name][k].mean() for k in up_to]) for name in SETS)
    is_shown = new.high < 0 < known.low
    verdict = OTHERWISE if off > SAME or new.low > 0 or known.high < 0 else OPEN if not is_shown else (
        HOLDS if (falls < 0).all() and (rises > 0).all() else IF)
    return verdict, (
        f"At 0 losses differ from the base's by {off:.0e} of themselves at most; at 1 the territory's changes by "
        f"{with_interval(new)}, that of ordinary places by {with_interval(known)} (over pictures, one run)."
        + " It holds from end to end, not at every strength between." * (verdict == IF))


def dominates(scores):
    """Judge: at a very large Alpha the new dominates."""
    last, lowest = len(scores.strengths) - 1, scores.lowest
    strongest = scores.strengths[last]
    if strongest <= 1:
        return OPEN, "No strength above 1 was measured."
    if lowest == last:
        return HOLDS, f"The territory's loss is lowest at the largest strength measured, {strongest:g}."
    behind = interval_of(scores.losses["territory"][last] - scores.losses["territory"][lowest], level_among(last))
    return (OTHERWISE if behind.low > 0 else OPEN), (
        f"The territory's loss is lowest at strength {scores.strengths[lowest]:g}; at {strongest:g} it is "
        f"{with_interval(behind)} against that (over pictures, one run): the new suffers as well.")


def whispers(evidence):
    """Judge: an Alpha of 0.1 or less leaves the new tentative and the known intact.

    evidence    recorded runs at other training scalings, of all ranks at scaling 1, and Scores over strengths
    """
    training, ranks, scores = evidence
    after, words = _whispers_after(scores)
    arms = over_seeds([*training, *(run for run in ranks if run.config.rank == training[0].config.rank)])
    low, plain = (best_of([arm for arm in arms if math.isclose(arm.config.scaling, scaling)])
                  for scaling in (min(arm.config.scaling for arm in arms), 1.0))
    gap, gain = difference(low, plain), -rise(plain, 0).mean
    lost = (1 - TENTATIVE) * gain
    in_training = True if gap.low > lost else False if gap.high < lost else None
    verdict = OTHERWISE if after is False else OPEN if None in (after, in_training) else HOLDS if in_training else IF
    return verdict, (
        f"{words} In training at scaling {low.config.scaling:g} and its own best rate, "
        f"{rate_text(low.config.learning_rate)}, runs end {with_interval(gap)} against scaling 1, which gains "
        f"{gain:.3f} ({basis(low, plain)})."
        + " It holds if it is set after training." * (verdict == IF))


def _whispers_after(scores) -> tuple[bool | None, str]:
    """Tell whether a low strength after training leaves the new tentative and the known intact, and say it."""
    lows = [k for k, strength in enumerate(scores.strengths) if 0 < strength <= BANDS["low"][1]]
    if not lows:
        return None, "No strength of 0.1 or less was measured after training."
    full, answers, shares = _number(scores, 1.0), [], []
    for name, sign in zip(SETS, (-1, 1), strict=True):
        whole = sign * scores.change(name, full).mean
        low, high = sorted(sign * end / whole for end in scores.change(name, lows[-1], len(SETS))[1:])
        shares.append((sign * scores.change(name, lows[-1]).mean / whole, low, high))
        is_known = whole > 0 and not low <= TENTATIVE <= high
        answers.append(high < TENTATIVE if is_known else None)
    answer = False if False in answers else None if None in answers else True
    return answer, (f"At strength {scores.strengths[lows[-1]]:g} after training there is {share_text(shares[0])} of "
                    f"the gain and {share_text(shares[1])} of the harm at strength 1 (over pictures, one run).")


# -- the range for both

def balance(evidence):
    """Judge: for most of the new at least harm to the known, 0.2 to 0.5; evidence: (Frontier, Scores)."""
    frontier, scores = evidence
    readings = _in_pictures(frontier), _in_losses(scores)
    answers = [answer for answer, _ in readings]
    verdict = OPEN
    if any(answers) != (False in answers):  # they do not contradict each other, and one of them is sure
        verdict = HOLDS if any(answers) else OTHERWISE
    return verdict, " ".join(words for _, words in readings)


def _is_between(strength: float) -> bool:
    low, high = BANDS["both"]
    return low <= strength <= high


def _in_pictures(frontier) -> tuple[bool | None, str]:
    """Tell whether the strength that pictures choose lies in the range, where no rival can be as good."""
    chosen = frontier.strengths[frontier.chosen]
    inside = _is_between(chosen)
    rivals = [k for k, strength in enumerate(frontier.strengths) if _is_between(strength) != inside]

    def is_beaten(k) -> bool:
        less = shares_difference(frontier.target[frontier.chosen], frontier.target[k], frontier.level)
        lost = shares_difference(frontier.kept[0], frontier.kept[k], frontier.level)
        return less.low > 0 or lost.low > frontier.affordable

    is_sure = bool(rivals) and all(map(is_beaten, rivals))
    others = "surely better than any" if is_sure else "not surely better than all"
    side = "outside" if inside else "inside"
    tried = f"{others} {side} the range" if rivals else f"none {side} the range was tried"
    return (inside if is_sure else None), f"Pictures choose strength {chosen:g}, {tried}."


def _in_losses(scores) -> tuple[bool | None, str]:
    """Tell whether the knee lies in the range: where the share of the gain exceeds that of the harm by most."""
    up_to = [k for k, strength in enumerate(scores.strengths) if strength <= 1]
    strengths = np.array([scores.strengths[k] for k in up_to])
    if len(up_to) < 3 or (strengths[0], strengths[-1]) != (0, 1):
        return None, "Too few strengths up to 1 were measured for the losses to show a knee."
    if not (scores.change("territory", up_to[-1]).mean < 0 < scores.change("ordinary", up_to[-1]).mean):
        return None, "By the losses there is no gain or no harm at strength 1, and so no knee."
    shares = []
    for name in SETS:
        values = scores.losses[name][up_to].T
        means = np.vstack([values.mean(0), resampled_means(values)])  # (1 + resamples, strengths)
        shares.append((means - means[:, :1]) / (means[:, -1:] - means[:, :1]))
    knees = strengths[(shares[0] - shares[1]).argmax(axis=1)]
    low, high = np.quantile(knees[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    least, most = BANDS["both"]
    answer = True if least <= low and high <= most else False if high < least or low > most else None
    return answer, (f"By the losses the share of the gain exceeds that of the harm most at {knees[0]:g} ({low:g} to "
                    f"{high:g}, over pictures, one run).")


def gaps(bands):
    """Judge: the ranges for Alpha leave nothing out."""
    ranges = sorted(bands.values())
    left_out = [(high, low) for (_, high), (low, _) in zip(ranges, ranges[1:], strict=False) if high < low]
    seen = " and ".join(f"from {low:g} to {high:g}" for low, high in left_out)
    return (OTHERWISE if left_out else HOLDS), f"{f'Nothing is said {seen}' if seen else 'They meet'}."


CLAIMS = (
    Claim(("ALPHA-01",), "Output = base output + Alpha × new output.", form, "mixed"),
    Claim(("ALPHA-03",), "At Alpha 1 the output is a balanced average.", average, "mixed"),
    Claim(("ALPHA-02", "ALPHA-05", "ALPHA-09"),
          "At Alpha 0 the model is the base; up to 1 the new grows and the known suffers.", dial, "strengths"),
    Claim(("ALPHA-04",), "At a very large Alpha the new dominates.", dominates, "strengths"),
    Claim(("ALPHA-06", "ALPHA-14"), "Alpha 0.1 or less keeps the known intact and the new tentative.", whispers,
          "whispers"),
    Claim(("ALPHA-07",), "For most of the new at least harm to the known, Alpha 0.2 to 0.5.", balance, "balance"),
    Claim(("ALPHA-05", "ALPHA-06", "ALPHA-07"), "High is 1 and more, low 0.1 and less, both 0.2 to 0.5.", gaps,
          "bands"),
)
