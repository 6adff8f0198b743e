"""Folders as people bring them, each case made after the public bug report it names: which files count, and copies."""

import json

import pytest
from picture_folders import drawn, saved, with_rows, with_texts
from PIL import Image

from labkit.cli import parser
from labkit.datasets import pixels
from labkit.datasets.concepts import census
from labkit.datasets.folders import load_folder, territory
from labkit.errors import LabError

pytestmark = pytest.mark.usefixtures("ordinary_alone")


def notes(folder):
    """Return what is told of a folder that is taken."""
    return " | ".join(territory(folder).notes)


def labkit(capsys, *arguments):
    """Run a command line; return exit code, stdout and stderr."""
    code = parser.run(parser.parse([str(argument) for argument in arguments]))
    return code, *capsys.readouterr()


def test_a_good_folder_is_taken_without_a_word(tmp_path):
    assert territory(with_texts(tmp_path / "own", 10)).notes == ()


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
        rows = [json.dumps({"file_name": name, "text": "a room"}) + "\n" for name in names]
        (tmp_path / "own/metadata.jsonl").write_text("".join(rows))
    own = territory(tmp_path / "own")
    assert len(own.train) + len(own.validation) == 12
    assert own.notes == (
        "2 of 14 pictures left out, since Pillow cannot read their kind here: 1 .heic (phone.HEIC), 1 .jxl (new.jxl); "
        "pip install pillow-heif pillow-jxl-plugin, or save them as PNG or JPEG",
    )


@pytest.mark.parametrize("suffix, kind, library", [("avif", "AVIF", "avif"), ("jp2", "JPEG2000", "jpg_2000")])
def test_a_kind_that_some_builds_of_pillow_lack_is_read_or_named(tmp_path, monkeypatch, suffix, kind, library):
    """ai-toolkit PR #303."""
    folder = with_texts(tmp_path / "own", 9)
    if pixels._has(library):
        drawn(20).save(folder / f"more.{suffix}", kind)
        (folder / "more.txt").write_text("a hall")
        assert "a hall" in load_folder(folder).captions and not territory(folder).notes
    monkeypatch.setattr(pixels, "_has", lambda _: False)
    (folder / f"more.{suffix}").touch()
    assert f"1 of 10 pictures left out, since Pillow cannot read their kind here: 1 .{suffix}" in notes(folder)


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


def test_what_systems_and_archives_leave_behind_is_no_picture_of_anyones(tmp_path):
    """sd_dreambooth_extension #44, OpenNeuro #2520: .DS_Store, ._files, Thumbs.db, and an archive of a Mac's."""
    folder = with_texts(tmp_path / "own/my pics", 9)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._00.png", "._00.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7\xff\xfe")
    own = territory(folder)
    assert len(own.train) + len(own.validation) == 9 and own.notes == ()
    (tmp_path / "own/__MACOSX/my pics").mkdir(parents=True)
    (tmp_path / "own/__MACOSX/my pics/._00.png").write_bytes(b"\0\5\x16\7")
    with pytest.raises(LabError, match=r"Did you mean .*own/my pics\?"):
        territory(tmp_path / "own")


def test_names_of_phones_screenshots_and_other_languages_find_their_captions(tmp_path):
    odd = ["IMG 0001 (2)", "café d'été", "海边", "a#b%20c", "x=1,y=2", "emoji 😀", "photo.final.v2", " lead",
           "trail ", "100%", "-dash", "&amp;"]
    found = load_folder(with_texts(tmp_path / "own", 12, names=[f"{name}.PNG" for name in odd]))
    assert {path.stem for path in found.paths} == set(odd)
    assert found.captions == tuple(" ".join(f"a room, {path.name}".split()) for path in found.paths)


@pytest.mark.parametrize("n, held_out", [(4, 1), (1, 1)])
def test_a_split_of_ones_own_may_be_as_small_as_it_is(tmp_path, n, held_out):
    """SimpleTuner PR #24: half a dozen pictures."""
    with_texts(tmp_path / "own/train", n)
    with_texts(tmp_path / "own/validation", held_out, first=20)
    own = territory(tmp_path / "own")
    assert (len(own.train), len(own.validation), own.is_held_out, own.notes) == (n, held_out, True, ())


def test_pictures_beside_train_are_not_passed_over_in_silence(tmp_path):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own/validation", 4, first=20)
    with_texts(tmp_path / "own/test", 3, first=30)
    with_texts(tmp_path / "own", 1, first=40)
    told = notes(tmp_path / "own")
    assert "1 picture in " in told and f"3 pictures in {tmp_path / 'own/test'} not used" in told


def test_where_a_folder_has_no_pictures_all_folders_two_levels_down_that_have_some_are_named(tmp_path):
    """kohya_ss #986, #216."""
    for place in ("cats", "more/dogs", "trainer/img/10_sks room"):
        with_texts(tmp_path / "own" / place, 2)
    message = "Give one of the folders below that have some: .*/cats, .*/more/dogs, .*/trainer.$"
    with pytest.raises(LabError, match=message):
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
    assert alone.train.hashes == plain.train.hashes and alone.validation.hashes == plain.validation.hashes
    assert not alone.notes


@pytest.mark.parametrize("name", ["valid", "val", "test"])
def test_a_held_out_part_is_known_by_its_other_names(tmp_path, name):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own" / name, 2, first=20)
    assert (len(territory(tmp_path / "own").train), len(territory(tmp_path / "own").validation)) == (9, 2)


