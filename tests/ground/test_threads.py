"""Threads follow the container's quota, then the affinity, and LABKIT_THREADS above all; read from a fake root."""

import os
import re
import subprocess
import sys

import pytest

from labkit import machine, openmp
from labkit.errors import LabError
from labkit.settings import REPO


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.delenv("LABKIT_THREADS", raising=False)
    monkeypatch.setattr(machine, "_cores", lambda: (8, "the cores this process may use"))


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize("cpu_max, expected", [
    ("200000 100000\n", 2), ("150000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", 8),
    ("1600000 100000\n", 8), ("", 8), ("nonsense\n", 8), ("100 0\n", 8),
])
def test_a_version_2_quota_is_followed_downwards_to_whole_cores(tmp_path, cpu_max, expected):
    write(tmp_path, "sys/fs/cgroup/cpu.max", cpu_max)
    assert machine.quota(tmp_path)[0] == expected


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("quota, expected", [("300000", 3), ("-1", 8), ("0", 8), ("10000", 1)])
def test_a_version_1_quota_is_followed(tmp_path, mount, quota, expected):
    write(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", quota)
    write(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", "100000")
    assert machine.quota(tmp_path)[0] == expected


def test_the_group_of_this_process_and_all_above_it_count(tmp_path):
    write(tmp_path, "proc/self/cgroup", "0::/user.slice/session.scope\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/session.scope/cpu.max", "600000 100000")
    assert machine.quota(tmp_path)[0] == 6
    write(tmp_path, "sys/fs/cgroup/user.slice/cpu.max", "300000 100000")
    assert machine.quota(tmp_path) == (3, "the CPU quota of this container")


def test_the_version_1_group_of_this_process_counts(tmp_path):
    write(tmp_path, "proc/self/cgroup", "7:memory:/a\n4:cpu,cpuacct:/docker/abc\n")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "500000")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000")
    assert machine.cgroup_quota(tmp_path) == 5


def test_without_a_quota_the_cores_of_this_process_count(tmp_path):
    assert machine.quota(tmp_path) == (8, "the cores this process may use")
    assert machine.cgroup_quota(tmp_path) is None


def test_the_environment_overrides_the_quota(tmp_path, monkeypatch):
    write(tmp_path, "sys/fs/cgroup/cpu.max", "200000 100000")
    monkeypatch.setenv("LABKIT_THREADS", "5")
    assert machine.quota(tmp_path) == (5, "LABKIT_THREADS")


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5"])
def test_a_senseless_override_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv("LABKIT_THREADS", text)
    with pytest.raises(LabError, match="LABKIT_THREADS .* whole number"):
        machine.quota(tmp_path)


def test_this_machine_has_at_least_one_thread(monkeypatch):
    monkeypatch.undo()
    assert machine.quota()[0] >= 1


def test_torch_is_held_to_the_quota_and_never_raised_above_its_own_choice(monkeypatch):
    import torch

    before = torch.get_num_threads()
    try:
        for own, granted, expected in ((8, 2, 2), (2, 8, 2)):
            torch.set_num_threads(own)
            monkeypatch.setattr(machine, "quota", lambda granted=granted: (granted, "the CPU quota of this container"))
            machine.limit_torch()
            assert torch.get_num_threads() == expected
        monkeypatch.setattr(machine, "quota", lambda: (3, "LABKIT_THREADS"))
        machine.limit_torch()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def spins(first, **environment):
    """Return how often a waiting thread looks before it sleeps, as GNU's OpenMP says; None where torch has another."""
    unchosen = {name: value for name, value in os.environ.items() if name not in openmp.CHOSEN_BY}
    command = [sys.executable, "-c", f"import {first}, torch"]
    process = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True,
                             env=unchosen | {"OMP_DISPLAY_ENV": "verbose"} | environment)
    match = re.search(r"GOMP_SPINCOUNT = '(\w+)'", process.stderr)
    return match and match[1]


def test_threads_of_torch_sleep_while_they_wait_unless_the_user_chose_otherwise():
    on_linux = sys.platform.startswith("linux")               # only there torch's wheels bring GNU's OpenMP
    assert spins("labkit") == ("0" if on_linux else None)
    assert spins("labkit", OMP_WAIT_POLICY="ACTIVE") == spins("os", OMP_WAIT_POLICY="ACTIVE") != "0"


@pytest.mark.parametrize("name, value", [
    ("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000"), ("KMP_BLOCKTIME", "200"), ("KMP_LIBRARY", "turnaround"),
])
def test_waiting_is_left_as_the_user_set_it(name, value):
    environment = {name: value}
    openmp.wait_passively(environment)
    assert environment == {name: value}
