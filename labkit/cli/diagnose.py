"""The verb that judges runs and shows the evidence; of other trainers' logs `labkit.cli.foreign_log` tells."""

from labkit.cli import foreign_log
from labkit.cli.listing import nothing_in
from labkit.cli.parser import Outcome
from labkit.cli.results import indented
from labkit.cli.runs import find
from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.judge import listing
from labkit.settings import given_path
from labkit.store.names import name_of
from labkit.store.runs import COMPLETE, Store
from labkit.text import counted, interval_text, printable
from labkit.view.style import VERDICTS

# What `diagnose` says of a run in JSON, beside its path: these names stay.
JUDGED = ("id", "status", "label", "since_step", "confidence", "evidence", "advice", "score", "sentence")


def diagnose(options):
    """Judge runs, all runs of a store, or logs of other trainers, and show the evidence."""
    if are_logs(options):
        return foreign_log.diagnose(options)
    folders = [folder for name in options.paths for folder in runs_at(name, options.store)]
    folders = folders or Store(options.store).runs()
    roots = {folder.path.parent for folder in folders}
    accounts = {(root, account["id"]): account for root in roots for account in listing.entries(Store(root))}
    data, blocks = [], []
    for folder in folders:
        account = accounts.get((folder.path.parent, folder.run_id))
        if account is None and not options.paths:             # its fault was said; a run that was named is an error
            continue
        if account is None:
            folder.load()                                     # raises what is wrong with it
        data.append({"path": str(folder.path)} | {name: account[name] for name in JUDGED})
        evidence = everything(account) if options.verbose else in_short(account) if len(folders) == 1 else []
        blocks.append([headline(account, name_of(folder.path)), *indented(account), *evidence])
    lines = [line for block in blocks for line in block]
    if lines and not options.verbose:
        lines.append("`labkit diagnose --verbose` shows all of the evidence, --json for programs.")
    return Outcome(0, "\n".join(map(printable, lines)) or nothing_in(Store(options.store)), data)


def are_logs(options):
    """Tell whether the paths given are logs; LabError where only some are, or runs come with options of logs."""
    foreign = [foreign_log.is_foreign(name) for name in options.paths]
    if any(foreign) and not all(foreign):
        log, other = (options.paths[foreign.index(kind)] for kind in (True, False))
        raise LabError(f"{log} is another trainer's log and {other} is none, or is not there: diagnose logs and runs "
                       "one after the other.")
    given = [name for name in ("train_tag", "val_tag", "plot") if getattr(options, name)]
    if given and not any(foreign):
        raise LabError(f"--{given[0].replace('_', '-')} is for other trainers' logs: give the path of one.")
    return any(foreign)


def runs_at(name, store):
    """Return the folders of runs that a name stands for: a run, or all of a store that is given by its folder."""
    path = given_path(name)
    if foreign_log.is_store(path):
        return Store(path).runs()
    return [find(name, store)]


def headline(account, name):
    """Return the line above a run's block: verdict, since when, how sure, and where the run stands."""
    since = f" since update {account['since_step']:,}" if account["since_step"] else ""
    sure = "" if account["confidence"] is None else f", confidence {account['confidence']:.2f}"
    status = "" if account["status"] in COMPLETE else f" ({account['status']})"
    called = f" {name}" if name else ""
    return f"{account['id']}{called}{status}: {VERDICTS[account['label']][0]} {account['label']}{since}{sure}"


def in_short(account):
    """Return what a verdict rests on in a few lines that fit a screen with it."""
    found, rows = account["evidence"], []
    if "loss_at_end" in found:
        rows.append(("loss on fixed noise", f"{found['loss_at_start']:.4f} → {found['loss_at_end']:.4f} after "
                                      f"{counted(found['last_step'], 'update')}, lowest {found['loss_at_best']:.4f} "
                                      f"after {counted(found['best_step'], 'update')}"))
    told = {"gain": "gained since the start", "rise": "risen from its lowest",
            "probe_gain": "gained on training pictures", "change_in_last_quarter": "change in the last quarter"}
    rows += [(words, change(found[name])) for name, words in told.items() if found.get(name) is not None]
    if found.get("share_of_best_sibling") is not None:
        rows.append(("beside its best sibling", f"{found['share_of_best_sibling']:.0%} of that run's gain"))
    if "evaluations" in found:
        picture = found.get("measured_on", "held-out pictures").removesuffix("s")
        rows.append(("measured", f"{counted(found['evaluations'], 'time')} on "
                                 f"{counted(found.get('pictures', 0), picture)}"))
    if found.get("clipped_frac") is not None:
        rows.append(("gradients clipped", f"in {found['clipped_frac']:.0%} of {counted(found['updates'], 'update')}"))
    rows.append(("settings", RunConfig.from_dict(own_fields(account["config"])).share()))
    return [f"    {words:<29}{value}" for words, value in rows]


def change(interval):
    """Write a change of the loss with its interval: "0.0092 (0.006 to 0.013)"."""
    return interval_text(interval) if isinstance(interval, list) and None not in interval else number(interval)


def everything(account):
    """Return all of the evidence, a line each, and all settings that are not the defaults."""
    lines = [f"    {name}: {number(value)}" for name, value in account["evidence"].items()]
    return [*lines, f"    settings: {RunConfig.from_dict(own_fields(account['config'])).share()}"]


def own_fields(config):
    """Return the fields of a run's configuration, without what listings add to them."""
    return {name: value for name, value in config.items() if name != "scaling"}


def number(value):
    """Write a piece of evidence: numbers with four digits, an interval as mean [low, high]."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) == 3 and all(isinstance(item, float) for item in value):
        return "{:.4g} [{:.4g}, {:.4g}]".format(*value)
    return str(value)
