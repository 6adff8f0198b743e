"""A file keeps its remembered identity only as long as the system says that it is the same file, unchanged."""

import hashlib
import json
import os
import shutil
import time

import pytest

from labkit.files.content import Memo, sha256, sha256_of_texts
from labkit.settings import cache_dir


def remembered(path):
    """Return the hash of a file as a memo gives it, and how many files had to be read for it."""
    read = []

    def compute(file):
        read.append(file)
        return sha256(file)

    with Memo("test", compute) as memo:
        return memo(path), len(read)


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
    known = {str(file.resolve()): [stat.st_size, stat.st_mtime_ns, "old"]}
    (cache_dir() / "memo-test-2.json").write_text(json.dumps(known))
    assert remembered(file) == (sha256(file), 1)


@pytest.mark.parametrize("change", [
    lambda known: [], lambda known: "text", lambda known: None,
    lambda known: {name: {} for name in known}, lambda known: {name: [] for name in known},
    lambda known: {name: [*entry[:-1], 7] for name, entry in known.items()},
    lambda known: {name: entry[:-1] for name, entry in known.items()},
    lambda known: {name: [*entry[:-2], "0" * 64, entry[-1]] for name, entry in known.items()},
])
def test_a_memo_that_is_none_is_made_again(tmp_path, change):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"numbers")
    with Memo("sha256", sha256) as memo:
        right = memo(file)
    stored = cache_dir() / "memo-sha256-2.json"
    stored.write_text(json.dumps(change(json.loads(stored.read_text()))))
    with Memo("sha256", sha256) as memo:
        assert memo(file) == right
    assert right in stored.read_text()


@pytest.mark.parametrize("text", ["[" * 100_000, "{", ""])
def test_a_memo_that_is_no_json_is_made_again(tmp_path, text):
    (tmp_path / "file").write_text("x")
    cache_dir().mkdir(parents=True)
    (cache_dir() / "memo-sha256-2.json").write_text(text)
    with Memo("sha256", sha256) as memo:
        assert memo(tmp_path / "file") == sha256(tmp_path / "file")


def test_texts_that_are_no_utf_8_have_a_hash_and_others_keep_theirs():
    assert sha256_of_texts(["a\udcff"]) != sha256_of_texts(["a"])
    assert sha256_of_texts(["größer"]) == hashlib.sha256((8).to_bytes(8, "little") + "größer".encode()).hexdigest()
