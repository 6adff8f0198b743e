"""Captions as people bring them, each case made after the public bug report it names."""

import csv
import os
import unicodedata
from pathlib import Path

import pytest
from picture_folders import drawn, saved, with_rows, with_texts

from labkit.datasets import captions
from labkit.datasets.folders import load_folder, territory
from labkit.datasets.notes import cut_texts
from labkit.errors import LabError, LabWarning
from labkit.lab import Lab

pytestmark = pytest.mark.usefixtures("ordinary_alone")


def notes(folder):
    """Return what is told of a folder that is taken."""
    return " | ".join(territory(folder).notes)


# -- tables of captions


def test_a_caption_cut_at_its_comma_is_refused_with_its_line(tmp_path):
    """diffusers #12038, A1111 #3078."""
    names = saved(tmp_path / "own", 9)
    rows = [f"{name},a room, nobody in it\n" for name in names]
    (tmp_path / "own/metadata.csv").write_text("file_name,text\n" + "".join(rows))
    message = r"metadata.csv, line 2, has 3 values for 2 columns \(file_name, text\). Put quotation marks"
    with pytest.raises(LabError, match=message):
        territory(tmp_path / "own")


def test_quoted_commas_and_spaces_after_commas_are_read(tmp_path):
    """diffusers #12038: the header is 'image, caption'."""
    names = saved(tmp_path / "own", 9)
    rows = [f'{name}, "a room, nobody in it"\n' for name in names]
    (tmp_path / "own/metadata.csv").write_text("image, caption\n" + "".join(rows))
    assert set(load_folder(tmp_path / "own").captions) == {"a room, nobody in it"}


@pytest.mark.parametrize("names", [("file_name", "caption"), ("image", "text"), ("filename", "prompt")])
def test_an_unmistakable_column_is_taken_under_another_name(tmp_path, names):
    """diffusers #12038."""
    folder = with_rows(tmp_path / "own", 9, row=lambda name: {names[0]: name, names[1]: "a pool", "kind": "pool"})
    assert load_folder(folder).captions == ("a pool",) * 9 and load_folder(folder).attributes[0] == {"kind": "pool"}


@pytest.mark.parametrize("row, columns", [
    ({"picture": "00.png", "words": "a"}, "picture, words"),
    ({"file_name": "00.png", "caption": "a", "prompt": "b"}, "file_name, caption, prompt"),
    ({"file_name": "00.png", "text": ["a", 2]}, r"file_name, text \(not a text\)"),
    ({}, "none"),
])
def test_columns_that_do_not_say_which_is_the_caption_are_listed(tmp_path, row, columns):
    with pytest.raises(LabError, match=f"line 1, needs file_name and text, both texts. Its columns are: {columns}."):
        load_folder(with_rows(tmp_path / "own", 9, row=lambda _: row))


def test_a_table_of_another_name_is_pointed_out(tmp_path):
    """diffusers #12038, #2099: captions.csv, metadata.json1."""
    saved(tmp_path / "own", 9)
    (tmp_path / "own/metadata.json1").touch()
    message = r"has no caption.*metadata.json1 is not read: is it meant to be .*metadata.jsonl\?"
    with pytest.raises(LabError, match=message):
        load_folder(tmp_path / "own")


def test_a_table_beside_the_folder_of_the_pictures_is_pointed_out(tmp_path):
    """diffusers #12038, as reported: images/ and, beside it, captions.csv."""
    saved(tmp_path / "own/images", 9)
    (tmp_path / "own/captions.csv").write_text('image, caption\n00.png, "a room"\n')
    with pytest.raises(LabError, match=r"has no pictures that can be read\. Did you mean .*own/images\?"):
        territory(tmp_path / "own")
    with pytest.raises(LabError, match=r"captions.csv is not read: is it meant to be .*images/metadata.csv\?"):
        territory(tmp_path / "own/images")


def test_a_spreadsheets_unicode_text_with_quoted_commas_is_read(tmp_path):
    """diffusers #12038: UTF-16, as some spreadsheets save what they call Unicode."""
    names = saved(tmp_path / "own", 9)
    rows = [f'{name},"a room, nobody in it"\r\n' for name in names]
    (tmp_path / "own/metadata.csv").write_bytes(("file_name,text\r\n" + "".join(rows)).encode("utf-16"))
    assert load_folder(tmp_path / "own").captions == ("a room, nobody in it",) * 9


def test_other_columns_of_any_type_are_kept_and_change_nothing_that_is_trained(tmp_path):
    """What datasets of the hub have beside the caption."""
    more = {"tags": ["a", "b"], "width": 160, "aesthetic": 5.5, "nested": {"x": None}}
    plain = load_folder(with_rows(tmp_path / "plain", 9))
    rich = load_folder(with_rows(tmp_path / "rich", 9, row=lambda name: {"file_name": name, "text": "a room"} | more))
    assert rich.attributes == (more,) * 9 and rich.fingerprint == plain.fingerprint


