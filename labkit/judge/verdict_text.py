"""Verdicts in words: the labels, the sentence for each, and why one cannot be given."""

from labkit.judge.stats import Interval
from labkit.text import counted, interval_text

DIVERGED, OVERSHOOTING, STAGNATING = "diverged", "overshooting", "stagnating"
OVERFITTING, HEALTHY, UNSURE = "overfitting", "healthy", "not enough evidence"
LEVEL_SHARE = 0.05  # of its gain: a run that can have made less in the last quarter of its updates has levelled off
NOTHING_HELD_OUT = "nothing held out"  # why a run is called neither healthy nor overfitting
LABELS = (DIVERGED, OVERSHOOTING, STAGNATING, OVERFITTING, HEALTHY, UNSURE)


def sentence(label: str, since: int | None, evidence: dict, improving: bool, so_far: bool) -> str:
    """Say what was seen in one sentence with its numbers. evidence: of a `labkit.judge.diagnose.Verdict`."""
    start, last, gain, rise = (evidence[name] for name in ("loss_at_start", "loss_at_end", "gain", "rise"))
    when = f" so far (after {counted(evidence['last_step'], 'update')})" if so_far else ""
    loss = f"loss on {evidence['measured_on']}" if "measured_on" in evidence else "held-out loss"
    beside = f"; judged alone it would be {evidence['alone']}" if "alone" in evidence else ""
    if label == DIVERGED:
        return (f"Diverged{when} since step {since}: {loss} went from {start:.4g} to {last:.4g}, "
                f"{last / start:.2g} times that of {evidence.get('begins_at', 'the untrained base')}.")
    if label in (OVERSHOOTING, OVERFITTING):
        probe = interval_text(evidence["probe_since_best"])
        on_training_pictures = {OVERSHOOTING: f"and on training pictures by {probe}",
                                OVERFITTING: f"while on training pictures it changed by {probe}"}[label]
        also = "" if "measured_on" in evidence else f", {on_training_pictures}"  # else it was said already
        return (f"{label.capitalize()}{when} since step {since}: {loss} rose by {interval_text(rise)} from its "
                f"lowest{also}{beside}.")
    share = evidence.get("share_of_best_sibling")
    compared = f", and is {share:.0%} of the best sibling's" if share is not None and share < 1 else ""
    if label == STAGNATING and abs(gain.mean) < 0.002 * start:
        change = interval_text(Interval(-gain.mean, -gain.high, -gain.low))
        return (f"Stagnating{when}: {loss} changed by {change}, next to nothing of its {start:.4g} at the "
                f"start{beside}.")
    if label == STAGNATING:
        is_steady = evidence["second_half_gain_per_rate"] >= 0.7
        steady = " and still grows in proportion to the rate spent" if is_steady else ""
        return f"Stagnating{when}: the gain of {interval_text(gain)} is small{steady}{compared}{beside}."
    is_level = evidence["change_in_last_quarter"].low > -LEVEL_SHARE * gain.mean
    course = ", and still falls" if improving else ", and has levelled off" if is_level else ""
    return f"Healthy{when}: {loss} fell by {interval_text(gain)} from {start:.4g}{course}{beside}."


def doubt(evidence: dict, needed: int) -> str:
    """Say why no label can be given. needed: how many evaluations a verdict takes at the least."""
    if evidence.get("why") == NOTHING_HELD_OUT:
        fell = f" fell by {interval_text(evidence['gain'])}" if "gain" in evidence else " tells little"
        return (f"Not enough evidence: the loss on the training pictures themselves{fell}, and no others are held out "
                "that would show overfitting.")
    if evidence["evaluations"] < needed:
        times = counted(evidence["evaluations"], "time")
        return f"Not enough evidence: held-out pictures have been measured {times}; {needed} are needed."
    if evidence["pictures"] < 2:
        return "Not enough evidence: one held-out picture cannot tell what others would show."
    why, rise = evidence["why"], evidence["rise"]
    if why == "no probe":
        return ("Not enough evidence: held-out loss rises, but without the loss on training pictures overfitting and "
                "overshooting look alike.")
    if why == "seen once":
        return (f"Not enough evidence: only the last evaluation lies above the lowest, by {interval_text(rise)}; the "
                "next one may take it back.")
    if why == "early":
        return (f"Not enough evidence: after {counted(evidence['last_step'], 'update')} the loss still falls in "
                "proportion to the rate, as it does early in every run.")
    leaning = evidence["leaning"]
    cases = f"over {evidence['pictures']} pictures and {evidence['evaluations']} evaluations"
    if leaning == HEALTHY and evidence["share_of_draws_that_rise"] > 0.1:
        return (f"Not enough evidence: it looks healthy, but a rise of {interval_text(rise)} from its lowest, "
                f"{cases}, is not ruled out.")
    effect = rise if leaning in (OVERSHOOTING, OVERFITTING) else evidence["gain"]
    what = "a rise" if effect is rise else "a gain"
    return f"Not enough evidence: it looks {leaning}, but {what} of {interval_text(effect)} {cases} is too uncertain."
