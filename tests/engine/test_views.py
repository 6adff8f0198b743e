"""A view is a picture with one of its captions: drawn by seed and update, as often as the folder says."""

from dataclasses import replace

import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.engine.batches import Batches
from labkit.engine.cache import Encoded, encode
from labkit.engine.text_encoders import size_numbers

N = 6


def batches(encoded, **knobs):
    config = RunConfig(**{"max_train_steps": 40, "train_batch_size": 3} | knobs).resolved(N)
    return Batches(encoded, tiny.cache().null_cond, [config], torch.device("cpu"))


def drawn(encoded, updates=range(40), **knobs):
    """Return the rows of captions that updates show, in order."""
    of = batches(encoded, **knobs)
    return [row for update in updates for row in of.draw(update)[0]["captions"].flatten().tolist()]


@pytest.fixture(scope="module")
def plain():
    return tiny.encoded(N)


@pytest.fixture(scope="module")
def several(plain):
    """Give picture 1 two further captions, and picture 4 one."""
    more = {name: torch.full((3, *value.shape[1:]), 7.0) for name, value in plain.cond.items()}
    return replace(plain, more=more, counts=(0, 2, 0, 0, 1, 0), _sent={})


def test_pictures_with_one_caption_are_shown_with_it(plain):
    rows = drawn(plain)
    assert sorted(rows[:N]) == list(range(N)) and set(rows) == set(range(N))


def test_one_of_several_captions_is_drawn_at_each_view_and_nothing_else_changes(plain, several):
    one, many = drawn(plain), drawn(several)
    picture_of = {**{i: i for i in range(N)}, N: 1, N + 1: 1, N + 2: 4}
    assert [picture_of[row] for row in many] == one
    shown = [row for row, picture in zip(many, one, strict=True) if picture == 1]
    assert set(shown) == {1, N, N + 1} and max(map(shown.count, set(shown))) < 0.7 * len(shown)
    assert drawn(several) == many != drawn(several, seed=1) and drawn(several, [7]) == many[21:24]
    before, after = batches(plain).draw(3)[0], batches(several).draw(3)[0]
    assert all(torch.equal(before[name], after[name]) for name in ("latents", "noise", "timesteps"))


def test_a_further_caption_is_what_the_base_is_shown(several):
    of = batches(several)
    for update in range(10):
        rows, [batch] = of.draw(update)[0]["captions"].flatten(), list(of(update))
        words = batch.cond["encoder_hidden_states"]
        assert [bool((each == 7).all()) for each in words] == [row >= N for row in rows.tolist()]


def test_repeats_say_how_often_a_picture_is_shown_in_a_round(plain):
    rows = drawn(replace(plain, repeats=(1, 1, 3, 1, 1, 2)), range(3))
    assert [rows.count(i) for i in range(N)] == [1, 1, 3, 1, 1, 2]
    few = drawn(replace(plain, repeats=(1, 1, 3, 1, 1, 2)), range(5), n_train=3)
    assert [few.count(i) for i in range(N)] == [3, 3, 9, 0, 0, 0]


def test_a_part_of_a_set_has_its_first_captions_once_each(several):
    few = replace(several, repeats=(2,) * N).take(2)
    assert isinstance(few, Encoded) and few.counts == few.repeats == () and len(few.cond_on(
        torch.device("cpu"), torch.float32)["encoder_hidden_states"]) == 2


def test_captions_crops_and_class_pictures_are_encoded_as_the_folder_has_them(sd_base, tmp_path, monkeypatch):
    from picture_folders import drawn as picture
    from picture_folders import saved, with_rows, with_texts

    from labkit.datasets.folders import territory

    with_texts(tmp_path / "kit/territories/ordinary/validation", 2, first=900)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "kit"))
    base, folder = sd_base.at(64), tmp_path / "own"
    with_rows(folder / "train", 2, row=lambda name: {"file_name": name, "text": ["a", name]})
    picture(5).crop((0, 0, 16, 48)).save(folder / "train/01.png")
    with_texts(folder / "validation", 1, first=20)
    saved(folder / "class", 2, first=30)
    middle, top = (encode(base, territory(folder, crop=crop)) for crop in ("center", "top"))
    assert middle.train.counts == (1, 1) and torch.equal(middle.train.mean[0], top.train.mean[0])
    assert not torch.equal(middle.train.mean[1], top.train.mean[1]) and middle.fingerprint != top.fingerprint
    words = middle.train.cond_on(torch.device("cpu"), torch.float32)["encoder_hidden_states"]
    assert torch.allclose(words[2:], base.encode_captions(["00.png", "01.png"])["encoder_hidden_states"], atol=1e-6)
    prior = middle.prior()
    assert len(prior) == 2 and prior.captions == ("", "") and bool(prior.std.any())
    assert torch.equal(encode(base, territory(folder)).train.more["encoder_hidden_states"], words[2:])


def test_sdxl_is_told_where_the_chosen_square_was_cut():
    tall = 960, 320                                           # height, width; 1536 x 512 when scaled
    assert [size_numbers(tall, (512, 512), crop)[2:4] for crop in ("center", "top", "bottom", "left")] == [
        [512, 0], [0, 0], [1024, 0], [512, 0]]
