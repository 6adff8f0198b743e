"""Make the kit's own environment: one folder, filled by pip, resumed after an interruption. Standard library only.

LABKIT_TORCH replaces the tested torch requirement (for example `torch==2.9.1` or the path of a wheel).
LABKIT_TORCH_INDEX names an extra package index to take torch from (for example the one with CPU or CUDA builds that
PyTorch's site shows). Both matter only where torch is missing.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

from labkit.cli.requirements import installed_version, pyproject, requirements, satisfies, split
from labkit.files.locks import try_lock
from labkit.settings import REPO, cache_dir

STAMP = "labkit-installed.json"  # the requirements whose installation ended well
# Rounded sums of the wheels' sizes in MB on Linux; torch, most of it, is stated apart. `test` contains `lab`.
DOWNLOAD_MB = {"core": 90, "lab": 50, "test": 130}


def say(text):
    """Print to stderr: stdout belongs to the verb's result."""
    print("labkit: " + text, file=sys.stderr, flush=True)


def venv_folder():
    """Return where our environment lives: `.venv` of the checkout, or the user's cache where that is read-only."""
    if os.access(REPO, os.W_OK):
        return REPO / ".venv"
    return cache_dir() / "venv"


def venv_python(venv):
    """Return the path of an environment's interpreter."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def complete(venv, extras):
    """Say whether an installation of at least these requirements ended well in this environment."""
    return set(requirements(extras)) <= set(read_stamp(venv)) and venv_python(venv).exists()


def has_nvidia_driver():
    """Say whether an NVIDIA driver is there, without asking it anything."""
    marks = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/nvidia-smi")
    return any(os.path.exists(mark) for mark in marks) or shutil.which("nvidia-smi") is not None


@contextlib.contextmanager
def only_one(path):
    """Hold a lock of the operating system while installing; it goes when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as handle:
        waiting = False
        while not try_lock(handle.fileno()):
            if not waiting:
                say("another installation is going on; waiting for it")
            waiting = True
            time.sleep(0.3)
        yield


def call(command, *, quiet=False, timeout=None):
    """Run a command, its output on stderr; return whether it succeeded within the time."""
    nowhere = subprocess.DEVNULL
    sink = nowhere if quiet else sys.stderr
    try:
        return subprocess.run(command, stdin=nowhere, stdout=sink, stderr=sink, timeout=timeout).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def must(command, remedy):
    """Run a command that has to succeed; else end with the command and the remedy."""
    if not call([str(part) for part in command]):
        raise SystemExit(f"labkit: this step failed:\n  {' '.join(map(str, command))}\n{remedy}")


def pip(python):
    """Return the start of a pip command line that talks little to a log and shows progress to a person."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    return [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *quiet]


def torch_commands(python, *, driver, system=sys.platform, environ=os.environ):
    """Return the commands that may bring torch, in the order to try them; all but the last may fail without harm."""
    index = ["--extra-index-url", environ["LABKIT_TORCH_INDEX"]] if environ.get("LABKIT_TORCH_INDEX") else []
    install = [*pip(python), "install", *index]
    if environ.get("LABKIT_TORCH"):
        return [[*install, environ["LABKIT_TORCH"]]]
    tested = f"torch=={pyproject()['tool']['labkit']['tested-torch']}"
    cpu_first = system.startswith("linux") and not driver
    return [[*install, tested + "+cpu"]] * cpu_first + [[*install, tested]]


def has_torch(python):
    """Say whether an environment has a torch in the allowed range."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    ranges = dict(map(split, requirements()))["torch"]
    return answer.returncode == 0 and satisfies(answer.stdout.strip(), ranges)


def damaged(python):
    """Return distributions of an environment whose recorded files are not all there: what an interruption leaves."""
    code = ("import importlib.metadata as m, sys\n"
            "own = [d for d in m.distributions() if str(d.locate_file('')).startswith(sys.prefix)]  # not a system's\n"
            "for d in own:\n"
            "    if d.files is None or not all(f.locate().exists() for f in d.files): print(d.name)")
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout.split()


def announce(venv, extras, lacks, torch_there):
    """Say what is about to be downloaded, how large, and where to."""
    size = DOWNLOAD_MB["core"] + sum(DOWNLOAD_MB.get(extra, 0) for extra in extras)
    torch = "" if torch_there else " and torch (about 200 MB for CPU builds, 2,500 MB on Linux for CUDA builds)"
    say(f"this Python lacks {', '.join(lacks[:4])}{' and more' if len(lacks) > 4 else ''}.")
    say(f"Installing once into {venv}: about {size} MB of packages{torch}, some minutes. "
        "Interrupt and repeat as you like.")


def install(extras, lacks):
    """Make or complete the environment for these extras and return its interpreter."""
    venv = venv_folder()
    with only_one(venv.with_name(venv.name + ".lock")):
        if complete(venv, extras):  # made by another while this one waited
            return venv_python(venv)
        python, resumed = venv_python(venv), venv.exists()
        # A torch of the system's own Python is worth keeping: a GPU image has the right one, and it is the bulk.
        share = sys.prefix == sys.base_prefix and (installed_version("torch") or "0") != "0"
        if not (python.exists() and call([str(python), "-m", "pip", "--version"], quiet=True)):
            announce(venv, extras, lacks, share)
            must([sys.executable, "-m", "venv", *["--system-site-packages"] * share, venv],
                 "On Debian and Ubuntu the package python3-venv brings what it needs; a conda or uv Python has it.")
        else:
            announce(venv, extras, lacks, has_torch(python))
        done = read_stamp(venv)
        forget(venv)
        fill(python, extras, resumed and not done)
        (venv / STAMP).write_text(json.dumps(sorted({*done, *requirements(extras)}), indent=1), encoding="utf-8")
    return python


def forget(venv):
    """Note that an environment may no longer be complete."""
    (venv / STAMP).unlink(missing_ok=True)


def read_stamp(venv):
    """Return the requirements of the last installation that ended well, or an empty list."""
    try:
        return json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def fill(python, extras, resumed):
    """Install torch if it is missing, then the project with these extras, editable where the checkout can be written.

    The tested versions come first. Where a system, a Python or another torch rules one of them out, any in the ranges
    do.
    """
    remedy = "Mend what it complains about and run the same command again: it goes on where it stopped."
    if resumed and (broken := damaged(python)):
        must([*pip(python), "uninstall", "--yes", *broken], remedy)
    if not has_torch(python):
        *first, last = torch_commands(python, driver=has_nvidia_driver())
        # Ask for the CPU build without downloading: an index that lacks it, or a slow one, costs seconds only.
        if not any(call([*c, "--dry-run", "--no-deps"], quiet=True, timeout=30) and call(c) for c in first):
            must(last, remedy + " LABKIT_TORCH and LABKIT_TORCH_INDEX choose another torch or another index for it.")
    what = ["--editable", f"{REPO}[{','.join(extras)}]" if extras else str(REPO)]
    command = [*pip(python), "install", *(what if os.access(REPO, os.W_OK) else requirements(extras))]
    if not call([*command, "--constraint", str(REPO / "constraints.txt")]):
        say("The tested versions, those of constraints.txt, cannot be installed here: "
            "trying what pyproject.toml allows.")
        must(command, remedy)
