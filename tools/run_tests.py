"""Run the tests: units and every lesson in its fast form; with --all what continuous integration runs."""

import os
import shutil
import subprocess
import sys
import tempfile

from labkit.cli.execute import side_by_side
from labkit.cli.parser import Outcome
from labkit.settings import REPO, switch

NOTEBOOK = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "600"]
NO_TESTS = 5  # pytest's exit code where an option such as -k chose none
MOST_WORKERS = 8  # beyond that the longest file alone decides
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser():
    """Return the path of a Chromium or Chrome, or None."""
    return switch("LABKIT_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def commands(everything, extra):
    """Return pytest's command lines: fast tests and lessons, then with --all the slow tests and those run alone.

    Fast files and slow tests run side by side, each on one thread, but in one process with options for pytest, some
    of which (--pdb, -s) want that. What is killed, drives a browser or itself uses all cores comes last, one by one.
    """
    pytest, every_folder = [sys.executable, "-P", "-m", "pytest"], ["--override-ini", "norecursedirs=.*"]
    workers = 1 if extra else side_by_side(MOST_WORKERS)[0]
    # A slow test starts a process and shares little with its file, so that tests, not files, are given out.
    by_file, by_test = ([["-n", str(workers), "--dist", unit] for unit in ("loadfile", "loadgroup")] if workers > 1
                        else ([], []))
    fast = [*pytest, *NOTEBOOK, *by_file, "tests", "notebooks", *extra]
    slow = [*pytest, *every_folder, *by_test, "tests/slow", *extra]
    alone = [*pytest, *every_folder, "tests/alone", "tests/browser", *extra]
    return [fast, slow, alone] if everything else [fast]


def verb(options):
    """Run pytest in the checkout; return 0 where all of it passed, else 1."""
    if browser() is None:
        print("labkit: no Chromium for the test in a real browser, which --all includes. On Debian and Ubuntu: "
              "apt-get install chromium fonts-dejavu-core; else set LABKIT_CHROMIUM to the program.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LABKIT_FAST": "1", "LABKIT_THREADS": "1", "LABKIT_FRONTEND": "headless",
                       "LABKIT_STORE": os.path.join(folder, "runs"), "IPYTHONDIR": folder,
                       "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        codes = [subprocess.call(command, cwd=REPO, env=environment)
                 for command in commands(options.all, options.pytest)]
    return Outcome(int(any(code not in (0, NO_TESTS) for code in codes) or set(codes) == {NO_TESTS}))
