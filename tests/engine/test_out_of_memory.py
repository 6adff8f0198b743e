"""Where memory runs out one sentence says what does not fit and what to choose, and the true cause stays with it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.out_of_memory import choose, enough_memory
from labkit.errors import LabError

ON_GPU, ON_CPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB"), None
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
try:
    torch.empty(2**60)                                        # which no machine can hold
except RuntimeError as error:
    ON_CPU = error


def failing(error):
    def fail(*_, **__):
        raise error
    return fail


@pytest.fixture(params=[ON_GPU, ON_CPU, MemoryError()], ids=["gpu", "cpu", "python"])
def error(request):
    return request.param


def told(error, act):
    """Return the sentence in which running out of memory is told, whose cause must be the error itself."""
    with pytest.raises(LabError) as found:
        act()
    assert found.value.__cause__ is error
    return str(found.value)


def test_encoding_pictures_is_told_to_take_a_smaller_resolution(sd_base, error, monkeypatch):
    monkeypatch.setattr(sd_base.vae, "encode", failing(error))
    sentence = told(error, lambda: sd_base.encode_pictures(np.zeros((2, 128, 128, 3), np.uint8)))
    assert sentence == ("Encoding pictures of 128 pixels does not fit into this device's memory. "
                        "Choose a smaller resolution or a machine with more free memory.")


def test_an_encoder_that_finds_no_room_on_the_device_is_told_alike_and_comes_back(sd_base, error, monkeypatch):
    on_gpu = replace(sd_base, device=CUDA)
    arrived = []
    monkeypatch.setattr(sd_base.vae, "to", lambda place: failing(error)() if place == CUDA else arrived.append(place))
    sentence = told(error, lambda: on_gpu.encode_pictures(np.zeros((2, 128, 128, 3), np.uint8)))
    assert "or device='cpu' once (what is encoded there is kept for every device)." in sentence and arrived == ["cpu"]


def test_encoding_captions_is_told(sd_base, error, monkeypatch):
    monkeypatch.setattr(sd_base.text_encoder, "forward", failing(error))
    assert told(error, lambda: sd_base.encode_captions(["a pool"])).startswith("Encoding captions does not fit")


@pytest.mark.parametrize("what, doing", [("unet", "Drawing"), ("vae", "Decoding")])
def test_drawing_pictures_is_told_to_draw_fewer_at_once_and_frees_the_base(sd_base, error, monkeypatch, what, doing):
    monkeypatch.setattr(getattr(sd_base, what), {"unet": "forward", "vae": "decode"}[what], failing(error))
    stack = LoRAStack(sd_base.unet, [RunConfig().resolved(12)])
    for options in ({}, {"adapters": stack}):
        draw = partial(sd_base.generate, ["a pool"], [0], num_inference_steps=1, **options)
        sentence = told(error, draw)
        assert sentence.startswith(
            f"{doing} pictures of 128 pixels does not fit into this device's memory. "
            "Choose fewer pictures at once (rows= when drawing, pictures= when training), a smaller resolution or ")
    monkeypatch.undo()
    assert sd_base.generate(["a pool"], [0], num_inference_steps=1).shape == (1, 128, 128, 3)


def test_the_bases_own_pictures_are_told(error, monkeypatch):
    base = tiny.base()
    monkeypatch.setattr("labkit.engine.base.Base._draw", failing(error))
    sentence = told(error, lambda: base.draw_latents(["a pool"], [0]))
    assert sentence.startswith("Drawing pictures of 64 pixels does not fit")


def test_loading_a_base_is_told_and_its_files_are_not_blamed(sd_folder, error, monkeypatch):
    monkeypatch.setattr("labkit.engine.base.load_models", failing(error))
    sentence = told(error, lambda: load_base(sd_folder, device="cpu"))
    assert sentence == (f"The base {sd_folder} does not fit into this device's memory. "
                        "Choose a smaller base or a machine with more free memory.")


def test_what_is_to_be_chosen_follows_from_device_and_precision():
    lower = "Choose a smaller base, 16 bits (dtype='fp16') or device='cpu'."
    assert choose(CUDA, torch.float32, "a smaller base") == lower
    assert choose(CUDA, torch.bfloat16, "a smaller base") == "Choose a smaller base or device='cpu'."
    assert choose(CUDA, torch.bfloat16) == "Choose device='cpu'."
    assert choose(CPU, torch.float32) == "Choose a machine with more free memory."


@pytest.mark.parametrize("other", [RuntimeError("shapes do not match"), KeyError("out of memory"), LabError("no")])
def test_other_errors_pass_as_they_are(other):
    with pytest.raises(type(other)) as found, enough_memory("A pass", "Take less."):
        raise other
    assert found.value is other


@pytest.mark.parametrize("words", ["MPS backend out of memory (MPS allocated: 9.00 GiB)", "CUDA error: out of memory",
                                   "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"])
def test_allocators_without_a_class_of_their_own_are_known_by_their_words(words):
    told = "^A pass does not fit into this device's memory. Take less.$"
    with pytest.raises(LabError, match=told), enough_memory("A pass", "Take less."):
        raise RuntimeError(words)
