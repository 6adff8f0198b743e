"""Run the lessons headless and strictly: executed notebooks, their HTML, one report and results a program can read.

Lessons run side by side where there are cores and memory for it: most of what they compute is small, and two threads
that work on two lessons do a quarter to a third more than two that share one (LOG.md, Lessons).
"""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from labkit import machine
from labkit.cli import report
from labkit.cli.execute import execute, side_by_side, stop_all, timeout
from labkit.cli.parser import Outcome, pairs, suggest, tell
from labkit.datasets.folders import whole_path
from labkit.design.config import RunConfig, load_design
from labkit.design.parameters import CHECKS, checked
from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import cannot_write, write_file
from labkit.lessons import notebooks
from labkit.settings import REPO, given_path, switch
from labkit.text import printable

SCHEMA_VERSION = 1
QUOTA = {"00": 100, "01": 1200, "02": 900, "03": 900, "04": 600}  # run-steps at batch 4 to train live, fresh store
PLACES = {"base", "data", "near", "design"}
RESERVED = ("results", "report")
RESULTS, STORES = "results.json", "chapter-runs"              # the next chapter throws the stores, one a lesson, away


def verb(options):
    """Run the chosen lessons; exit code 1 if one failed, stopped on an error or trained less than its quota."""
    paths = notebooks.choose(options.names, files=True)
    injected = given(paths, options.parameter)
    for parameters in injected.values():                      # kernels work in a folder of their own
        texts = [name for name in PLACES & parameters.keys() if isinstance(parameters[name], str)]
        parameters |= {name: whole_path(parameters[name]) for name in texts}
    fields = {*RunConfig.__dataclass_fields__, "design"}
    for parameters in injected.values():                      # a bad value is found before a kernel starts
        load_design(**{name: value for name, value in parameters.items() if name in fields})
    limit = timeout()
    out = given_path(options.out or REPO / "out" / "chapter").absolute()
    fresh = options.store is None
    shared = fresh or given_path(options.store).absolute()
    stores = {path: out / STORES / path.stem if fresh else shared for path in paths}
    # A quota speaks about the lesson as it is committed, trained from nothing, in full.
    in_full = fresh and switch("LABKIT_FAST") != "1"
    counted = {path for path in notebooks.lessons() if in_full and not injected.get(path)}
    quotas = {path: QUOTA.get(path.stem[:2], 0) if path in counted else None for path in paths}
    check_names(paths, out)
    if not fresh and (out / STORES).resolve() in (shared.resolve(), *shared.resolve().parents):
        raise LabError(f"--store {shared} lies among the results, which are replaced: "
                       "move it to another folder, or give another --out.")
    prepare(out, paths)
    # In one store lessons run one after another: two of them may train the same run.
    lessons, threads = side_by_side(len(paths)) if fresh else (1, machine.quota()[0])

    def run(path):
        tell(f"{path.stem} ...", sys.stderr)
        result = run_lesson(path, out, stores[path], injected[path], quotas[path], limit, threads)
        tell(f"  {printable(report.sentence(result))}", sys.stderr)
        return result

    with ThreadPoolExecutor(lessons) as pool:
        try:
            # The long ones first, lest one of them runs alone at the end.
            order = sorted(paths, key=published_seconds, reverse=lessons > 1)
            futures = {path: pool.submit(run, path) for path in order}
            results = [futures[path].result() for path in paths]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    return write(out, {path.stem: store for path, store in stores.items()}, results)


def published_seconds(path):
    """Return the seconds that a lesson took when it was published, 0 where that was never measured."""
    return notebooks.seconds(notebooks.read(path)).get("cpu", 0)


def check_names(paths, out):
    """Raise LabError where the results of a notebook would meet another's, or the notebook itself."""
    names = [path.stem for path in paths]
    for path in paths:
        if names.count(path.stem) > 1:
            raise LabError(f"Two of the notebooks are called {path.name}: "
                           "run them one at a time, each with an --out of its own.")
        if path.stem in RESERVED:
            raise LabError(f"{path.name} has the name of a file with results: call it something else.")
        if path.resolve().parent == out.resolve():
            raise LabError(f"{path} lies among the results, which are replaced: "
                           "copy it to another folder, or give another --out.")


