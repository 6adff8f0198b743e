"""A base draws, encodes and decodes as diffusers' own pipeline does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from small_bases import write_folder
from three_pictures import PROMPTS, SEEDS, difference

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.seeding import generator
from labkit.errors import LabError


def diffusers_pictures(folder, guidance_scale):
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    noise = [generator(seed, "sample") for seed in SEEDS]
    settings = {"num_inference_steps": 3, "guidance_scale": guidance_scale}
    images = pipe(PROMPTS, generator=noise, output_type="np", **settings).images
    return (images * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def v_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v") / "v"
    return write_folder(folder, prediction_type="v_prediction", timestep_spacing="trailing")


# -- the same pictures as the field's own pipeline

@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_pictures_equal_those_of_the_diffusers_pipeline(sd_folder, sd_base, guidance_scale):
    ours = sd_base.generate(PROMPTS, SEEDS, num_inference_steps=3, guidance_scale=guidance_scale)
    assert ours.shape == (3, 128, 128, 3) and ours.dtype == np.uint8
    assert difference(ours, diffusers_pictures(sd_folder, guidance_scale)).max() <= 1
    assert difference(ours[0], ours[1]).mean() > 0.1          # the words matter
    assert difference(ours[0], ours[2]).mean() > 5            # the seed matters


def test_a_base_that_predicts_velocity_draws_what_diffusers_draws(v_folder):
    base = load_base(v_folder, device="cpu")
    assert base.prediction_type == base.denoiser.prediction_type == "v_prediction"
    ours = base.generate(PROMPTS, SEEDS, num_inference_steps=3)
    assert difference(ours, diffusers_pictures(v_folder, 3.0)).max() <= 1


def test_a_picture_does_not_depend_on_its_company(sd_base):
    together = sd_base.generate(PROMPTS, SEEDS, num_inference_steps=3)
    alone = sd_base.generate(PROMPTS[1:2], SEEDS[1:2], num_inference_steps=3)
    assert difference(together[1:2], alone).max() <= 1


def lively_stack(base, seeds):
    configs = [RunConfig(seed=seed, rank=rank, alpha=4 * rank).resolved(8) for seed, rank in seeds]
    stack = LoRAStack(base.unet, configs).initialize()
    for k, (seed, _) in enumerate(seeds):
        draw = np.random.default_rng(seed)
        stack.load(k, {name: draw.normal(0, 0.2, array.shape).astype(np.float32) if "lora_B" in name else array
                       for name, array in stack.tensors(k).items()})
    return stack


def test_guided_pictures_of_three_runs_equal_each_alone(sd_base):
    runs = [(0, 2), (1, 8), (2, 4)]
    together = sd_base.generate(PROMPTS[:2], SEEDS[:2], adapters=lively_stack(sd_base, runs), num_inference_steps=3)
    assert together.shape == (3, 2, 128, 128, 3)
    for k, run in enumerate(runs):
        alone = sd_base.generate(PROMPTS[:2], SEEDS[:2], adapters=lively_stack(sd_base, [run]), num_inference_steps=3)
        assert difference(together[k], alone[0]).max() <= 1
        assert difference(together[k], together[k - 1]).mean() > 3


def test_without_adapters_the_bare_base_draws_even_while_some_are_attached(sd_base):
    bare = sd_base.generate(PROMPTS, SEEDS, num_inference_steps=2)
    with lively_stack(sd_base, [(0, 2), (1, 2)]).attached():
        assert (sd_base.generate(PROMPTS, SEEDS, num_inference_steps=2) == bare).all()


# -- encoders

def test_pictures_are_encoded_and_decoded_as_the_autoencoder_says(sd_folder, sd_base):
    pipe = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None, requires_safety_checker=False)
    pictures = np.random.default_rng(0).integers(0, 256, (9, 128, 128, 3), dtype=np.uint8)
    mean, std = sd_base.encode_pictures(pictures)
    assert mean.shape == std.shape == (9, *sd_base.latent_shape)
    with torch.no_grad():
        x = pipe.image_processor.preprocess(pictures.astype(np.float32) / 255)
        posterior = pipe.vae.encode(x).latent_dist
        torch.testing.assert_close(mean, posterior.mean * pipe.vae.config.scaling_factor, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(std, posterior.std * pipe.vae.config.scaling_factor, rtol=1e-4, atol=1e-5)
        theirs = pipe.image_processor.postprocess(pipe.vae.decode(posterior.mean).sample, output_type="np")
    assert difference(sd_base.decode(mean), (theirs * 255).round()).max() <= 1


def test_latents_that_are_not_finite_decode_to_black(sd_base):
    assert not sd_base.decode(torch.full((1, *sd_base.latent_shape), float("nan"))).any()


def test_captions_are_encoded_as_the_pipeline_does(sd_folder, sd_base):
    pipe = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None, requires_safety_checker=False)
    captions = ["", "a room", "word " * 100]                  # the last one is longer than the text encoder
    with torch.no_grad():
        theirs = torch.cat([pipe.encode_prompt(c, "cpu", 1, False)[0] for c in captions])
    ours = sd_base.encode_captions(captions)["encoder_hidden_states"]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_another_resolution_shares_the_weights(sd_base):
    large = sd_base.at(192)
    assert large.unet is sd_base.unet and large.lock is sd_base.lock and large.latent_shape == (4, 24, 24)
    assert large.generate(["a"], [0], num_inference_steps=1).shape == (1, 192, 192, 3)
    with pytest.raises(LabError, match="resolution: 100 .* multiple of 64"):
        sd_base.at(100)


def test_encoders_come_to_the_device_to_work_and_leave_it_even_after_an_error(sd_base):
    moves = []

    class Encoder:
        device = torch.device("cpu")

        def to(self, device):
            moves.append(torch.device(device).type)

    gpu = replace(sd_base, device=torch.device("cuda"))
    with pytest.raises(KeyError), gpu._at_work(Encoder(), Encoder()):
        assert moves == ["cuda", "cuda"]
        raise KeyError
    assert moves == ["cuda", "cuda", "cpu", "cpu"]
    with sd_base._at_work(Encoder()):
        assert len(moves) == 4                                # on a CPU they are where they work


def test_seeds_are_one_for_each_picture(sd_base):
    with pytest.raises(LabError, match="seeds: 1 for 2 prompts"):
        sd_base.generate(["a", "b"], [1])
