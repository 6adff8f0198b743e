"""Open the lessons in JupyterLab: a learner's own copy of a lesson that is named, any notebook by its path."""

import os
import signal
import subprocess
import sys
from urllib.parse import quote

from labkit.cli import my_lessons
from labkit.cli.parser import Outcome, tell
from labkit.interrupts import Stop, answered_by
from labkit.lessons import notebooks
from labkit.settings import REPO, given_path


def command(lesson, *, port, browser):
    """Return the command line of the server that opens a notebook; one from elsewhere has its own folder served."""
    root = REPO if REPO in lesson.parents else lesson.parent
    page = quote(lesson.relative_to(root).as_posix())
    return [sys.executable, "-P", "-m", "jupyterlab", f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}",
            f"--LabApp.default_url=/lab/tree/{page}", *([] if browser else ["--no-browser"]),
            # Root is who you are in a container; anywhere else the option changes nothing.
            *["--allow-root"] * (hasattr(os, "geteuid") and os.geteuid() == 0)]


def own_copy(lesson, folder=None):
    """Return the learner's copy of a lesson, made or renewed where nobody worked in it, and say what it is.

    folder    of the copies; None takes the usual one
    """
    copy, is_old = my_lessons.bring_all(folder)[lesson]
    folded = "" if folder else ", with each solution folded below its exercise"
    tell(f"labkit: {copy} is your own copy{folded}.", sys.stderr)
    if is_old:
        tell("labkit: The lesson has changed since: rename or move your copy, and the same command makes a new one.",
             sys.stderr)
    return copy


def lab(options):
    """Start JupyterLab and wait until it is stopped."""
    [lesson] = notebooks.choose([options.name], files=True)
    if not notebooks.is_path(options.name):
        lesson = own_copy(lesson, given_path(options.notebooks).absolute() if options.notebooks else None)
    if options.store:
        os.environ["LABKIT_STORE"] = os.path.abspath(options.store)
    server, stop = subprocess.Popen(command(lesson, port=options.port, browser=not options.no_browser)), Stop()

    def hand_on(number, _frame):
        if number != signal.SIGINT:                           # Ctrl-C reaches the server too, which asks about it
            stop.number = number
            server.terminate()                                # it ends its kernels first

    with answered_by(hand_on):
        code = server.wait()
    return Outcome(stop.code if stop() else 1 if code > 0 else 0)
