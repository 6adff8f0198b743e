"""Run a verb where it can run: here if this environment suits it, else inside the kit's own. Standard library only."""

import os
import subprocess
import sys

from labkit.cli import environment as install
from labkit.cli import parser
from labkit.cli.requirements import missing
from labkit.settings import REPO

EXTRAS = {"lab": ("lab",), "chapter": ("lab",), "publish": ("lab",), "test": ("test",), "bench": ("test",)}
NO_PACKAGES = {"checkup"}  # must also work, and help, where nothing is installed
INSTALLED = "LABKIT_INSTALLED"  # set for the process that goes on after an installation


def main(arguments):
    """Run one command line; return its exit code: 0 done, 1 a run or cell failed, 2 bad input."""
    # Kernels and workers must find this checkout whatever folder they stand in, and no modules in that folder.
    paths = [str(REPO), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ |= {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONSAFEPATH": "1"}
    options = parser.parse(arguments)  # typing errors and --help are answered before anything is installed
    installed = os.environ.pop(INSTALLED, None)
    extras = EXTRAS.get(options.verb, ()) + (("site",) if getattr(options, "trainable", False) else ())
    # Such a verb looks at the machine alone, unless it is given something to look at.
    bare = options.verb in NO_PACKAGES and not (options.design or options.base or options.data)
    installed_alone = not (REPO / "pyproject.toml").is_file()  # by pip, without a checkout: pip brought what it needs
    lacks = [] if bare or installed_alone else lacking(extras)
    if not lacks:
        return parser.run(options)
    if installed:  # once is enough: a useless installation must not loop
        install.say(f"{sys.prefix} lacks {', '.join(lacks)} even after the installation: "
                    "delete that folder and try again.")
        return 1
    try:
        python = python_for(extras, lacks)
    except KeyboardInterrupt as stop:
        stop.args = ("interrupted; the same command goes on where it stopped",)
        raise
    go_on(python, arguments)


def in_own_environment():
    """Say whether this interpreter is the one of the kit's own environment."""
    return os.path.realpath(sys.prefix) == os.path.realpath(install.venv_folder())


def lacking(extras):
    """Return what this interpreter lacks for these extras; in the kit's own an installation must have ended."""
    lacks = missing(extras)
    if not lacks and in_own_environment() and not install.complete(install.venv_folder(), extras):
        return ["the end of an interrupted installation"]
    return lacks


def python_for(extras, lacks):
    """Return the interpreter of our own environment, installing first what it needs."""
    venv = install.venv_folder()
    if in_own_environment():
        install.forget(venv)  # whatever was installed has been taken away since
    if install.complete(venv, extras):
        return install.venv_python(venv)
    python = install.install(extras, lacks)
    os.environ[INSTALLED] = "1"
    return python


def go_on(python, arguments):
    """Replace this process by the same command in another interpreter."""
    command = [str(python), "-P", "-m", "labkit", *arguments]
    sys.stdout.flush()
    if os.name == "nt":  # exec on Windows returns to the shell before the new process ends
        sys.exit(subprocess.run(command).returncode)
    os.execv(command[0], command)
