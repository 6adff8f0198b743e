"""Find the schedule of a trainer that is nearest to a run's curve, by computing both, and read a trainer's own.

A name says little: `linear` falls in diffusers and rises in ai-toolkit, `cosine` is an endless wave in SimpleTuner.
So a schedule is written as the one whose rates differ least over the whole run, warm-up included, and the largest
difference is told where there is one.
"""

import difflib
import itertools
import math
from typing import Any

from labkit.design.trainers.curves import KIT, apart, difference, shares
from labkit.design.trainers.table import Curve, Notes, Run, Settings, Trainer
from labkit.design.trainers.warmup import in_unit, in_updates

SAME = 1e-6                                                   # of the peak; SimpleTuner rounds its rates to 1e-9
OWN_END = {"exponential": 0.1, "three_phase": 0.1}            # of the kit's curves, where no last rate is given


def read_schedule(trainer: Trainer, flat: Settings, run: Run, total: int | None, notes: Notes) -> None:
    """Put curve, warm-up, last rate and options of a trainer's schedule into a run; total: its updates, if known."""
    name = str(flat.get(trainer.scheduler, trainer.default_curve))
    curve = next((each for each in trainer.curves if each.theirs.lower() == name.lower()), None)
    if curve is None:
        near = difflib.get_close_matches(name.lower(), [each.theirs.lower() for each in trainer.curves], 1, 0.75)
        hint = f"did you mean {near[0]}?" if near else "constant is taken instead"
        notes.tell("unknown" if near else "none", trainer.scheduler,
                   f"{name} is no schedule whose curve is known here: {hint}")
        curve = Curve(name, "constant")
    run["lr_scheduler"] = curve.curve
    run["lr_warmup_steps"] = _warmup(trainer, curve, flat, run, total, notes)
    run["lr_options"] = {ours: flat.get(theirs, unsaid) for ours, theirs, unsaid in curve.options}
    if "decay" in run["lr_options"]:
        run["lr_options"]["decay"] = _decay(curve, run, total, notes)
    if curve.curve == "inverse_sqrt" and not run["lr_options"]["timescale"]:
        run["lr_options"]["timescale"] = run["lr_warmup_steps"] or 10_000
    if curve.end:
        setting, unit, unsaid = curve.end
        stated_end = flat.get(setting)
        last = float(unsaid if stated_end is None else stated_end)
        run["lr_end"] = last * run["learning_rate"] if unit == "share" else last
        if not last and stated_end is None:                   # the kit's own way of saying that nothing is said
            del run["lr_end"]
    _plain_line(run)
    if curve.note and curve.theirs != "constant":             # whose note is about a warm-up, and told with one
        notes.tell("other", trainer.scheduler, f"{curve.theirs}: {curve.note}")


def _plain_line(run: Run) -> None:
    """Rename a line that falls from the peak to the kit's `linear` or `constant`, so that its last rate is kept."""
    if run["lr_scheduler"] == "line" and run["lr_options"]["start"] == 1 and run["lr_options"]["stop"] <= 1:
        stop, run["lr_options"] = run["lr_options"]["stop"], {}
        run["lr_scheduler"] = "constant" if stop == 1 else "linear"
        if 0 < stop < 1:
            run["lr_end"] = _short(stop * run["learning_rate"])


def _warmup(trainer: Trainer, curve: Curve, flat: Settings, run: Run, total: int | None, notes: Notes) -> int:
    setting, unit, unsaid = trainer.warmup
    stated_warmup = flat.get(setting)
    if not curve.warmup:
        if stated_warmup and setting not in [theirs for _, theirs, _ in curve.options]:
            why = f", and {curve.note}" if curve.note else ""
            notes.tell("contradiction", setting, f"{curve.theirs} ignores a warm-up, here of {stated_warmup}{why}")
        return 0
    value = unsaid if stated_warmup is None else stated_warmup
    updates = in_updates(value, unit, total, run.get("gradient_accumulation_steps", 1))
    if updates is None:
        notes.tell("none", setting, f"{value} is a share of the run, whose updates are not known: give --pictures N")
    elif updates and stated_warmup is None:
        notes.tell("default", setting, f"not given, so {trainer.name} takes {value:g}")
    elif updates and unit == "passes or share" and value > 1 and updates != value:
        notes.tell("other", setting, f"{value:g} forward passes are {updates} updates")
    return updates or 0


