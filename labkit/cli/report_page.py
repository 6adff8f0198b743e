"""The report as one page: a card a lesson, the best run first, then what holds, then every run with its evidence."""

import html
import math
from collections import Counter, defaultdict

from labkit.cli import report_run
from labkit.cli.report_style import style
from labkit.design.config import differing_fields
from labkit.design.naming import DERIVED, order_of, setting_text
from labkit.judge import score_text
from labkit.judge.diagnose import DIVERGED, HEALTHY
from labkit.judge.ranking import loss_name
from labkit.judge.what_holds import what_holds
from labkit.lessons.notebooks import QUESTIONS
from labkit.text import counted
from labkit.view.cards import loss_change

TITLE = "Parameter Design Lab: report"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
<header><h1>{title}</h1>{summary}</header>
<main>
{cards}
</main>
<footer>{made}</footer></body></html>
"""
WORDS = {"n_train": "{} pictures", "train_batch_size": "batch size {}", "max_train_steps": "{:,} updates"}
USUAL = ("n_train", "rank", "learning_rate", "max_train_steps", "train_batch_size")  # told of runs that share them


def page(data, runs, made) -> str:
    """Return the page.

    data    of results.json
    runs    {lesson: {run id: run}}
    made    when and on what machine
    """
    entries = defaultdict(list)
    for entry in data["runs"]:
        if entry["id"] in runs[entry["lesson"]]:
            entries[entry["lesson"]].append(entry)
    cards = "\n".join(card(result, entries[result["name"]], runs[result["name"]]) for result in data["notebooks"])
    return PAGE.format(title=TITLE, style=style(), cards=cards, summary=summary(data),
                       made=f"<p>{html.escape(made)}</p>")


def summary(data) -> str:
    """Return what stands above the cards: how many lessons went well, what the runs are, links to the cards."""
    done = sum(result["ok"] for result in data["notebooks"])
    labels = Counter(run["label"] for run in data["runs"])
    verdicts = ": " + ", ".join(f"{count} {label}" for label, count in labels.most_common()) if labels else ""
    words = (f"{done} of {counted(len(data['notebooks']), 'lesson')} done, {counted(len(data['runs']), 'run')} "
             f"trained{verdicts}.")
    fast = ('<p class="note"><strong>Fast form:</strong> the runs were shortened for tests. Read no result into '
            "them.</p>" if data["fast"] else "")
    links = "".join(f'<li><a href="#{html.escape(result["name"])}">{html.escape(heading(result["name"]))}</a>'
                    f"{'' if result['ok'] else ' (failed)'}</li>" for result in data["notebooks"])
    return f'<p>{words}</p>{fast}<nav aria-label="Lessons"><ul>{links}</ul></nav>'


def heading(name: str) -> str:
    """Write a lesson's name for people: 01_learning_rate becomes "01 · Learning rate"."""
    number, _, words = name.partition("_")
    is_numbered = number.isdigit() and words
    return f"{number} · {words.replace('_', ' ').capitalize()}" if is_numbered else name


def card(result, entries, runs) -> str:
    """Return the card of one lesson. entries: of its runs; runs: {run id: run}."""
    name = html.escape(result["name"])
    given = ", ".join(f"{key} = {value}" for key, value in (result.get("parameters") or {}).items())
    asked = f'<p class="question">{html.escape(QUESTIONS[result["name"]])}</p>' if result["name"] in QUESTIONS else ""
    asked += f"<p>Run with {html.escape(given)}.</p>" if given else ""
    took = f"{result['seconds']:.0f} s, {result['run_steps_trained']:,} run-steps trained"
    went = (f'<p class="quiet">Done in {took}. <a href="{name}.html">Read the executed lesson</a></p>' if result["ok"]
            else f'<p class="failed"><strong>Failed:</strong> it {html.escape(result["error"])} ({took}). '
                 f'<a href="{name}.html">Read how far it came</a></p>')
    territories = defaultdict(list)
    for entry in entries:
        territories[entry["config"]["data"]].append(entry)
    parts = [] if entries or not result["ok"] else ["<p>No run was trained here.</p>"]
    parts += [territory(data, group, runs, len(territories) > 1) for data, group in territories.items()]
    return (f'<section class="card" id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">'
            f"{html.escape(heading(result['name']))}</h2>{asked}{went}{''.join(parts)}</section>")