def prepare(out, paths):
    """Make the output folder and take away what an earlier run of the chapter left in it, and nothing else.

    LabError for a folder that holds anything but has no results.json of ours: it is somebody's.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not is_ours(out):
            raise LabError(f"--out {out} holds other files: "
                           "give an empty folder, or one that an earlier chapter wrote.")
        unfinished = {"schema_version": SCHEMA_VERSION, "ok": False, "notebooks": []}
        write_file(out / RESULTS, json.dumps(unfinished).encode(), choose="--out")
    except OSError as error:
        raise cannot_write(out, error, choose="--out") from None
    for lesson in {*notebooks.lessons(), *paths}:
        for ending in (".ipynb", ".html", ".log", ".json"):
            (out / f"{lesson.stem}{ending}").unlink(missing_ok=True)
    (out / "report.html").unlink(missing_ok=True)
    shutil.rmtree(out / STORES, ignore_errors=True)


def is_ours(out) -> bool:
    """Tell whether a folder holds the results of a chapter."""
    try:
        return "schema_version" in json_text.read(out / RESULTS)
    except (OSError, ValueError):
        return False


def run_lesson(path, out, store, parameters, quota, limit, lesson_threads):
    """Execute one lesson into out, and write its HTML; return its entry in results.json."""
    accounts = out / f"{path.stem}.json"
    seconds, error = execute(path, out / path.name, parameters=parameters, log=out / f"{path.stem}.log", timeout=limit,
                             environment={"LABKIT_STORE": str(store), "LABKIT_RESULTS": str(accounts),
                                          "LABKIT_THREADS": str(lesson_threads)})
    account = json.loads(accounts.read_text(encoding="utf-8")) if accounts.exists() else {}
    accounts.unlink(missing_ok=True)
    trained = account.get("run_steps_trained", 0)
    if error is None and not account:
        error = "did not reach session.finish() in its last cell"
    if error is None and quota is not None and trained < quota:
        error = f"trained {trained} run-steps, fewer than its {quota}"
    if (out / path.name).exists():
        report.notebook_html(out / path.name)
    return {"name": path.stem, "ok": error is None, "error": error,
            "seconds": round(seconds, 1), "parameters": parameters,
            "run_steps_trained": trained, "run_steps_quota": quota, "runs": account.get("runs", [])}


def write(out, stores, results):
    """Write report and results; return the outcome with the table of verdicts."""
    runs = report.verdicts(stores, results)
    ok = all(result["ok"] for result in results)
    data = {"schema_version": SCHEMA_VERSION, "ok": ok, "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "fast": switch("LABKIT_FAST") == "1", "notebooks": results, "runs": runs, "machine": machine.facts()}
    write_file(out / RESULTS, json.dumps(data, indent=1).encode(), choose="--out")
    report.write(out / "report.html", data, stores)
    sentences = [printable(report.sentence(result)) for result in results]
    lines = [report.table(runs), *sentences, f"Report: {out / 'report.html'}"]
    return Outcome(0 if ok else 1, "\n".join(lines), data)


def value(text):
    """Read a parameter from the command line: None, True, False, a whole number, a number, else the text itself."""
    for read_as in ({"None": None, "True": True, "False": False}.__getitem__, int, float):
        try:
            return read_as(text)
        except (KeyError, ValueError):
            continue
    return text


def given(paths, texts):
    """Return {path: parameters to inject}.

    LabError for a name that no chosen lesson has, or a value that does not fit.
    """
    values = pairs(texts, "-p")
    defaults = {path: notebooks.parameters(path) for path in paths}
    known = list(dict.fromkeys(name for names in defaults.values() for name in names))
    for name in values:
        if name not in known:
            lessons = ", ".join(path.stem for path in paths)
            raise LabError(f"{name} is not a parameter of {lessons}.{suggest(name, known)}")
    return {path: {name: _fitting(path, name, values[name], names[name]) for name in values if name in names}
            for path, names in defaults.items()}


def _fitting(path, name, text, default):
    """Return what a text from the command line means for a parameter."""
    if name in CHECKS:
        return checked(name, text, default)
    kinds, new = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}, value(text)
    fits = default is None or type(new) is type(default) or (isinstance(default, float) and type(new) is int)
    if not fits and type(default) in kinds:
        raise LabError(f"{name} = {new!r} does not fit {path.stem}: "
                       f"it must be {kinds[type(default)]}, such as {default!r}.")
    return new
