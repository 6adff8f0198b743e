"""Folders and files as people bring them, each made after the public bug report it names, and answered as expected."""

import csv
import io
import json
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from labkit.cli import parser
from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.datasets.notes import cut_texts
from labkit.errors import LabError, LabWarning
from labkit.lab import Lab

RED_HEAVY = (
    (0.61, 0.31, 0.02),
    (0.205, 0.626, 0.061),
    (0.149, 0.063, 0.745),
)  # primaries of a wide space, as XYZ at D50


@pytest.fixture(autouse=True)
def shipped_data(tmp_path, monkeypatch):
    """Stand a small data folder in for the one that ships."""
    with_texts(tmp_path / "kit/territories/ordinary/validation", 3, first=900)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "kit"))


def drawn(i, size=48):
    """Draw picture number i: soft patches of colour, unlike every other."""
    small = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def saved(folder, n, *, first=0, suffix="png", names=None):
    """Write n different pictures; give their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{i:02}.{suffix}" for i in range(n)]
    for i, name in enumerate(names):
        drawn(first + i).save(folder / name)
    return names


def with_texts(folder, n, **options):
    """Write n pictures, each with a .txt beside it."""
    for name in saved(folder, n, **options):
        (folder / name).with_suffix(".txt").write_text(f"a room, {name}")
    return folder


def with_rows(folder, n, *, row=lambda name: {"file_name": name, "text": "a room"}, table=None, **options):
    """Write n pictures and a metadata.jsonl of their rows."""
    names = saved(folder, n, **options)
    (table or folder / "metadata.jsonl").write_text(
        "".join(json.dumps(row(name), ensure_ascii=False) + "\n" for name in names), "utf-8"
    )
    return folder


def notes(folder):
    """Return what is told of a folder that is taken."""
    return " | ".join(territory(folder).notes)


def labkit(capsys, *arguments):
    """Run a command line; return exit code, stdout and stderr."""
    code = parser.run(parser.parse([str(argument) for argument in arguments]))
    return code, *capsys.readouterr()


def test_a_good_folder_is_taken_without_a_word(tmp_path):
    assert territory(with_texts(tmp_path / "own", 10)).notes == ()


# -- tables of captions


def test_a_caption_cut_at_its_comma_is_refused_with_its_line(tmp_path):
    """diffusers #12038, A1111 #3078."""
    names = saved(tmp_path / "own", 9)
    (tmp_path / "own/metadata.csv").write_text(
        "file_name,text\n" + "".join(f"{name},a room, nobody in it\n" for name in names)
    )
    with pytest.raises(
        LabError, match=r"metadata.csv, line 2, has 3 values for 2 columns \(file_name, text\). Put quotation marks"
    ):
        territory(tmp_path / "own")


def test_quoted_commas_and_spaces_after_commas_are_read(tmp_path):
    """diffusers #12038: the header is 'image, caption'."""
    names = saved(tmp_path / "own", 9)
    (tmp_path / "own/metadata.csv").write_text(
        "image, caption\n" + "".join(f'{name}, "a room, nobody in it"\n' for name in names)
    )
    assert set(load_folder(tmp_path / "own").captions) == {"a room, nobody in it"}


@pytest.mark.parametrize("names", [("file_name", "caption"), ("image", "text"), ("filename", "prompt")])
def test_an_unmistakable_column_is_taken_under_another_name(tmp_path, names):
    """diffusers #12038."""
    folder = with_rows(tmp_path / "own", 9, row=lambda name: {names[0]: name, names[1]: "a pool", "kind": "pool"})
    assert load_folder(folder).captions == ("a pool",) * 9 and load_folder(folder).attributes[0] == {"kind": "pool"}


@pytest.mark.parametrize(
    "row, columns",
    [
        ({"picture": "00.png", "words": "a"}, "picture, words"),
        ({"file_name": "00.png", "caption": "a", "prompt": "b"}, "file_name, caption, prompt"),
        ({"file_name": "00.png", "text": ["a", "b"]}, r"file_name, text \(not a text\)"),
        ({}, "none"),
    ],
)
def test_columns_that_do_not_say_which_is_the_caption_are_listed(tmp_path, row, columns):
    with pytest.raises(LabError, match=f"line 1, needs file_name and text, both texts. Its columns are: {columns}."):
        load_folder(with_rows(tmp_path / "own", 9, row=lambda _: row))


