"""The journal of a run: a file of events, one JSON line each, that is locked by the system while it is written.

Each line ends with the CRC-32 of everything in the file up to there, so that a changed byte, a missing line and a line
from elsewhere are all noticed. Lines without one, of older stores and of the recorded sets, are read as they are.
"""

import json
import math
import os
import time
import zlib
from pathlib import Path

import numpy as np

from labkit.errors import LabError
from labkit.files.atomic import cannot_write, sync_folder
from labkit.files.locks import try_lock
from labkit.files.regular import read_regular, require_regular

SYNC_EVERY_S = 1.0
PATIENCE_S = 1.0  # a reader that asks for the status holds a shared lock for an instant
SUM_HEAD, SUM_LENGTH = b',"crc32":"', len(b',"crc32":"01234567"}')  # how a line ends
TAIL = 4096  # bytes in which the last line is looked for first

_written_here: set[str] = set()  # journals that this process holds: the system's lock does not tell whose it is


class Journal:
    """Append lines to a file that no other process may write; the lock goes when the process goes."""

    def __init__(self, path: Path):
        """Open and lock path; call `cut` before the first `append`."""
        self.path = path
        require_regular(path, or_absent=True)
        try:
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as error:
            raise cannot_write(path, error) from None
        if not _locked_within(self.handle, PATIENCE_S):
            os.close(self.handle)
            is_here = os.path.realpath(path) in _written_here
            writer = "this process, in another cell or panel" if is_here else "another process"
            raise LabError(f"The run {path.parent.name} is being written by {writer}: wait for it or stop it first.")
        _written_here.add(os.path.realpath(path))

    def cut(self, keep: int) -> None:
        """Drop everything behind the first `keep` bytes; lines are appended there."""
        self.sum = 0
        for line in read_regular(self.path)[:keep].split(b"\n")[:-1]:
            self.sum, _ = _sums(line, self.sum)
        self._truncate(keep)

    def _truncate(self, keep: int) -> None:
        try:
            os.ftruncate(self.handle, keep)
            os.lseek(self.handle, keep, os.SEEK_SET)
            sync_folder(self.path.parent)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        self.end, self.synced = keep, time.monotonic()

    def append(self, values: dict, *, durable: bool) -> None:
        """Add a line; when durable, or a second after the last time, force it to the disk before returning."""
        line = encode(values, self.sum)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self.handle, rest) :]
            if durable or time.monotonic() - self.synced > SYNC_EVERY_S:
                os.fsync(self.handle)
                self.synced = time.monotonic()
        except OSError as error:
            self._truncate(self.end)
            raise cannot_write(self.path, error) from None
        self.end += len(line)
        self.sum, _ = _sums(line[:-1], self.sum)

    def close(self) -> None:
        """Force everything to the disk and release the lock."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        finally:
            _written_here.discard(os.path.realpath(self.path))
            os.close(self.handle)


def encode(values: dict, before: int) -> bytes:
    """Return a strict JSON line: arrays as lists of their shortest digits, NaN and infinities as words.

    before    the sum of everything in the file up to here
    """
    body = json.dumps(_plain(values), separators=(",", ":"), allow_nan=False).encode()[:-1]
    return body + SUM_HEAD + b'%08x"}\n' % zlib.crc32(body, before)


def _sums(line: bytes, before: int) -> tuple[int, bool]:
    """Return the sum up to the end of a line, and whether it is the one that the line states, where it states one."""
    if line[-SUM_LENGTH:].startswith(SUM_HEAD):
        summed = zlib.crc32(line[:-SUM_LENGTH], before)
        return summed, line[-10:-2] == b"%08x" % summed
    return zlib.crc32(line, before), True


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.generic) and not isinstance(value, np.floating):
        return value.item()
    if isinstance(value, np.floating):
        return _plain(float(str(value)))  # float32 0.1 is written 0.1, and read back as the same float32
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def read(path: Path) -> tuple[list[dict], list[int]]:
    """Return the lines of a journal and the offset at which each ends; a last line without an end is torn and ignored.

    LabError names the first line that is damaged.
    """
    data, remedy = read_regular(path, absent=b""), "restore the file, or remove its folder to train the run again."
    lines: list[dict] = []
    ends: list[int] = []
    start, before = 0, 0
    while (stop := data.find(b"\n", start)) >= 0:
        line = _decoded(data[start:stop])
        before, is_whole = _sums(data[start:stop], before)
        if line is None or not is_whole:
            raise LabError(f"Line {len(lines) + 1} of {path} is damaged: {remedy}")
        lines.append(line)
        ends.append(stop + 1)
        start = stop + 1
    if data[start:][-SUM_LENGTH - 1 : -1].startswith(SUM_HEAD):  # a whole line, and something else where it ended
        raise LabError(f"The last line of {path} is damaged: {remedy}")
    return lines, ends


def last(path: Path) -> dict:
    """Return the last whole line, without reading the rest; {} when there is none. LabError when it is damaged."""
    require_regular(path, or_absent=True)
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            *before, line, torn = [b"", *file.read().split(b"\n")]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}).") from None
    values, sum_before = _decoded(line), _stated(before[-1]) if before else 0
    if torn or values is None or not _sums(line, sum_before)[1]:
        lines, _ = read(path)                                 # raises, unless the line is long or follows an old one
        values = lines[-1] if lines else {}
    return values


def _stated(line: bytes) -> int:
    """Return the sum that a line states, 0 where it states none."""
    try:
        return int(line[-10:-2], 16) if line[-SUM_LENGTH:].startswith(SUM_HEAD) else 0
    except ValueError:
        return 0


def _decoded(line: bytes) -> dict | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    values.pop("crc32", None)
    return values


def is_locked(path: Path) -> bool:
    """Tell whether a living process is writing this journal."""
    try:
        require_regular(path)
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except (OSError, LabError):
        return False
    try:
        return not try_lock(handle, shared=True)
    finally:
        os.close(handle)


def _locked_within(handle: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not try_lock(handle):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
