"""A file is written whole, and others may read it as they may read any file made here."""

import os
import stat

import pytest

from labkit.atomic import write_file


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