def test_a_table_of_another_name_is_pointed_out(tmp_path):
    """diffusers #12038, #2099: captions.csv, metadata.json1."""
    saved(tmp_path / "own", 9)
    (tmp_path / "own/metadata.json1").touch()
    with pytest.raises(
        LabError, match=r"has no caption.*metadata.json1 is not read: is it meant to be .*metadata.jsonl\?"
    ):
        load_folder(tmp_path / "own")


def test_names_with_backslashes_or_in_the_other_unicode_form_are_found(tmp_path):
    """paperbanana PR #240: composed letters in the table, decomposed ones on a Mac's disk."""
    on_disk = [unicodedata.normalize("NFD", f"Sch\u00f6ner Flur {i}.png") for i in range(9)]
    with_rows(
        tmp_path / "mac",
        9,
        names=on_disk,
        row=lambda name: {"file_name": unicodedata.normalize("NFC", name), "text": "a hall"},
    )
    with_rows(tmp_path / "windows", 9, row=lambda name: {"file_name": ".\\" + name, "text": "a hall"})
    assert len(load_folder(tmp_path / "mac")) == len(load_folder(tmp_path / "windows")) == 9


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


# -- captions themselves


def test_captions_longer_than_the_text_encoder_reads_are_counted(sd_base, caplog):
    """OneTrainer #62, sd-scripts #1877, InvokeAI PR #176."""
    limit = sd_base.tokenizer.model_max_length
    long, short = "room " * limit, "a b"
    tokens = 2 + len("room") * limit  # the tests' tokenizer knows letters alone
    assert cut_texts(sd_base, [short, long, long]).startswith(
        f"2 of 3 captions cut: {sd_base.name} reads {limit} tokens, the longest has {tokens}"
    )
    assert cut_texts(sd_base, [short]) is None and not caplog.text
    lab = Lab(sd_base)
    with pytest.warns(LabWarning, match="1 of 1 prompt cut"):
        lab.generate([long], num_inference_steps=1)


