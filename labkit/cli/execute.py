"""Execute one notebook in this process: the worker that chapter and publish start and, if need be, kill.

A process of its own, because papermill can hang for ever (nbclient waits for a message that was already read) and
only the operating system can end that. Reads a job as JSON from stdin.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from labkit.lessons.notebooks import failure, read
from labkit.settings import REPO

RUNNING = set()                                               # workers of this process


def execute(path, target, *, parameters, environment, log, timeout):
    """Run a notebook into target within timeout seconds; return (seconds, None or a sentence on what failed).

    environment: variables for the kernel. log: file for what papermill says. The executed notebook is kept also on failure.
    """
    target.unlink(missing_ok=True)
    job = json.dumps({"path": str(path), "target": str(target), "parameters": parameters})
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as own, open(log, "w", encoding="utf-8") as messages:
        # A user's IPython start-up files and kernels of other environments must not leak into a strict run.
        clean = {"IPYTHONDIR": own, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(REPO), "PYTHONSAFEPATH": "1", "LABKIT_FRONTEND": "headless",
                 "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        worker = subprocess.Popen([sys.executable, "-P", "-m", "labkit.cli.execute"], stdin=subprocess.PIPE, stdout=messages,
                                  stderr=messages, text=True, cwd=path.parent, env={**os.environ, **clean, **environment})
        RUNNING.add(worker)
        try:
            worker.communicate(job, timeout=timeout)
        except subprocess.TimeoutExpired:
            return time.monotonic() - start, f"was still running after {timeout:.0f} s and was stopped (LABKIT_TIMEOUT allows more)"
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
    said = Path(log).read_text(encoding="utf-8").strip().splitlines() or [f"its process ended with {worker.returncode}, for want of memory perhaps"]
    return seconds, f"failed before a cell did: {said[-1]}"


def stop_all():
    """Kill the workers that other threads wait for."""
    for worker in list(RUNNING):
        worker.kill()


def main():
    """Execute the job on stdin with papermill; the exit code is 0 only if every cell succeeded."""
    import papermill

    job = json.load(sys.stdin)
    papermill.execute_notebook(job["path"], job["target"], parameters=job["parameters"], kernel_name="python3",
                               progress_bar=False, cwd=str(Path(job["path"]).parent))


if __name__ == "__main__":
    main()
