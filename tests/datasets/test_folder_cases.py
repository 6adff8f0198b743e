"""Folders of the field, each made small after public bug reports, with what a person expects of it.

What is refused is refused by name; what is taken is used as meant, and nothing of it is passed over in silence.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from picture_folders import drawn, saved, with_rows, with_texts
from PIL import Image

from labkit.datasets import pixels
from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.errors import LabError

pytestmark = pytest.mark.usefixtures("ordinary_alone")


def notes(folder, **reading):
    """Return what is told of a folder that is taken."""
    return " | ".join(territory(folder, **reading).notes)


# -- folders in folders, as kohya's trainer and the Hugging Face hub have them


@pytest.fixture
def trainer(tmp_path):
    """Make the folders of kohya's trainer: two concepts, one of them without captions, and pictures of the class."""
    with_texts(tmp_path / "own/img/10_sks room", 8)
    saved(tmp_path / "own/img/4_ohwx maze", 6, first=20)
    saved(tmp_path / "own/reg/1_room", 3, first=40)
    for name in ("log", "model"):
        (tmp_path / "own" / name).mkdir()
    return tmp_path / "own"


def test_folders_with_repeats_are_used_together_and_their_repeats_told_as_views(trainer):
    """kohya_ss #986, #216, #1244: img/10_sks room."""
    own = territory(trainer)
    assert len(own.train) + len(own.validation) == 14 and set(own.train.repeats) == {5, 2}
    assert own.validation.repeats == () and own.prompts
    assert {columns["concept"] for columns in own.train.attributes} == {"sks room", "ohwx maze"}
    assert ("repeats of 4_ohwx maze (6 pictures), 10_sks room (8 pictures): 104 views, which kohya's trainer calls an "
            "epoch, are 7.43 epochs here; each picture is shown as often as its repeats say") in own.notes
    assert "6 of 6 pictures in 4_ohwx maze without a caption" in notes(trainer)
    assert "'ohwx maze', as the folder is called, is shown with them" in notes(trainer)
    assert "ohwx maze" in own.train.captions


def test_folders_with_repeats_are_found_from_around_and_from_inside(trainer):
    around = territory(trainer)
    assert territory(trainer / "img").train.fingerprint == around.train.fingerprint
    alone = territory(trainer / "img/10_sks room")
    assert (len(alone.train), alone.train.repeats) == (4, ())  # of one folder, all are shown equally often
    assert alone.notes == (
        "repeats of 10_sks room (8 pictures): 80 views, which kohya's trainer calls an epoch, are 10 epochs here",)
    one = territory(f"{trainer}/concept=sks room")
    assert len(one.train) + len(one.validation) == 8


def test_repeats_make_another_run_only_where_they_differ(trainer):
    first = territory(trainer).fingerprint
    (trainer / "img/4_ohwx maze").rename(trainer / "img/8_ohwx maze")
    assert territory(trainer).fingerprint != first
    (trainer / "img/10_sks room").rename(trainer / "img/5_sks room")
    (trainer / "img/8_ohwx maze").rename(trainer / "img/2_ohwx maze")
    assert territory(trainer).fingerprint == first            # 5 to 2, as 10 to 4


def test_folders_in_train_are_used_together(tmp_path):
    """Hugging Face's image folders: train/cats, train/dogs."""
    for i, part in enumerate(("train/cats", "train/dogs", "validation/cats")):
        with_texts(tmp_path / "own" / part, 5, first=20 * i)
    own = territory(tmp_path / "own")
    assert (len(own.train), len(own.validation)) == (10, 5)
    assert own.notes[0] == "2 folders used together: cats (5 pictures), dogs (5 pictures)"


def test_the_class_pictures_of_ones_own_are_the_prior(trainer):
    """dreambooth-gui #34, TheLastBen #246: pictures of the class without captions."""
    own, before = territory(trainer), territory(trainer).fingerprint
    assert own.prior.captions == ("room",) * 3
    assert "3 pictures in" in own.notes[-1] and "shown with prior_loss_weight" in own.notes[-1]
    saved(trainer / "class", 4, first=60)                     # diffusers' name for them comes first
    other = territory(trainer)
    assert other.prior.captions == ("",) * 4 and other.fingerprint != before
    assert "4 of 4 pictures in class without a caption" in notes(trainer)


def test_ordinary_pictures_without_captions_are_measured_with_the_empty_one(tmp_path):
    with_texts(tmp_path / "own", 9)
    saved(tmp_path / "own/ordinary", 3, first=30)
    assert territory(tmp_path / "own").ordinary.captions == ("",) * 3
    assert "3 of 3 pictures in ordinary without a caption, 00.png for one: the empty one" in notes(tmp_path / "own")


