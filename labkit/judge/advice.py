"""What a verdict means for the next run, in plain words: what to do first, then why. The numbers stand elsewhere.

How far a rate is off is read from the run where it can be: a gain that grows with the rate tells how much more of it
is needed at the least, and since gains fall behind the rate in the end, the next rung above that is advised. Where the
run does not tell, the advice is one rung and another look. `tests/judge/test_advice.py` holds it to recorded races.
"""

from labkit.judge.findings import LITTLE, MIN_UPDATES, NEGLIGIBLE, PROPORTIONAL
from labkit.judge.verdict_text import (
    DIVERGED,
    HEALTHY,
    LEVEL_SHARE,
    NOTHING_HELD_OUT,
    OVERFITTING,
    OVERSHOOTING,
    STAGNATING,
    UNSURE,
)
from labkit.text import rounded

RUNGS = {10: "ten", 30: "thirty", 100: "a hundred"}  # times that a rate is raised by
PLAINLY = {DIVERGED: "far too fast", OVERSHOOTING: "too fast", STAGNATING: "too slow",
           OVERFITTING: "learning its pictures by heart", HEALTHY: "healthy"}


def advice(label: str, evidence: dict, improving: bool, so_far: bool) -> str:
    """Say what a verdict means and what to do next. evidence: of a `labkit.judge.diagnose.Verdict` with this label."""
    if label == UNSURE:
        return _when_unsure(evidence)
    if label == DIVERGED:
        return ("Far too fast: lower the rate about ten times, then look again. "
                "A run that broke does not tell how far it was off.")
    when = " so far" if so_far else ""
    if label == STAGNATING:
        return f"Too slow{when}: {_raise(evidence)}"
    if label == HEALTHY:
        return f"Healthy{when}: {_go_on(evidence, improving, so_far)}"
    best = evidence["best_step"]
    if label == OVERFITTING:
        where = f"stop at update {best:,}, where pictures it has not seen came out best" if best else "lower the rate"
        return f"It learns its pictures by heart{when}: {where}, or train on more pictures."
    if evidence["loss_at_start"] - evidence["loss_at_best"] < NEGLIGIBLE * evidence["loss_at_start"]:
        return (f"Too fast{when}: lower the rate about ten times, then look again. "
                f"It was at no time better than {evidence.get('begins_at', 'the untouched base')}.")
    return (f"Too fast{when}: lower the rate about three times, then look again, or stop at update {best:,}, "
            "where it was best.")


def _raise(evidence: dict) -> str:
    """Say how many times to raise the rate of a run that stagnates, and why."""
    start, gain = evidence["loss_at_start"], evidence["gain"].mean
    share = evidence.get("share_of_best_sibling", 1.0)
    if gain < NEGLIGIBLE * start or not 0 < share:
        return ("raise the rate about ten times, then look again. "
                "It has learned next to nothing, which does not tell how far it is off.")
    beside = share < 1
    needed = 1 / share if beside else LITTLE * start / gain
    why = (f"The best run beside it learned {rounded(needed)} times as much." if beside else
           f"Its loss fell by {gain / start:.1%}, where {LITTLE:.0%} is the least to aim at.")
    if not evidence["second_half_gain_per_rate"] >= PROPORTIONAL:  # it does not tell what more of the rate would bring
        return f"raise the rate about ten times, then look again. {why}"
    rung = next((rung for rung in RUNGS if rung >= needed), max(RUNGS))
    return f"raise the rate about {RUNGS[rung]} times. {why}"


def _go_on(evidence: dict, improving: bool, so_far: bool) -> str:
    """Say of a healthy run whether more updates are worth it."""
    if so_far:
        return "it learns. Let it go on."
    if improving:
        return "it learns, and still gets better. Train longer for more."
    if evidence["change_in_last_quarter"].low > -LEVEL_SHARE * evidence["gain"].mean:
        return "it has learned, and has levelled off. More updates at this rate add little."
    return "it learns and stays stable. Keep this rate."


def _when_unsure(evidence: dict) -> str:
    """Say of a run without a verdict what would make one possible."""
    why = evidence.get("why")
    if why == NOTHING_HELD_OUT:
        return ("Not to be told from losses, since no picture is held out: look at what it draws, early and late, or "
                "give eight pictures or more.")
    if why is None and evidence["pictures"] == 1:
        return "Not clear: hold more pictures out. One picture does not tell what others would show."
    if why is None:
        return "Not clear yet: it was measured too rarely. Train longer, or measure more often."
    if why == "early":
        return f"Too early to say: train for {MIN_UPDATES} updates at the least."
    if why == "no probe":
        return "Not clear: measure the loss on training pictures too. It tells a rate too high from learning by heart."
    if why == "seen once":
        return "Not clear yet: train a little longer. The last measurement got worse; the next may take it back."
    return (f"Not clear, perhaps {PLAINLY[evidence['leaning']]}: train longer, hold more pictures out, "
            "or repeat it with another seed.")
