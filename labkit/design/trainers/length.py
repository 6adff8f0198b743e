"""How long a run is: read updates or passes from a trainer's settings, and write them in what another counts."""

import math

from labkit.design.config import DEFAULT_STEPS
from labkit.design.trainers.passes import Pass, Shown, account, batches, updates
from labkit.design.trainers.table import Notes, Run, Settings, Trainer


def pass_of(pictures: int | Pass | None, run: Run) -> Pass | None:
    """Return the pass over the pictures, counted or from their number; None where that is not known."""
    known = pictures or run.get("n_train")
    one = Pass([Shown("", known, run.get("repeats", 1) or 1)]) if isinstance(known, int) else known
    return one and one.held_out(run.get("validation_split", 0.0))


def read_length(trainer: Trainer, flat: Settings, run: Run, one: Pass | None, notes: Notes) -> int | None:
    """Put updates or passes into a run and return the updates, if they are known."""
    length = trainer.length
    lengths = {kind: flat.get(name) for kind, name in (("steps", length.steps), ("epochs", length.epochs)) if name}
    lengths = {kind: int(value) for kind, value in lengths.items() if value}
    if len(lengths) == 2:
        idle = "epochs" if length.first == "steps" else "steps"
        name = length.steps if idle == "steps" else length.epochs
        notes.tell("other", str(name), f"{lengths.pop(idle)} does not count beside the "
                                       f"{'updates' if idle == 'epochs' else 'passes'} that are given")
    if not lengths:
        lengths = dict([length.default])
        notes.tell_default(trainer, str(length.steps or length.epochs), f"{length.default[1]} {length.default[0]}",
                           f"{DEFAULT_STEPS} steps")
    run["max_train_steps"], run["num_train_epochs"] = lengths.get("steps"), lengths.get("epochs")
    if run["num_train_epochs"] and not run["max_train_steps"]:
        name = str(length.epochs or length.steps)
        if one is not None:
            doubled = "; class pictures, which are shown in turn with yours there, double them"
            has_turns = run.get("reg_data") and trainer.names_repeat       # elsewhere they share a batch with yours
            notes.tell("length", name, account(run, one, length.ends_pass) + (doubled if has_turns else ""))
        elif trainer.names_repeat and not run.get("repeats"):
            notes.tell("length", name, "a pass shows each picture as often as its folder's name says (10_room), and "
                                       "the folders are not here: give --pictures FOLDER, or N times the repeats")
    return updates(run, one, length.ends_pass)


def write_length(trainer: Trainer, run: Run, one: Pass | None, total: int | None, notes: Notes) -> Settings:
    """Return the settings with which a trainer trains as long as a run, in updates or in passes."""
    steps, passes, length = run.get("max_train_steps"), run.get("num_train_epochs"), trainer.length
    repeats, split = run.get("repeats", 1) or 1, run.get("validation_split", 0.0)
    known = {row.ours for row in trainer.rows}
    repeats_there = repeats if "repeats" in known else 1      # of a picture in a pass
    split_there = split if "validation_split" in known else 0.0
    theirs = one and one.elsewhere(trainer.names_repeat, repeats_there, split_there)
    if passes and length.epochs:
        if one is None or theirs is None:
            as_many = passes * repeats * (1 - split) / (repeats_there * (1 - split_there))
        else:
            as_many = passes * one.views / theirs.views
        there = run | {"num_train_epochs": as_many, "max_train_steps": None}
        if as_many == int(as_many) and total == updates(there, theirs, length.ends_pass):
            return {length.epochs: int(as_many)}
    if steps and length.steps:
        return {length.steps: steps}
    if total is None or theirs is None:
        kind, name = ("updates", length.steps) if length.steps else ("passes over the pictures", length.epochs)
        notes.tell("none", str(name), f"{trainer.name} counts {kind}, and the run does not: give --pictures N")
        return {}
    if length.steps:
        return {length.steps: total}
    rounded = max(1, round(total * math.prod(batches(run)) / theirs.views))
    made = updates(run | {"num_train_epochs": rounded, "max_train_steps": None}, theirs, length.ends_pass)
    if made != total:
        notes.tell("other", str(length.epochs), f"{trainer.name} counts whole passes: {rounded} make {made:,} updates "
                                                f"instead of {total:,}")
    return {str(length.epochs): rounded}