def _decay(curve: Curve, run: Run, total: int | None, notes: Notes) -> int:
    """Return the updates over which a rate falls at the end, which sd-scripts takes as a share, too."""
    stated_decay = run["lr_options"]["decay"]
    updates = in_updates(stated_decay, "updates or share", total, 1)
    if updates is None:
        setting = next(theirs for ours, theirs, _ in curve.options if ours == "decay")
        notes.tell("none", setting, f"{stated_decay} is a share of the run, whose updates are not known: give "
                                    "--pictures N")
    return updates or 0


def write_schedule(trainer: Trainer, run: Run, total: int | None, notes: Notes) -> Settings:
    """Return the settings of the trainer's schedule that is nearest to a run's, and note where the two differ."""
    rate, warmup = run.get("learning_rate") or 1.0, run.get("lr_warmup_steps", 0)
    curve, options = run.get("lr_scheduler", "constant"), run.get("lr_options", {})
    steps = total or max(1000, 10 * warmup)
    end = run["lr_end"] / rate if run.get("lr_end") is not None else OWN_END.get(curve, 0.0)
    wanted = shares(curve, steps, warmup, end, **options)
    fits = [fit for each in trainer.curves for fit in _fits(each, run, steps if total else None, steps, end)]
    candidates = [(difference(wanted, there), there, *fit) for fit in fits for there in [_rates(fit, steps, warmup)]]
    off, there, chosen, settings, _ = min(candidates, key=lambda each: (
        each[0] > SAME, round(apart(wanted, each[1]), 4), each[2].curve != curve, len(each[3])))
    if off > SAME:
        path = math.fsum(there) / (math.fsum(wanted) or 1.0)
        notes.tell("none", trainer.scheduler,
                   f"{trainer.name} has no schedule like this {curve}: {chosen.theirs} is nearest. At one update it "
                   f"differs by {_percent(off)} of the highest rate, and its rates sum to {path:.0%} of these")
    elif chosen.note and curve != "constant":
        notes.tell("other", trainer.scheduler, f"{chosen.theirs}: {chosen.note}")
    flat: Settings = {trainer.scheduler: chosen.theirs}
    if trainer.warmup[0] not in settings:
        flat[trainer.warmup[0]] = in_unit(warmup if chosen.warmup else 0, trainer.warmup[1],
                                          run.get("gradient_accumulation_steps", 1))
    return flat | {name: value for name, value in settings.items() if name}


def _fits(curve: Curve, run: Run, total: int | None, steps: int, end: float) -> list[tuple[Curve, Settings, Run]]:
    """Return a curve with every set of options with which it may match the run's schedule."""
    last: dict[str, Any] = {"end": end if curve.curve != "constant" else 0.0}
    settings: Settings = {}
    if curve.end:
        setting, unit, always = curve.end
        peak = float(run.get("learning_rate") or 1.0)
        if setting == "":
            last["end"] = always / peak
        elif not (setting == "lr_end" and end == OWN_END.get(curve.curve, 0.0) and curve.curve in KIT):
            settings[setting] = _short(end if unit == "share" else end * peak)
    elif curve.curve != "constant":
        last["end"] = 0.0
    common = {"power": 1.0, "cycles": 1, "period": total, "start": 1.0, "stop": end, "step_size": total,
              "gamma": 0.1, "timescale": None, "decay": None}
    if run.get("lr_scheduler") == "constant":
        common |= {"stop": 1.0, "gamma": 1.0}
    choices = []
    for ours, theirs, _ in curve.options:
        values = [run.get("lr_options", {}).get(ours), common[ours]]
        choices.append([(ours, theirs, value) for value in dict.fromkeys(values) if value is not None])
    return [(curve, settings | {theirs: value for _, theirs, value in picked},
             last | {ours: value for ours, _, value in picked}) for picked in itertools.product(*choices)]


def _rates(fit: tuple[Curve, Settings, Run], steps: int, warmup: int) -> list[float]:
    curve, _, options = fit
    return shares(curve.curve, steps, warmup if curve.warmup else 0, **options)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1e}"


def _short(value: float) -> float:
    """Return a number without the digits that a product of two adds: 1.0000000000000001e-05 is 1e-05."""
    return float(f"{value:.12g}")