def test_a_table_above_train_captions_its_pictures(tmp_path):
    """diffusers #3674: names such as train/00.png."""
    (tmp_path / "own").mkdir()
    with_rows(tmp_path / "own/train", 9, table=tmp_path / "own/metadata.jsonl",
              row=lambda name: {"file_name": f"train/{name}", "text": "a hall"})
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
    message = "names train/00.png, which is not in .*train. 00.png is there: names are counted from the table's own"
    with pytest.raises(LabError, match=message):
        territory(tmp_path / "own")


@pytest.mark.parametrize("name", ["ordinary", "class", "reg"])
def test_a_part_that_was_made_and_never_filled_is_as_good_as_absent_and_told(tmp_path, name):
    """kohya_ss makes img/, reg/, log/ and model/ whether there is something for them or not."""
    before = territory(with_texts(tmp_path / "own", 9))
    (tmp_path / "own" / name / "1_room").mkdir(parents=True)
    own = territory(tmp_path / "own")
    assert (own.fingerprint, own.prior, own.ordinary.paths) == (before.fingerprint, None, before.ordinary.paths)
    assert own.notes == (f"no pictures in {tmp_path / 'own' / name}, which is taken as if it were not there",)


def test_of_two_parts_with_class_pictures_the_one_that_has_some_counts(tmp_path):
    with_texts(tmp_path / "own", 9)
    with_texts(tmp_path / "own/reg/1_room", 2, first=20)
    (tmp_path / "own/class").mkdir()
    assert len(territory(tmp_path / "own").prior) == 2


def test_a_folder_of_no_repeats_is_left_out_as_kohyas_trainer_leaves_it_out(tmp_path):
    """sd-scripts, library/config_util.py: a subset with num_repeats below 1 is skipped."""
    with_texts(tmp_path / "own/10_room", 9)
    with_texts(tmp_path / "own/0_off", 3, first=20)
    own = territory(tmp_path / "own")
    assert len(own.train) + len(own.validation) == 9 and [concept.name for concept, _ in
                                                          census(tmp_path / "own", takes_names=True)] == ["room"]
    assert f"3 pictures in {tmp_path / 'own/0_off'} not used" in notes(tmp_path / "own")


def test_a_year_before_a_name_is_not_taken_for_thousands_of_repeats(tmp_path):
    with_texts(tmp_path / "own/train/2023_summer", 5)
    assert territory(tmp_path / "own").train.repeats == ()    # alone, repeats are no matter
    with_texts(tmp_path / "own/train/cats", 5, first=20)
    with pytest.raises(LabError, match="would be 2,023 repeats and looks like a year: call it summer_2023 if it is"):
        territory(tmp_path / "own")
    (tmp_path / "own/train/2023_summer").rename(tmp_path / "own/train/summer_2023")
    assert territory(tmp_path / "own").train.repeats == ()


@pytest.mark.parametrize("name", ["lost.png", "lost.HEIC", "00.txt", "metadata.csv"])
def test_a_link_to_what_is_gone_is_named(tmp_path, name):
    """git-annex and moved disks leave such links; what they should show would be missed in silence."""
    folder = with_texts(tmp_path / "own", 9)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match=f"{name} is a link to .*elsewhere, which is not there. Mend the link"):
        territory(folder)


def test_a_folder_of_nothing_but_links_to_what_is_gone_is_not_passed_over(tmp_path):
    with_texts(tmp_path / "own/train/cats", 9)
    (tmp_path / "own/train/dogs").mkdir()
    (tmp_path / "own/train/dogs/lost.png").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match="dogs/lost.png is a link to"):
        territory(tmp_path / "own")


# -- copies


def test_copies_in_another_format_never_stand_on_both_sides(tmp_path):
    """sd-scripts PR #914, #1165: each picture as .png and .bmp."""
    folder = with_texts(tmp_path / "own", 12)
    for i in range(12):
        drawn(i).save(folder / f"b{i:02}.bmp")
        (folder / f"b{i:02}.txt").write_text("again")
    own = territory(folder)
    trained, held_out = ({look.pixels for look in part.looks} for part in (own.train, own.validation))
    assert len(own.validation) == 4 and not trained & held_out
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
    trained, held_out = ({path.stem.strip("b") for path in part.paths} for part in (own.train, own.validation))
    assert not trained & held_out


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
    assert len(territory(tmp_path / "own").validation) == 4
    assert "held-out losses will hide overfitting" in notes(tmp_path / "own")


def test_copies_across_given_parts_are_refused_and_near_copies_told(tmp_path):
    with_texts(tmp_path / "own/train", 9)
    with_texts(tmp_path / "own/validation", 4, first=20)
    drawn(3).save(tmp_path / "own/validation/00.bmp")
    (tmp_path / "own/validation/00.png").unlink()
    with pytest.raises(LabError, match="validation/00.bmp is also among the pictures trained on"):
        territory(tmp_path / "own")
    drawn(3).resize((96, 96)).save(tmp_path / "own/validation/00.bmp")
    assert "1 held-out picture very like training pictures, 00.bmp like 03.png" in notes(tmp_path / "own")


# -- what the command line says


@pytest.mark.parametrize("words", [
    ("train", "--set", "learning_rate=1e-3"), ("sweep", "--set", "learning_rate=1e-3,1e-2"),
])
def test_train_and_sweep_say_before_a_model_loads_what_they_use_and_leave_out(tmp_path, capsys, words):
    folder = with_texts(tmp_path / "own", 12)
    with_texts(folder / "more", 3, first=50)
    code, out, err = labkit(capsys, *words, "--base", "no/such/base", "--data", folder, "--set", "train_batch_size=2")
    assert code == 2 and out == "" and "8 pictures to train on, 4 held out" in err
    assert f"labkit: data: 3 pictures in {folder / 'more'} not used" in err and "LabWarning" not in err
