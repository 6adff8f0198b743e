"""Event files of TensorBoard: both forms of a scalar, published checksums, cut and damaged files."""

import math

import pytest
from event_bytes import event, event_file, part, record, simple, tensor

from labkit.files.event_files import MOST_OF_A_SCALAR, Scalar, crc32c, read_scalars

ROWS = [("loss/train", 1, 0.5), ("test/val", 25, 0.0625), ("loss/train", 2**40, -0.25)]


@pytest.mark.parametrize(("data", "crc"), [
    (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283),
])
def test_the_checksum_is_that_of_rfc_3720(data, crc):
    assert crc32c(data) == crc


@pytest.mark.parametrize("value", [simple, *(lambda tag, number, form=form: tensor(tag, number, form)
                                             for form in ("float_val", "packed", "content", "double"))])
def test_every_form_of_a_scalar_is_read(tmp_path, value):
    rows, trouble = read_scalars(event_file(tmp_path / "events.out.tfevents.1", ROWS, value))
    assert rows == [Scalar(*row) for row in ROWS] and not trouble


def test_tensorboard_reads_the_same(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not among the dependencies")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = event_file(tmp_path / "events.out.tfevents.1", ROWS)
    theirs = EventAccumulator(str(path)).Reload()
    told = [(tag, one.step, one.value) for tag in theirs.Tags()["scalars"] for one in theirs.Scalars(tag)]
    assert sorted(told) == sorted(map(tuple, read_scalars(path).rows))


def test_what_is_no_scalar_is_passed_over(tmp_path):
    text = part(1, b"config") + part(8, b"\x08\x07" + part(8, b"words"))
    several = part(1, b"many") + part(8, b"\x08\x01" + part(4, bytes(12)))
    picture = part(1, b"sample") + part(4, bytes(MOST_OF_A_SCALAR + 9))
    events = [event(3, text), event(3, several), event(4, picture), event(5, simple("loss", math.nan))]
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(map(record, events)) + record(b"\xff\xff\xff"))
    rows, trouble = read_scalars(path)
    assert [(row.tag, row.step) for row in rows] == [("loss", 5)] and math.isnan(rows[0].value) and not trouble


def test_a_cut_file_gives_what_comes_before_the_cut(tmp_path):
    path = event_file(tmp_path / "events.out.tfevents.1", ROWS)
    whole = path.read_bytes()
    last = len(record(event(2**40, simple("loss/train", -0.25))))
    for cut in (1, 5, last - 3):
        path.write_bytes(whole[:-cut])
        rows, trouble = read_scalars(path)
        assert rows == [Scalar(*row) for row in ROWS[:2]] and "cut off" in trouble


def test_no_damage_of_one_byte_is_silent_or_raises(tmp_path):
    path = event_file(tmp_path / "events.out.tfevents.1", ROWS)
    whole = path.read_bytes()
    right = {Scalar(*row) for row in ROWS}
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
        rows, trouble = read_scalars(path)
        assert trouble and set(rows) <= right, at


def test_a_file_of_very_many_numbers_is_read_up_to_a_bound(tmp_path):
    rows, trouble = read_scalars(event_file(tmp_path / "events.out.tfevents.1", ROWS), most=2)
    assert len(rows) == 2 and "more than 2" in trouble
