"""What was encoded is found by its content, made once, and made again when its file is damaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.engine import cache
from labkit.engine.cache import encode, key, ship

SIZE = 64


def write(folder, n, first):
    folder.mkdir(parents=True)
    for i in range(n):
        pixels = np.random.default_rng(first + i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a room {chr(97 + first + i)}")
    return folder


@pytest.fixture(autouse=True)
def shipped_data(tmp_path, monkeypatch):
    write(tmp_path / "data/territories/far/train", 3, 0)
    write(tmp_path / "data/territories/far/validation", 2, 10)
    write(tmp_path / "data/territories/ordinary/validation", 2, 20)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))


@pytest.fixture
def base(sd_base):
    return sd_base.at(SIZE)


@pytest.fixture
def work(base, monkeypatch):
    """Count the pictures that really go through the autoencoder."""
    counted, encode_pictures = [], type(base).encode_pictures

    def counting(self, pictures):
        counted.extend(pictures)
        return encode_pictures(self, pictures)

    monkeypatch.setattr(type(base), "encode_pictures", counting)
    return counted


def files(tmp_path):
    return sorted((tmp_path / "cache/encoded").glob("*"))


def same(a, b):
    return all(torch.equal(x.mean, y.mean) and torch.equal(x.std, y.std)
               and torch.equal(x.cond["encoder_hidden_states"], y.cond["encoder_hidden_states"])
               for x, y in ((getattr(a, name), getattr(b, name)) for name in ("train", "validation", "ordinary")))


def test_the_three_sets_are_what_the_base_makes_of_their_pictures_and_captions(base):
    far = territory("far")
    encoded = encode(base, far)
    assert (len(encoded.train), len(encoded.validation), len(encoded.ordinary)) == (3, 2, 2)
    mean, std = base.encode_pictures(np.stack([load_picture(path, SIZE) for path in far.train.paths]))
    torch.testing.assert_close(encoded.train.mean, mean, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(encoded.train.std, std, rtol=0.13, atol=1e-6)
    words = "encoder_hidden_states"
    for ours, captions in ((encoded.train.cond, far.train.captions), (encoded.null_cond, [""])):
        torch.testing.assert_close(ours[words], base.encode_captions(captions)[words], rtol=1e-4, atol=1e-5)
    assert encoded.train.captions == far.train.captions and encoded.prompts == far.prompts
    assert encoded.fingerprint == far.fingerprint and encoded.base_fingerprint == base.fingerprint
    assert encoded.train.mean.dtype == encoded.train.std.dtype == torch.float32


def test_a_second_time_nothing_is_encoded_and_all_is_the_same(base, work):
    first = encode(base, territory("far"))
    assert len(work) == 7
    assert same(encode(base, territory("far")), first) and len(work) == 7


def test_take_and_drop_cut_all_columns_alike(base):
    train = encode(base, territory("far")).train
    few, rest = train.take(2), train.drop(2)
    assert (len(few), len(rest)) == (2, 1) and few.captions + rest.captions == train.captions
    words, first, others = (part.cond["encoder_hidden_states"] for part in (train, few, rest))
    assert torch.equal(torch.cat([first, others]), words)
    assert torch.equal(torch.cat([few.std, rest.std]), train.std) and few.paths + rest.paths == train.paths


@pytest.mark.parametrize("ingredient", ["base", "resolution", "pixels", "caption", "order", "number", "version"])
def test_each_ingredient_changes_the_key(base, monkeypatch, tmp_path, ingredient):
    pictures = load_folder(write(tmp_path / "own", 3, 0))
    before = key(base, pictures)
    assert key(base, load_folder(write(tmp_path / "twin", 3, 0))) == before
    if ingredient == "base":
        base = replace(base, fingerprint="another")
    elif ingredient == "resolution":
        base = base.at(2 * SIZE)
    elif ingredient == "pixels":
        Image.new("RGB", (8, 8)).save(tmp_path / "own/1.png")
    elif ingredient == "caption":
        (tmp_path / "own/1.txt").write_text("another room")
    elif ingredient == "version":
        monkeypatch.setattr(cache, "ENCODING", cache.ENCODING + 1)
    pictures = load_folder(tmp_path / "own")
    if ingredient == "order":
        pictures = pictures.at([0, 2, 1])
    elif ingredient == "number":
        pictures = pictures.take(2)
    assert key(base, pictures) != before


def truncate(data):
    return data[: len(data) // 2]


def flip_last_bit(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def empty(data):
    return b""


@pytest.mark.parametrize("damage", [truncate, flip_last_bit, empty])
def test_a_damaged_file_is_noticed_and_made_again(base, work, tmp_path, damage):
    first = encode(base, territory("far"))
    for file in files(tmp_path):
        file.write_bytes(damage(file.read_bytes()))
    del work[:]
    assert same(encode(base, territory("far")), first) and len(work) == 7
    del work[:]
    assert same(encode(base, territory("far")), first) and not work


def test_a_file_under_another_key_is_not_believed(base, work, tmp_path):
    far = territory("far")
    first = encode(base, far)
    train, validation = (tmp_path / f"cache/encoded/{key(base, pictures)}.safetensors"
                         for pictures in (far.train, far.validation))
    train.write_bytes(validation.read_bytes())
    assert same(encode(base, far), first)


def test_shipped_latents_need_no_autoencoder_and_give_the_same_numbers(base, work, tmp_path, monkeypatch):
    far = territory("far")
    first = encode(base, far)
    shipped = [ship(base, pictures) for pictures in (far.train, far.validation, far.ordinary)]
    wanted = ["far-train.safetensors", "far-validation.safetensors", "ordinary-validation.safetensors"]
    assert [file.name for file in shipped] == wanted
    del work[:]
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "fresh"))
    assert same(encode(base, far), first) and not work


def test_shipped_latents_of_another_base_or_changed_pictures_are_passed_over(base, work, tmp_path, monkeypatch):
    far = territory("far")
    ship(base, far.train)
    del work[:]
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "fresh"))
    (tmp_path / "data/territories/far/train/0.txt").write_text("changed")
    encode(base, territory("far"))
    assert len(work) == 7


def test_a_cache_that_cannot_be_written_costs_time_only(base, work, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "a file" / "below"))
    encoded = encode(base, territory("far"))
    assert len(encoded.train) == 3 and same(encode(base, territory("far")), encoded) and len(work) == 14


def test_progress_counts_pictures(base, monkeypatch):
    monkeypatch.setattr(cache, "AT_ONCE", 2)
    told = []
    encode(base, territory("far"), progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 3), (3, 3), (2, 2), (2, 2)]


def test_what_the_base_draws_itself_is_drawn_once_and_from_the_ordinary_captions(base, monkeypatch):
    drawn, draw = [], type(base).draw_latents

    def counting(self, prompts, seeds):
        drawn.extend(prompts)
        return draw(self, prompts, seeds, num_inference_steps=2)

    monkeypatch.setattr(type(base), "draw_latents", counting)
    cache_ = encode(base, territory("far"))
    assert not drawn                                          # nobody asked
    first, again = cache_.prior(), encode(base, territory("far")).prior()
    assert first.captions == tuple(drawn) == territory("far").ordinary.captions
    assert torch.equal(first.mean, again.mean) and not first.std.any()
    assert torch.equal(first.cond["encoder_hidden_states"], again.cond["encoder_hidden_states"])


def test_captions_of_an_own_ordinary_folder_belong_to_what_a_run_is_trained_on(tmp_path):
    folder = tmp_path / "own"
    write(folder / "train", 3, 30), write(folder / "validation", 2, 40)
    shipped = territory(str(folder)).fingerprint
    assert shipped == territory(str(folder)).train.fingerprint
    write(folder / "ordinary", 2, 50)
    assert territory(str(folder)).fingerprint != shipped


def test_a_first_and_a_second_encoding_lie_alike_in_memory(base):
    """Convolutions give other last bits for channels-last pictures, so a run would depend on who filled the cache."""
    fresh, found = (encode(base, territory("far")) for _ in range(2))
    for name in ("mean", "std"):
        assert getattr(fresh.train, name).stride() == getattr(found.train, name).stride()
        assert getattr(fresh.train, name).is_contiguous()
