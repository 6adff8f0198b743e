"""One run on the report's page: its curve, its pictures, its verdict with the evidence folded."""

import base64
import html
import io
import math

from labkit.cli.report_style import tint
from labkit.design.adapter_start import beginning
from labkit.errors import LabError
from labkit.judge.stats import Interval
from labkit.text import printable
from labkit.view.cards import evidence_text, loss_change
from labkit.view.style import VERDICTS

PROMPTS = 2  # whose pictures are shown
SHOWN = 3  # of the steps that have pictures: the first, one between, the last
ABOVE = 0.3  # of the largest gain: how far above its start a curve is drawn


def verdict(entry) -> str:
    """Return symbol and label in the verdict's colour; what a screen reader says is the label."""
    symbol, _ = VERDICTS[entry["label"]]
    return (f'<span class="verdict" style="{tint(entry["label"])}"><span aria-hidden="true">{symbol}</span> '
            f'{entry["label"]}</span>')


def evidence(entry, run, summary: str) -> str:
    """Return the fold with what was seen, the numbers and what repeats the run, under a summary in HTML."""
    since = "" if entry["since_step"] is None else f" Since update {entry['since_step']:,}."
    rows = "".join(f'<tr><th scope="row">{html.escape(str(key).replace("_", " "))}</th>'
                   f"<td>{html.escape(evidence_text(_interval(value)))}</td></tr>"
                   for key, value in entry["evidence"].items() if value is not None)
    return (f"<details><summary>{summary}</summary>"
            f"<p>{html.escape(entry['seen'])}{since} Confidence {entry['confidence']:.2f}.</p>"
            f'<table class="numbers"><caption>The numbers behind the verdict</caption><tbody>{rows}</tbody></table>'
            f"<p>Run <code>{html.escape(entry['id'])}</code>. {html.escape(run.provenance)} All of its settings: "
            f"<code>{html.escape(run.config.share())}</code></p></details>")


def _interval(value):
    """Return an interval as such, which JSON keeps as a list."""
    return Interval(*value) if isinstance(value, list) and len(value) == 3 and None not in value else value


def pictures(run) -> dict[int, list]:
    """Return the run's pictures of the first prompts by update; none where files are missing or damaged."""
    from labkit.view.pictures import sample_pictures  # deferred: it loads matplotlib

    try:
        return {step: list(images[:PROMPTS]) for step, images in sample_pictures(run).items()}
    except LabError:
        return {}


def over_updates(run) -> str:
    """Return the figure of a run's pictures over its updates, a row a prompt; "" without pictures."""
    by_step = pictures(run)
    steps = sorted(by_step)
    steps = [steps[0], steps[len(steps) // 2], steps[-1]] if len(steps) > SHOWN else steps
    if not steps:
        return ""
    start = beginning(run.config.init_lora_weights)
    words = "untouched" if start == "the untouched base" else start
    cells = [f"<span>{html.escape(words) if not step else f'after {step:,} updates'}</span>" for step in steps]
    for i, prompt in enumerate(run.samples[0].prompts[:PROMPTS]):
        cells.append(f'<span class="prompt">{html.escape(prompt)}</span>')
        cells += [image(by_step[step][i], f"{prompt}: {start if not step else f'after {step:,} updates'}")
                  for step in steps]
    return (f'<figure><div class="pictures" style="--columns: {len(steps)}">{"".join(cells)}</div>'
            "<figcaption>The same starting noise in each row.</figcaption></figure>")


def thumbs(run) -> str:
    """Return a run's last pictures, small; "" where it has none."""
    by_step = pictures(run)
    if not by_step:
        return ""
    last = max(by_step)
    return '<div class="thumbs">' + "".join(
        image(picture, f"{prompt}: after {last:,} updates")
        for picture, prompt in zip(by_step[last], run.samples[0].prompts, strict=False)) + "</div>"


def image(pixels, alt: str) -> str:
    """Return a picture, uint8 (H, W, 3), as an element that holds it."""
    from PIL import Image  # deferred: plain tables need no Pillow

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = pixels.shape[:2]
    return (f'<img alt="{html.escape(printable(alt), quote=True)}" width="{width}" height="{height}" '
            f'src="data:image/jpeg;base64,{data}">')


def sparkline(entry, run, lowest: float) -> str:
    """Return the held-out curve as a small drawing; its numbers stand beside it.

    lowest    of all runs of its table, whose drawings have one scale
    """
    lines = _lines(run, ("validation",), 96, 24, lowest)
    return (f'<svg width="96" height="26" viewBox="0 -1 96 26" aria-hidden="true" style="{tint(entry["label"])}">'
            f"{lines}</svg>" if lines else "")


def curve(entry, run) -> str:
    """Return the figure of a run's losses over its updates on a logarithmic axis; "" where none was measured."""
    width, height = 440, 150
    both = ("validation", "probe") if run.is_held_out else ("validation",)  # else both are of training pictures
    names = [name for name in both if name in run.validations]
    lines = _lines(run, names, width, height, math.inf)
    if not lines:
        return ""
    last = int(run.validations["validation"].steps[-1])
    words = (f"Loss on {run.measured_on} {loss_change(run)}"
             + (f", on training pictures {loss_change(run, 'probe')}" if "probe" in names else ""))
    dashed = "; dashed: on training pictures" if "probe" in names else ""
    return (f'<figure class="curve"><svg viewBox="0 -3 {width} {height + 6}" preserveAspectRatio="none" role="img" '
            f'aria-label="{words}" style="{tint(entry["label"])}">{lines}</svg>'
            f'<p class="ends" aria-hidden="true"><span>start</span> <span>{last:,} updates</span></p>'
            f"<figcaption>Loss on {run.measured_on}: {loss_change(run)}{dashed}. Updates on a logarithmic axis."
            "</figcaption></figure>")


def _lines(run, names, width: int, height: int, lowest: float) -> str:
    """Return curves as polylines on one scale, over the logarithm of the updates.

    The scale reaches from the lowest loss (of these curves and `lowest`) to a little above the highest start; what
    goes higher is cut there.
    """
    held = run.validations.get("validation")
    if held is None or not math.isfinite(held.means[0]):
        return ""
    curves = [run.validations[name] for name in names]
    lowest = min(lowest, *(mean for curve in curves for mean in curve.means if math.isfinite(mean)))
    start = max(float(curve.means[0]) for curve in curves)
    top, last = start + ABOVE * (start - lowest or 1.0), math.log1p(held.steps[-1]) or 1.0
    drawn = []
    for name, curve in zip(names, curves, strict=True):
        finite = [(math.log1p(step) / last, (top - min(mean, top)) / (top - lowest))
                  for step, mean in zip(curve.steps, curve.means, strict=True) if math.isfinite(mean)]
        points = " ".join(f"{width * x:.1f},{height * y:.1f}" for x, y in finite)
        drawn.append(f'<polyline class="{"held" if name == "validation" else "trained"}" points="{points}"/>')
    return "".join(drawn)
