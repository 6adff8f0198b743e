"""Pictures of several shapes in one run: each update has one shape, and every loss is that of its own picture."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from picture_folders import drawn, with_texts

from labkit import lab
from labkit.datasets.folders import load_folder, load_picture, territory
from labkit.design.config import RunConfig
from labkit.engine import cache as caching
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.batches import Batches, pictures, shown
from labkit.engine.cache import encode
from labkit.engine.monitor import Monitor
from labkit.engine.ragged import Ragged, by_shape, together
from labkit.engine.sweep import groups
from labkit.engine.text_encoders import SIZES, size_numbers
from labkit.engine.train import check_pass, train
from labkit.engine.validation import ValidationSet
from labkit.errors import LabError, LabWarning
from labkit.store.events import Checkpoint, Step, Validation

WIDE, SQUARE = (80, 48), (48, 48)                             # of the files; used at 160 x 96 and 128 x 128
ROUNDS = [[0, 2, 4, 6, 8], [1, 3], [5]]


def written(folder, shapes, first=0):
    with_texts(folder, len(shapes))
    for i, shape in enumerate(shapes):
        drawn(first + i, 96).resize(shape).save(folder / f"{i:02}.png")


@pytest.fixture(scope="module")
def base():
    return load_base("embedded", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    written(folder / "train", [WIDE, SQUARE, WIDE, SQUARE, WIDE])
    written(folder / "validation", [SQUARE, WIDE, WIDE], first=20)
    written(folder / "ordinary", [SQUARE], first=40)
    written(folder / "class", [SQUARE, WIDE, SQUARE], first=60)
    return territory(str(folder), crop="buckets")


@pytest.fixture(scope="module")
def encoded(base, opened, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        first, again = encode(base, opened), encode(base, opened)           # the second from the file
        again.prior()
    for one, other in zip(first.train.mean, again.train.mean, strict=True):
        assert torch.equal(one, other)
    return again


def test_an_update_shows_pictures_of_one_shape_and_all_pictures_equally_often():
    shape_of = {i: shape for shape, numbers in enumerate(ROUNDS) for i in numbers}
    updates = [shown(ROUNDS, 3, update, 4) for update in range(16)]
    assert all(len({shape_of[i] for i in update}) == 1 for update in updates)
    for half in updates[:8], updates[8:]:                     # after as many updates as there are pictures
        assert Counter(i for update in half for i in update) == {i: 4 for i in shape_of}
    assert [shown(ROUNDS, 3, update, 4) for update in range(16)] == updates
    assert [shown(ROUNDS, 4, update, 4) for update in range(16)] != updates


def test_a_bucket_goes_on_where_its_last_update_left_it():
    updates = [shown(ROUNDS, 0, update, 2) for update in range(40)]
    stream = [i for update in updates if update[0] in ROUNDS[0] for i in update]
    for start in range(0, len(stream) - 4, 5):
        assert sorted(stream[start : start + 5]) == ROUNDS[0]


def test_pictures_of_one_shape_come_as_they_would_without_buckets():
    assert [shown([range(7)], 5, update, 3) for update in range(9)] == [
        pictures(5, 7, 3 * update, 3) for update in range(9)]


def test_runs_share_a_pass_only_where_they_have_the_same_shape_at_every_update():
    def runs(crop):
        return [RunConfig(crop=crop, seed=seed, learning_rate=rate, max_train_steps=9).resolved(20)
                for seed in (0, 1) for rate in (1e-4, 1e-3)]

    assert [len(group) for group in groups(runs("center"))] == [4]
    assert [{config.seed for config in group} for group in groups(runs("buckets"))] == [{0}, {1}]
    with pytest.raises(LabError, match="seed: 0 and 1 cannot share a pass"):
        check_pass(runs("buckets"))


def test_tensors_of_several_shapes_are_taken_like_one():
    rows = [torch.full(shape, float(i)) for i, shape in enumerate([(2, 3), (2, 2), (2, 3)])]
    ragged = together(rows)
    assert isinstance(ragged, Ragged) and len(ragged) == 3 and by_shape(ragged) == [[0, 2], [1]]
    assert torch.equal(ragged[torch.tensor([2, 0])], torch.stack([rows[2], rows[0]]))
    assert torch.equal(ragged[1], rows[1]) and isinstance(ragged[:2], Ragged) and ragged[:1].shape == (1, 2, 3)
    assert isinstance(together([rows[0], rows[2]]), torch.Tensor)


def test_latents_are_those_of_the_picture_in_its_own_bucket(base, opened, encoded):
    assert [tuple(each.shape[1:]) for each in encoded.train.mean] == [(12, 20), (16, 16)] * 2 + [(12, 20)]
    assert encoded.train.largest_shape == (8, 16, 16)
    for i, size in ((0, (96, 160)), (3, (128, 128))):
        mean, std = base.encode_pictures(np.stack([load_picture(opened.train.paths[i], size, "buckets")]))
        torch.testing.assert_close(encoded.train.mean[i], mean[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(encoded.train.std[i], std[0], rtol=0.3, atol=1e-4)
    with pytest.raises(LabError, match="several shapes.*crop = 'center'"):
        _ = encoded.train.whole


def by_diffusers(base, latents, noise, timesteps, cond):
    """Return the loss of each row with diffusers' own scheduler and U-Net, nothing of ours around them."""
    with torch.no_grad():
        noisy = base.noise_scheduler.add_noise(latents, noise, timesteps)
        prediction = base.unet(noisy, timesteps, encoder_hidden_states=cond).sample
    velocity = base.prediction_type == "v_prediction"
    wanted = base.noise_scheduler.get_velocity(latents, noise, timesteps) if velocity else noise
    return torch.nn.functional.mse_loss(prediction, wanted, reduction="none").mean((1, 2, 3))