def territory(data: str, entries, runs, is_one_of_several: bool) -> str:
    """Return the runs of a lesson on one territory: the best, what holds, the table."""
    where = f" on {html.escape(data)}" if is_one_of_several else ""
    best = best_of(entries)
    differ = differing_fields([entry["config"] for entry in entries])
    names = [name for name in differ if name not in {*DERIVED, "scaling"}] or ["learning_rate"]
    parts = []
    if best is not None:
        title = "Best run" if len(entries) > 1 else "The run"
        parts += [f"<h3>{title}{where}</h3>", best_run(best, runs[best["id"]])]
    if holds := what_holds(entries):
        parts += [f"<h3>What holds{where}</h3><ul>", *(f"<li>{html.escape(words)}</li>" for words in holds), "</ul>"]
    if len(entries) > 1 or best is None:
        parts += [f"<h3>All runs{where}</h3>", table(data, entries, runs, names)]
    return "".join(parts)


def best_of(entries):
    """Return the healthy run with the lowest held-out loss, else the lowest that did not break; None without one."""
    def quality(entry):
        return entry["label"] == HEALTHY, -entry["evidence"].get("loss_at_end", math.inf)

    whole = [entry for entry in entries if entry["label"] != DIVERGED]
    return max(whole, key=quality, default=None)


def best_run(entry, run) -> str:
    """Return a run with what it means, its curve and its pictures."""
    why = "" if entry["label"] == HEALTHY else ' <span class="quiet">(no run is healthy)</span>'
    told, score = ", ".join(settings(run, USUAL)), score_text.told(entry["label"], entry["score"])
    pictures, curve = report_run.over_updates(run), report_run.curve(entry, run)
    return (f'<div class="best"><div class="words"><p>{report_run.verdict(entry)}{why}</p>'
            f'<p class="advice">{html.escape(entry["advice"])}</p>{f"<p>{html.escape(score)}</p>" if score else ""}'
            f'<p class="quiet">{html.escape(told)}</p>'
            f"{curve if pictures else ''}{report_run.evidence(entry, run, 'Evidence')}</div>{pictures or curve}</div>")


def settings(run, names) -> list[str]:
    """Write settings of a run; alpha is left out where it follows a rank that is told, and the seed comes last."""
    follows = "rank" in names and run.config.alpha == run.config.rank
    told = [name for name in names if not (name == "alpha" and follows)]
    return [WORDS[name].format(getattr(run.config, name)) if name in WORDS else
            setting_text(name, getattr(run.config, name)) for name in sorted(told, key=lambda name: name == "seed")]


def table(data: str, entries, runs, names) -> str:
    """Return the table of runs, sorted by what differs."""
    ordered = sorted(entries, key=lambda entry: [order_of(entry["config"][name]) for name in names])
    shared = ", ".join(settings(runs[ordered[0]["id"]], [name for name in USUAL if name not in names]))
    lowest = min((entry["evidence"].get("loss_at_best", math.inf) for entry in entries), default=math.inf)
    caption = f"{counted(len(entries), 'run')} on {data}" + (f", all with {shared}" if shared else "")
    pictured = any(report_run.pictures(runs[entry["id"]]) for entry in entries)
    loss = loss_name([runs[entry["id"]] for entry in entries])
    pictures = ["Pictures at the end"] if pictured else []
    heads = ["Run", *pictures, loss.capitalize(), "Verdict", "What to do, and why"]
    head = "".join(f'<th scope="col" role="columnheader">{text}</th>' for text in heads)
    body = "".join(row(entry, runs[entry["id"]], names, pictured, lowest) for entry in ordered)
    # A narrow page shows rows as blocks, which would cost the table its meaning but for the roles.
    return (f'<table class="runs" role="table"><caption>{html.escape(caption)}</caption>'
            f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>')


def row(entry, run, names, pictured: bool, lowest: float) -> str:
    """Return one run's row of the table; a fold under verdict and advice has the evidence."""
    *most, last = map(html.escape, settings(run, names))
    name = "".join(f"<span>{words},</span> " for words in most) + f"<span>{last}</span>"
    cells = [f'<td role="cell" class="pictured">{report_run.thumbs(run)}</td>'] if pictured else []
    drawing = report_run.sparkline(entry, run, lowest)
    cells.append(f'<td role="cell" class="loss">{loss_change(run) or "not measured"}{drawing}</td>')
    accepted = score_text.short(entry["score"])
    accepted = f'<p class="quiet">{accepted} accepted</p>' if accepted else ""
    cells.append(f'<td role="cell">{report_run.verdict(entry)}{accepted}</td>')
    cells.append(f'<td role="cell" class="told">{report_run.evidence(entry, run, html.escape(entry["advice"]))}</td>')
    return f'<tr role="row"><th scope="row" role="rowheader">{name}</th>{"".join(cells)}</tr>'
