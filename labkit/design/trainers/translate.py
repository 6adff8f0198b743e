"""Translate one trainer's settings into another's, with notes on all that is lost or means something else there."""

import difflib
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from labkit.design.adapter_start import FILE
from labkit.design.config import RunConfig
from labkit.design.trainers.length import pass_of, read_length, write_length
from labkit.design.trainers.passes import Pass, updates
from labkit.design.trainers.reading import plain
from labkit.design.trainers.schedule import read_schedule, write_schedule
from labkit.design.trainers.table import Choice, Notes, Run, Settings, Trainer, forms, same
from labkit.design.trainers.words import DEFAULTS, WORDS, changes, finds_rate, neutral
from labkit.errors import LabError, first_cause
from labkit.text import shown

KINDS = {
    "contradiction": "contradictory or without effect there",
    "other": "other meaning",
    "none": "no equivalent",
    "length": "how many updates",
    "unknown": "not known",
    "default": "not given, so the trainer's own value counts",
    "quiet": "left out, since it changes nothing of what is learned",
}
RATES = ("learning_rate", "unet_lr", "text_encoder_lr", "train.unet_lr", "unet.learning_rate", "lr_warmup")
SCHEDULE = ("lr_scheduler", "lr_warmup_steps", "lr_end", "lr_options", "max_train_steps", "num_train_epochs")


class Translation(NamedTuple):
    """Hold the translated settings, the run that they stand for, and the notes on them."""

    settings: Settings                            # the target's own, names with dots for what is nested
    run: Run                                      # in the common vocabulary
    notes: Notes
    names: dict[str, str]                         # what the run's parts are called where they come from


def translate(source: Trainer, settings: Mapping[str, Any], target: Trainer, pictures: int | Pass | None = None
              ) -> Translation:
    """Return a trainer's settings as another's.

    pictures    of a pass: their number, with repeats as the settings say, or the Pass that was counted in folders
    settings    names with dots for what is nested

    Nothing is left out without a note.
    """
    notes = Notes()
    _require_numbers(source, settings)
    try:
        run, names = read(source, settings, pictures, notes)
        left = _without_factor(target, run, notes, names)
        return Translation(write(target, left, pass_of(pictures, run), notes, names, source), run, notes, names)
    except LabError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        raise LabError(f"These settings cannot be read as those of {source.title} ({first_cause(error)}): look for a "
                       "value of another kind or size than it takes, or say with --from whose they are.") from None