def test_the_losses_of_a_training_on_two_shapes_are_diffusers_own(base, encoded):
    config = RunConfig(data="own", crop="buckets", learning_rate=1e-12, train_batch_size=2,
                       max_train_steps=5).resolved(len(encoded.train))
    events = list(train(base, encoded, [config], monitor=Monitor(sets=("validation",), scored=0, validate_at=())))
    steps = [event for event in events if isinstance(event, Step)]
    batches, shapes = Batches(encoded.train, encoded.null_cond, [config], base.device), set()
    for update, step in enumerate(steps):                     # at this rate the adapter stays what it is: nothing
        [batch] = batches(update)
        shapes.add(tuple(batch.latents.shape[2:]))
        alone = by_diffusers(base, batch.latents, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"])
        assert step.loss == pytest.approx(alone.mean().item(), rel=1e-4)
    assert shapes == {(12, 20), (16, 16)}

    held = next(event for event in events if isinstance(event, Validation))
    fixed = ValidationSet(encoded.validation, 32, 11)
    assert held.losses.shape == held.timesteps.shape == fixed.timesteps.shape == (3, 11)
    for i in range(3):
        expected = by_diffusers(base, fixed.latents[i], fixed.noise[i], torch.tensor(fixed.timesteps[i]),
                                encoded.validation.cond["encoder_hidden_states"][[i] * 11])
        np.testing.assert_allclose(held.losses[i], expected, rtol=1e-4)

    kept = next(event for event in events if isinstance(event, Checkpoint))
    plain = LoRAStack(base.unet, [config])
    assert ({name: array.shape for name, array in kept.adapter.items()}
            == {name: array.shape for name, array in plain.tensors(0, plain.theta.detach()).items()})


def test_class_pictures_have_shapes_and_turns_of_their_own_and_their_loss_is_added(base, encoded):
    config = RunConfig(data="own", crop="buckets", learning_rate=1e-12, train_batch_size=2, prior_loss_weight=0.5,
                       max_train_steps=4).resolved(len(encoded.train))
    still = Monitor(sets=("validation",), scored=0, validate_at=())
    steps = [event for event in train(base, encoded, [config], monitor=still) if isinstance(event, Step)]
    alone = Batches(encoded.train, encoded.null_cond, [config], base.device)
    both, shapes = Batches(encoded.train, encoded.null_cond, [config], base.device, prior=encoded.prior()), []
    for update, step in enumerate(steps):
        own, kept = both(update)
        assert torch.equal(own.latents, next(alone(update)).latents)       # drawn as without class pictures
        shapes.append((own.latents.shape[-1], kept.latents.shape[-1]))
        own_loss, class_loss = (
            by_diffusers(base, batch.latents, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"]).mean()
            for batch in (own, kept))
        assert step.loss == pytest.approx((own_loss + 0.5 * class_loss).item(), rel=1e-4)
    assert {kept for _, kept in shapes} == {16, 20} and any(own != kept for own, kept in shapes)


@pytest.fixture
def in_two_shapes():
    """Give cached inputs of the tiny base whose training, held-out and class pictures have two shapes in turn."""
    def cut(encoded):
        mean, std = (together([row[:, : 8 - 2 * (i % 2)] for i, row in enumerate(value)])
                     for value in (encoded.mean, encoded.std))
        return replace(encoded, mean=mean, std=std, _sent={})

    cache = tiny.cache()
    return replace(cache, train=cut(cache.train), validation=cut(cache.validation), prior=lambda: cut(cache.prior()))


def told(events, run):
    """Return the losses of a run, in training and held out, in their order."""
    return [event.loss if isinstance(event, Step) else float(event.losses.mean()) for event in events
            if isinstance(event, Step | Validation) and event.run_id == run]


@pytest.mark.parametrize("more", [{}, {"prior_loss_weight": 0.5, "gradient_accumulation_steps": 2, "snr_gamma": 5}])
def test_runs_side_by_side_on_two_shapes_equal_each_alone_and_go_on_to_the_bit(in_two_shapes, more):
    base, still = tiny.base(), Monitor(scored=0, validate_at=())
    plan = {str(rate): RunConfig(crop="buckets", learning_rate=rate, max_train_steps=8, **more).resolved(12)
            for rate in (1e-3, 1e-2)}
    events = list(train(base, in_two_shapes, plan, monitor=still, checkpoint_at=(3,)))
    for name, config in plan.items():
        alone = list(train(base, in_two_shapes, {name: config}, monitor=still))
        np.testing.assert_allclose(told(events, name), told(alone, name), rtol=1e-4)
    at_three = [event for event in events if isinstance(event, Checkpoint) and event.global_step == 3]
    resumed = list(train(base, in_two_shapes, plan, monitor=still, resume=at_three))
    for name in plan:
        steps = [event.loss for event in events if isinstance(event, Step) and event.run_id == name]
        assert [event.loss for event in resumed if isinstance(event, Step) and event.run_id == name] == steps[3:]


def test_a_pictures_noise_is_its_own_whatever_shapes_are_beside_it(encoded):
    fixed = ValidationSet(encoded.validation, 32, 2)
    square = ValidationSet(encoded.validation.take(1), 32, 2)
    assert torch.equal(fixed.noise[0], square.noise[0]) and torch.equal(fixed.latents[0], square.latents[0])


def test_sdxl_is_told_each_pictures_own_size_cut_and_bucket(tmp_path):
    assert size_numbers((300, 700), (96, 160), "buckets") == [300, 700, 0, 32, 96, 160]       # scaled to 96 x 224
    assert size_numbers((700, 300), (160, 96), "buckets") == [700, 300, 32, 0, 160, 96]
    written(tmp_path, [(100, 60), SQUARE])
    stub = SimpleNamespace(resolution=128, side_multiple=32, encode_captions=lambda texts: {
        "encoder_hidden_states": torch.zeros(len(texts), 1, 1), SIZES: torch.zeros(len(texts), 6)})
    told = caching._captions(stub, load_folder(tmp_path, crop="buckets"))[f"cond.{SIZES}"]
    assert told.tolist() == [[60, 100, 0, 0, 96, 160], [48, 48, 0, 0, 128, 128]]


def test_what_buckets_cannot_do_is_said_before_a_base_is_loaded(sd_folder, tmp_path, monkeypatch):
    written(tmp_path, [WIDE] * 8 + [(48, 80), (600, 60)])
    monkeypatch.setattr(lab, "load_base", lambda *_, **__: pytest.fail("a base is loaded"))
    with pytest.raises(LabError, match="no size but the square at resolution = 64"):
        _ = lab.Lab(str(sd_folder), tmp_path, crop="buckets", resolution=64).base
    loaded = SimpleNamespace(device=torch.device("cpu"), dtype="torch.float32")
    monkeypatch.setattr(lab, "load_base", lambda *_, **__: loaded)
    with pytest.warns(LabWarning) as told:
        _ = lab.Lab("embedded", tmp_path, crop="buckets").base
    assert any("even in buckets" in str(each.message) or "of one picture" in str(each.message) for each in told)