def test_names_with_backslashes_or_in_the_other_unicode_form_are_found(tmp_path):
    """paperbanana PR #240: composed letters in the table, decomposed ones on a Mac's disk."""
    on_disk = [unicodedata.normalize("NFD", f"Sch\u00f6ner Flur {i}.png") for i in range(9)]
    with_rows(tmp_path / "mac", 9, names=on_disk,
              row=lambda name: {"file_name": unicodedata.normalize("NFC", name), "text": "a hall"})
    with_rows(tmp_path / "windows", 9, row=lambda name: {"file_name": ".\\" + name, "text": "a hall"})
    assert len(load_folder(tmp_path / "mac")) == len(load_folder(tmp_path / "windows")) == 9


def test_a_table_written_in_another_form_or_case_fits_a_disk_that_does_not_tell_them_apart(tmp_path, monkeypatch):
    """APFS finds IMG.JPG under img.jpg, and a composed name under the decomposed one."""
    names = [unicodedata.normalize("NFD", f"Sch\u00f6ner Flur {i}.png") for i in range(9)]
    with_rows(tmp_path / "own", 9, names=names,
              row=lambda name: {"file_name": unicodedata.normalize("NFC", name).upper(), "text": "a hall"})
    on_disk = {captions._plain(name).casefold(): tmp_path / "own" / name for name in names}

    def there(path):
        return on_disk.get(captions._plain(Path(path).name).casefold(), path)

    isfile, samefile = os.path.isfile, os.path.samefile
    monkeypatch.setattr(os.path, "isfile", lambda path: isfile(there(path)))
    monkeypatch.setattr(os.path, "samefile", lambda one, other: samefile(there(one), there(other)))
    assert load_folder(tmp_path / "own").captions == ("a hall",) * 9


def test_a_picture_and_its_text_meet_in_either_unicode_form(tmp_path):
    with_texts(tmp_path / "own", 8)
    drawn(50).save(tmp_path / "own" / unicodedata.normalize("NFD", "caf\u00e9.png"))
    (tmp_path / "own" / unicodedata.normalize("NFC", "caf\u00e9.txt")).write_text("a bar")
    assert "a bar" in load_folder(tmp_path / "own").captions


def test_texts_that_are_not_read_are_told(tmp_path):
    both = with_texts(with_rows(tmp_path / "both", 9), 9)
    assert "the 9 .txt beside the pictures are not read" in notes(both)
    (with_texts(tmp_path / "alone", 9) / "lost.txt").write_text("a picture that was deleted")
    assert "1 .txt without a picture of the same name, such as lost.txt" in notes(tmp_path / "alone")


def test_csv_written_by_a_spreadsheet_is_read(tmp_path):
    names = saved(tmp_path / "own", 9)
    with open(tmp_path / "own/metadata.csv", "w", newline="", encoding="utf-8-sig") as file:
        rows = [(name, 'a room, "nobody" in it', "room") for name in names]
        csv.writer(file).writerows([("file_name", "text", "kind"), *rows])
    assert load_folder(tmp_path / "own").captions == ('a room, "nobody" in it',) * 9


def test_two_pictures_of_one_name_share_the_text_of_that_name(tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    drawn(50).save(folder / "03.jpg")
    found = load_folder(folder)
    assert len(found) == 10 and not found.notes
    assert [caption for path, caption in zip(found.paths, found.captions, strict=True) if path.stem == "03"] == \
        ["a room, 03.png"] * 2


# -- captions themselves


def test_marks_and_spaces_that_nobody_sees_are_no_part_of_a_caption(tmp_path):
    """What pages of the web and editors on Windows put there."""
    folder = with_texts(tmp_path / "own", 9)
    (folder / "03.txt").write_text("\ufeffan endless\u00a0corridor,  teal \n", "utf-8")
    assert load_folder(folder).captions[3] == "an endless corridor, teal"


def test_captions_longer_than_the_text_encoder_reads_are_counted(sd_base, caplog):
    """OneTrainer #62, sd-scripts #1877, InvokeAI PR #176."""
    limit = sd_base.tokenizer.model_max_length
    long, short = "room " * limit, "a b"
    tokens = 2 + len("room") * limit                          # the tests' tokenizer knows letters alone
    note = f"2 of 3 captions cut: {sd_base.name} reads {limit} tokens, the longest has {tokens}"
    assert cut_texts(sd_base, [short, long, long]).startswith(note)
    assert cut_texts(sd_base, [short]) is None and not caplog.text
    lab = Lab(sd_base)
    with pytest.warns(LabWarning, match="1 of 1 prompt cut"):
        lab.generate([long], num_inference_steps=1)


def test_cut_captions_are_told_before_training(sd_folder, tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    (folder / "03.txt").write_text("a long hall with many doors " * 20)
    lab = Lab(str(sd_folder), str(folder), device="cpu", resolution=64)
    with pytest.warns(LabWarning, match="1 of 9 captions cut"):
        assert lab.cache is not None


def test_empty_captions_are_counted_and_refused_when_nearly_all_are(tmp_path):
    folder = with_texts(tmp_path / "own", 12)
    for i in range(2):
        (folder / f"{i:02}.txt").write_text(" \n")
    assert "2 of 12 captions are empty, that of 00.png for one" in notes(folder)
    for i in range(10):
        (folder / f"{i:02}.txt").write_text("")
    with pytest.raises(LabError, match="10 of 12 captions in .*own are empty"):
        territory(folder)
    with pytest.raises(LabError, match="9 of 9 captions"):
        territory(with_rows(tmp_path / "rows", 9, row=lambda name: {"file_name": name, "text": ""}))
