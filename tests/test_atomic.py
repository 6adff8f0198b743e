"""A file is written whole, and others may read it as they may read any file made here."""

import errno
import os
import stat

import pytest

from labkit.atomic import sync_folder, write_file
from labkit.errors import LabError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask, expected", [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_that_files_get_here(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_file(tmp_path / "a", b"1")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == expected


def test_a_replaced_file_keeps_its_mode(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0o755)
    write_file(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2" and mode(tmp_path / "a") == 0o755


def fsync_that(monkeypatch, number):
    """Let fsync of a folder fail, that of a file succeed."""
    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_that_cannot_flush_folders_stops_nothing(tmp_path, monkeypatch, number):
    fsync_that(monkeypatch, number)
    write_file(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_flushed_for_a_fault_of_the_disk_is_told(tmp_path, monkeypatch):
    fsync_that(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_the_remedy_names_what_set_the_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"\(LABKIT_STORE or --store for runs\)"):
        write_file(tmp_path / "file" / "a", b"1")
    with pytest.raises(LabError, match=r"a folder you may write to \(--out\)"):
        write_file(tmp_path / "file" / "a", b"1", choose="--out")
