"""What the environment decides: where data and runs are, and how the kit behaves.

Each is read when it is asked for, so that a changed environment counts.
"""

import errno
import os
import sys
from pathlib import Path

from labkit.errors import LabError
from labkit.text import shown

REPO = Path(__file__).resolve().parent.parent
FOLDER = "parameter-design-lab"
# Every variable that the kit reads, and what it decides.
VARIABLES = {
    "LABKIT_STORE": "folder of runs",
    "LABKIT_DATA": "folder of shipped data",
    "LABKIT_CACHE": "folder of what can be made again",
    "LABKIT_THREADS": "processor threads, instead of the quota of this process",
    "LABKIT_DTYPE": "float32, bf16 or fp16, in which a base computes",
    "LABKIT_FRONTEND": "browser, colab or headless, instead of the guess",
    "LABKIT_TIMEOUT": "seconds that one lesson may take under `labkit chapter`",
    "LABKIT_TORCH": "another torch requirement for the kit's own environment",
    "LABKIT_TORCH_INDEX": "another index from which torch is taken",
    "LABKIT_CHROMIUM": "browser of the tests",
    "LABKIT_FAST": "1: the short form of the lessons, which tests run",
    "LABKIT_RESULTS": "file in which a lesson accounts for its training",
    "LABKIT_LESSON": "the lesson that runs are trained for, noted with them; its first cell sets it",
    "LABKIT_GRADING": "1: runs are read and none is trained, as where answers are graded",
    "LABKIT_INSTALLED": "1 in a process that has just installed its own environment",
}


def switch(variable: str) -> str:
    """Return what one of VARIABLES is set to, "" where it is not."""
    if variable not in VARIABLES:
        raise KeyError(f"{variable} is not listed in settings.VARIABLES")
    return os.environ.get(variable, "")


fast = switch("LABKIT_FAST") == "1"


def data_dir() -> Path:
    """Return the folder of shipped data: LABKIT_DATA, else data/ beside the package."""
    folder = _absolute(switch("LABKIT_DATA") or REPO / "data")
    if not folder.is_dir():
        raise LabError(f"The kit's data are not at {folder}: set LABKIT_DATA to the data folder of a checkout.")
    return folder


def store_dir() -> Path:
    """Return the folder of runs: LABKIT_STORE, else `own_dir`."""
    if chosen := switch("LABKIT_STORE"):
        return _absolute(chosen)
    return own_dir("runs")


def own_dir(name: str) -> Path:
    """Return a folder for what a person makes: of the repository, or one in the user's data folder.

    The repository's is taken only where it can be written.
    """
    own = REPO / name
    if os.access(own if own.is_dir() else REPO, os.W_OK):
        return own
    return _user_dir("XDG_DATA_HOME", ".local/share", "Application Support") / name


def cache_dir() -> Path:
    """Return the folder of things that can be made again, such as encoded pictures: LABKIT_CACHE, else the user's."""
    return _absolute(switch("LABKIT_CACHE") or _user_dir("XDG_CACHE_HOME", ".cache", "Caches"))


def given_path(text: Path | str) -> Path:
    """Return the path that a person wrote, its ~ replaced; LabError where no file can have such a name."""
    try:
        path = Path(str(text)).expanduser()
        os.lstat(path)
    except RuntimeError:
        raise LabError(
            f"{text} begins with the home folder of a user who is not known here: write the whole path."
        ) from None
    except (OSError, ValueError) as error:                    # a file that is not there yet is for the caller to judge
        if isinstance(error, ValueError) or error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            reason = getattr(error, "strerror", None) or error
            raise LabError(f"{shown(str(text))} cannot be the name of a file ({reason}): give a path.") from None
    return path


def _absolute(folder: Path | str) -> Path:
    """Return a whole path: a worker or a kernel may stand in another folder than the one a variable was set in."""
    return given_path(folder).absolute()


def _user_dir(variable: str, linux: str, mac: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / FOLDER
    if sys.platform == "darwin":
        return Path.home() / "Library" / mac / FOLDER
    return Path(os.environ.get(variable) or Path.home() / linux) / FOLDER
