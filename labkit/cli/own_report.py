"""The verb that writes a page of one's own runs, in the look of the chapter's report."""

import base64
import html
import warnings
from collections import Counter, defaultdict
from datetime import datetime

from labkit.cli.parser import Outcome
from labkit.cli.report import entry
from labkit.cli.report_page import PAGE, territory
from labkit.cli.report_style import style
from labkit.cli.runs import find
from labkit.errors import LabError, LabWarning
from labkit.files.atomic import write_file
from labkit.judge.ranking import ranked
from labkit.settings import given_path
from labkit.store.names import name_of
from labkit.store.runs import Store
from labkit.text import counted, printable
from labkit.view.ranking import plot_ranking
from labkit.view.style import light

TITLE = "Parameter Design Lab: runs"
MOST = 200  # runs on a page
CHART = """
.chart img { width: 100%; max-width: 56rem; height: auto; display: block }
@media (prefers-color-scheme: dark) { .chart img { filter: invert(.88) hue-rotate(180deg) } }
"""  # a figure's white paper turns dark, its hues stay


def verb(options):
    """Write a page of the runs that were named, or of all runs of the store."""
    target = given_path(options.to)
    if target.suffix.lower() not in (".html", ".htm"):
        raise LabError(f"--to {options.to}: the file's name must end in .html, which is what it will be.")
    folders = {folder.path: folder for folder in
               ([find(text, options.store) for text in options.runs] or Store(options.store).runs())}
    if not folders:
        raise LabError(f"There are no runs in {Store(options.store).root}: train one, or give another --store.")
    if len(folders) > MOST:
        raise LabError(f"{len(folders):,} runs are more than a page of {MOST} holds: name those that it is to show.")
    runs = loaded(folders.values(), is_named=bool(options.runs))
    names = {folder.run_id: name_of(folder.path) for folder in folders.values()}
    write_file(target, page(runs, names).encode(), choose="--to")
    return Outcome(0, f"{printable(target)}: {counted(len(runs), 'run')}", {"path": str(target), "runs": [*runs]})


def loaded(folders, is_named):
    """Return {run id: run} of those that can be read; LabError where none can, or where one that was named can't."""
    runs = {}
    for folder in folders:
        try:
            runs[folder.run_id] = folder.load()
        except LabError as error:
            if is_named:
                raise
            warnings.warn(str(error), LabWarning, stacklevel=2)
    if not runs:
        raise LabError("None of these runs can be read.")
    return runs


def page(runs, names):
    """Return the page. runs: {run id: run}; names: what each is called, {run id: text}."""
    groups = defaultdict(list)
    for run in runs.values():
        groups[run.config.base, run.config.data].append(run)
    accounts = {run.run_id: entry(run, siblings=group) for group in groups.values() for run in group}
    labels = Counter(account["label"] for account in accounts.values())
    verdicts = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    summary = f"<p>{counted(len(runs), 'run')}: {verdicts}.</p>"
    if any(names[name] for name in runs):
        called = "; ".join(f"{html.escape(names[name])} is <code>{name[:8]}</code>" for name in runs if names[name])
        summary += f'<p class="quiet">{called}.</p>'
    cards = "\n".join(card(number, place, group, accounts) for number, (place, group) in enumerate(groups.items()))
    made = f"<p>Made {datetime.now():%d %B %Y at %H:%M} by <code>labkit report</code>.</p>"
    return PAGE.format(title=TITLE, style=style() + CHART, cards=cards, summary=summary, made=made)


def card(number, place, runs, accounts):
    """Return the card of the runs on one base and its pictures: curves, the best, what holds, the table."""
    base, data = map(html.escape, place)
    entries = [accounts[run.run_id] for run in runs]
    by_id = {run.run_id: run for run in runs}
    return (f'<section class="card" id="card-{number}" aria-labelledby="title-{number}"><h2 id="title-{number}">'
            f"{data} on {base}</h2>{curves(runs)}{territory(place[1], entries, by_id, False)}</section>")


def curves(runs):
    """Return the figure of the best runs' curves, "" where none was measured."""
    if len(runs) < 2 or not any("validation" in run.validations for run in runs):
        return ""
    figure = plot_ranking(ranked(runs)).figure
    data = base64.b64encode(light(figure.encoded("png"))).decode()
    return (f'<figure class="chart"><img alt="{html.escape(figure.summary, quote=True)}" '
            f'src="data:image/png;base64,{data}"></figure>')
