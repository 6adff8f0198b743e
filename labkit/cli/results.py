"""What training ends in: for one run its verdict, for several one table, best first, with a figure and pictures."""

import hashlib

from labkit.cli.parser import Outcome
from labkit.cli.report import entry
from labkit.design.naming import knobs
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.judge.ranking import ranked
from labkit.judge.score_text import told
from labkit.settings import given_path
from labkit.store.names import short_ids
from labkit.text import counted, printable
from labkit.view.ranking import plot_ranking, ranking_sheet, ranking_table

FOLDER = "sweeps"  # of a store: tables and figures of runs beside each other


def of_training(folders, before, error, stop, options):
    """Return the outcome of training these runs; exit code 1 where one failed, that of a signal where it was stopped.

    before    ids of runs that were complete before
    """
    requested = len(folders)
    folders = [folder for folder in folders if folder.path.exists()]  # a sweep may have been stopped before their turn
    runs = [folder.load() for folder in folders]
    data = [entry(run, siblings=runs) | {"path": str(folder.path), "adapter": str(folder.adapter_path)}
            for folder, run in zip(folders, runs, strict=True)]
    lines = of_several(folders, runs, before, options) if len(runs) > 1 else of_one(folders, runs, data, before)
    failed = error or any(run.status == "error" for run in runs)
    cut_short = stop() and (len(folders) < requested or any(run.status == "stopped" for run in runs))
    return Outcome(1 if failed else stop.code if cut_short else 0, "\n".join(lines), data)


def of_one(folders, runs, data, before):
    """Return the lines about one run: verdict, what to do, what was seen, where the adapter is."""
    lines = []
    for folder, run, account in zip(folders, runs, data, strict=True):
        lines += [f"run {folder.run_id}: {account['label']}", *indented(account), f"  adapter: {folder.adapter_path}"]
        lines += [f"  {run.provenance}"] if folder.run_id in before else []
        if run.status in ("stopped", "interrupted"):
            lines.append(f"  It is {run.status}; `labkit resume {folder.run_id}` goes on with it.")
    return map(printable, lines)


def of_several(folders, runs, before, options):
    """Return the lines about several runs: the table, best first, and where figure, pictures and adapter are."""
    places = ranked(runs)
    table = ranking_table(places)
    lines = repr(table).split("\n")
    paths = {folder.run_id: folder for folder in folders}
    best = places[0]
    lines += ["", *saved(places, table, folders[0].path.parent, getattr(options, "to", None))]
    if best.loss is not None and best.verdict.label != "diverged":
        lines.append(f"adapter of the best: {paths[best.run.run_id].adapter_path}")
    if found := sum(run.run_id in before for run in runs):
        lines.append(f"{counted(found, 'run')} of {len(runs)} found in the store, not trained again.")
    if unfinished := [run for run in runs if run.status in ("stopped", "interrupted")]:
        ids = short_ids(folder.run_id for folder in folders)
        lines.append(f"{counted(len(unfinished), 'run')} not finished; `labkit resume {ids[unfinished[0].run_id]}` "
                     "goes on with those of its pass.")
    return map(printable, lines)


def saved(places, table, store, to=None):
    """Save the table, the curves and the pictures of ranked runs, and return lines that say where.

    to    the folder that was chosen; by default one in the store, the same whenever these runs are compared
    """
    runs = [place.run for place in places]
    together = hashlib.sha256("".join(sorted(run.run_id for run in runs)).encode()).hexdigest()[:6]
    name = "-".join([*knobs(runs)[:3], together])
    folder, choose = (given_path(to), "--to") if to else (store / FOLDER / name, "--store")
    made = {"table.txt": f"{table!r}\n".encode()}
    if any("validation" in run.validations for run in runs):
        made["curves.png"] = plot_ranking(places).figure.encoded("png")
    try:
        sheet = ranking_sheet(places)
    except LabError:                                          # pictures of a run from elsewhere may be gone
        sheet = None
    if sheet is not None:
        made["pictures.png"] = sheet.encoded("png")
    for file, data in made.items():
        write_file(folder / file, data, choose=choose)
    return [f"{file.split('.')[0]}: {folder / file}" for file in made]


def indented(account):
    """Return the lines that say of a run what to do, what was seen and, where it has a score, what it is."""
    pictures = told(account["label"], account["score"])
    return [f"  {line}" for line in (account["advice"], account["seen"], pictures) if line]