def test_cut_captions_are_told_before_training(sd_folder, tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    (folder / "03.txt").write_text("a long hall with many doors " * 20)
    lab = Lab(str(sd_folder), str(folder), device="cpu", resolution=64)
    with pytest.warns(LabWarning, match="1 of 9 captions cut"):
        lab.cache


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


# -- which files count


@pytest.mark.parametrize("form", ["texts", "rows"])
def test_the_same_files_are_taken_and_left_out_by_either_form_of_captions(tmp_path, form):
    """kohya_ss #1600, ai-toolkit PR #303, flymyai PR #72."""
    names = saved(tmp_path / "own", 8)
    for i, (suffix, kind) in enumerate((("jfif", "JPEG"), ("gif", "GIF"), ("JPE", "JPEG"), ("tga", "TGA"))):
        drawn(20 + i).save(tmp_path / f"own/more{i}.{suffix}", kind)
        names.append(f"more{i}.{suffix}")
    for name in ("phone.HEIC", "new.jxl"):
        (tmp_path / "own" / name).write_bytes(b"\0\0\0\x18ftypheic")
        names.append(name)
    if form == "texts":
        for name in names:
            (tmp_path / "own" / name).with_suffix(".txt").write_text("a room")
    else:
        (tmp_path / "own/metadata.jsonl").write_text(
            "".join(json.dumps({"file_name": name, "text": "a room"}) + "\n" for name in names)
        )
    own = territory(tmp_path / "own")
    assert len(own.train) + len(own.validation) == 12
    assert own.notes == (
        "2 of 14 pictures left out, since Pillow cannot read their kind here: 1 .heic (phone.HEIC), 1 .jxl (new.jxl); "
        "save them as PNG or JPEG",
    )


def test_a_folder_of_nothing_that_can_be_read_says_why(tmp_path):
    (tmp_path / "own").mkdir()
    for i in range(9):
        (tmp_path / f"own/{i}.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(LabError, match=r"no pictures that can be read: 9 of 9 pictures left out.* 9 .heic \(0.HEIC\)"):
        territory(tmp_path / "own")


def test_pictures_in_subfolders_are_not_passed_over_in_silence(tmp_path):
    """kohya_ss #986, #216; what a Mac, a notebook or this kit puts there is no picture of anyone's."""
    folder = with_texts(tmp_path / "own", 9)
    with_texts(folder / "close-ups", 5, first=40)
    with_texts(folder / ".ipynb_checkpoints", 1, first=60)
    with_texts(folder / "__MACOSX", 1, first=61)
    with_texts(folder / "ordinary", 2, first=70)
    [note] = territory(folder).notes
    assert note.startswith(f"5 pictures in {folder / 'close-ups'} not used, 00.png for one")


def test_pictures_beside_train_are_not_passed_over_in_silence(tmp_path):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own/validation", 4, first=20)
    with_texts(tmp_path / "own/test", 3, first=30)
    with_texts(tmp_path / "own", 1, first=40)
    assert "1 picture in " in notes(tmp_path / "own") and f"3 pictures in {tmp_path / 'own/test'} not used" in notes(
        tmp_path / "own"
    )


def test_where_a_folder_has_no_pictures_all_folders_two_levels_down_that_have_some_are_named(tmp_path):
    """kohya_ss #986, #216: img/10_name."""
    for place in ("img/10_sks room", "img/2_maze", "reg/1_room"):
        with_texts(tmp_path / "own" / place, 2)
    (tmp_path / "own/log").mkdir()
    with pytest.raises(
        LabError, match="Give one of the folders below that have some: .*10_sks room, .*2_maze, .*1_room.$"
    ):
        territory(tmp_path / "own")


def test_a_folder_around_train_is_named_rather_than_its_parts(tmp_path):
    with_texts(tmp_path / "own/Images/train", 9)
    with_texts(tmp_path / "own/Images/test", 9, first=20)
    with pytest.raises(LabError, match=r"Did you mean .*Images\?"):
        territory(tmp_path / "own")


def test_train_alone_is_split_like_a_plain_folder(tmp_path):
    """diffusers #5449, #3674."""
    plain = territory(with_rows(tmp_path / "plain", 12))
    alone = territory(with_rows(tmp_path / "own/train", 12).parent)
    assert (alone.train.hashes, alone.validation.hashes) == (
        plain.train.hashes,
        plain.validation.hashes,
    ) and not alone.notes


@pytest.mark.parametrize("name", ["valid", "val", "test"])
def test_a_held_out_part_is_known_by_its_other_names(tmp_path, name):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own" / name, 2, first=20)
    assert (len(territory(tmp_path / "own").train), len(territory(tmp_path / "own").validation)) == (9, 2)


def test_a_table_above_train_captions_its_pictures(tmp_path):
    """diffusers #3674: names such as train/00.png."""
    (tmp_path / "own").mkdir()
    with_rows(
        tmp_path / "own/train",
        9,
        table=tmp_path / "own/metadata.jsonl",
        row=lambda name: {"file_name": f"train/{name}", "text": "a hall"},
    )
    assert len(territory(tmp_path / "own").train) == 5


def test_somebody_elses_table_above_a_folder_is_no_matter(tmp_path):
    with_texts(tmp_path / "own", 9)
    (tmp_path / "metadata.csv").write_text("file_name,text\nown/00.png,cut, at its commas\n")
    assert territory(tmp_path / "own").train.captions[0].startswith("a room")
    (tmp_path / "metadata.csv").unlink()
    with_rows(tmp_path / "mine", 9, row=lambda name: {"file_name": name, "text": "mine"})
    (tmp_path / "metadata.jsonl").write_text("{oops")
    assert set(load_folder(tmp_path / "mine").captions) == {"mine"}


def test_names_counted_from_the_wrong_folder_are_explained(tmp_path):
    """diffusers #3674, as reported."""
    with_rows(tmp_path / "own/train", 9, row=lambda name: {"file_name": f"train/{name}", "text": "a hall"})
    with pytest.raises(
        LabError,
        match="names train/00.png, which is not in .*train. 00.png is there: names are counted from the table's own",
    ):
        territory(tmp_path / "own")


# -- copies


def test_copies_in_another_format_never_stand_on_both_sides(tmp_path):
    """sd-scripts PR #914, #1165: each picture as .png and .bmp."""
    folder = with_texts(tmp_path / "own", 12)
    for i in range(12):
        drawn(i).save(folder / f"b{i:02}.bmp")
        (folder / f"b{i:02}.txt").write_text("again")
    own = territory(folder)
    assert len(own.validation) == 4 and not {one.pixels for one in own.train.looks} & {
        one.pixels for one in own.validation.looks
    }
    assert "24 pictures are copies or near copies of each other, such as 00.png and b00.bmp" in notes(folder)


@pytest.mark.parametrize("name, size", [("jpg", 192), ("webp", 192), ("png", 64)])
def test_near_copies_never_stand_on_both_sides(tmp_path, name, size):
    (tmp_path / "own").mkdir()
    for i in range(12):
        drawn(i, 192).save(tmp_path / f"own/{i:02}.png")
        drawn(i, 192).resize((size, size), Image.Resampling.LANCZOS).save(tmp_path / f"own/b{i:02}.{name}", quality=40)
    for path in list((tmp_path / "own").iterdir()):
        path.with_suffix(".txt").write_text("a room")
    own = territory(tmp_path / "own")
    assert {path.stem.strip("b") for path in own.train.paths}.isdisjoint(
        path.stem.strip("b") for path in own.validation.paths
    )


def test_a_crowd_of_copies_is_trained_on_rather_than_held_out(tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    for i in range(20):
        drawn(30, 192).save(folder / f"copy{i:02}.jpg", quality=60 + i)
        (folder / f"copy{i:02}.txt").write_text("again")
    own = territory(folder)
    assert len(own.validation) == 4 and not [path for path in own.validation.paths if path.name.startswith("copy")]


def test_pictures_that_all_look_alike_are_split_with_a_word(tmp_path):
    (tmp_path / "own").mkdir()
    for i in range(9):
        drawn(0, 192).save(tmp_path / f"own/{i}.jpg", quality=60 + i)
        (tmp_path / f"own/{i}.txt").write_text("again")
    assert len(territory(tmp_path / "own").validation) == 4 and "held-out losses will hide overfitting" in notes(
        tmp_path / "own"
    )


def test_copies_across_given_parts_are_refused_and_near_copies_told(tmp_path):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own/validation", 4, first=20)
    drawn(3).save(tmp_path / "own/validation/00.bmp")
    (tmp_path / "own/validation/00.png").unlink()
    with pytest.raises(LabError, match="validation/00.bmp is also in train"):
        territory(tmp_path / "own")
    drawn(3).resize((96, 96)).save(tmp_path / "own/validation/00.bmp")
    assert "1 held-out picture very like training pictures, 00.bmp like 03.png" in notes(tmp_path / "own")


# -- pixels


def profile(primaries, gamma=2.2):
    """Make a colour profile of three primaries: ICC.1:2001, a matrix profile of version 2."""

    def fixed(*values):
        return b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)

    def words(text):
        return b"desc\0\0\0\0" + (len(text) + 1).to_bytes(4, "big") + text + b"\0" * (1 + 4 + 4 + 2 + 1 + 67)

    curve = b"curv\0\0\0\0\0\0\0\1" + round(gamma * 256).to_bytes(2, "big") + b"\0\0"
    tags = {
        b"desc": words(b"wide"),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249),
    }
    tags |= {name: b"XYZ \0\0\0\0" + fixed(*values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = len(tags).to_bytes(4, "big"), b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + (132 + 12 * len(tags) + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    head = (
        b"lcms\x02\x10\0\0mntrRGB XYZ "
        + b"\x07\xe0\0\1\0\1"
        + b"\0" * 6
        + b"acsp"
        + b"\0" * 28
        + fixed(0.9642, 1, 0.8249)
        + b"\0" * 48
    )
    return (4 + len(head) + len(table) + len(body)).to_bytes(4, "big") + head + table + body


def in_srgb(picture, icc):
    """Convert as Pillow's ImageCms does."""
    return np.asarray(
        ImageCms.profileToProfile(
            picture, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_converted_to_srgb(tmp_path, mode):
    """sd-scripts PR #2393, kohya_ss #1574."""
    wide = profile(RED_HEAVY)
    drawn(0).convert(mode).save(tmp_path / "a.png", icc_profile=wide)
    read = load_picture(tmp_path / "a.png", 48)
    assert np.array_equal(read, in_srgb(drawn(0).convert(mode).convert("RGB"), wide))
    assert np.abs(read.astype(int) - np.asarray(drawn(0))).mean() > 5


def test_colours_that_are_srgb_already_stay_as_they_are_to_the_last_bit(tmp_path):
    drawn(0).save(tmp_path / "a.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(load_picture(tmp_path / "a.png", 48), np.asarray(drawn(0)))


def test_a_picture_whose_colours_are_read_anew_is_another_picture(tmp_path):
    """What was trained on the wrong colours, and what was encoded of them, must not be found again."""
    from labkit.files.content import sha256

    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", icc_profile=profile(RED_HEAVY))
    found = load_folder(folder)
    assert [own == sha256(path) for own, path in zip(found.hashes, found.paths)] == [False] + [True] * 8


def test_a_profile_that_cannot_be_used_is_told(tmp_path):
    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", icc_profile=b"no profile at all")
    assert "1 picture with a colour profile that cannot be used, 00.png for one: taken as sRGB" in notes(folder)


def test_a_large_text_in_a_png_is_no_reason_to_refuse_it(tmp_path):
    """LlamaFactory #6300, Pillow #8363: whole workflows are written there."""
    info = PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    folder = with_texts(tmp_path / "own", 9)
    drawn(0).save(folder / "00.png", pnginfo=info)
    assert np.array_equal(load_picture(folder / "00.png", 48), np.asarray(drawn(0))) and len(load_folder(folder)) == 9
    (folder / "00.png").write_bytes((folder / "00.png").read_bytes()[:-2000])
    with pytest.raises(LabError, match="00.png is truncated"):
        load_folder(folder)


def test_what_the_middle_square_takes_away_is_told(tmp_path):
    """kohya_ss #1586, diffusers #1112, #3794: what the caption names lies at the edge."""
    folder = with_texts(tmp_path / "own", 12)
    drawn(0, 96).crop((0, 0, 32, 96)).save(folder / "00.png")
    drawn(1, 96).crop((0, 0, 90, 96)).save(folder / "01.png")
    assert (
        "1 of 12 pictures lose more than 10% outside their middle square, which alone is used; "
        "00.png (32 x 96) loses 67%" in notes(folder)
    )


# -- what the command line says


@pytest.mark.parametrize(
    "words", [("train", "--set", "learning_rate=1e-3"), ("sweep", "--set", "learning_rate=1e-3,1e-2")]
)
def test_train_and_sweep_say_before_a_model_loads_what_they_use_and_leave_out(tmp_path, capsys, words):
    folder = with_texts(tmp_path / "own", 12)
    with_texts(folder / "more", 3, first=50)
    code, out, err = labkit(capsys, *words, "--base", "no/such/base", "--data", folder, "--set", "train_batch_size=2")
    assert code == 2 and out == "" and "8 pictures to train on, 4 held out" in err
    assert f"labkit: data: 3 pictures in {folder / 'more'} not used" in err and "LabWarning" not in err


def test_csv_written_by_a_spreadsheet_is_read(tmp_path):
    names = saved(tmp_path / "own", 9)
    with open(tmp_path / "own/metadata.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(
            [("file_name", "text", "kind"), *((name, 'a room, "nobody" in it', "room") for name in names)]
        )
    assert load_folder(tmp_path / "own").captions == ('a room, "nobody" in it',) * 9
