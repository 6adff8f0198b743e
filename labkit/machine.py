"""What this machine lets a process have: threads, memory, a GPU; and keeping freed memory while a pass runs.

Imports nothing heavy, and works where nothing is installed yet.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from labkit.design.fields import number
from labkit.settings import switch

# Where the name to import differs from that of the distribution.
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "pytest-xdist": "xdist", "import-linter": "importlinter",
                "scikit-image": "skimage"}

# Limit and use of memory in a cgroup, version 2 and version 1.
MEMORY_FILES = (("memory.max", "memory.current"),
                ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))

# Names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE = 1 << 30                                               # bytes; a larger tensor may well be mapped


class Finding(NamedTuple):
    """One line of the self-check: what was looked at, how it stands (good, note, bad), what is there, what to do."""

    name: str
    state: str
    found: str
    remedy: str = ""


def quota(root: Path = Path("/")) -> tuple[int, str]:
    """Return the number of threads to use and what said so.

    In this order: LABKIT_THREADS, the CPU quota of a container (cgroup v2, then v1) where it is below the cores this
    process may use, its affinity, the machine's cores. A quota of 1.5 cores gives 1 thread: a second one would spend
    most of each period stopped, and the first waiting for it. `root` stands for / in tests.
    """
    if chosen := switch("LABKIT_THREADS").strip():
        return number(int, 1, 1024)("LABKIT_THREADS", chosen), "LABKIT_THREADS"
    cores, source = _cores()
    granted = cgroup_quota(root)
    if granted is not None and granted < cores:
        return max(1, int(granted)), "the CPU quota of this container"
    return cores, source


def limit_torch() -> None:
    """Limit torch to the quota; torch's own choice stands where it is lower: one thread a core."""
    import torch  # deferred: heavy, and what only asks for the quota needs none

    count, source = quota()
    if source == "LABKIT_THREADS" or count < torch.get_num_threads():
        torch.set_num_threads(count)


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the cores' worth of time the cgroups of this process grant it, or None where nothing limits it.

    The limit of any group above counts as well, so the smallest one on the way up is returned.
    """
    groups = _own_groups(root)
    cgroup = root / "sys/fs/cgroup"
    granted = [_v2_quota(folder) for folder in _upwards(cgroup, groups.get("", "/"))]
    for mount in ("cpu", "cpu,cpuacct"):
        granted += [_v1_quota(folder) for folder in _upwards(cgroup / mount, groups.get("cpu", "/"))]
    return min((cores for cores in granted if cores is not None), default=None)


def _own_groups(root: Path) -> dict[str, str]:
    """Read /proc/self/cgroup, `number:controllers:path` a line; the one of cgroup v2 has no controllers."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {controller: path for _, controllers, path in fields for controller in controllers.split(",")}


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Give the folder of a group and those above it, up to the mount; in a container only the mount may be there."""
    folder = mount / path.lstrip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _v2_quota(folder: Path) -> float | None:
    try:
        granted, period = (folder / "cpu.max").read_text().split()
        return None if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _v1_quota(folder: Path) -> float | None:
    try:
        granted = int((folder / "cpu.cfs_quota_us").read_text())
        return granted / int((folder / "cpu.cfs_period_us").read_text()) if granted > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _cores() -> tuple[int, str]:
    if hasattr(os, "process_cpu_count"):                      # Python 3.13
        return os.process_cpu_count() or 1, "the cores this process may use"
    if hasattr(os, "sched_getaffinity"):                      # Linux
        return len(os.sched_getaffinity(0)), "the cores this process may use"
    return os.cpu_count() or 1, "the machine's cores"


def keep_freed_memory() -> bool:
    """Let this process keep what it frees instead of returning it to the system; return whether that could be set.

    On Linux each large tensor is otherwise mapped anew and every page of it faults once: on the machines we measured
    (LOG.md) a tenth to a fifth of a step of eight runs. False on other systems and other C libraries, which are left
    as they are.

    One arena serves all threads, since those of their own would hold at most 64 MiB and map the rest:
    mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:                                       # musl
        return False
    options = ((M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE), (M_ARENA_MAX, 1))
    return all([mallopt(name, value) for name, value in options])     # a list: all three are set, even if one fails


def give_back() -> None:
    """Return the freed memory to the system: at the end of a pass, so that a notebook's passes do not add up."""
    is_linux = sys.platform.startswith("linux")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if is_linux else None
    if trim is not None:
        trim(0)


def gpu_name() -> str | None:
    """Return the name of the first NVIDIA GPU as its driver gives it, or None without a driver that answers."""
    question = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = answer.stdout.strip().splitlines()
    return names[0] if answer.returncode == 0 and names else None


def free_memory(root: Path | str = "/") -> int | None:
    """Return the bytes this process may still take, limits of a container included; None where that cannot be read."""
    limits = []
    try:
        lines = Path(root, "proc/meminfo").read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        pass
    cgroup = Path(root, "sys/fs/cgroup")
    for most, used in MEMORY_FILES:
        try:
            in_use = int((cgroup / used).read_text()) - _given_up((cgroup / used).parent)
            limits.append(int((cgroup / most).read_text()) - in_use)
        except (OSError, ValueError):                         # no such file, or "max": no limit
            pass
    if not limits and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _given_up(cgroup: Path) -> int:
    """Return the bytes of files that a container keeps in memory and gives up as soon as they are needed, if known."""
    try:
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    numbers = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(numbers.get("total_inactive_file") or numbers.get("inactive_file") or 0)


def facts() -> dict[str, Any]:
    """Return what a table of timings must say about the machine."""
    versions = {name: installed_version(name) for name in ("torch", "diffusers", "transformers", "numpy")}
    return {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count(),
            "threads": quota()[0], "gpu": gpu_name(), "versions": versions}


def installed_version(name: str) -> str | None:
    """Return the version of an installed and importable distribution, else None."""
    if importlib.util.find_spec(IMPORT_NAMES.get(name, name.replace("-", "_"))) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
