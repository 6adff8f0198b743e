"""A base is found, checked, loaded and sampled as diffusers does it, without warnings and without the network."""

import json
import logging
import shutil
import socket
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from small_bases import write_folder, write_single_file

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.base_files import find_base
from labkit.engine.seeding import generator
from labkit.errors import LabError

PROMPTS, SEEDS = ["a bedroom at night", "still water", "a bedroom at night"], [3, 3, 4]


def diffusers_pictures(folder, guidance_scale, scheduler=None):
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    noise = [generator(seed, "sample") for seed in SEEDS]
    images = pipe(PROMPTS, num_inference_steps=3, guidance_scale=guidance_scale, generator=noise, output_type="np").images
    return (images * 255).round().astype(np.uint8)


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int))


@pytest.fixture(scope="module")
def v_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("v") / "v", prediction_type="v_prediction", timestep_spacing="trailing")


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
    assert difference(base.generate(PROMPTS, SEEDS, num_inference_steps=3), diffusers_pictures(v_folder, 3.0)).max() <= 1


def test_a_picture_does_not_depend_on_its_company(sd_base):
    together = sd_base.generate(PROMPTS, SEEDS, num_inference_steps=3)
    alone = sd_base.generate(PROMPTS[1:2], SEEDS[1:2], num_inference_steps=3)
    assert difference(together[1:2], alone).max() <= 1


def lively_stack(base, seeds):
    stack = LoRAStack(base.unet, [RunConfig(seed=seed, rank=rank, alpha=4 * rank).resolved(8) for seed, rank in seeds]).initialize()
    for k, (seed, _) in enumerate(seeds):
        arrays = stack.tensors(k)
        draw = np.random.default_rng(seed)
        stack.load(k, {name: draw.normal(0, 0.2, a.shape).astype(np.float32) if "lora_B" in name else a for name, a in arrays.items()})
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
    torch.testing.assert_close(sd_base.encode_captions(captions)["encoder_hidden_states"], theirs, rtol=1e-4, atol=1e-5)


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


# -- loading

def state(base):
    return {f"{part}.{key}": value for part in ("unet", "vae", "text_encoder") for key, value in getattr(base, part).state_dict().items()}


@pytest.mark.parametrize("beside", ["in the same folder", "in a folder of the same name"])
def test_a_single_file_loads_as_its_folder_does(sd_folder, sd_base, tmp_path, beside):
    configs = tmp_path if beside == "in the same folder" else tmp_path / "model"
    shutil.copytree(sd_folder, configs, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    base = load_base(write_single_file(sd_folder, tmp_path / "model.safetensors"), device="cpu")
    ours, theirs = state(base), state(sd_base)
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)
    assert (base.generate(PROMPTS, SEEDS, num_inference_steps=2) == sd_base.generate(PROMPTS, SEEDS, num_inference_steps=2)).all()


