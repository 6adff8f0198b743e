"""Read event files by the rules of their formats, apart from the code that writes them."""

import struct

from labkit.files.event_files import crc32c


def records(data):
    """Give the messages of an event file whose sums are right, read as record_reader.cc does."""
    def unmasked(stored):
        value = (struct.unpack("<I", stored)[0] - 0xA282EAD8) & 0xFFFFFFFF
        return (value >> 17 | value << 15) & 0xFFFFFFFF

    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack("<Q", data[at:at + 8])
        message = data[at + 12:at + 12 + length]
        assert unmasked(data[at + 8:at + 12]) == crc32c(data[at:at + 8])
        assert unmasked(data[at + 12 + length:at + 16 + length]) == crc32c(message)
        found.append(message)
        at += 16 + length
    return found


def fields(message):
    """Give {field: [values]} of a protocol buffer's message: numbers, and bytes of what has a length."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        elif tag & 7 == 1:
            value, at = struct.unpack("<d", message[at:at + 8])[0], at + 8
        elif tag & 7 == 5:
            value, at = struct.unpack("<f", message[at:at + 4])[0], at + 4
        else:
            length = varint()
            value, at = message[at:at + length], at + length
        found.setdefault(tag >> 3, []).append(value)
    return found
