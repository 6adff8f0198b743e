"""Event files as TensorBoard's writers make them, byte by byte, for tests that have no TensorBoard."""

import struct

from labkit.files.event_files import crc32c, masked


def varint(value):
    """Return a whole number as protobuf writes it."""
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def part(number, data):
    """Return a field of bytes, or of another message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(data):
    """Return a record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return (length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data))))


def event(step, *values, version=b""):
    """Return an Event with the given Summary.Values."""
    data = b"\x09" + struct.pack("<d", 1.7e9 + step) + (b"\x10" + varint(step) if step else b"")
    if version:
        return data + part(3, version)
    return data + part(5, b"".join(part(1, value) for value in values))


def simple(tag, value):
    """Return a Summary.Value with a simple_value."""
    return part(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def tensor(tag, value, form="float_val"):
    """Return a Summary.Value with a tensor of one number, in one of the forms that writers give it."""
    kind = {"float_val": 1, "packed": 1, "content": 1, "double": 2}[form]
    body = {"float_val": b"\x2d" + struct.pack("<f", value), "packed": part(5, struct.pack("<f", value)),
            "content": part(4, struct.pack("<f", value)), "double": part(4, struct.pack("<d", value))}[form]
    return part(1, tag.encode()) + part(8, b"\x08" + varint(kind) + part(2, b"") + body) + part(9, part(1, b"scalars"))


def event_file(path, rows, value=simple):
    """Write an event file of rows (tag, step, value) and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = [event(0, version=b"brain.Event:2"), *(event(step, value(tag, number)) for tag, step, number in rows)]
    path.write_bytes(b"".join(map(record, events)))
    return path


def rows_of(log):
    """Return the rows of a made `ForeignLog`, in the order that a trainer writes them."""
    rows = [(one.tag, int(step), float(value)) for one in (log.train, log.validation, log.probe) if one is not None
            for step, value in zip(one.steps, one.values, strict=True)]
    return sorted(rows, key=lambda row: row[1])