def test_a_single_file_with_the_text_encoder_keys_of_before_loads_too(sd_folder, sd_base, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(sd_folder, tmp_path, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    tensors = load_file(write_single_file(sd_folder, tmp_path / "model.safetensors"))
    save_file({key.replace("transformer.text_model.", "transformer."): value for key, value in tensors.items()}, tmp_path / "old.safetensors")
    ours, theirs = state(load_base(tmp_path / "old.safetensors", device="cpu")), state(sd_base)
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)


def test_a_single_file_without_the_weights_of_a_part_is_refused_in_one_sentence(sd_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(sd_folder, tmp_path, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    tensors = load_file(write_single_file(sd_folder, tmp_path / "model.safetensors"))
    words = {key for key in tensors if "transformer.text_model." in key}
    lacking = {key: value for key, value in tensors.items() if key not in words} | {"cond_stage_model.transformer.text_model.x": torch.zeros(1)}
    save_file(lacking, tmp_path / "cut.safetensors")
    with pytest.raises(LabError, match="cut.safetensors could not be loaded .*CLIPTextModel"):
        load_base(tmp_path / "cut.safetensors", device="cpu")
    old = {key.replace("transformer.text_model.", "transformer."): value for key, value in tensors.items() if "final_layer_norm" not in key or key not in words}
    save_file(old, tmp_path / "old.safetensors")
    with pytest.raises(LabError, match="old.safetensors could not be loaded .*its text encoder lacks .*final_layer_norm"):
        load_base(tmp_path / "old.safetensors", device="cpu")


def test_a_folder_with_half_precision_files_alone_loads(sd_folder, sd_base, tmp_path):
    StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None).to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    base = load_base(tmp_path / "half", device="cpu")
    assert {value.dtype for value in state(base).values() if value.is_floating_point()} == {torch.float32}
    assert difference(base.generate(PROMPTS, SEEDS, num_inference_steps=2), sd_base.generate(PROMPTS, SEEDS, num_inference_steps=2)).mean() < 1


def test_dtype_is_that_of_the_unet_while_the_encoders_stay_float32(sd_folder, sd_base):
    base = load_base(sd_folder, device="cpu", dtype="bf16")
    assert base.unet.dtype == base.dtype == torch.bfloat16
    assert base.vae.dtype == base.text_encoder.dtype == torch.float32
    pictures = base.generate(PROMPTS, SEEDS, num_inference_steps=2)
    assert 0 < difference(pictures, sd_base.generate(PROMPTS, SEEDS, num_inference_steps=2)).mean() < 8


def test_the_base_is_frozen_and_in_evaluation_mode(sd_base):
    for model in (sd_base.unet, sd_base.vae, sd_base.text_encoder):
        assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_a_local_base_loads_and_draws_without_network_warnings_or_output(sd_folder, monkeypatch, capfd):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_base(sd_folder, device="cpu").generate(PROMPTS, SEEDS, num_inference_steps=1)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not records and capfd.readouterr() == ("", "")


def test_loading_puts_the_libraries_own_settings_back(sd_folder):
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    def settings():
        return [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in (diffusers_logging, transformers_logging)]

    before = settings()
    load_base(sd_folder, device="cpu")
    assert settings() == before


# -- fingerprint

def test_the_fingerprint_is_of_the_content_not_of_the_place(sd_folder, sd_base, tmp_path):
    copy = shutil.copytree(sd_folder, tmp_path / "copy")
    assert find_base(copy).fingerprint() == sd_base.fingerprint
    (copy / "README.md").write_text("notes")
    (copy / "scheduler/scheduler_config.json").write_bytes((sd_folder / "scheduler/scheduler_config.json").read_bytes().replace(b"\n", b"\r\n"))
    assert find_base(copy).fingerprint() == sd_base.fingerprint


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
                                  "text_encoder/model.safetensors", "scheduler/scheduler_config.json", "vae/config.json",
                                  "tokenizer/tokenizer.json"])
def test_the_fingerprint_changes_with_any_file_that_is_loaded(sd_folder, sd_base, tmp_path, file):
    copy = shutil.copytree(sd_folder, tmp_path / "copy")
    assert find_base(copy).fingerprint() == sd_base.fingerprint
    data = bytearray((copy / file).read_bytes())
    at = data.rindex(b"1") if file.endswith("json") else -1
    data[at] = data[at] ^ 1                                   # same size: only the time of change tells the memo
    (copy / file).write_bytes(bytes(data))
    assert find_base(copy).fingerprint() != sd_base.fingerprint


# -- bad input

def broken(folder, tmp_path, file, change):
    copy = shutil.copytree(folder, tmp_path / "broken")
    change(copy / file)
    return copy


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def as_pickle(path):
    path.rename(path.with_suffix(".bin"))


def pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def changed(**values):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lying(length, header=b"{}"):
    return lambda path: path.write_bytes(length.to_bytes(8, "little") + header)


UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("file, change, message", [
    (UNET, cut, "diffusion_pytorch_model.safetensors, of .* bytes, is not a whole .safetensors file"),
    (UNET, pointer, "is not a whole .safetensors file"),
    (UNET, lying(5 * 10**9), "is not a whole .safetensors file"),
    (UNET, lying(17, b'{"a": {"dtype":1}'), "is not a whole .safetensors file"),
    (UNET, lying(100_000, b"[" * 100_000), "is not a whole .safetensors file"),
    (UNET, as_pickle, r"only as a pickle \(diffusion_pytorch_model.bin\)"),
    (UNET, lambda path: path.unlink(), "diffusion_pytorch_model.safetensors is missing"),
    ("vae/config.json", lambda path: path.unlink(), "vae/config.json is missing"),
    ("unet/config.json", lambda path: path.write_text("{"), "unet/config.json is not readable as JSON"),
    ("model_index.json", lambda path: path.unlink(), "has no model_index.json"),
    ("model_index.json", lambda path: path.write_text(path.read_text().replace("UNet2DConditionModel", "FluxTransformer2DModel")),
     "FluxTransformer2DModel.* as its unet"),
    ("model_index.json", lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"text_encoder_2": ["a", "b"]})),
     "two text encoders"),
    ("tokenizer", shutil.rmtree, "has neither tokenizer.json nor vocab.json"),
    ("unet/config.json", lambda path: path.write_text(path.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 48')),
     "could not be loaded"),
    ("unet/config.json", changed(sample_size="wide"), "could not be loaded"),
    ("unet/config.json", changed(down_block_types=[{}]), "could not be loaded"),
    ("unet/config.json", changed(block_out_channels=[10**299]), "unet/config.json gives 0 = 10.* which no such model has"),
    ("vae/config.json", lambda path: path.write_text("[" * 100_000), "vae/config.json is not readable as JSON .nested too deeply"),
    ("vae/config.json", lambda path: path.write_text("[]"), "an object in braces is needed, not list"),
    ("tokenizer/tokenizer_config.json", changed(model_max_length=10**30), "tokens, its text encoder takes 77: set model_max_length"),
    ("model_index.json", lambda path: path.write_text("7"), "an object in braces is needed, not int"),
])
def test_a_damaged_folder_is_refused_by_name(sd_folder, tmp_path, file, change, message):
    with pytest.raises(LabError, match=message):
        load_base(broken(sd_folder, tmp_path, file, change), device="cpu")