# -- captions


def test_captions_of_either_ending_are_read(tmp_path):
    """kohya_ss #927, #1370: .caption; SimpleTuner and others: a.png.txt; Windows: .TXT."""
    for i, ending in enumerate((".caption", ".png.txt", ".TXT")):
        [name] = saved(tmp_path / "own", 1, first=i, names=[f"{i}.png"])
        (tmp_path / "own" / name).with_suffix(ending).write_text(f"room {i}")
    assert load_folder(tmp_path / "own").captions == ("room 0", "room 1", "room 2")
    (tmp_path / "own/0.txt").write_text("tags")
    both = load_folder(tmp_path / "own")
    assert both.captions[0] == "tags" and "1 picture with .txt and .caption beside them" in both.notes[0]


def test_a_text_in_utf_16_is_read_and_one_in_an_unknown_encoding_is_named(tmp_path):
    """A1111 #3657, ai-toolkit #113."""
    folder = with_texts(tmp_path / "own", 9)
    (folder / "03.txt").write_text("an endless corridor", encoding="utf-16")
    assert load_folder(folder).captions[3] == "an endless corridor"
    (folder / "03.txt").write_bytes(b"the woman\x92s coat")
    with pytest.raises(LabError, match="03.txt is not UTF-8 text"):
        load_folder(folder)


