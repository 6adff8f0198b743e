"""A file keeps its remembered identity only as long as the system says that it is the same file, unchanged."""

import json
import os
import shutil
import time

from labkit.content import Memo, sha256
from labkit.paths import cache_dir


def remembered(path):
    """Return the hash of a file as a memo gives it, and how many files had to be read for it."""
    read = []

    def compute(file):
        read.append(file)
        return sha256(file)

    with Memo("test", compute) as of:
        return of(path), len(read)


def with_time_of(path, before):
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_is_read_once_as_long_as_it_stays(tmp_path):
    file = tmp_path / "a.webp"
    file.write_bytes(b"before")
    assert remembered(file)[1] == 1 and remembered(file) == (sha256(file), 0)


def test_a_file_changed_in_place_with_its_time_set_back_is_read_again(tmp_path):
    file = tmp_path / "a.webp"
    file.write_bytes(b"before")
    before, _ = file.stat(), remembered(file)
    time.sleep(0.02)                                          # more than the grain of the time of change
    file.write_bytes(b"after!")
    with_time_of(file, before)
    assert remembered(file) == (sha256(file), 1)


def test_a_file_exchanged_for_another_of_its_size_and_time_is_read_again(tmp_path):
    file, other = tmp_path / "a.webp", tmp_path / "b.webp"
    file.write_bytes(b"before")
    other.write_bytes(b"after!")
    before, _ = file.stat(), remembered(file)
    with_time_of(other, before)
    shutil.move(other, file)
    assert remembered(file) == (sha256(file), 1)


def test_what_an_older_version_remembered_is_computed_again(tmp_path):
    file = tmp_path / "a.webp"
    file.write_bytes(b"before")
    stat = file.stat()
    cache_dir().mkdir(parents=True)
    (cache_dir() / "memo-test.json").write_text(json.dumps({str(file.resolve()): [stat.st_size, stat.st_mtime_ns, "old"]}))
    assert remembered(file) == (sha256(file), 1)
