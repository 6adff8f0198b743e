"""Errors, evidence and tables of runs as small pieces of HTML, for the panel and for notebooks."""

import html
import math
import time
import traceback

from labkit.design.glossary import glossary, term
from labkit.design.ladders import rung_text
from labkit.design.naming import differing
from labkit.errors import LabError
from labkit.judge.ranking import loss_name
from labkit.judge.stats import Interval
from labkit.text import loss_text
from labkit.view.style import VERDICTS

# A page may be light or dark, and only JupyterLab says so: colours are chosen for paper that a card brings along
# (contrast 4.5 at least, tests/view/test_contrast.py), and quiet words take the colour of what surrounds them.
PAPER = "background:#fff;color:#222"
CARD = "border-left:5px solid {color};padding:4px 12px;margin:6px 0;line-height:1.45;" + PAPER
CELL = "text-align:left;padding:2px 7px"
# As wide as there is room: a widget's box would grow with its table.
SCROLLING = "width:0;min-width:100%;overflow-x:auto"
QUIET = "opacity:.8"


def evidence_text(value) -> str:
    """Write a number, an interval or a word of the evidence."""
    if isinstance(value, Interval):
        return f"{value.mean:.3g} (95 %: {value.low:.3g} to {value.high:.3g})"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "not finite"
    return f"{value:,}" if isinstance(value, int) else str(value)


def error_card(error: BaseException) -> str:
    """Return an error as a readable card; the traceback of anything that is not the user's to mend is folded in."""
    words = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    trace = "" if isinstance(error, LabError) else (
        f"<details><summary>where it happened</summary><pre style='font-size:85%;{PAPER}'>"
        f"{html.escape(''.join(traceback.format_exception(error)))}</pre></details>")
    return (f"<div role='alert' style='{CARD.format(color='#C44601')}'>"
            f"<b style='color:#C44601'>✖ This did not work.</b> {html.escape(words)}{trace}</div>")


def shelf_table(runs, verdicts, *, baseline=None, pinned=(), current=None) -> str:
    """Return a table of runs, newest first; what differs from the baseline run is marked.

    The outcome stands left of the settings, of which there may be more than a page is wide: these scroll.
    `baseline` and `current` are run ids, `pinned` a collection of them; the oldest run is the baseline by default.
    """
    if not runs:
        return f"<div style='{QUIET}'>No runs yet: every run you train is kept here.</div>"
    names = differing(runs)
    ids = [run.run_id for run in runs]
    base = runs[ids.index(baseline) if baseline in ids else 0].config.to_dict()
    fields = [term(name, "field") if name in glossary() else name for name in names]
    lines = []
    for run, verdict in reversed(list(zip(runs, verdicts, strict=True))):
        config, (symbol, color) = run.config.to_dict(), VERDICTS[verdict.label]
        mark = "★" if run.run_id in pinned else "▸" if run.run_id == current else ""
        outcome = f"<span style='color:{color}'>{symbol} {html.escape(verdict.label)}</span>"
        settings = [setting(name, config[name], config[name] != base[name]) for name in names]
        cells = [mark, trained_at(run), outcome, loss_change(run), sparkline(run, color), *settings]
        line = "".join(f"<td style='{CELL};white-space:nowrap'>{cell}</td>" for cell in cells)
        lines.append(f"<tr style='{PAPER}'>{line}</tr>")
    head = "".join(f"<th style='{CELL};vertical-align:bottom'>{html.escape(name)}</th>"
                   for name in ("", "trained", "verdict", loss_name(runs), "", *fields))
    which = "pinned" if baseline in ids else "oldest"
    return (f"<div style='{SCROLLING}'><table style='border-collapse:collapse;font-size:92%;line-height:1.35;{PAPER}'>"
            f"<thead><tr style='{PAPER}'>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
            f"<div style='{QUIET};font-size:88%'>≠ differs from the {which} run</div>")


def setting(name, value, differs) -> str:
    """Write one setting; marked by colour, weight and a sign where it differs from the baseline's."""
    words = html.escape(rung_text(name, value))
    marked = f"<b style='background:#FFE9A8;color:#222;padding:0 4px;border-radius:3px'>≠ {words}</b>"
    return marked if differs else words


def trained_at(run) -> str:
    """Write when a run was trained: the time of today, else the day."""
    if not run.time_s:
        return "at an unknown time"
    then, today = time.localtime(run.time_s), time.localtime()
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%d %b", then)


def loss_change(run, name="validation") -> str:
    """Write the loss on a set of pictures at the beginning and as it was last measured: "0.151 → 0.129"."""
    return " → ".join(map(loss_text, run.validations[name].means[[0, -1]])) if name in run.validations else ""


def sparkline(run, color, width=72, height=18) -> str:
    """Return the held-out curve as a tiny drawing, on the logarithm of the step, cut at 1.5 times its start."""
    held = run.validations.get("validation")
    if held is None or not math.isfinite(held.means[0]):
        return ""
    top, bottom = 1.5 * held.means[0], min(mean for mean in held.means if math.isfinite(mean))
    last = math.log1p(held.steps[-1]) or 1
    path = " ".join(f"{2 + (width - 4) * math.log1p(step) / last:.1f},"
                    f"{height - 2 - (height - 4) * (min(mean, top) - bottom) / (top - bottom or 1):.1f}"
                    for step, mean in zip(held.steps, held.means, strict=True) if math.isfinite(mean))
    return (f"<svg width='{width}' height='{height}' role='img' aria-label='loss curve'>"
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='1.6'/></svg>")
