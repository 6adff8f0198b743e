"""The chapter's report: verdicts as a table of text and as one HTML file, readable offline and without colour."""

from collections import defaultdict

from labkit.cli.clean import clean_output
from labkit.cli.report_page import page
from labkit.design.config import differing_fields
from labkit.files.atomic import write_file
from labkit.judge import listing
from labkit.judge.diagnose import diagnose
from labkit.store.runs import Store
from labkit.text import printable, rate_text
from labkit.view.style import VERDICTS

COLUMNS = ("lesson", "run", "what differs", "learning rate", "rank", "alpha", "scaling", "steps", "verdict",
           "since step")
# Fields that have a column of their own, or follow from one that has.
SHOWN_APART = {"learning_rate", "rank", "alpha", "scaling", "max_train_steps", "lr_end", "parent"}


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
    runs = {result["name"]: trained(stores, result) for result in data["notebooks"]}
    made = f"Made {data['made']} on {describe(data['machine'])}."
    write_file(path, page(data, runs, made).encode(), choose="--out")


def describe(machine):
    """Return the machine in words."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (f"{machine['system']}, {machine['gpu'] or 'no GPU'}, {machine['threads']} threads, "
            f"Python {machine['python']}, {versions}")


def sentence(result):
    """Say in one line how a lesson went."""
    how = "done" if result["ok"] else "FAILED: it " + result["error"]
    return f"{result['name']}: {how} ({result['seconds']:.0f} s, {result['run_steps_trained']:,} run-steps trained)"


def notebook_html(path):
    """Write an executed notebook as HTML beside it; widgets, which need a kernel, give way to their pictures."""
    import nbformat  # both are heavy, and of the extra `lab`, which `runs` and `train` do without
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
