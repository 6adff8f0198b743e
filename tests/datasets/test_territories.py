"""A territory has its three sets, the split never moves, and a filter is part of its name."""

import random

import pytest
from picture_folders import pictures, rows_of, write_rows

from labkit.datasets.folders import shipped_territories, territory
from labkit.errors import LabError

pytestmark = pytest.mark.usefixtures("far_territory")


# -- the three sets

def test_a_shipped_territory_has_three_sets_and_a_prompt_for_each_kind():
    far = territory("far")
    assert (len(far.train), len(far.validation), len(far.ordinary)) == (6, 9, 3)
    assert far.prompts == ("picture 600", "picture 601", "picture 602", "picture 603")  # three kinds, then the first
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


def test_no_folder_names_the_territories_that_ship():
    with pytest.raises(LabError, match="no folder nowhere.*that ship: far"):
        territory("nowhere")


@pytest.mark.parametrize("n, words", [(1, "1 picture"), (7, "7 pictures")])
def test_of_too_few_pictures_none_is_held_out_and_that_is_said(tmp_path, n, words):
    own = territory(pictures(tmp_path / "own", n))
    assert len(own.train) == n and own.validation.hashes == own.train.hashes and not own.is_held_out
    assert f"{words} to train on, none held out" in own.summary
    assert own.notes[-1].startswith(f"nothing held out of {words}") and "no verdict on overfitting" in own.notes[-1]
    assert territory(pictures(tmp_path / "more", 8)).is_held_out


def test_one_picture_many_times(tmp_path):
    folder = pictures(tmp_path / "own", 8)
    for path in folder.glob("*.png"):
        path.write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(LabError, match="are the same one"):
        territory(folder)


def test_a_validation_picture_that_is_trained_on(tmp_path):
    pictures(tmp_path / "own/train", 5)
    pictures(tmp_path / "own/validation", 2, first=4)
    with pytest.raises(LabError, match="validation/000.png is also among the pictures trained on"):
        territory(tmp_path / "own")


def test_held_out_pictures_of_another_folder_leave_all_of_this_one_to_train_on(tmp_path):
    pictures(tmp_path / "plain", 12)
    pictures(tmp_path / "whole/train", 5)
    pictures(tmp_path / "whole/validation", 3, first=30)
    pictures(tmp_path / "held", 2, first=50)
    for name, n in (("plain", 12), ("whole", 5)):
        own = territory(tmp_path / name, held_out=tmp_path / "held")
        assert (len(own.train), own.validation.folder) == (n, tmp_path / "held")
        assert own.prompts == ("picture 50", "picture 51")
    assert [note for note in own.notes if "whole/validation not used" in note]


def test_a_territory_that_ships_or_part_of_it_is_measured_on_other_pictures(tmp_path):
    pictures(tmp_path / "held", 2, first=50)
    whole, some = (territory(name, held_out=tmp_path / "held") for name in ("far", "far/kind=pool"))
    assert (len(whole.train), len(some.train), len(some.validation)) == (6, 3, 2)
    assert {columns["kind"] for columns in some.train.attributes} == {"pool"} and some.name == "far/kind=pool"


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


@pytest.mark.parametrize("attributes, message", [
    ({"colour": "red"}, "colour.*kind"), ({"kind": "garage"}, "kind = garage.*hall, maze, pool"),
])
def test_a_filter_that_names_nothing_is_answered_with_what_there_is(tmp_path, attributes, message):
    with pytest.raises(LabError, match=message):
        territory(parts(tmp_path / "p")).where(**attributes)


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
