"""What is said of a log of another trainer: what to do, and what was seen, with its numbers."""

import math

from labkit.judge.stats import Interval
from labkit.judge.verdict_text import DIVERGED, HEALTHY, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE
from labkit.text import counted, interval_text

LEVEL_SHARE = 0.1                                             # second half over first: below it, it has levelled off


def advice(label: str, evidence: dict, has_probe: bool) -> str:
    """Return what to do. evidence: of a `labkit.judge.foreign.LogVerdict` with this label."""
    if label == DIVERGED:
        return "Broken: lower the rate about ten times. Checkpoints from before may still be good."
    if label == UNSURE:
        return _when_unsure(evidence)
    if label == STAGNATING:
        if evidence["gain"].low > 0:
            return "Too slow, or too short: raise the rate about three times, or train at least twice as long."
        return "Too slow: raise the rate about ten times. Nothing was learned that could be measured."
    best = f"{evidence['best_step']:,}"
    if label == HEALTHY:
        if evidence["rise"].low > 0:
            return f"Healthy, and just past its best: keep the checkpoint nearest to step {best}."
        slow = evidence["second_half_gain"] < LEVEL_SHARE
        return "Healthy, and levelled off: more steps add little." if slow else "Healthy: more steps may still help."
    if label == OVERSHOOTING and evidence["gain"].low <= 0:
        return "Too fast: lower the rate about ten times. It was at no time clearly better than at first."
    if label == OVERSHOOTING:
        return f"Too fast: lower the rate about three times, or keep the checkpoint nearest to step {best}."
    other = "" if has_probe else (" Or the rate is too high: the loss on a few training pictures, on fixed noise, "
                                  "would tell.")
    return (f"It learns its pictures by heart: keep the checkpoint nearest to step {best}, stop there next time, or "
            f"train on more pictures.{other}")


def _when_unsure(evidence: dict) -> str:
    reason = evidence["reason"]
    if reason == "training loss alone":
        return "No verdict: the training loss alone cannot bear one."
    if reason == "few points":
        return "No verdict yet: the validation loss was logged too rarely."
    leaning = evidence.get("leaning")
    return (f"Not clear{f', perhaps {leaning}' if leaning else ''}: train longer, validate more often, or on more "
            "pictures.")


def seen(label: str, since: int | None, evidence: dict) -> str:
    """Return what was seen, in one sentence or two with its numbers."""
    reason = evidence.get("reason", "")
    if reason == "not finite":
        return f"From step {since:,} on the loss is no finite number."
    if reason == "explosion" and "loss_at_start" in evidence:
        return (f"Validation loss went from {evidence['loss_at_start']:.4g} to {evidence['loss_at_end']:.4g}, beyond "
                f"all bounds since step {since:,}.")
    if reason == "explosion":
        return f"Since step {since:,} the training loss lies at more than twice what it was, far beyond its noise."
    if reason == "training loss alone":
        return _of_training(evidence)
    if reason == "few points":
        return f"There are {counted(evidence['evaluations'], 'value')} of it."
    start, gain, rise = evidence["loss_at_start"], evidence["gain"], evidence["rise"]
    size = evidence["noise"]
    is_measure = abs(start) > size                            # a share of a loss about 0 would tell nothing
    of_loss = f" ({100 * size / abs(start):.1g} % of the loss)" if is_measure else ""
    noise = f"The log's own noise is {size:.2g}{of_loss}"
    if label in (OVERFITTING, OVERSHOOTING) or rise.low > 0:
        probe = evidence.get("probe_since_best")
        beside = ""
        if isinstance(probe, Interval):
            beside = f", while on training pictures it changed by {interval_text(probe)}"
        fell = f"fell by {interval_text(gain)} to step {evidence['best_step']:,} and then " if gain.low > 0 else ""
        return f"Validation loss {fell}rose by {interval_text(rise)}{beside}. {noise}."
    share = f", {100 * gain.mean / abs(start):.2g} % of {start:.4g}" if is_measure else ""
    if label == STAGNATING and gain.low > 0:
        pace = evidence["second_half_gain"]
        late = f"still at {pace:.0%} of the pace of the first" if math.isfinite(pace) else "alone"
        return f"Validation loss fell by {interval_text(gain)}{share}, and in the second half {late}. {noise}."
    return f"Validation loss fell by {interval_text(gain)}{share}. {noise}."


def _of_training(evidence: dict) -> str:
    if "train_drop" not in evidence:
        return f"There are {counted(evidence.get('train_points', 0), 'value')} of it."
    drop, ratio = evidence["train_drop"], evidence["train_noise_to_drop"]
    word = "drop" if drop.mean > 0 else "rise"
    size = drop if drop.mean > 0 else Interval(-drop.mean, -drop.high, -drop.low)
    sure = "" if drop.excludes_zero else ", which may be none at all"
    return (f"A single step scatters by {evidence['train_noise']:.2g}, {ratio:.2g} times the {word} of the mean from "
            f"the first fifth of the run to the last, {interval_text(size)}{sure}.")
