"""The verb that lists the recorded runs, newest first: what differs, how they ended, which can go on."""

import math
import time
from contextlib import suppress
from pathlib import PurePath

from labkit.cli.parser import Outcome, pairs, suggest
from labkit.design.config import RunConfig, differing_fields
from labkit.design.ladders import rung_text
from labkit.design.naming import DERIVED
from labkit.errors import LabError
from labkit.judge import listing
from labkit.judge.diagnose import LABELS
from labkit.store import journal
from labkit.store.names import name_of, short_ids
from labkit.store.runs import COMPLETE, Store
from labkit.text import counted, printable
from labkit.view.style import VERDICTS

WIDTH = 100                                                   # columns that a table may have
ALSO = ("base", "data")                                       # fields that follow from nothing and are told last
HEADS = {"n_train": "pictures", "learning_rate": "rate", "train_batch_size": "batch", "max_train_steps": "updates",
         "gradient_accumulation_steps": "accumulation", "lr_scheduler": "schedule", "lr_warmup_steps": "warm-up",
         "target_modules": "layers", "num_train_epochs": "epochs"}
RESUMABLE = ("stopped", "interrupted")


def runs(options):
    """List the runs of the store."""
    store = Store(options.store)
    entries = listing.entries(store)
    ids = short_ids(account["id"] for account in entries)
    wanted, label = conditions(options.where)
    chosen = [account for account in entries if is_wanted(account, wanted, label, options.status)]
    chosen = chosen[-options.last:] if options.last else chosen
    accounts = [account | more(store.run(account["id"])) for account in chosen]
    data = [{name: account[name] for name in ("id", "status", "label", "config", "name", "updates_done", "can_resume")}
            | {"trained_s": account["time_s"], "loss": loss(account)} for account in accounts]
    if not entries:
        return Outcome(0, nothing_in(store), data)
    text = "\n".join(map(printable, table(accounts, ids))) if accounts else (
        f"None of the {counted(len(entries), 'run')} in {store.root} is like that.")
    return Outcome(0, text, data)


def nothing_in(store):
    """Say why nothing is listed: there is no run, or none that can be read; each of those was named with its fault."""
    return f"No run in {store.root} can be read." if store.runs() else f"There are no runs in {store.root}."


def conditions(texts):
    """Return the fields that runs must have, {name: value}, and the verdict, or None, from texts like rank=8."""
    given = pairs(texts, option="")
    label = given.pop("verdict", None)
    if label is not None and label not in LABELS:
        raise LabError(f"verdict = {label!r} is no verdict.{suggest(label, LABELS)}")
    values = {}
    for name, text in given.items():
        values[name] = text if name in ALSO else RunConfig.from_dict({name: text}).to_dict()[name]
    return values, label


def is_wanted(account, wanted, label, status):
    """Tell whether a run has these fields, this verdict and this status. Folders are known by their last name too."""
    config = account["config"]
    same = all(config[name] == value or name in ALSO and PurePath(str(config[name])).name == PurePath(value).name
               for name, value in wanted.items())
    is_status = status in (None, account["status"]) or status == "resumable" and account["status"] in RESUMABLE
    return same and label in (None, account["label"]) and is_status


def more(folder):
    """Return what a listing says of a run beside its entry: its name, when it was written last, how far it came."""
    last = {}
    with suppress(LabError):                                  # who lists the runs was told of it
        last = journal.last(folder.events_path)
    done, status = last.get("global_step", 0), folder.status
    return {"name": name_of(folder.path), "time_s": last.get("time"), "updates_done": done,
            "can_resume": status in RESUMABLE}


def loss(account):
    """Return the held-out loss at a run's end, None where there is none."""
    end = account["evidence"].get("loss_at_end")
    return end if end is not None and math.isfinite(end) else None


def table(accounts, ids):
    """Return the lines of the table, the newest run first, and what it leaves out."""
    configs = [account["config"] for account in accounts]
    names = [name for name in differing_fields(configs) if name not in {*DERIVED, "scaling"}]
    if "rank" in names and "alpha" in names and all(config["alpha"] == config["rank"] for config in configs):
        names.remove("alpha")                                 # it only follows the rank
    names += [name for name in ALSO if len({config[name] for config in configs}) > 1]
    left_out = []
    while max(map(len, lines := columns(accounts, ids, names))) > WIDTH and names:
        left_out.insert(0, names.pop(-3 if names[-2:] == [*ALSO] and len(names) > 2 else -1))
    shared = [f"{name} {rung_text(name, configs[0][name])}" for name in ("learning_rate", "rank", "max_train_steps")
              if name not in names and name not in left_out]
    notes = [f"All with {', '.join(shared)}."] if shared and len(accounts) > 1 else []
    notes += [f"They also differ in {', '.join(left_out)}: list fewer with a field, such as "
              f"{left_out[0]}={rung_text(left_out[0], configs[-1][left_out[0]])}, to see it."] if left_out else []
    resumable = [account for account in accounts if account["can_resume"]]
    notes += [f"`labkit resume {ids[resumable[-1]['id']]}` goes on with "
              f"{'it' if len(resumable) == 1 else 'the newest that can'}."] if resumable else []
    return [*lines, *notes]


def columns(accounts, ids, names):
    """Return the rows as lines of equal columns under their heads; a column that would be empty is left out."""
    heads = ["run", "name", "trained", *(HEADS.get(name, name.replace("_", " ")) for name in names),
             "loss", "verdict", "status"]
    rows = [[ids[account["id"]], account["name"], written(account["time_s"]),
             *(value(name, account["config"][name]) for name in names),
             "" if (end := loss(account)) is None else f"{end:.4f}",
             f"{VERDICTS[account['label']][0]} {account['label']}",
             status(account)] for account in reversed(accounts)]
    kept = [place for place, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    rows = [[row[place] for place in kept] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def value(name, setting):
    """Write a setting in a table: folders by their last name."""
    return PurePath(str(setting)).name if name in ALSO else rung_text(name, setting)


def written(time_s):
    """Write when a run was written last: the time of day for today, else the day."""
    if not time_s:
        return "unknown"
    then, today = time.localtime(time_s), time.localtime()
    same_year = "%d %b %H:%M" if then.tm_year == today.tm_year else "%d %b %Y"
    return time.strftime("%H:%M" if then[:3] == today[:3] else same_year, then)


def status(account):
    """Write a run's status: how far one came that is not complete, and that it can go on."""
    if account["status"] in COMPLETE:
        return account["status"]
    return f"{account['status']} {account['updates_done']:,}/{account['config']['max_train_steps']:,}"
