"""A file is written whole, and others may read it as they may read any file made here."""

import ast
import errno
import os
import stat

import nbformat
import pytest

from labkit.cli import report
from labkit.errors import LabError
from labkit.files.atomic import sync_folder, write_file
from labkit.machine import facts
from labkit.settings import REPO


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


WRITES_ITSELF = {                                             # and why a half-written file does no harm there
    "event_writer": "records that are added while runs train, each with its checksum, so that a cut one is left out",
    "execute": "a log that grows while a lesson runs",
    "environment": "a stamp that counts as none unless it is whole, and a lock"}


def writes(source):
    """Yield the calls in a source that write to a path directly."""
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        modes = ()
        if name == "open":
            modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
        to_write = any(set(ast.unparse(mode)) & set("wax+") for mode in modes)
        if to_write or name.endswith((".write_text", ".write_bytes")):
            yield ast.unparse(node)


def test_everything_that_is_kept_is_written_whole():
    found = {path.stem for path in (REPO / "labkit").rglob("*.py") if list(writes(path.read_text(encoding="utf-8")))}
    assert found - {"atomic"} == set(WRITES_ITSELF)


def test_a_report_that_cannot_be_written_leaves_the_one_before_and_names_out(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, lesson = tmp_path / "report.html", tmp_path / "00_start.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), lesson)
    data = {"made": "today", "machine": facts(), "fast": False, "notebooks": [], "runs": []}
    path.write_text("before"), lesson.with_suffix(".html").write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    attempts = {path: lambda: report.write(path, data, {}),
                lesson.with_suffix(".html"): lambda: report.notebook_html(lesson)}
    for written, act in attempts.items():
        with pytest.raises(LabError, match=rf"{written.name}.*No space left.*\(--out\)"):
            act()
        assert written.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.undo()
    report.write(path, data, {})
    assert "Parameter Design Lab: report" in path.read_text(encoding="utf-8")
