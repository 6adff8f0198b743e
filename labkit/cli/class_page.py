"""What a class handed in, as text, as CSV and as one page. Names come from students: markup in them is written out."""

import base64
import csv
import html
import io
import math

from labkit.cli import progress
from labkit.cli.report_page import heading
from labkit.cli.report_style import style, tint
from labkit.judge.diagnose import DIVERGED
from labkit.text import counted, printable, rate_text
from labkit.view.style import VERDICTS

FIELDS = ("student", "lesson", "passed", "asked", "runs", "updates", "rates", "best_run", "best_rate", "best_verdict",
          "loss_before", "loss_after", "accepted", "prompts", "broke", "shared_runs", "file", "made")
FORMULA = ("=", "+", "-", "@", "\t")                          # with which a spreadsheet begins to compute
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>What the class handed in</title><style>{style}
header, main {{ max-width: 84rem }} .class {{ overflow-x: auto }} .class th, .class td {{ padding-right: 1.4rem }}
.class tbody th {{ font-weight: 650; overflow-wrap: anywhere; min-width: 8rem }}
.class td p {{ margin: 0; white-space: nowrap }}
.all {{ font-weight: 650 }} .class img {{ max-width: 100%; height: auto; border-radius: 6px; background: #fff }}
</style></head><body>
<header><h1>What the class handed in</h1><p>{summary}</p></header>
<main><section class="card class"><img src="data:image/png;base64,{picture}" alt="{alt}"></section>
{left_out}<section class="card class">{table}</section></main></body></html>
"""


def rows(students, lessons):
    """Yield one {field: value} for each student and lesson, None where nothing is told."""
    for one in students:
        for lesson in lessons:
            if found := one["lessons"].get(lesson):
                yield {name: found.get(name, one.get(name)) for name in FIELDS} | {"lesson": lesson or "other runs"}


def csv_table(students, lessons) -> str:
    """Return the table as CSV; a text that a spreadsheet would compute begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows(students, lessons):
        writer.writerow({name: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
                         for name, value in row.items()})
    return stream.getvalue()


def text_table(students, lessons) -> str:
    """Return the table for a terminal: a student a row, a lesson a column, checks passed and runs."""
    if not students:
        return "No submission could be read."
    lines = [["student", *(lesson[:2] or "other" for lesson in lessons), "shared runs"]]
    for one in students:
        cells = [_short(one["lessons"].get(lesson), lesson) for lesson in lessons]
        lines.append([printable(one["student"]), *cells, str(one["shared_runs"] or "")])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)


def _short(found, lesson) -> str:
    if not found:
        return "-"
    checks = f"{found['passed']}/{found['asked']} " if lesson else ""
    return checks + counted(found["runs"], "run")


def page(students, lessons, left_out, picture: bytes, alt: str) -> str:
    """Return the page, which needs no other file and runs nothing."""
    heads = "".join(f'<th scope="col">{html.escape(heading(lesson) if lesson else "Other runs")}</th>'
                    for lesson in lessons)
    body = "".join(_row(one, lessons) for one in students)
    table = (f'<table><caption>Checks that passed as the notebooks were saved, and what the runs say. The numbers of '
             f'all lessons are in class.csv.</caption><thead><tr><th scope="col">Student</th>{heads}</tr></thead>'
             f"<tbody>{body}</tbody></table>")
    told = "".join(f"<li>{html.escape(printable(sentence))}</li>" for sentence in left_out)
    told = f'<section class="card"><h2>To look at by hand</h2><ul>{told}</ul></section>' if left_out else ""
    runs = sum(found["runs"] for one in students for found in one["lessons"].values())
    summary = f"{counted(len(students), 'student')}, {counted(runs, 'run')}."
    return PAGE.format(style=style(), summary=summary, picture=base64.b64encode(picture).decode(),
                       alt=html.escape(alt, quote=True), left_out=told, table=table)


def _row(one, lessons) -> str:
    cells = "".join(f"<td>{_cell(one['lessons'].get(lesson), lesson)}</td>" for lesson in lessons)
    shared = one["shared_runs"]
    note = f'<p class="quiet">{counted(shared, "run")} also handed in by others</p>' if shared else ""
    return f'<tr><th scope="row">{html.escape(printable(one["student"]))}{note}</th>{cells}</tr>'


def _cell(found, lesson) -> str:
    if not found:
        return '<span class="quiet">nothing</span>'
    is_done = found["passed"] == found["asked"]
    mark = ' class="all"' if is_done else ""
    checks = f"<p{mark}>{'✔ ' if is_done else ''}{found['passed']} of {found['asked']} passed</p>" if lesson else ""
    best = ""
    if found["best_rate"] is not None:
        label = found["best_verdict"]
        best = (f'<p class="quiet">best {rate_text(found["best_rate"])} <span class="verdict" style="{tint(label)}">'
                f"{VERDICTS[label][0]} {label}</span></p>")
    return f'{checks}<p class="quiet">{counted(found["runs"], "run")}</p>{best}'


def figure(students, lessons):
    """Return the figure of the class: every run at its rate, lesson by lesson, and how many checks were passed."""
    from labkit.view.class_runs import plot_class  # deferred: it loads matplotlib

    ends = {lesson: [(entry["config"]["learning_rate"], *_change(entry)) for one in students
                     for entry in one["lessons"].get(lesson, {"entries": ()})["entries"]
                     if entry["config"]["learning_rate"] and _is_known(entry)] for lesson in lessons}
    passed = {lesson: [one["lessons"][lesson]["passed"] if lesson in one["lessons"] else 0 for one in students]
              for lesson in lessons if lesson != progress.OTHER}
    asked = {lesson: max(one["lessons"][lesson]["asked"] for one in students if lesson in one["lessons"])
             for lesson in passed}
    names = {lesson: heading(lesson) if lesson else "Other runs" for lesson in lessons}
    return plot_class({names[lesson]: runs for lesson, runs in ends.items() if runs},
                      {names[lesson]: (counts, asked[lesson]) for lesson, counts in passed.items()})


def _is_known(entry):
    """Tell whether a run broke, or was measured often enough to say where it ended: of others nothing can be drawn."""
    return entry["label"] == DIVERGED or entry["evidence"].get("loss_at_end") is not None


def _change(entry):
    """Return how far a run's held-out loss ended from where it began, as a share of it, and its verdict.

    That of a run that broke is infinite, as wherever runs are compared.
    """
    start, end = (entry["evidence"].get(name) for name in ("loss_at_start", "loss_at_end"))
    is_whole = bool(start) and end is not None and entry["label"] != DIVERGED
    return (end / start - 1 if is_whole else math.inf), entry["label"]