def _require_numbers(trainer: Trainer, settings: Mapping[str, Any]) -> None:
    """Raise LabError naming a setting that must be a number and is none."""
    numbers = {row.theirs for row in trainer.rows if _is_number(neutral(row.ours)) or _is_number(row.default)}
    numbers |= {theirs for curve in trainer.curves for ours, theirs, _ in curve.options if ours != "decay"}
    numbers |= {curve.end[0] for curve in trainer.curves if curve.end} | set(RATES)
    numbers |= {trainer.length.steps or "", trainer.length.epochs or ""}
    for name, value in settings.items():
        plain_value = plain(value)
        if plain_value is None or _is_number(plain_value) or not numbers.intersection(forms(name)):
            continue
        is_exempt = name.endswith("resolution") or isinstance(plain_value, bool) and _is_switch(trainer, name)
        if isinstance(plain_value, str | bool | dict) and not is_exempt:
            raise LabError(f"{name} = {shown(value)} is no number: give one, such as 1e-4 or 16.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_switch(trainer: Trainer, name: str) -> bool:
    """Tell whether a setting may also be true or false there: then its value is read by a function of its own."""
    return any(row.theirs in forms(name) and row.read is not same for row in trainer.rows)


def read(trainer: Trainer, settings: Mapping[str, Any], pictures: int | Pass | None, notes: Notes
         ) -> tuple[Run, dict[str, str]]:
    """Return the run that settings stand for, and the trainer's name of each of its fields."""
    flat = {name: plain(value) for name, value in settings.items()}
    flat = {name: value for name, value in flat.items() if value is not None}
    flat = {name: value for name, value in trainer.before(flat, notes).items() if value is not None}
    run: Run = {}
    names = {row.ours: row.theirs for row in reversed(trainer.rows)}
    for row in trainer.rows:
        theirs = flat.get(row.theirs)
        if row.note:
            notes.tell("other", row.theirs, row.note)
        if theirs is None:
            if row.default is not None and row.ours not in run:
                run[row.ours], names[row.ours] = row.default, row.theirs
                notes.tell_default(trainer, row.theirs, row.default, neutral(row.ours))
            continue
        value = row.read(theirs, partial(notes.tell, "other", row.theirs))
        if value is not None:
            run[row.ours], names[row.ours] = value, row.theirs
    for choice in trainer.choices:
        _choose(choice, flat, run)
        if run.get(choice.ours) in choice.meanings:
            notes.tell("other", choice.theirs, choice.meanings[run[choice.ours]])
    if run.get("optimizer") == "sgd" and flat.get(names["weight_decay"]) is None:
        run["weight_decay"] = 0.0                             # torch's own; AdamW's is 0.01
    for name, value in trainer.fixed.items():
        run[name] = float(run["rank"]) if value == "=rank" else value
    if FILE.fullmatch(str(run.get("initial_weights"))):       # a start that the kit has too
        run["init_lora_weights"], names["init_lora_weights"] = run.pop("initial_weights"), names["initial_weights"]
    total = read_length(trainer, flat, run, pass_of(pictures, run), notes)
    read_schedule(trainer, flat, run, total, notes)
    _tell_rest(trainer, flat, notes)
    by_passes = trainer.length.epochs if run["num_train_epochs"] and not run["max_train_steps"] else None
    counted = by_passes or trainer.length.steps or str(trainer.length.epochs)
    return run, names | {"lr_scheduler": trainer.scheduler, "lr_warmup_steps": trainer.warmup[0],
                         "max_train_steps": counted, "num_train_epochs": counted,
                         **{choice.ours: choice.theirs for choice in trainer.choices if choice.ours not in WORDS}}


def _choose(choice: Choice, flat: Settings, run: Run) -> None:
    """Read the value of a choice: the first whose settings are all given, else the text of its own setting."""
    chosen = choice.default
    if flat.get(choice.theirs) is not None:
        text = flat[choice.theirs]
        chosen = tuple(text) if isinstance(text, list) else str(text).lower()
        chosen = choice.default if isinstance(text, bool) or "=" in choice.values else chosen
    for value, settings in choice.values.items():
        if settings and all(_fits(flat.get(name), wanted) for name, wanted in settings.items()):
            chosen = value
            for name, wanted in settings.items():
                size_name = {"=rank": "conv_rank", "=alpha": "conv_alpha"}.get(wanted)
                if size_name and flat.get(name) not in (None, run.get(size_name[5:])):
                    run[size_name] = flat[name]
                if wanted == "=":
                    chosen = flat.get(name, 5.0)
            break
    if chosen is not None:
        run[choice.ours] = chosen


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted.startswith("="):
        return wanted != "=rank" or value is not None
    if isinstance(value, str) and isinstance(wanted, str):
        return value.lower() == wanted.lower()
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _tell_rest(trainer: Trainer, flat: Settings, notes: Notes) -> None:
    """Tell of every setting that the table does not have, with the nearest name, and of those that do not matter."""
    known = trainer.names()
    off = [name for name, value in flat.items() if value in (False, 0, []) or value == {}]
    quiet = [name for name in flat if name not in known and (trainer.is_quiet(name) or name in off)]
    for name in flat:
        if name not in known and name not in quiet:
            near = difflib.get_close_matches(name, known, 1, 0.8)
            hint = f"did you mean {near[0]}?" if near else "look up what it does there"
            notes.tell("unknown", name, f"{str(flat[name])[:60]}: {hint}")
    if quiet:
        notes.tell("quiet", ", ".join(sorted(quiet)), "")


def write(trainer: Trainer, run: Run, one: Pass | None, notes: Notes, names: Mapping[str, str], source: Trainer
          ) -> Settings:
    """Return a run in the settings of a trainer, and note what they cannot express.

    one       pass over the pictures as the source makes it
    names     the source's name of each field of the run
    """
    run, total = dict(run), updates(run, one, source.length.ends_pass)
    _same_scaling(trainer, run, notes)
    start = FILE.fullmatch(str(run.get("init_lora_weights")))
    if start and any(row.ours == "initial_weights" for row in trainer.rows):
        run["initial_weights"] = start[1]                     # which is no way to draw A there
        del run["init_lora_weights"]
    left, flat = dict(run), Settings()
    for row in trainer.rows:
        value = left.get(row.ours)
        if row.write is None or row.theirs in flat:
            continue
        left.pop(row.ours, None)
        if value is None and row.ours in WORDS:
            value = neutral(row.ours)
        unsaid = row.default if row.default is not None else neutral(row.ours)
        if value is None and row.default is not None and not row.spare:
            notes.tell("default", row.theirs, f"the run leaves it open, so {trainer.name} takes {row.default}")
        if value is None or row.spare and value == unsaid:
            continue
        flat[row.theirs] = row.write(value, partial(notes.tell, "other", row.theirs))
        if row.note:
            notes.tell("other", row.theirs, row.note)
    for choice in trainer.choices:
        flat |= _written(trainer, choice, left.pop(choice.ours, neutral(choice.ours)), run, notes, names)
        if any("=rank" in settings.values() for settings in choice.values.values()):
            left = {name: value for name, value in left.items() if name not in ("conv_rank", "conv_alpha")}
    for name, value in trainer.fixed.items():
        mine = left.pop(name, None)
        if value == "=rank":
            if mine is not None and mine != run["rank"]:
                notes.tell("none", names.get(name, name), f"{_said(mine)}: alpha is always the rank there, so that "
                           f"the scaling alpha / rank is 1 instead of {mine / run['rank']:.4g}")
        elif mine is not None and mine != value:
            notes.tell("none", names.get(name, name), f"{_said(mine)}: {trainer.name} always has {_said(value)}; "
                                                      f"{changes(name, mine)}")
    for name in ("base", "data") if trainer.form == "design" else ():
        if run.get(name) is None:
            notes.tell("default", name, f"nothing is named, so that the design takes {DEFAULTS[name]}: write your own")
    if trainer.form != "design" and run.get("base") == DEFAULTS["base"]:
        notes.tell("none", names.get("base", "base"), f"{run['base']}: it ships with the kit alone; {changes('base')}")
    flat |= write_length(trainer, run, one, total, notes)
    flat |= write_schedule(trainer, run, total, notes)
    for name, value in left.items():
        if name not in SCHEDULE and value is not None and value != neutral(name):
            prefix = "" if value is True else f"{_said(value)}: "
            notes.tell("none", names.get(name, name), prefix + changes(name))
    return trainer.after(flat, run, notes)


def _without_factor(trainer: Trainer, run: Run, notes: Notes, names: Mapping[str, str]) -> Run:
    """Leave out rates that are factors of one which the optimizer finds itself, where another optimizer is written."""
    optimizer = run.get("optimizer")
    known = {value for choice in trainer.choices if choice.ours == "optimizer" for value in choice.values}
    if optimizer in known or not finds_rate(optimizer):
        return run
    left = ["learning_rate"] + ["text_encoder_lr"] * any(row.ours == "text_encoder_lr" and row.write
                                                         for row in trainer.rows)
    for name in left:
        if run.get(name):
            notes.tell("none", names[name], f"{run[name]:g} is a factor of the rate that {optimizer} finds itself and "
                                            "no rate for another optimizer, so it is left out"
                                            + ": `labkit find` finds one" * (name == "learning_rate"))
    return {name: value for name, value in run.items() if name not in (*left, "lr_end")}


def _same_scaling(trainer: Trainer, run: Run, notes: Notes) -> None:
    """Give alpha the value that keeps the scaling, where one divides by the rank's root and the other by the rank."""
    if run.get("alpha") is None and run.get("rank"):
        run["alpha"] = float(run["rank"])
    if run.get("use_rslora") and trainer.fixed.get("use_rslora") is False:
        run["alpha"], run["use_rslora"] = run["alpha"] * math.sqrt(run["rank"]), False
        notes.tell("other", "use_rslora", f"alpha / rank is the scaling there, so that alpha {run['alpha']:.6g} keeps "
                                          "what alpha / sqrt(rank) was")


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _written(trainer: Trainer, choice: Choice, value: Any, run: Run, notes: Notes, names: Mapping[str, str]
             ) -> Settings:
    """Return the settings of a choice's value, or of the nearest one that can be said there."""
    key = "=" if "=" in choice.values and value is not None else value
    if not choice.values:
        return {choice.theirs: value} if isinstance(value, tuple | list) else {}
    if key not in choice.values:
        near = choice.nearest(value)
        key = near if near in choice.values else choice.default
        if value is not None and value != neutral(choice.ours):
            known = f"; {_said(key)} is nearest" if key is not None and choice.ours not in WORDS else ""
            notes.tell("none", names.get(choice.ours, choice.ours),
                       f"{_said(value)}: {changes(choice.ours, value)}{known}")
    if key in choice.meanings:
        notes.tell("other", choice.theirs, choice.meanings[key])
    filled = {"=rank": run.get("conv_rank") or run.get("rank"), "=alpha": run.get("conv_alpha") or run.get("alpha"),
              "=": value}
    return {name: filled.get(wanted, wanted) if isinstance(wanted, str) else wanted
            for name, wanted in choice.values[key].items()}


def settings_of(config: RunConfig) -> Settings:
    """Return a configuration as settings of the kit itself, which is one of the trainers."""
    values = config.to_dict()
    return values | {"target_modules": list(config.targets)}
