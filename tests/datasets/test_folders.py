"""Folders are read as they are meant, every bad one is refused by name, and the split never moves."""

import errno
import json
import os
import random

import numpy as np
import pytest
from PIL import Image

from labkit.datasets import captions
from labkit.datasets.folders import load_folder, load_picture, shipped_territories, territory
from labkit.errors import LabError


@pytest.fixture(autouse=True)
def shipped_data(tmp_path, monkeypatch):
    """Stand a small data folder in for the one that ships."""
    pictures(tmp_path / "data/territories/ordinary/validation", 3, first=900)
    pictures(tmp_path / "data/territories/far/train", 6, first=500, kind=["pool", "maze"])
    pictures(tmp_path / "data/territories/far/validation", 9, first=600, kind=["pool", "maze", "garage"])
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))


def pictures(folder, n, *, first=0, kind=None, suffix="png"):
    """Write n different pictures with metadata.jsonl."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(n):
        pixels = np.random.default_rng(first + i).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.{suffix}")
        rows.append({"file_name": f"{i:03}.{suffix}", "text": f"picture {first + i}"} | ({"kind": kind[i % len(kind)]} if kind else {}))
    write_rows(folder, rows)
    return folder


def write_rows(folder, rows):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]


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
    (by_csv / "metadata.csv").write_text("\ufefffile_name,text\r\n" + "".join(f"{i:03}.png,picture {i}\r\n" for i in range(3)), "utf-8")
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


# -- the three sets

def test_a_shipped_territory_has_three_sets_and_a_prompt_for_each_kind():
    far = territory("far")
    assert (len(far.train), len(far.validation), len(far.ordinary)) == (6, 9, 3)
    assert far.prompts == ("picture 600", "picture 601", "picture 602", "picture 603")  # three kinds, then the first kind again
    assert far.fingerprint == far.train.fingerprint and shipped_territories() == ["far"]


@pytest.mark.parametrize("n, held_out", [(8, 4), (40, 4), (41, 5), (100, 10)])
def test_a_plain_folder_is_split_by_content(tmp_path, n, held_out):
    own = territory(str(pictures(tmp_path / "own", n)))
    assert len(own.validation) == held_out and len(own.train) == n - held_out and len(own.ordinary) == 3
    assert not set(own.train.hashes) & set(own.validation.hashes)


def test_the_split_depends_on_no_name_and_no_order(tmp_path):
    folder = pictures(tmp_path / "own", 30)
    before = set(territory(folder).validation.hashes)
    rows = rows_of(folder)
    for row in rows:
        (folder / row["file_name"]).rename(folder / f"x{row['file_name']}")
        row["file_name"] = f"x{row['file_name']}"
    random.Random(0).shuffle(rows)
    write_rows(folder, rows)
    assert set(territory(folder).validation.hashes) == before


def test_copies_of_a_picture_stay_on_one_side(tmp_path):
    folder = pictures(tmp_path / "own", 20)
    rows = rows_of(folder)
    for row in rows[:]:
        (folder / f"copy{row['file_name']}").write_bytes((folder / row["file_name"]).read_bytes())
        rows.append(row | {"file_name": f"copy{row['file_name']}"})
    write_rows(folder, rows)
    own = territory(folder)
    assert not set(own.train.hashes) & set(own.validation.hashes)
    assert len(own.train) + len(own.validation) == 40


def test_a_folder_with_its_own_validation_keeps_it(tmp_path):
    pictures(tmp_path / "own/train", 5)
    pictures(tmp_path / "own/validation", 2, first=50)
    pictures(tmp_path / "own/ordinary", 1, first=70)
    own = territory(tmp_path / "own")
    assert (len(own.train), len(own.validation), len(own.ordinary)) == (5, 2, 1)


# -- bad input

def test_no_folder_names_the_territories_that_ship():
    with pytest.raises(LabError, match="no folder nowhere.*that ship: far"):
        territory("nowhere")


def test_no_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match="empty has no pictures"):
        load_folder(tmp_path / "empty")


def test_pictures_one_folder_deeper_are_pointed_out(tmp_path):
    pictures(tmp_path / "outer/inner", 2)
    with pytest.raises(LabError, match="outer has no pictures .* Did you mean .*inner"):
        load_folder(tmp_path / "outer")


@pytest.mark.parametrize("n, words", [(1, "1 picture"), (7, "7 pictures")])
def test_too_few_pictures_to_hold_any_out(tmp_path, n, words):
    with pytest.raises(LabError, match=f"own has {words}, of which 4 would be held out"):
        territory(pictures(tmp_path / "own", n))


def test_one_picture_many_times(tmp_path):
    folder = pictures(tmp_path / "own", 8)
    for path in folder.glob("*.png"):
        path.write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(LabError, match="are the same one"):
        territory(folder)


def test_a_validation_picture_that_is_trained_on(tmp_path):
    pictures(tmp_path / "own/train", 5)
    pictures(tmp_path / "own/validation", 2, first=4)
    with pytest.raises(LabError, match="validation/000.png is also in train"):
        territory(tmp_path / "own")


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


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x00\x00\x00WEBP"])
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
    ("metadata.jsonl", b'{"file_name": "000.png", "text": "a"}\n{oops\n', "metadata.jsonl, line 2, is not a JSON object"),
    ("metadata.jsonl", b'["000.png"]\n', "line 1, is not a JSON object"),
    ("metadata.jsonl", b'{"file_name": "000.png", "text": "caf\xe9"}\n', "metadata.jsonl is not UTF-8"),
    ("metadata.csv", b"number,caption\n000.png,a\n", "metadata.csv, line 2, needs file_name and text, both texts. Its columns are: number, caption"),
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
    monkeypatch.setattr(captions, "MOST_BYTES", 10**6)
    with pytest.raises(LabError, match=f"{name} has more than 1 MB. Write metadata.jsonl or"):
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


# -- a territory made of part of another

def parts(folder):
    for part, first in (("train", 0), ("validation", 20), ("ordinary", 40)):
        pictures(folder / part, 6, first=first, kind=["pool", "maze", "hall"])
    return folder


def test_a_filtered_territory_keeps_what_the_base_knew_and_carries_its_filter_in_its_name(tmp_path):
    whole = territory(parts(tmp_path / "p"))
    some = whole.where(kind=("pool", "maze"))
    assert {own["kind"] for own in some.train.attributes + some.validation.attributes} == {"pool", "maze"}
    assert (len(some.train), len(some.validation), some.ordinary) == (4, 4, whole.ordinary)
    assert territory(some.name) == some == whole.where(kind=["pool", "maze"])
    assert set(some.prompts) <= set(some.validation.captions) and len(some.prompts) == 4
    assert len({whole.fingerprint, some.fingerprint, whole.where(kind="pool").fingerprint}) == 3
    assert some.where(kind="pool").fingerprint == whole.where(kind="pool").fingerprint


@pytest.mark.parametrize("asked, message", [({"colour": "red"}, "colour.*kind"), ({"kind": "garage"}, "kind = garage.*hall, maze, pool")])
def test_a_filter_that_names_nothing_is_answered_with_what_there_is(tmp_path, asked, message):
    with pytest.raises(LabError, match=message):
        territory(parts(tmp_path / "p")).where(**asked)


def test_a_filter_that_leaves_nothing_held_out_is_refused(tmp_path):
    folder = parts(tmp_path / "p")
    write_rows(folder / "validation", [row | {"kind": "maze"} for row in rows_of(folder / "validation")])
    with pytest.raises(LabError, match="2 training and 0 held-out"):
        territory(f"{folder}/kind=pool")


def test_a_folder_whose_own_name_looks_like_a_filter_is_that_folder(tmp_path):
    assert len(territory(pictures(tmp_path / "light=dim", 10)).train) == 6


@pytest.mark.parametrize("name", ["x/kind=a/kind=b", "liminal/kind=pool/light=dim light/kind=maze"])
def test_a_filter_given_twice_is_refused_with_what_was_meant(name):
    with pytest.raises(LabError, match=r"gives kind twice. Write its values with commas between: kind=\w+,\w+"):
        territory(name)


@pytest.mark.parametrize("line, message", [("[" * 100_000, "line 1, is not a JSON object .*nested too deeply"), ('{"file_name": "\\ud800", "text": "x"}', "half a character"),
                                           ('{"text": ' + "9" * 5000 + "}", "line 1, is not .*5,000 digits, where"),
                                           (json.dumps({"file_name": "x" * 5000, "text": "x"}), "which is not in")])
def test_a_line_of_captions_that_no_person_would_write_is_named(tmp_path, line, message):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(LabError, match=message):
        load_folder(tmp_path)
