"""Prove the kit on one GPU within eight minutes: equality, races, speed and memory at full size; write table and JSON.

    python3 tools/gpu_check.py [--wheels DIR] [--out DIR] [--rehearse] [PART ...]

Every part runs in a process of its own with a time limit, so that one that breaks or hangs costs the others nothing,
and every row is written as it comes. Without a GPU, or with --rehearse, all of it runs at reduced width and length.
Exit code 0: all is equal; 1: something is not, or a part broke; 2: bad input.
"""

import argparse
import importlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO / "tools"))                          # PYTHONSAFEPATH leaves a script's own folder out

from gpu_table import line, table  # noqa: E402

# the most seconds of each; its rows come from tools/gpu_PART.py
PARTS = {"equality": 150, "races": 120, "speed": 480}
SECONDS = 470                                                 # of all parts together
# times as long for a rehearsal: it may share its CPU with others
PATIENCE = 5


def main(arguments=None) -> int:
    """Read the command line and run the parts; return 0 if all showed what they should, 1 if not, 2 for bad input."""
    options = _parser().parse_args(arguments)
    if options.rows:
        return _part(options.parts[0], Path(options.rows), options.rehearse)
    if unknown := set(options.parts) - set(PARTS):
        _parser().error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    out = Path(options.out or REPO / "out" / "gpu_check")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            packages = _unpacked(options.wheels, folder) if options.wheels else []
            return check(out, options.parts or PARTS, packages, options.rehearse or not _has_card())
    except (OSError, zipfile.BadZipFile) as error:
        print(f"gpu_check: {error}. --out names a folder to write to, --wheels one that holds wheels.",
              file=sys.stderr)
        return 2


def check(out: Path, parts, packages=(), rehearse=False, tell=lambda text: print(text, flush=True)) -> int:
    """Run the parts one after another, write results.json and table.md after every row, and return the exit code."""
    patience = PATIENCE if rehearse else 1
    results, deadline = {}, time.monotonic() + SECONDS * patience
    for part in parts:
        told, limit = 0, min(PARTS[part] * patience, deadline - time.monotonic())
        for result in _running(part, out, packages, rehearse, limit):
            results[part] = result
            for row in result["rows"][told:]:
                tell(f"{part}: {line(row)}")
            told = len(result["rows"])
            _write(out / "results.json", json.dumps(results, indent=1))
            _write(out / "table.md", table(results))
        tell(f"{part}: {results[part]['end']} after {results[part]['seconds']:.0f} s")
    tell(f"The table is {out / 'table.md'}; results.json beside it holds the same for machines.")
    return 0 if all(_is_good(part, result) for part, result in results.items()) else 1


def _is_good(part, result) -> bool:
    """Tell whether a part has shown what it should: speed may run out of time, what is to be equal may not."""
    return result["end"] in ("done", *["out of time"] * (part == "speed")) and all(row["ok"] for row in result["rows"])


def _running(part, out, packages, rehearse, limit):
    """Run one part as a process of its own; yield its end, seconds and rows so far whenever there are more."""
    rows, log, start, known = out / f"{part}.jsonl", out / f"{part}.log", time.monotonic(), 0
    rows.write_text("")
    command = [sys.executable, str(Path(__file__).resolve()), part, "--rows", str(rows.resolve()),
               *["--rehearse"] * rehearse]
    # its own folder too, which PYTHONSAFEPATH leaves out
    folders = [str(Path(__file__).resolve().parent), str(REPO), str(REPO / "tests" / "support")]
    path = os.pathsep.join([*packages, *folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT,
                                                 env=os.environ | {"PYTHONPATH": path}) as process:
        end = "running"
        while end == "running":
            time.sleep(0.2)
            if process.poll() is not None:
                end = f"broke with exit code {process.returncode}, see {log.name}" if process.returncode else "done"
            elif time.monotonic() - start > limit:
                end = "out of time"
                process.kill()
            lines = rows.read_text(encoding="utf-8").split("\n")[:-1]     # the last is empty, or not yet whole
            if len(lines) > known or end != "running":
                known = len(lines)
                yield {"end": end, "seconds": time.monotonic() - start, "rows": [json.loads(text) for text in lines]}


def _part(part, file, rehearse) -> int:
    """Be the process of one part: write a JSON line a row, the machine first."""
    import torch

    device = torch.device("cuda:0" if _has_card() else "cpu")
    with file.open("a", encoding="utf-8") as rows:
        for row in itertools.chain([_machine(rehearse)],
                                   importlib.import_module(f"gpu_{part}").rows(device, rehearse)):
            rows.write(json.dumps(row) + "\n")
            rows.flush()
    return 0


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()


def _machine(rehearse) -> dict:
    import torch

    card = torch.cuda.get_device_properties(0) if _has_card() else None
    return {"what": card.name if card else platform.processor() or platform.machine(), "ok": True,
            "rehearsed": rehearse,
            "memory_gib": card.total_memory / 2**30 if card else None, "cuda": torch.version.cuda,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "diffusers", "transformers", "peft")}}


def _unpacked(wheels, folder) -> list[str]:
    """Unpack a folder's wheels, and return from where they are imported."""
    files = sorted(Path(wheels).glob("*.whl"))
    if not files:
        raise OSError(f"{wheels} holds no wheels")
    for file in files:
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(folder)
    return [folder]


def _write(file: Path, text: str):
    aside = file.with_suffix(".new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)


def _parser():
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--wheels", metavar="DIR",
                        help="folder of wheels of what is not installed, diffusers' for example")
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: out/gpu_check)")
    parser.add_argument("--rehearse", action="store_true", help="run all of it at reduced width and length")
    parser.add_argument("--rows", help=argparse.SUPPRESS)     # of a part's own process: where its rows go
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
