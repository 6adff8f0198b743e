"""Run the tests: units and every lesson in its fast form; with --all what continuous integration runs."""
import os
import shutil
import subprocess
import sys
import tempfile

from labkit.chapter import side_by_side
from labkit.cli import Outcome
from labkit.paths import REPO

NOTEBOOK = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "300"]
MOST_WORKERS = 8  # beyond that the longest file alone decides
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser():
    """Return the path of a Chromium or Chrome, or None."""
    return os.environ.get("LABKIT_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def command(everything, extra):
    """Return pytest's command line; one session, so that its closing line and exit code speak for everything.

    Files are tested side by side, each on one thread. Not so with --all, whose kills and browsers want the machine to
    themselves, nor with options for pytest, some of which (--pdb, -s) want one process.
    """
    workers = 1 if everything or extra else side_by_side(MOST_WORKERS)[0]
    beside = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    # Naming tests/slow beside tests would not do: pytest drops a place inside another, and then leaves it out by the setting.
    slow = ["--override-ini", "norecursedirs=.*"] if everything else []
    return [sys.executable, "-P", "-m", "pytest", *NOTEBOOK, *slow, *beside, "tests", "notebooks", *extra]


def verb(options):
    """Run pytest in the checkout; its exit code is ours, 0 or 1."""
    if browser() is None:
        print("labkit: no Chromium for the test in a real browser, which --all includes. On Debian and Ubuntu: apt-get install "
              "chromium fonts-dejavu-core; else set LABKIT_CHROMIUM to the program.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as own:
        environment = {**os.environ, "LABKIT_FAST": "1", "LABKIT_THREADS": "1", "LABKIT_STORE": os.path.join(own, "runs"), "JUPYTER_PREFER_ENV_PATH": "1",
                       "LABKIT_FRONTEND": "headless", "IPYTHONDIR": own, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        code = subprocess.call(command(options.all, options.pytest), cwd=REPO, env=environment)
    return Outcome(int(code != 0))
