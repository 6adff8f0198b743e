"""One process writes a file at a time, and its lock ends with it."""

import errno
import os
import subprocess
import sys

import pytest

from labkit.files import locks
from labkit.files.locks import try_lock
from labkit.settings import REPO

HOLDER = """
import os, sys, time
from labkit.files.locks import try_lock
handle = os.open(sys.argv[1], os.O_RDWR)
print(try_lock(handle), flush=True)
time.sleep(60)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    return path


@pytest.fixture
def handles(file):
    """Give two descriptors of one file, which the system takes for two owners."""
    both = [os.open(file, os.O_RDWR) for _ in range(2)]
    yield both
    for handle in both:
        os.close(handle)


def test_a_second_owner_is_refused_and_those_who_only_ask_are_not(handles):
    first, second = handles
    assert try_lock(first, shared=True) and try_lock(second, shared=True)
    assert not try_lock(first)
    os.close(handles.pop())
    assert try_lock(first)


def test_a_lock_ends_with_the_process_that_holds_it(file, handles):
    with subprocess.Popen([sys.executable, "-c", HOLDER, file], cwd=REPO, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        assert not try_lock(handles[0])
        holder.kill()
    assert try_lock(handles[0])


@pytest.mark.parametrize("number, expected", [(errno.EAGAIN, False), (errno.ENOLCK, True), (errno.ENOTSUP, True)])
def test_a_file_system_without_locks_does_not_make_anybody_wait(monkeypatch, handles, number, expected):
    def fail(handle, shared):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "_lock", fail)
    assert try_lock(handles[0]) is expected
