"""Folders are read as they are meant, and every bad one is refused by name."""

import errno
import json
import os

import numpy as np
import pytest
from picture_folders import pictures, rows_of, write_rows
from PIL import Image

from labkit.datasets import tables
from labkit.datasets.folders import load_folder, load_picture
from labkit.errors import LabError

pytestmark = pytest.mark.usefixtures("far_territory")


# -- reading

def test_metadata_gives_captions_and_attributes_in_its_own_order(tmp_path):
    folder = pictures(tmp_path / "p", 4, kind=["pool", "maze"])
    write_rows(folder, rows_of(folder)[::-1])
    found = load_folder(folder)
    assert [path.name for path in found.paths] == ["003.png", "002.png", "001.png", "000.png"]
    assert found.captions[0] == "picture 3" and found.attributes[0] == {"kind": "maze"}
    assert found.select(kind="pool").captions == ("picture 2", "picture 0")
    assert found.take(2).captions == ("picture 3", "picture 2") and len(found.take(99)) == 4


def test_csv_jsonl_and_text_files_say_the_same(tmp_path):
    by_jsonl, by_csv, by_text = (pictures(tmp_path / name, 3) for name in ("jsonl", "csv", "text"))
    for folder in (by_csv, by_text):
        (folder / "metadata.jsonl").unlink()
    table = "\ufefffile_name,text\r\n" + "".join(f"{i:03}.png,picture {i}\r\n" for i in range(3))
    (by_csv / "metadata.csv").write_text(table, "utf-8")
    for i in range(3):
        (by_text / f"{i:03}.txt").write_text(f"picture {i}\n")
    folders = [load_folder(folder) for folder in (by_jsonl, by_csv, by_text)]
    assert len({folder.captions for folder in folders}) == len({folder.fingerprint for folder in folders}) == 1


def test_pictures_without_metadata_come_by_name_whatever_the_file_system_says(tmp_path):
    folder = pictures(tmp_path / "p", 5)
    (folder / "metadata.jsonl").unlink()
    for i in range(5):
        (folder / f"{i:03}.txt").write_text("x")
    (folder / "notes.md").write_text("not a picture")
    assert [path.stem for path in load_folder(folder).paths] == ["000", "001", "002", "003", "004"]


def test_the_fingerprint_is_of_pictures_captions_and_order_alone(tmp_path):
    one, other = pictures(tmp_path / "one", 3), pictures(tmp_path / "other", 3)
    (other / "000.png").rename(other / "renamed.png")
    rows = rows_of(other)
    rows[0]["file_name"] = "renamed.png"
    write_rows(other, rows)
    same = load_folder(one).fingerprint
    assert load_folder(other).fingerprint == same
    write_rows(other, rows[1:] + rows[:1])
    assert load_folder(other).fingerprint != same
    rows[1]["text"] += "."
    write_rows(other, rows)
    assert load_folder(other).fingerprint != same
    Image.new("RGB", (24, 32)).save(one / "001.png")
    assert load_folder(one).fingerprint != same


# -- pixels

def saved(tmp_path, picture, name="a.png", **options):
    picture.save(tmp_path / name, **options)
    return load_picture(tmp_path / name, 16)


def test_a_picture_is_its_middle_square(tmp_path):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = (10, 200, 30)
    assert (saved(tmp_path, Image.fromarray(pixels))[:, 4:-4] == (10, 200, 30)).all()


def test_a_picture_stands_upright_as_its_camera_says(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = 255                                       # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6                                          # turned by a quarter, so white belongs on top
    upright = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    assert (upright[:7] == 255).all() and (upright[9:] == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(tmp_path, mode):
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    assert (saved(tmp_path, picture.convert(mode)) == 255).all()


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path):
    grey = Image.fromarray(np.full((16, 16), 0x8000, np.uint16))
    assert np.abs(saved(tmp_path, grey).astype(int) - 128).max() <= 1


def test_inks_become_colours(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))      # red
    red = saved(tmp_path, cmyk, "a.jpg", quality=100)
    assert (red[..., 0] > 240).all() and (red[..., 1:] < 15).all()


# -- bad input

def test_no_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match="empty has no pictures"):
        load_folder(tmp_path / "empty")


def test_pictures_one_folder_deeper_are_pointed_out(tmp_path):
    pictures(tmp_path / "outer/inner", 2)
    with pytest.raises(LabError, match="outer has no pictures .* Did you mean .*inner"):
        load_folder(tmp_path / "outer")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_truncated_picture_is_named(tmp_path, suffix):
    folder = pictures(tmp_path / "p", 3, suffix=suffix)
    cut(folder / f"001.{suffix}")
    with pytest.raises(LabError, match=f"001.{suffix} is truncated or not a picture"):
        load_folder(folder)


