"""Event files: checksums and messages as TensorBoard's formats state them."""

import math
import struct

import numpy as np
import pytest
from event_messages import fields, records

from labkit.errors import LabError
from labkit.files.event_files import read_scalars
from labkit.files.event_writer import EventFile, png_size


def test_what_was_written_is_read_back_by_the_formats_rules(tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 5, 3)
    file = EventFile(tmp_path / "run" / "events.out.tfevents.x", "--tensorboard")
    file.scalar("train/loss", 0.25, 300, 1.5e9)
    file.scalar("train/loss", 1e300, 301, 1.5e9)
    file.scalar("train/loss", math.nan, 302, 1.5e9)
    file.image("pictures/0", png, *png_size(png), 5, 1.5e9)
    file.text("verdict", "größer", 5, 1.5e9)
    file.close()
    told, trouble = read_scalars(file.path)                   # by the kit's own reader of others' logs
    assert trouble == "" and [(row.tag, row.step) for row in told] == [("train/loss", 300), ("train/loss", 301),
                                                                       ("train/loss", 302)]
    first, *events = map(fields, records(file.path.read_bytes()))
    assert first[3] == [b"brain.Event:2"]
    assert [(event[1][0], event[2][0]) for event in events[:3]] == [(1.5e9, 300), (1.5e9, 301), (1.5e9, 302)]
    values = [fields(fields(event[5][0])[1][0]) for event in events]
    assert [value[1][0] for value in values] == [b"train/loss"] * 3 + [b"pictures/0", b"verdict"]
    assert values[0][2] == [0.25] and values[1][2] == [math.inf] and np.isnan(values[2][2][0])
    assert fields(values[3][4][0]) == {1: [3], 2: [5], 3: [3], 4: [png]}
    assert fields(values[4][8][0])[8] == ["größer".encode()]
    assert fields(fields(values[4][9][0])[1][0])[1] == [b"text"]


def test_a_file_that_is_there_gives_way_and_a_place_that_cannot_be_written_is_named(tmp_path):
    for _ in range(2):
        file = EventFile(tmp_path / "events", "--tensorboard")
        file.close()
    assert len(records((tmp_path / "events").read_bytes())) == 1
    with pytest.raises(LabError, match="events/x cannot be written .*--tensorboard"):
        EventFile(tmp_path / "events" / "x", "--tensorboard")
    with pytest.raises(LabError, match="not the PNG file"):
        png_size(b"GIF89a")