@pytest.mark.parametrize("name, message", [
    ("no/such/folder", "there is no file or folder no/such/folder"),
    ("missing.safetensors", "there is no file or folder missing.safetensors"),
    ("embeded", "there is no file or folder embeded. Give 'embedded'"),
    ("somewhere/model.ckpt", "model.ckpt is a pickle"),
    ("model.bin", "model.bin is a pickle"),
])
def test_a_base_that_is_not_there_or_a_pickle_is_refused_before_torch_models_are_touched(name, message, monkeypatch):
    monkeypatch.setattr("labkit.engine.base.load_models", lambda files: pytest.fail("a model was loaded"))
    with pytest.raises(LabError, match=message):
        load_base(name)


def test_a_hub_name_that_cannot_be_had_says_so(monkeypatch):
    def offline(name, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(LabError, match=r"somebody/model could not be had from the Hugging Face hub \(OSError: no route to host\)"):
        load_base("somebody/model")


def test_a_hub_name_loads_what_the_hub_gives_and_never_asks_for_a_pickle(sd_folder, sd_base, monkeypatch):
    asked = []

    def hub(name, *, revision, allow_patterns):
        asked.append((name, revision))
        assert not any(".bin" in pattern or ".ckpt" in pattern or pattern == "*" for pattern in allow_patterns)
        return str(sd_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert load_base("somebody/model", revision="v1", device="cpu").fingerprint == sd_base.fingerprint
    assert asked == [("somebody/model", "v1")]


def test_a_hub_repository_that_has_its_weights_only_as_pickles_says_so(sd_folder, tmp_path, monkeypatch):
    shutil.copytree(sd_folder, tmp_path / "hub", ignore=shutil.ignore_patterns("*.safetensors"))   # pickles are not asked for, so none arrive
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "hub"))
    with pytest.raises(LabError, match="somebody/model has no safetensors weights of its unet, vae, text_encoder on the hub.*pickles, .*Take a copy"):
        load_base("somebody/model")


def test_an_adapter_or_another_model_as_single_file_is_named_as_such(sd_folder, tmp_path):
    from safetensors.torch import save_file

    def file(*keys):
        save_file({key: torch.zeros(1, 1) for key in keys}, tmp_path / "x.safetensors")
        return tmp_path / "x.safetensors"

    with pytest.raises(LabError, match="is an adapter"):
        load_base(file("lora_unet_x.lora_down.weight"))
    with pytest.raises(LabError, match="SDXL"):
        load_base(file("conditioner.embedders.0.x", "model.diffusion_model.x"))
    with pytest.raises(LabError, match="no autoencoder and no text encoder"):
        load_base(file("model.diffusion_model.x"))
    with pytest.raises(LabError, match="does not say how it was made"):
        load_base(write_single_file(sd_folder, tmp_path / "alone.safetensors"))


def test_device_and_dtype_are_checked(sd_folder):
    with pytest.raises(LabError, match="device: 'toaster' is not one of cpu, cuda, mps"):
        load_base(sd_folder, device="toaster")
    with pytest.raises(LabError, match="dtype: 'int8' is not one of"):
        load_base(sd_folder, dtype="int8")
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(LabError, match=f"device: {missing} is not available"):
        load_base(sd_folder, device=missing)


def test_seeds_are_one_for_each_picture(sd_base):
    with pytest.raises(LabError, match="seeds: 1 for 2 prompts"):
        sd_base.generate(["a", "b"], [1])
