"""Event files of TensorBoard, read without TensorBoard: the scalars in them, whatever else they hold.

An event file is a row of records, each with its length and both with a checksum (TFRecord: tensorflow,
core/lib/io/record_writer.h), whose data are messages of protobuf (core/util/event.proto and
core/framework/summary.proto). Scalars stand in them as `simple_value`, as older writers and torch's put them, or as a
tensor of one number. Nothing else is looked at, and records too long for a scalar, such as those of pictures, are
passed over unread.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

MOST_OF_A_SCALAR = 65_536                                     # bytes of a record that may hold scalars
MOST_SCALARS = 3_000_000
MASK = 0xA282EAD8                                             # TFRecord stores checksums turned and shifted by it
TENSOR_FORMS = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}           # DataType of tensorflow/core/framework/types.proto
TENSOR_FIELDS = {5: "<f", 6: "<d", 7: "varint", 10: "varint"}  # float_val, double_val, int_val, int64_val


class Scalar(NamedTuple):
    """Hold one number of an event file."""

    tag: str
    step: int
    value: float


class Scalars(NamedTuple):
    """Hold what an event file says, in its order, and what is wrong with the file, "" where nothing is."""

    rows: list[Scalar]
    trouble: str


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the checksum CRC-32C (Castagnoli) of some bytes: RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as TFRecord stores it."""
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def read_scalars(path: Path, most: int = MOST_SCALARS) -> Scalars:
    """Return the scalars of an event file up to where it is cut or damaged; OSError where it cannot be read."""
    rows: list[Scalar] = []
    try:
        with open(path, "rb") as file:
            for record in _records(file):
                rows += _scalars(record)
                if len(rows) >= most:
                    return Scalars(rows, f"it holds more than {most:,} numbers, and what comes after them is left out")
    except ValueError as error:
        return Scalars(rows, str(error))
    return Scalars(rows, "")


def _records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records of a file; ValueError says where it is cut or damaged."""
    damaged = 0
    while head := file.read(12):
        place = file.tell() - len(head)
        if len(head) < 12:
            raise ValueError(f"it is cut off in its last record (byte {place:,})")
        length, check = struct.unpack("<QI", head)
        if masked(crc32c(head[:8])) != check:
            raise ValueError(f"it is damaged from byte {place:,} on, and what comes after is left out")
        if length > MOST_OF_A_SCALAR:
            file.seek(length + 4, 1)
            continue
        data = file.read(length + 4)
        if len(data) < length + 4:
            raise ValueError(f"it is cut off in its last record (byte {place:,})")
        if masked(crc32c(data[:-4])) == int.from_bytes(data[-4:], "little"):
            yield data[:-4]
        else:
            damaged += 1
    if damaged:
        raise ValueError(f"records in it are damaged and left out ({damaged:,})")


def _scalars(record: bytes) -> Iterator[Scalar]:
    """Yield the scalars of one Event; of a message that is no Event, none."""
    try:
        fields = list(_fields(record))
        step = next((_signed(value) for number, value in fields if number == 2 and isinstance(value, int)), 0)
        for number, summary in fields:
            for inner, value in _fields(summary) if number == 5 and isinstance(summary, bytes) else ():
                if inner == 1 and isinstance(value, bytes) and (scalar := _value(value)):
                    yield Scalar(scalar[0], step, scalar[1])
    except (ValueError, IndexError, struct.error):
        return


def _value(message: bytes) -> tuple[str, float] | None:
    """Return tag and number of a Summary.Value; None where it is no scalar."""
    tag, scalar = "", None
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, bytes):
            scalar = float(struct.unpack("<f", value)[0])
        elif number == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    return None if scalar is None else (tag, scalar)


def _tensor(message: bytes) -> float | None:
    """Return the one number of a TensorProto; None where it holds several, or no number."""
    kind, content, numbers = 1, b"", []
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number in TENSOR_FIELDS:
            form = TENSOR_FIELDS[number]
            if isinstance(value, int):
                numbers.append(float(_signed(value)))
            elif form != "varint":
                numbers += [float(item) for (item,) in struct.iter_unpack(form, value)]
            else:
                numbers += [float(_signed(item)) for item in _varints(value)]
    form = TENSOR_FORMS.get(kind, "")
    if form and len(content) == struct.calcsize(form):
        numbers = [float(struct.unpack(form, content)[0])]
    return numbers[0] if len(numbers) == 1 else None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of a message: whole numbers as such, all else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind, len(message) + 1)
        if at + size > len(message):
            raise ValueError("a field that goes beyond its message, or of an unknown kind")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _signed(value: int) -> int:
    """Return a whole number of 64 bits with its sign."""
    return value - (1 << 64) if value >= 1 << 63 else value
