"""Execute a notebook in a worker process: what it is given, how many at once, and how long each may take.

A process of its own, because papermill can hang for ever (nbclient waits for a message that was already read) and
only the operating system can end that. The worker reads a job as JSON from stdin.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from labkit.cli.checkup import MEMORY_GIB
from labkit.design.fields import number
from labkit.lessons.notebooks import failure, read
from labkit.machine import free_memory, quota
from labkit.settings import REPO, switch

TIMEOUT_S = 1200
RUNNING = set()                                               # workers of this process


def device():
    """Return what the lessons train on here: cpu or gpu."""
    import torch  # heavy, and not needed by the worker process

    return "gpu" if torch.cuda.is_available() or torch.backends.mps.is_available() else "cpu"


def side_by_side(most):
    """Return how many of at most `most` workers to run at once, and the threads of each.

    One on a GPU, which they would share, and where the free memory is not known.
    """
    cores, free = quota()[0], free_memory()
    if device() == "gpu" or free is None:
        return 1, cores
    at_once = max(1, min(most, cores, int(free / 2**30 / MEMORY_GIB)))
    return at_once, cores // at_once


def timeout():
    """Return the seconds one lesson may take: LABKIT_TIMEOUT, else 1200."""
    return number(float, 0, 1e6, above=True)("LABKIT_TIMEOUT", switch("LABKIT_TIMEOUT") or TIMEOUT_S)


def execute(path, target, *, parameters, environment, log, timeout):
    """Run a notebook into target within timeout seconds; return (seconds, None or a sentence on what failed).

    environment    variables for the kernel
    log            file for what papermill says

    The executed notebook is kept also on failure.
    """
    target.unlink(missing_ok=True)
    job = json.dumps({"path": str(path), "target": str(target), "parameters": parameters})
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, open(log, "w", encoding="utf-8") as messages:
        # A user's IPython start-up files and kernels of other environments must not leak into a strict run.
        clean = {"IPYTHONDIR": folder, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                 "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(REPO), "PYTHONSAFEPATH": "1",
                 "LABKIT_FRONTEND": "headless"}
        worker = subprocess.Popen([sys.executable, "-P", "-m", "labkit.cli.execute"], text=True, cwd=path.parent,
                                  stdin=subprocess.PIPE, stdout=messages, stderr=messages,
                                  env={**os.environ, **clean, **environment})
        RUNNING.add(worker)
        try:
            worker.communicate(job, timeout=timeout)
        except subprocess.TimeoutExpired:
            return time.monotonic() - start, (f"was still running after {timeout:.0f} s and was stopped "
                                              "(LABKIT_TIMEOUT allows more)")
        finally:
            worker.kill()  # the kernel watches its parent and goes with it
            worker.wait()
            RUNNING.discard(worker)
    seconds = time.monotonic() - start
    if worker.returncode == 0:
        return seconds, None
    failed = failure(read(target)) if target.exists() else None
    if failed:
        return seconds, f"failed in cell [{failed[0]}]: {failed[1]}"
    words = Path(log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = words[-1] if words else f"its process ended with {worker.returncode}, for want of memory perhaps"
    return seconds, f"failed before a cell did: {reason}"


def stop_all():
    """Kill the workers that other threads wait for."""
    for worker in list(RUNNING):
        worker.kill()


def main():
    """Execute the job on stdin with papermill; the exit code is 0 only if every cell succeeded."""
    import papermill  # heavy, and needed by the worker alone

    job = json.load(sys.stdin)
    papermill.execute_notebook(job["path"], job["target"], parameters=job["parameters"], kernel_name="python3",
                               progress_bar=False, cwd=str(Path(job["path"]).parent))


if __name__ == "__main__":
    main()
