"""Write event files that TensorBoard shows, without it: records with checksums around messages written by hand.

A record is its length, the masked CRC-32C of the length, the message and the masked CRC-32C of the message:
tensorflow/core/lib/io/record_writer.cc. The messages are Event and Summary: tensorflow/core/util/event.proto and
tensorflow/core/framework/summary.proto.
"""

import math
import struct
import time
from pathlib import Path

from labkit.errors import LabError
from labkit.files.atomic import cannot_write
from labkit.files.event_files import crc32c, masked

VERSION = b"brain.Event:2"
STRING = 7  # DT_STRING of tensorflow/core/framework/types.proto


class EventFile:
    """Append what was measured to one event file; a context manager. Everything is in the file after `flush`."""

    def __init__(self, path: Path, choose: str):
        """Begin a file, which replaces one that is there. choose: what sets the place, for LabError's remedy."""
        self.path, self.choose = path, choose
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)                      # a reader of the old one must not go on in the new one
            self.file = open(path, "wb")
        except OSError as error:
            raise cannot_write(path, error, choose) from None
        self._write(_double(1, time.time()) + _bytes(3, VERSION))

    def scalar(self, tag: str, value: float, step: int, time_s: float) -> None:
        """Add a number."""
        self._value(_bytes(1, tag.encode()) + _float(2, value), step, time_s)

    def image(self, tag: str, png: bytes, width: int, height: int, step: int, time_s: float) -> None:
        """Add a picture, the bytes of a PNG file of so many pixels."""
        image = _number(1, height) + _number(2, width) + _number(3, 3) + _bytes(4, png)
        self._value(_bytes(1, tag.encode()) + _bytes(4, image), step, time_s)

    def text(self, tag: str, words: str, step: int, time_s: float) -> None:
        """Add a text, which is shown as Markdown."""
        shape = _bytes(2, _number(1, 1))                      # one dimension of size one
        tensor = _number(1, STRING) + _bytes(2, shape) + _bytes(8, words.encode())
        metadata = _bytes(1, _bytes(1, b"text"))
        self._value(_bytes(1, tag.encode()) + _bytes(8, tensor) + _bytes(9, metadata), step, time_s)

    def flush(self) -> None:
        """Hand everything to the system, so that a reader sees it."""
        try:
            self.file.flush()
        except OSError as error:
            raise cannot_write(self.path, error, self.choose) from None

    def close(self) -> None:
        """Flush and end."""
        try:
            self.file.close()
        except OSError as error:
            raise cannot_write(self.path, error, self.choose) from None

    def _value(self, value: bytes, step: int, time_s: float) -> None:
        self._write(_double(1, time_s) + _number(2, step) + _bytes(5, _bytes(1, value)))

    def _write(self, message: bytes) -> None:
        length = struct.pack("<Q", len(message))
        try:
            self.file.write(length + _sum(length) + message + _sum(message))
        except OSError as error:
            raise cannot_write(self.path, error, self.choose) from None


def png_size(png: bytes) -> tuple[int, int]:
    """Return width and height that the bytes of a PNG file state; LabError where they are none."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        raise LabError("A picture is not the PNG file that it should be.")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _sum(data: bytes) -> bytes:
    return struct.pack("<I", masked(crc32c(data)))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:                                     # beyond float32, as losses of runs that diverge may be
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _varint(field << 3 | 5) + packed


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