@pytest.mark.parametrize("delimiter, suffix", [(";", "csv"), ("\t", "tsv"), ("|", "csv")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_of_any_delimiter_is_read(tmp_path, delimiter, suffix, encoding):
    """diffusers #12038: a spreadsheet's own forms."""
    names = saved(tmp_path / "own", 4)
    lines = [delimiter.join(("file_name", "text")), *(f"{name}{delimiter}a room, {name}" for name in names)]
    (tmp_path / f"own/metadata.{suffix}").write_text("\r\n".join(lines), encoding=encoding)
    assert load_folder(tmp_path / "own").captions == tuple(f"a room, {name}" for name in names)


def test_several_captions_of_a_picture_are_kept_and_change_what_is_trained(tmp_path):
    """OneTrainer #131; a list of captions, as the caption column of diffusers' scripts."""
    listed = with_rows(tmp_path / "listed", 9, row=lambda name: {"file_name": name, "text": ["a room", name]})
    found = load_folder(listed)
    assert found.captions == ("a room",) * 9 and found.more[2] == ("02.png",)
    assert len(found.every_caption) == 18 and found.take(3).more == found.more[:3]
    alone = load_folder(with_rows(tmp_path / "alone", 9))
    assert alone.more == () and alone.hashes == found.hashes and alone.fingerprint != found.fingerprint


def test_lines_of_a_text_are_one_caption_unless_they_are_chosen_as_several(tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    (folder / "02.txt").write_text("a wide room\n\n  with green doors \n")
    assert load_folder(folder).captions[2] == "a wide room with green doors"
    assert "1 caption of several lines, that of 02.png for one, read as one line: captions = lines" in notes(folder)
    by_lines = load_folder(folder, captions="lines")
    assert (by_lines.captions[2], by_lines.more[2]) == ("a wide room", ("with green doors",))


def test_captions_are_made_of_file_names_where_that_is_chosen(tmp_path):
    """kohya_ss #2209: offered where there are none, never done unasked."""
    saved(tmp_path / "own", 8, names=["a-red_door (2).png", "IMG_0001.png", *(f"pool {i}.jpg" for i in range(6))])
    with pytest.raises(LabError, match="or choose captions=names, which makes 'IMG' of its name, or captions=text:"):
        territory(tmp_path / "own")
    assert load_folder(tmp_path / "own", captions="names").captions == ("IMG", "a red door", *["pool"] * 6)


def test_one_caption_serves_for_all_where_it_is_chosen(tmp_path):
    """diffusers' instance_prompt."""
    folder = with_texts(tmp_path / "own", 9)
    own = territory(folder, captions="text:a photo of  sks room")
    assert set(own.train.captions) == {"a photo of sks room"} and own.captions == "text:a photo of  sks room"
    assert "captions come from one text for all; the 9 .txt beside the pictures are not read" in own.notes


def test_a_named_column_holds_the_captions(tmp_path):
    """diffusers' caption_column."""
    folder = with_rows(tmp_path / "own", 9, row=lambda name: {"file_name": name, "text": "a", "long": f"room {name}"})
    found = load_folder(folder, captions="column:long")
    assert found.captions[1] == "room 01.png" and found.attributes[1] == {"text": "a"}
    with pytest.raises(LabError, match="needs file_name and words, both texts. Its columns are: file_name, text, lo"):
        load_folder(folder, captions="column:words")
    with pytest.raises(LabError, match="asks for a column, and .* has no metadata.jsonl"):
        load_folder(with_texts(tmp_path / "texts", 9), captions="column:long")
    unclear = with_rows(tmp_path / "two", 9, row=lambda name: {"file_name": name, "caption": "a", "prompt": "b"})
    with pytest.raises(LabError, match="Choose the one of the captions with captions = column:NAME"):
        load_folder(unclear)


@pytest.mark.parametrize("reading", [{"captions": "name"}, {"captions": "text: "}, {"crop": "middle"}])
def test_a_way_of_reading_that_there_is_not_is_refused_with_those_there_are(tmp_path, reading):
    with pytest.raises(LabError, match="is not possible: it must be .*(names .captions from|one of center, top)"):
        territory(with_texts(tmp_path / "own", 9), **reading)


# -- pixels


def tall(i):
    """Draw a tall picture that is red at its top and blue at its bottom."""
    picture = drawn(i, 32).resize((32, 96))
    picture.paste("red", (0, 0, 32, 20))
    picture.paste("blue", (0, 76, 32, 96))
    return picture


@pytest.mark.parametrize("crop, top, bottom", [("top", (255, 0, 0), None), ("bottom", None, (0, 0, 255))])
def test_a_chosen_crop_keeps_what_lies_at_the_edge(tmp_path, crop, top, bottom):
    """kohya_ss #1586, diffusers #1112, #3794: what the caption names lies at the top of tall pictures."""
    tall(0).save(tmp_path / "a.png")
    pixels = load_picture(tmp_path / "a.png", 32, crop)
    assert top is None or (pixels[:19] == top).all()
    assert bottom is None or (pixels[-19:] == bottom).all()
    wide = Image.open(tmp_path / "a.png").transpose(Image.Transpose.ROTATE_90)       # what was on top is at the left
    wide.save(tmp_path / "b.png")
    assert np.array_equal(load_picture(tmp_path / "b.png", 32, crop), load_picture(tmp_path / "b.png", 32))
    assert (load_picture(tmp_path / "b.png", 32, "left")[:, :19] == (255, 0, 0)).all()


def test_a_crop_changes_what_is_trained_only_where_it_takes_another_square(tmp_path):
    folder = with_texts(tmp_path / "own", 12)
    plain = territory(folder)
    assert territory(folder, crop="top").fingerprint == plain.fingerprint            # all are square
    for i in range(12):
        tall(i).save(folder / f"{i:02}.png")
    center, top, left = (territory(folder, crop=crop) for crop in ("center", "top", "left"))
    assert top.fingerprint != center.fingerprint == left.fingerprint                 # there is nothing at their left
    assert top.validation.paths == center.validation.paths and top.train.crop == "top"
    assert "12 of 12 pictures lose more than 10% outside the square at their top" in top.notes[0]
    assert "crop can also be top, bottom, left, right" in center.notes[0]
    assert (top.train.pixels(32)[:, :19] == (255, 0, 0)).all()


def test_a_kind_that_a_plug_in_reads_is_read_where_it_is_installed(tmp_path, monkeypatch):
    """kohya_ss #1600, ai-toolkit PR #303: HEIC of phones, JPEG XL."""
    folder = with_texts(tmp_path / "own", 9)
    for name in ("a.HEIC", "b.jxl"):
        drawn(50).save(folder / name, "PNG")
        (folder / name).with_suffix(".txt").write_text("a hall")
    pixels._has_plugin.cache_clear()
    assert "1 .heic (a.HEIC), 1 .jxl (b.jxl); pip install pillow-heif pillow-jxl-plugin, or save" in notes(folder)
    registered = []
    plug_in = SimpleNamespace(register_heif_opener=lambda: registered.append("heif"))
    monkeypatch.setitem(sys.modules, "pillow_heif", plug_in)
    pixels._has_plugin.cache_clear()
    assert "a hall" in load_folder(folder).captions and registered == ["heif"]
    assert "1 of 11 pictures left out" in notes(folder)
    pixels._has_plugin.cache_clear()


# -- before training


def test_a_folder_is_told_of_in_three_lines_at_most(tmp_path):
    folder = with_texts(tmp_path / "own", 12)
    assert territory(folder).told == [f"{folder}: 8 pictures to train on, 4 held out to judge by"]
    tall(0).save(folder / "00.png")
    (folder / "01.txt").write_text("")
    (folder / "lost.txt").write_text("a picture that was deleted")
    with_texts(folder / "more", 2, first=40)
    own = territory(folder)
    summary, first, last = own.told
    assert first == own.notes[0] and len(own.notes) == 4
    assert last == "3 more notes: `labkit inspect FOLDER` has them"
