"""How many threads to compute with: the quota of the container, else the cores this process may use."""

import os
from pathlib import Path

from labkit.design.fields import number


def quota(root: Path = Path("/")) -> tuple[int, str]:
    """Return the number of threads to use and what said so.

    In this order: LABKIT_THREADS, the CPU quota of a container (cgroup v2, then v1) where it is below the cores this process
    may use, its affinity, the machine's cores. A quota of 1.5 cores gives 1 thread: a second one would spend most of each
    period stopped, and the first waiting for it. `root` stands for / in tests.
    """
    asked = os.environ.get("LABKIT_THREADS", "").strip()
    if asked:
        return number(int, 1, 1024)("LABKIT_THREADS", asked), "LABKIT_THREADS"
    cores, source = _cores()
    granted = cgroup_quota(root)
    if granted is not None and granted < cores:
        return max(1, int(granted)), "the CPU quota of this container"
    return cores, source


def limit_torch() -> None:
    """Hold torch to the quota; its own choice stands where that is lower, since it leaves out the cores' second halves."""
    import torch

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


def _upwards(mount: Path, path: str):
    """Give the folder of a group and those above it, up to the mount; in a container only the mount itself may be there."""
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
