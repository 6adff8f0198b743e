"""The score of a run in plain numbers and in words: how many prompts are accepted, before training and after.

A verdict follows from losses alone. Where the pictures say something else, `disagreement` says so beside it.
"""

from collections.abc import Mapping

from labkit.design.adapter_start import beginning, is_file
from labkit.judge.stats import Interval, share_interval, shares_difference
from labkit.store.history import Run, Scores

SETS = ("validation", "ordinary")  # the territory's held-out prompts, and those of what the base knew before
MANY = 0.5  # a run that accepts at least this share, beyond chance more than the untouched base, shows its territory
NEARLY_ALL = 0.8  # of the untouched base's: there is no more to gain

Score = Mapping[str, Mapping]  # of a run: {} where none was drawn, else what `score` returns


def score(run: Run) -> dict[str, dict]:
    """Return what was accepted of a run's prompts in a form that strict JSON keeps; {} without a score.

    For each of SETS that was drawn: `prompts` (how many), `before` and `after` (how many of them were accepted;
    None where none were drawn), `share` (accepted after, with the ends of its 95 % interval) and `change` (after less
    before, the same), `scored_by`, and `begins_at` where a run begins from a file. Where there can be no score:
    {"none": {"why": ...}} beside them.
    """
    begun = {"begins_at": beginning(run.config.init_lora_weights)} if is_file(run.config.init_lora_weights) else {}
    counts = {name: _counts(run.scores[name]) | begun for name in SETS if name in run.scores}
    why = run.meta.get("no_score")
    return counts | ({"none": {"why": str(why)}} if why and "validation" not in counts else {})


def _counts(scores: Scores) -> dict:
    before, last = scores.at(0), int(scores.steps[-1])
    after = scores.at(last) if last else None
    return {
        "prompts": len(scores.prompts), "scored_by": scores.scored_by,
        "before": None if before is None else int(before.sum()), "after": None if after is None else int(after.sum()),
        "share": None if after is None else list(_within(share_interval(after))),
        "change": None if after is None or before is None else list(shares_difference(after, before)),
    }


def _within(share: Interval) -> Interval:
    """Return the interval of a share, cut to 0..1."""
    return Interval(share.mean, max(share.low, 0.0), min(share.high, 1.0))


def words(score: Score) -> str:
    """Write a score, as in "15 of 16 prompts accepted (72 to 99 %), 0 of 16 untouched; ordinary 7 of 8"."""
    parts = [f"No score: {score['none']['why']}"] if "none" in score else []
    if counts := score.get("validation"):
        n, before, after, at_first = counts["prompts"], counts["before"], counts["after"], _at_first(counts)
        untouched = "" if before is None else f", {before} of {n} {at_first}"
        parts.append(f"{before} of {n} prompts accepted {at_first}, none drawn since" if after is None else
                     f"{after} of {n} prompts accepted ({percents(counts['share'])}){untouched}")
    if (counts := score.get("ordinary")) and counts["after"] is not None:
        untouched = "" if counts["before"] is None else f", {counts['before']} {_at_first(counts)}"
        parts.append(f"ordinary {counts['after']} of {counts['prompts']}{untouched}")
    return "; ".join(parts)


def _at_first(counts: Mapping) -> str:
    """Name what was drawn before training: the untouched base, or with the file that a run begins from."""
    return f"with {counts['begins_at']}" if "begins_at" in counts else "untouched"


def percents(share: list) -> str:
    """Write the ends of a share's interval: "72 to 99 %"."""
    _, low, high = share
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def short(score: Score, name: str = "validation", when: str = "after") -> str:
    """Write one count where there is little room: "15 of 16"; nothing where there is none."""
    counts = score.get(name, {})
    return "" if counts.get(when) is None else f"{counts[when]} of {counts['prompts']}"


def disagreement(label: str, score: Score) -> str:
    """Say in a sentence that the pictures do not show what a verdict by loss says; nothing where they agree."""
    counts = score.get("validation", {})
    if not counts.get("change"):
        return ""
    is_more = counts["change"][1] > 0
    seen = f"{counts['after']} of {counts['prompts']} prompts are accepted, {counts['before']} {_at_first(counts)}"
    if label == "healthy" and not is_more and counts["before"] < NEARLY_ALL * counts["prompts"]:
        return f"The loss fell, but the pictures do not show it: {seen}."
    if label in ("stagnating", "overshooting") and is_more and counts["share"][0] >= MANY:
        return f"That is what the loss says; the pictures are what was asked for: {seen}."
    return ""


def told(label: str, score: Score) -> str:
    """Return one or two sentences on a score, to stand beside a verdict; "" without a score."""
    text = words(score)
    parts = (f"{text[0].upper()}{text[1:]}." if text else "", disagreement(label, score))
    return " ".join(part for part in parts if part)
