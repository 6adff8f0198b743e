"""Stable Diffusion 1.5's configuration goes the whole way from a person's pictures to pictures of the adapter."""

import shutil

import numpy as np
import pytest
from PIL import Image
from small_bases import write_folder, write_single_file

from labkit.datasets.folders import territory
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.cache import encode
from labkit.engine.monitor import Monitor
from labkit.engine.sweep import plan
from labkit.engine.train import train
from labkit.lab import Lab
from labkit.store.events import Checkpoint, Step, Stopped, Validation


@pytest.fixture
def own_pictures(tmp_path, monkeypatch):
    """Write a person's folder of 10 pictures, and a data folder with two ordinary ones."""
    def write(folder, n, first):
        folder.mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng(first + i).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.jpg")
            (folder / f"{i}.txt").write_text(f"my room {i}")
        return folder

    write(tmp_path / "data/territories/ordinary/validation", 2, 100)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    return write(tmp_path / "own", 10, 0)


@pytest.fixture(params=["folder", "single file", "velocity"])
def name(request, sd_folder, tmp_path):
    """Name a base: as folder, as single file beside its configuration, as one that predicts velocity."""
    if request.param == "folder":
        return sd_folder
    if request.param == "velocity":
        return write_folder(tmp_path / "v", prediction_type="v_prediction")
    shutil.copytree(sd_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    return write_single_file(sd_folder, tmp_path / "model.safetensors")


def test_a_base_loads_encodes_trains_and_draws(name, own_pictures):
    base = load_base(name, device="cpu").at(64)
    own = territory(own_pictures)
    cache = encode(base, own)
    assert (len(cache.train), len(cache.validation), len(cache.ordinary)) == (6, 4, 2)
    config = RunConfig(base=str(name), data=str(own_pictures), max_train_steps=2, train_batch_size=2)
    configs = [config.replace(learning_rate=rate) for rate in (1e-3, 1e-2)]
    events = list(train(base, cache, plan(base, cache, configs), monitor=Monitor(images=4)))
    assert [event.reason for event in events if isinstance(event, Stopped)] == ["finished"] * 2
    losses = [event.loss for event in events if isinstance(event, Step)]
    assert len(losses) == 4 and np.isfinite(losses).all()
    measured = [event for event in events if isinstance(event, Validation) and event.global_step == 2]
    held_out = [event.losses for event in measured if event.name == "validation"]
    assert np.abs(held_out[0] - held_out[1]).max() > 1e-5     # the rates differ, and so does what came of them

    stack = LoRAStack(base.unet, [config.resolved(6) for config in configs])
    for k, checkpoint in enumerate(event for event in events if isinstance(event, Checkpoint)):
        stack.load(k, checkpoint.adapter)
    stack.strength = 20.0                                     # two updates alone would not show
    pictures = base.generate(["my room"], [0], adapters=stack, num_inference_steps=2)
    assert pictures.shape == (2, 1, 64, 64, 3)
    bare = base.generate(["my room"], [0], num_inference_steps=2)
    assert (pictures[0] != pictures[1]).any() and (pictures[1, 0] != bare[0]).any()


def test_a_lab_trains_at_the_resolution_that_is_asked_for(sd_folder, own_pictures):
    lab = Lab(str(sd_folder), str(own_pictures), device="cpu", resolution=64)
    assert lab.config(max_train_steps=1, train_batch_size=2).resolution == 64
    assert lab.cache.train.mean.shape == (6, 4, 8, 8)
    assert lab.base.generate(["a"], [0], num_inference_steps=1).shape == (1, 64, 64, 3)
