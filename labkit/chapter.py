"""Run the lessons headless and strictly: executed notebooks, their HTML, one report and results a program can read."""
import json
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

from labkit import notebooks
from labkit.atomic import cannot_write, write_file
from labkit.cli import Outcome
from labkit.config import RunConfig, load_design
from labkit.errors import LabError
from labkit.execute import execute
from labkit.paths import REPO

SCHEMA_VERSION = 1
QUOTA = {"00": 100, "01": 1200, "02": 1200, "03": 1200, "04": 800}  # run-steps at batch 4 to train live, fresh store
TIMEOUT_S = 1200
RESULTS, STORE = "results.json", "chapter-runs"                # the store is thrown away by the next chapter


def verb(options):
    """Run the chosen lessons; exit code 1 if one failed, stopped on an error or trained less than its quota."""
    paths = notebooks.choose(options.names)
    given = notebooks.given(paths, options.parameter)
    for parameters in given.values():                          # a bad value is found before a kernel starts
        load_design(**{name: value for name, value in parameters.items() if name in (*RunConfig.__dataclass_fields__, "design")})
    limit = timeout()
    out = Path(options.out or REPO / "out" / "chapter").expanduser().absolute()          # lessons run in a folder of their own
    fresh = options.store is None
    store = out / STORE if fresh else Path(options.store).expanduser().absolute()
    prepare(out)
    results = []
    for number, path in enumerate(paths, 1):
        print(f"[{number}/{len(paths)}] {path.stem} ...", file=sys.stderr, flush=True)
        # A quota speaks about the lesson as it is committed, trained from nothing, in full.
        counts = fresh and not given[path] and os.environ.get("LABKIT_FAST") != "1"
        results.append(run_lesson(path, out, store, given[path], QUOTA.get(path.stem[:2], 0) if counts else None, limit))
        print(f"      {sentence(results[-1])}", file=sys.stderr, flush=True)
    return write(out, store, results)


def prepare(out):
    """Make the output folder and take away what an earlier run of the chapter left in it, and nothing else.

    LabError for a folder that holds anything but has no results.json of ours: it is somebody's.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not is_ours(out):
            raise LabError(f"--out {out} holds other files: give an empty folder, or one that an earlier chapter wrote.")
        write_file(out / RESULTS, json.dumps({"schema_version": SCHEMA_VERSION, "ok": False, "notebooks": []}).encode())
    except OSError as error:
        raise cannot_write(out, error) from None
    for lesson in notebooks.choose([]):
        for ending in (".ipynb", ".html", ".log", ".json"):
            (out / f"{lesson.stem}{ending}").unlink(missing_ok=True)
    (out / "report.html").unlink(missing_ok=True)
    shutil.rmtree(out / STORE, ignore_errors=True)


def is_ours(out) -> bool:
    """Tell whether a folder holds the results of a chapter."""
    try:
        return "schema_version" in json.loads((out / RESULTS).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def run_lesson(path, out, store, parameters, quota, limit):
    """Execute one lesson into out; return its entry in results.json."""
    accounts = out / f"{path.stem}.json"
    seconds, error = execute(path, out / path.name, parameters=parameters, log=out / f"{path.stem}.log", timeout=limit,
                             environment={"LABKIT_STORE": str(store), "LABKIT_RESULTS": str(accounts)})
    account = json.loads(accounts.read_text(encoding="utf-8")) if accounts.exists() else {}
    accounts.unlink(missing_ok=True)
    trained = account.get("run_steps_trained", 0)
    if error is None and not account:
        error = "did not reach lesson.finish() in its last cell"
    if error is None and quota is not None and trained < quota:
        error = f"trained {trained} run-steps, fewer than its {quota}"
    return {"name": path.stem, "ok": error is None, "error": error, "seconds": round(seconds, 1), "parameters": parameters,
            "run_steps_trained": trained, "run_steps_quota": quota, "runs": account.get("runs", [])}


def timeout():
    """Return the seconds one lesson may take: LABKIT_TIMEOUT, else 1200."""
    text = os.environ.get("LABKIT_TIMEOUT", str(TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise LabError(f"LABKIT_TIMEOUT = {text!r} is not a number of seconds above 0.")
    return seconds


def sentence(result):
    """Say in one line how a lesson went."""
    how = "done" if result["ok"] else "FAILED: it " + result["error"]
    return f"{result['name']}: {how} ({result['seconds']:.0f} s, {result['run_steps_trained']:,} run-steps trained)"


def write(out, store, results):
    """Write HTML, report and results; return the outcome with the table of verdicts."""
    from labkit import report

    runs = report.verdicts(store, results)
    ok = all(result["ok"] for result in results)
    data = {"schema_version": SCHEMA_VERSION, "ok": ok, "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "fast": os.environ.get("LABKIT_FAST") == "1", "notebooks": results, "runs": runs, "machine": report.machine()}
    write_file(out / RESULTS, json.dumps(data, indent=1).encode())
    for result in results:
        if (out / f"{result['name']}.ipynb").exists():
            report.notebook_html(out / f"{result['name']}.ipynb")
    report.write(out / "report.html", data, store)
    lines = [report.table(runs), *map(sentence, results), f"Report: {out / 'report.html'}"]
    return Outcome(0 if ok else 1, "\n".join(lines), data)