def test_a_picture_cut_after_it_was_checked_is_noticed(tmp_path):
    folder = pictures(tmp_path / "p", 3)
    load_folder(folder)
    cut(folder / "002.png")
    with pytest.raises(LabError, match="002.png is truncated"):
        load_folder(folder)


@pytest.mark.parametrize("content", [
    b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x00\x00\x00WEBP",
])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    folder = pictures(tmp_path / "p", 3)
    (folder / "000.png").write_bytes(content)
    with pytest.raises(LabError, match="000.png is truncated or not a picture"):
        load_folder(folder)


def test_a_picture_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(LabError, match="000.png has more than"):
        load_folder(pictures(tmp_path / "p", 1))


def change(row):
    return lambda rows: rows[1].update(row)


@pytest.mark.parametrize("spoil, message", [
    (change({"file_name": "gone.png"}), "line 2, names gone.png, which is not in"),
    (change({"file_name": "000.png"}), "line 2, names 000.png a second time"),
    (change({"text": None}), "line 2, needs file_name and text"),
    (change({"file_name": 7}), "line 2, needs file_name and text"),
    (lambda rows: rows.pop(), r"002.png \(1 in all\) has no line in"),
])
def test_a_caption_file_that_does_not_fit_its_pictures(tmp_path, spoil, message):
    folder = pictures(tmp_path / "p", 3)
    rows = rows_of(folder)
    spoil(rows)
    write_rows(folder, rows)
    with pytest.raises(LabError, match=message):
        load_folder(folder)


@pytest.mark.parametrize("name, content, message", [
    ("metadata.jsonl", b'{"file_name": "000.png", "text": "a"}\n{oops\n',
     "metadata.jsonl, line 2, is not a JSON object"),
    ("metadata.jsonl", b'["000.png"]\n', "line 1, is not a JSON object"),
    ("metadata.jsonl", b'{"file_name": "000.png", "text": "caf\xe9"}\n', "metadata.jsonl is not UTF-8"),
    ("metadata.csv", b"number,caption\n000.png,a\n",
     "metadata.csv, line 2, needs file_name and text, both texts. Its columns are: number, caption"),
    ("metadata.csv", b"file_name,text\n000.png\n", "line 2, needs file_name and text"),
])
def test_a_caption_file_that_cannot_be_read(tmp_path, name, content, message):
    folder = pictures(tmp_path / "p", 1)
    (folder / "metadata.jsonl").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(LabError, match=message):
        load_folder(folder)


@pytest.mark.parametrize("name", ["000.png", "metadata.jsonl"])
def test_a_file_that_may_not_be_read_is_named_with_its_cause(tmp_path, monkeypatch, name):
    folder, opened = pictures(tmp_path / "p", 2), open

    def refused(file, *arguments, **options):
        if str(file).endswith(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(LabError, match=f"data: .*{name} cannot be read .Permission denied.. Change its permissions"):
        load_folder(folder)


@pytest.mark.parametrize("name", ["metadata.jsonl", "000.txt"])
def test_captions_are_not_read_without_end(tmp_path, monkeypatch, name):
    folder = pictures(tmp_path / "p", 1)
    (folder / "metadata.jsonl").unlink()
    (folder / name).write_text("a" * 1_000_001)
    monkeypatch.setattr(tables, "MOST_BYTES", 10**6)
    with pytest.raises(LabError, match=f"{name} has more than 1 MB. Write shorter captions"):
        load_folder(folder)


def test_a_picture_without_any_caption(tmp_path):
    folder = pictures(tmp_path / "p", 2)
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(LabError, match="000.png has no caption. Write metadata.jsonl"):
        load_folder(folder)


def test_a_table_that_is_no_csv_is_named_with_its_line(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text(f'file_name,text\na.png,"{"x" * 140_000}"\n')
    with pytest.raises(LabError, match="metadata.csv, line .* is no CSV"):
        load_folder(tmp_path)


@pytest.mark.parametrize("line, message", [
    ("[" * 100_000, "line 1, is not a JSON object .*nested too deeply"),
    ('{"file_name": "\\ud800", "text": "x"}', "half a character"),
    ('{"text": ' + "9" * 5000 + "}", "line 1, is not .*5,000 digits, where"),
    (json.dumps({"file_name": "x" * 5000, "text": "x"}), "which is not in"),
])
def test_a_line_of_captions_that_no_person_would_write_is_named(tmp_path, line, message):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(LabError, match=message):
        load_folder(tmp_path)
