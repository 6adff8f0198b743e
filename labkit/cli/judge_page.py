"""The page of judged adapter files: which to keep, the numbers behind it, what each draws from the same noise."""

import html
import math

import numpy as np

from labkit.cli.report_run import image
from labkit.cli.report_style import style
from labkit.datasets.folders import load_picture
from labkit.judge.stats import Interval
from labkit.text import counted, loss_text, printable

SIDE, SMALL = 192, 80                                         # pixels of a drawn picture, and of the nearest beside it
WIDTH, HEIGHT = 180, 18                                       # of the drawing of an interval
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Which adapter file to keep</title><style>{style}
header, main {{ max-width: 84rem }} .wide {{ overflow-x: auto }} .wide p {{ max-width: 46rem }}
.files th, .files td {{ padding-right: 1.3rem }} .files tbody th {{ overflow-wrap: anywhere; min-width: 9rem }}
.files .number {{ white-space: nowrap }} .kept > * {{ font-weight: 650; background: var(--page) }}
.interval line {{ stroke: var(--ink); stroke-width: 1.5 }} .interval .zero {{ stroke: var(--rule) }}
.interval circle {{ fill: var(--ink) }}
.sheet {{ border-spacing: .5rem .2rem; border-collapse: separate; width: auto }}
.sheet th, .sheet td {{ border: 0; padding: 0; font-size: .875rem }}
.sheet img {{ display: block; border-radius: 4px }}
.sheet .prompt {{ max-width: 60rem; font-style: italic; color: var(--quiet); padding-top: .8rem }}
.sheet thead th {{ width: {side}px; max-width: {side}px; overflow-wrap: anywhere; vertical-align: bottom }}
.near {{ display: flex; gap: .4rem; align-items: center; color: var(--quiet); font-size: .8125rem }}
.near.copy {{ color: var(--ink); font-weight: 650 }}
</style></head><body>
<header><h1>Which adapter file to keep</h1><p class="advice">{sentence}</p><p class="quiet">{about}</p></header>
<main><section class="card wide"><h2>Losses</h2>{table}<p class="quiet">{note}</p></section>
{sheets}</main></body></html>
"""


def page(chosen, lab) -> str:
    """Return the page of a ChosenFile, which needs no other file and runs nothing."""
    territory, files = lab.territory, len({one.path for one in chosen.judged})
    about = (f"{counted(files, 'file')} on {lab.base_name}, pictures of {territory.name}: "
             f"{len(territory.train)} trained on, {chosen.pictures} held out and measured.")
    strengths = list(dict.fromkeys(one.strength for one in chosen.judged))
    sheets = "".join(_sheet(chosen, strength, lab) for strength in strengths)
    return PAGE.format(style=style(), sentence=_text(chosen.sentence), about=_text(about), table=_table(chosen),
                       side=SIDE, sheets=sheets,
                       note=_text(f"{chosen.table().note} The drawing shows how much higher than the lowest a file "
                                  "lies; an interval that reaches the line cannot be told from it."))


def _text(words: str) -> str:
    return html.escape(printable(words), quote=True)


def _table(chosen) -> str:
    table = chosen.table()
    kept = None if chosen.kept is None else chosen.kept.run.run_id
    reach = max((interval.high for interval in chosen.choice.above.values() if math.isfinite(interval.high)),
                default=0.0)
    place = table.heads.index("above the lowest")
    body = ""
    for row, one in zip(table.rows, [None, *chosen.judged], strict=True):
        cells = [f'<td class="number">{_text(cell)}</td>' for cell in row[1:]]
        if one is not None:
            key = one.run.run_id
            cells[place - 1] = (f'<td class="number">{_text(row[place])}'
                                f"{interval(chosen.choice.above[key], reach)}</td>")
        mark = ' class="kept"' if one is not None and one.run.run_id == kept else ""
        keep = " (keep)" if mark else ""
        body += f'<tr{mark}><th scope="row">{_text(row[0])}{keep}</th>{"".join(cells)}</tr>'
    heads = "".join(f'<th scope="col">{_text(head)}</th>' for head in table.heads)
    return f'<table class="files"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def interval(value: Interval, reach: float) -> str:
    """Draw how much higher than the lowest, from 0 at the line to `reach` at the right; "" for the lowest itself."""
    if not reach > 0 or not math.isfinite(value.high) or value.low == value.high:
        return ""

    def at(loss: float) -> float:
        return 6 + (WIDTH - 12) * min(max(loss / reach, -0.2), 1.0) / 1.2 + (WIDTH - 12) / 6

    middle = HEIGHT / 2
    return (f'<svg class="interval" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'aria-hidden="true"><line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="{HEIGHT}"/>'
            f'<line x1="{at(value.low):.1f}" x2="{at(value.high):.1f}" y1="{middle}" y2="{middle}"/>'
            f'<circle cx="{at(value.mean):.1f}" cy="{middle}" r="3.5"/></svg>')


def _sheet(chosen, strength: float, lab) -> str:
    """Return what every file draws at a strength: a column a file after the untouched base, two rows a prompt."""
    judged = [one for one in chosen.judged if one.strength == strength]
    untouched = _drawn(judged[0], 0)
    if untouched is None:
        return ""
    columns = [("untouched base", untouched, None)]
    for one in judged:
        words = f"{chosen.names[one.run.run_id]}, loss {loss_text(chosen.loss(one))}"
        columns.append((words + (" (keep)" if one is chosen.kept else ""), _drawn(one, 1), one))
    heads = "".join(f'<th scope="col">{_text(words)}</th>' for words, *_ in columns)
    body = ""
    for row, prompt in enumerate(untouched.prompts):
        body += f'<tr><td class="prompt" colspan="{len(columns)}">{_text(prompt)}</td></tr><tr>'
        for words, drawn, one in columns:
            near = "" if one is None else _near(one.nearest[row], lab)
            picture = image(_sized(drawn.load()[row], SIDE), f"{prompt}: {words}")
            body += f"<td>{picture}{near}</td>"
        body += "</tr>"
    return (f'<section class="card wide"><h2>Drawn at strength {strength:g}</h2><p>The same starting noise in each '
            "row; below each picture the training picture that it is nearest to in layout and colour.</p>"
            f'<table class="sheet"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></section>')


def _drawn(one, step: int):
    return next((samples for samples in one.run.samples if samples.global_step == step), None)


def _near(near, lab) -> str:
    name = near.picture.name
    words = "a copy of it" if near.is_copy else f"nearest: {name}"
    picture = load_picture(near.picture, lab.base.resolution, lab.territory.crop)
    small = image(_sized(picture, SMALL), f"training picture {name}")
    return f'<div class="near{" copy" if near.is_copy else ""}">{small}<span>{_text(words)}</span></div>'


def _sized(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), of this many pixels a side."""
    from PIL import Image  # deferred: plain tables need no Pillow

    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
