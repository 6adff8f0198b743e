"""Open the lessons in JupyterLab."""
import os
import subprocess
import sys

from labkit import notebooks
from labkit.cli import Outcome
from labkit.paths import REPO


def command(lesson, *, port, browser):
    """Return the command line of the server that opens a lesson first."""
    return [sys.executable, "-P", "-m", "jupyterlab", f"--ServerApp.root_dir={REPO}", f"--ServerApp.port={port}",
            f"--LabApp.default_url=/lab/tree/notebooks/{lesson}", *([] if browser else ["--no-browser"]),
            # Root is who you are in a container; anywhere else the option changes nothing.
            *["--allow-root"] * (hasattr(os, "geteuid") and os.geteuid() == 0)]


def lab(options):
    """Start JupyterLab and wait until it is stopped."""
    [lesson] = notebooks.choose([options.name])
    if options.store:
        os.environ["LABKIT_STORE"] = os.path.abspath(options.store)
    server = subprocess.Popen(command(lesson.name, port=options.port, browser=not options.no_browser))
    try:
        return Outcome(1 if server.wait() > 0 else 0)
    except KeyboardInterrupt:
        server.terminate()  # it ends its kernels first
        server.wait()
        raise
