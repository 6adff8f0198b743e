"""The chapter's report: one HTML file with verdicts, evidence and figures, readable offline and without colour."""

import base64
import html
from collections import defaultdict

from labkit.cli.clean import clean_output
from labkit.design.config import differing_fields
from labkit.files.atomic import write_file
from labkit.judge import listing
from labkit.judge.diagnose import diagnose
from labkit.store.runs import Store
from labkit.text import printable, rate_text
from labkit.view.style import VERDICTS

MIN_RACE = 3  # runs that differ by the learning rate alone, from which their race is drawn
COLUMNS = ("lesson", "run", "what differs", "learning rate", "rank", "alpha", "scaling", "steps", "verdict",
           "since step")
# Fields that have a column of their own, or follow from one that has.
SHOWN_APART = {"learning_rate", "rank", "alpha", "scaling", "max_train_steps", "lr_end", "parent"}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid #ccc; padding: .3rem .7rem; text-align: left; vertical-align: top }}
.wide {{ overflow-x: auto }} img {{ max-width: 100%; height: auto }}
figure {{ margin: 1.5rem 0 }} figcaption {{ color: #555 }}
code {{ font-size: .9em }} .failed {{ border-left: 6px solid #222; padding-left: .7rem }}
</style></head><body>
{body}
</body></html>
"""


def trained(stores, result):
    """Return {run id: run} of the runs that a lesson trained; stores: {lesson: its folder of runs}."""
    runs = {run.run_id: run for run in Store(stores[result["name"]]).load_runs()} if result["runs"] else {}
    return {name: runs[name] for name in result["runs"] if name in runs}


def verdicts(stores, results):
    """Return one entry per run that the lessons trained: its settings, its verdict and the evidence, JSON-ready."""
    by_lesson = {result["name"]: trained(stores, result) for result in results}
    return [entry(run, lesson, runs.values()) for lesson, runs in by_lesson.items() for run in runs.values()]


def entry(run, lesson="", siblings=()):
    """Return what is said of one run: settings, verdict, evidence."""
    verdict = diagnose(run, [other for other in siblings if other.run_id != run.run_id])
    config = run.config.to_dict() | {"scaling": run.config.scaling}
    return listing.entry(run.run_id, run.status, verdict, config, lesson)


def rows(runs):
    """Return the table of verdicts as rows of text, under COLUMNS."""
    differing = differences(runs)
    for run in runs:
        config, symbol = run["config"], VERDICTS[run["label"]][0]
        yield (run["lesson"], run["id"][:8], differing[run["id"]],
               rate_text(config["learning_rate"]), str(config["rank"]), f"{config['alpha']:g}",
               f"{config['scaling']:g}", str(config["max_train_steps"]), f"{symbol} {run['label']}",
               "" if run["since_step"] is None else str(run["since_step"]))


def differences(runs):
    """Return {run id: the settings, rate and rank aside, in which it differs from others of its lesson}."""
    by_lesson = defaultdict(list)
    for run in runs:
        by_lesson[run["lesson"]].append(run)
    differing = {}
    for group in by_lesson.values():
        names = [name for name in differing_fields([run["config"] for run in group]) if name not in SHOWN_APART]
        for run in group:
            differing[run["id"]] = ", ".join(f"{name} {run['config'][name]}" for name in names)
    return differing


def table(runs):
    """Return the table of verdicts as text."""
    if not runs:
        return "No run was trained."
    lines = [tuple(map(printable, line)) for line in (COLUMNS, *rows(runs))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def write(path, data, stores):
    """Write report.html from the results and the stores they came from."""
    fast = " Fast form: shortened runs, for tests; read no result into them." if data["fast"] else ""
    made = f"Made {html.escape(data['made'])} on {html.escape(describe(data['machine']))}."
    body = ["<h1>Parameter Design Lab: report</h1>", f"<p>{made}{fast}</p>"]
    body += [status(result) for result in data["notebooks"]]
    body += ["<h2>Verdicts</h2>", html_table(data["runs"])]
    for result in data["notebooks"]:
        runs = list(trained(stores, result).values())
        body += [f"<h2>{html.escape(result['name'])}</h2>", *figures(runs)] if runs else []
    write_file(path, PAGE.format(title="Parameter Design Lab: report", body="\n".join(body)).encode(), choose="--out")


def describe(machine):
    """Return the machine in words."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (f"{machine['system']}, {machine['gpu'] or 'no GPU'}, {machine['threads']} threads, "
            f"Python {machine['python']}, {versions}")


def sentence(result):
    """Say in one line how a lesson went."""
    how = "done" if result["ok"] else "FAILED: it " + result["error"]
    return f"{result['name']}: {how} ({result['seconds']:.0f} s, {result['run_steps_trained']:,} run-steps trained)"


def status(result):
    """Return a paragraph on how a lesson went, with a link to it."""
    name, how = html.escape(result["name"]), html.escape(sentence(result).split(": ", 1)[1])
    return f'<p class="{"done" if result["ok"] else "failed"}"><a href="{name}.html">{name}</a>: {how}</p>'


def html_table(runs):
    """Return the table of verdicts as HTML, each verdict with its sentence."""
    head = "".join(f"<th>{name}</th>" for name in (*COLUMNS, "why"))
    lines = [(*cells, run["sentence"]) for cells, run in zip(rows(runs), runs, strict=True)]
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in lines)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def figures(runs):
    """Yield the figures of a lesson's runs: each race over rates with its pictures, then all other curves together."""
    from labkit.view.curves import plot_curves
    from labkit.view.pictures import plot_race

    groups = defaultdict(list)
    for run in runs:
        fixed = run.config.to_dict() | {"learning_rate": None, "lr_end": None}
        groups[str(fixed)].append(run)
    races = [group for group in groups.values() if len(group) >= MIN_RACE]
    rest = [run for group in groups.values() if len(group) < MIN_RACE for run in group if run.validations]
    for group in races:
        drawn = plot_race(group) if all(run.samples for run in group) else plot_curves(group).figure
        yield figure(drawn, f"{len(group)} runs that differ by the learning rate alone.")
    if rest:
        drawn = plot_curves(rest, label=lambda run: run.run_id[:6]).figure
        yield figure(drawn, "The other runs, by the first digits of their id.")


def figure(drawn, caption):
    """Return a figure as HTML with its picture inside."""
    kind = "jpeg" if drawn.photographic else "png"
    data = base64.b64encode(drawn.encoded(kind)).decode()
    picture = f'<img alt="{html.escape(drawn.summary, quote=True)}" src="data:image/{kind};base64,{data}">'
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def notebook_html(path):
    """Write an executed notebook as HTML beside it; widgets, which need a kernel, give way to their pictures."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = (clean_output(output) for output in cell.outputs)
            cell.outputs = [nbformat.from_dict(output) for output in outputs if output]
    exporter = HTMLExporter(embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.require_js_url = exporter.jquery_url = exporter.mathjax_url = exporter.widget_renderer_url = ""
    write_file(path.with_suffix(".html"), exporter.from_notebook_node(notebook)[0].encode(), choose="--out")
