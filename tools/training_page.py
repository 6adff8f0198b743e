"""The page that trains in a browser, and the files that it fetches: `python3 -m labkit publish --site --trainable`.

The model's computations are ONNX, the draws, the optimizer and the sampler a few hundred lines of JavaScript
(tools/training/), the design that of the recorded race. Nothing heavy is fetched before Train is pressed.
"""

import gzip
import html
import json
from pathlib import Path

from labkit.cli.tools import load
from labkit.datasets.folders import territory
from labkit.engine.base import load_base
from labkit.engine.cache import encode
from labkit.errors import LabError
from labkit.store.recorded import missing, recorded_or_none
from labkit.text import rate_text

SCRIPTS = Path(__file__).parent / "training"
RACE = "race"                                                 # the recorded set beside which a reader trains
# What the worker is made of; each knows those before it.
WORKER = ("draws", "optimizer", "sampler", "adapter_file", "fetched", "training", "worker")
MOST_BYTES = 30_000_000                                       # of all that Train fetches

graphs, numbers, web_runtime = load("training_graphs"), load("training_numbers"), load("web_runtime")


def built(lengths=None):
    """Return the page's body and {file name: bytes} of what lies beside it.

    lengths    numbers of updates that are offered; None: as `numbers` chooses them
    LabError: the runtime cannot be had, or the recorded race is not there or not what a page can train.
    """
    module, wasm = web_runtime.runtime()
    runs = recorded_or_none(RACE)
    if not runs:
        raise LabError(missing(RACE))
    from labkit.view.race_view import RaceView  # draws, which loads matplotlib

    view = RaceView(runs)
    run = view.runs[0]
    base = load_base(run.config.base, device="cpu")
    cache = encode(base, territory(run.config.data))
    told = numbers.numbers(base, cache, run, lengths)
    text = cache.train.cond[numbers.PROMPT][:run.config.train_batch_size]
    made = graphs.graphs(base, run.config, text, len(run.samples[0].prompts))
    parts = {"runtime": wasm, **made._asdict(), "numbers": told.data}
    packed = {name: gzip.compress(data, mtime=0) for name, data in parts.items()}
    files = {name: {"file": f"train-{name}.gz", "bytes": len(parts[name]), "packed": len(data)}
             for name, data in packed.items()}
    beside = {"train-worker.js": worker().encode(), "train-runtime.js": module,
              **{f"train-{name}.gz": data for name, data in packed.items()}}
    total = sum(map(len, beside.values()))
    if total > MOST_BYTES:
        raise LabError(f"Training in a page would fetch {total / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:g}: "
                       "build the site without --trainable.")
    everything = {"pieces": view.told(), "files": files, "arrays": told.arrays, "design": told.design}
    return body(view, run.config, everything, total), beside


def worker():
    """Return the worker as one module: its parts without imports and exports, behind the import of the runtime."""
    runtime = 'import * as ort from "./train-runtime.js";'
    return f"{runtime}\n{joined(*WORKER)}\n"


def joined(*names):
    """Return modules of tools/training/ as one script without imports and exports."""
    lines = [line for name in names for line in (SCRIPTS / f"{name}.js").read_text(encoding="utf-8").splitlines()]
    return "\n".join(line.removeprefix("export ") for line in lines if not line.startswith("import "))


def body(view, config, told, total):
    """Return the page: what it is, the form, and the race."""
    from labkit.view.race_view import script, styles  # draws, which loads matplotlib

    design = told["design"]
    rungs = design["ladder"]
    first = min(range(len(rungs)), key=lambda i: abs(rungs[i] - 3e-3))
    options = "".join(f'<option value="{n}"{" selected" if n == design["last"] else ""}>{n}'
                      f'{", as the recorded runs" if n == design["last"] else ""}</option>' for n in design["lengths"])
    sizes = {name: each["packed"] / 1e6 for name, each in told["files"].items()}
    text = (SCRIPTS / "page.html").read_text(encoding="utf-8").format(
        rungs=len(rungs) - 1, first=first, rate=rate_text(rungs[first]), options=options, seed=design["seed"],
        total=f"{total / 1e6:.1f}", weights=f"{sizes['weights']:.1f}", runtime=f"{sizes['runtime']:.1f}",
        rest=f"{total / 1e6 - sizes['weights'] - sizes['runtime']:.1f}", pictures=config.pictures,
        batch=config.train_batch_size, rank=config.rank, held=len(design["heldOut"]),
        runtime_name=f"{web_runtime.PACKAGE} {web_runtime.VERSION}", sentence=html.escape(view.sentence),
        license=html.escape((SCRIPTS / "runtime_license.txt").read_text(encoding="utf-8")),
        table=view.table()._repr_html_())
    page = joined("page")
    data = json.dumps(told, separators=(",", ":")).replace("</", "<\\/")
    style = styles("race_view") + (SCRIPTS / "page.css").read_text(encoding="utf-8")
    play = f'new Trainer(document.getElementById("trainer"), {data});'
    return f"<style>{style}</style>{text}<script>(() => {{\n{script()}\n{page}\n{play}\n}})()</script>"
