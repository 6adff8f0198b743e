"""SDXL's configuration is trained and drawn with as diffusers does: two text encoders, sizes, zeros for no caption."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionXLPipeline
from PIL import Image
from small_bases import write_xl_single_file
from three_pictures import PROMPTS, SEEDS, difference

from labkit.datasets.folders import territory
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import diffusers_picture, load_base
from labkit.engine.base_files import find_base, kind_of
from labkit.engine.cache import encode
from labkit.engine.loss import per_sample_loss
from labkit.engine.monitor import Monitor
from labkit.engine.seeding import generator
from labkit.engine.sweep import plan
from labkit.engine.text_encoders import sent, size_numbers
from labkit.engine.train import train
from labkit.errors import LabError
from labkit.store.adapter_files import adapter_bytes
from labkit.store.events import Checkpoint

INDEX = "model_index.json"


@pytest.fixture(scope="module")
def base(xl_folder):
    """Give the base of SDXL's kind."""
    return load_base(xl_folder, device="cpu")


@pytest.fixture(scope="module")
def pipe(xl_folder):
    """Give diffusers' own pipeline of it, with the sampler that the kit draws with."""
    pipe = StableDiffusionXLPipeline.from_pretrained(xl_folder, add_watermarker=False)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe, guidance_scale, **options):
    noise = [generator(seed, "sample") for seed in SEEDS]
    images = pipe(PROMPTS, generator=noise, output_type="np", num_inference_steps=3, guidance_scale=guidance_scale,
                  height=128, width=128, **options).images
    return (images * 255).round().astype(np.uint8)


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_pictures_equal_those_of_diffusers_pipeline(base, pipe, guidance_scale):
    ours = base.generate(PROMPTS, SEEDS, num_inference_steps=3, guidance_scale=guidance_scale)
    assert difference(ours, drawn(pipe, guidance_scale)).max() <= 1
    assert difference(ours[0], ours[1]).mean() > 0.1          # the words matter


def test_a_base_that_encodes_its_empty_caption_does_so(xl_folder, tmp_path, pipe):
    folder = shutil.copytree(xl_folder, tmp_path / "encoded")
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"force_zeros_for_empty_prompt": False}))
    other = load_base(folder, device="cpu")
    ours = other.generate(PROMPTS, SEEDS, num_inference_steps=3, guidance_scale=5.0)
    assert difference(ours, drawn(pipe, 5.0, negative_prompt=[""] * len(PROMPTS))).max() <= 1
    assert other.fingerprint != load_base(xl_folder, device="cpu").fingerprint


def test_captions_are_encoded_as_the_pipeline_encodes_them(base, pipe):
    hidden, nothing, pooled, no_words = pipe.encode_prompt(PROMPTS[0], device="cpu", do_classifier_free_guidance=True)
    ours = base.encode_captions([PROMPTS[0], ""])
    torch.testing.assert_close(ours["encoder_hidden_states"], torch.cat([hidden, nothing]))
    torch.testing.assert_close(ours["text_embeds"], torch.cat([pooled, no_words]))
    assert ours["time_ids"].tolist() == [[128, 128, 0, 0, 128, 128]] * 2


def test_the_loss_is_that_of_diffusers_training_script(base, pipe, xl_folder):
    """Compare with the lines of train_text_to_image_lora_sdxl.py that make its loss, written with diffusers' parts."""
    draw = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 4, 16, 16, generator=draw) for _ in range(2))
    timesteps, sizes = torch.tensor([100, 700]), [(300, 200), (128, 512)]
    schedule = DDPMScheduler.from_pretrained(xl_folder, subfolder="scheduler")
    hidden, _, pooled, _ = pipe.encode_prompt(PROMPTS[:2], device="cpu", do_classifier_free_guidance=False)
    # the script's compute_time_ids: the picture's size, where its middle square begins once it is scaled, the target
    cuts = [((384 - 256) // 4, 0), (0, (512 - 128) // 2)]     # 300 x 200 becomes 192 x 128
    time_ids = torch.tensor([[*size, *cut, 128, 128] for size, cut in zip(sizes, cuts, strict=True)]).float()
    prediction = pipe.unet(schedule.add_noise(latents, noise, timesteps), timesteps, hidden,
                           added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids}).sample
    expected = F.mse_loss(prediction, noise, reduction="none").mean((1, 2, 3))

    told = torch.tensor([size_numbers(size, (128, 128)) for size in sizes])
    cond = base.encode_captions(PROMPTS[:2]) | {"time_ids": told}
    assert cond["time_ids"].tolist() == time_ids.tolist()
    with torch.no_grad():
        torch.testing.assert_close(per_sample_loss(base.denoiser, latents, noise, timesteps, cond), expected.detach())


@pytest.fixture
def own_pictures(tmp_path, monkeypatch):
    """Write 10 pictures of a person's, the first of them turned by its camera, and two ordinary ones."""
    def write(folder, n, first):
        folder.mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng(first + i).integers(0, 256, (24, 36, 3), dtype=np.uint8)
            exif = Image.Exif()
            exif[0x0112] = 6 if i == 0 else 1
            Image.fromarray(pixels).save(folder / f"{i}.jpg", exif=exif)
            (folder / f"{i}.txt").write_text(f"my room {i}")
        return folder

    write(tmp_path / "data/territories/ordinary/validation", 2, 100)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    return write(tmp_path / "own", 10, 0)


def test_it_trains_resumes_bit_for_bit_and_its_adapter_draws_the_same_picture_in_diffusers(
        base, xl_folder, own_pictures, tmp_path):
    small = base.at(64)
    cache = encode(small, territory(own_pictures))
    of_first = dict(zip((path.name for path in cache.train.paths), cache.train.cond["time_ids"].tolist(), strict=True))
    assert of_first.get("0.jpg", [36, 24, 16, 0, 64, 64]) == [36, 24, 16, 0, 64, 64]     # upright: 36 high, 24 wide
    assert [24, 36, 0, 16, 64, 64] in of_first.values()
    config = RunConfig(base=str(xl_folder), data=str(own_pictures), max_train_steps=4, train_batch_size=2,
                       learning_rate=1e-2, caption_dropout=0.3, target_modules="all")
    events = list(train(small, cache, plan(small, cache, [config]), monitor=Monitor(images=2), checkpoint_at=(2,)))
    kept = {event.global_step: event for event in events if isinstance(event, Checkpoint)}
    again = [event for event in train(small, cache, plan(small, cache, [config]), monitor=Monitor(images=0),
                                      resume=[kept[2]]) if isinstance(event, Checkpoint)]
    assert all(np.array_equal(kept[4].adapter[name], again[-1].adapter[name]) for name in kept[4].adapter)

    resolved = config.resolved(6)
    stack = LoRAStack(small.unet, [resolved])
    stack.load(0, kept[4].adapter)
    ours = small.generate([PROMPTS[0]], [3], adapters=stack, num_inference_steps=3)[0, 0]
    bare = small.generate([PROMPTS[0]], [3], num_inference_steps=3)[0]
    (tmp_path / "place.safetensors").write_bytes(adapter_bytes(kept[4].adapter, resolved))
    theirs = diffusers_picture(small, PROMPTS[0], 3, tmp_path / "place.safetensors", num_inference_steps=3)
    assert difference(ours, theirs).max() <= 1 and difference(ours, bare).mean() > 0.5


def test_sizes_of_pictures_stay_whole_numbers_in_16_bits(base):
    cond = base.encode_captions(["a"]) | {"time_ids": torch.tensor([[1365.0, 2731.0, 0.0, 683.0, 1024.0, 1024.0]])}
    on_device = sent(cond, torch.device("cpu"), torch.bfloat16)
    assert on_device["time_ids"].tolist() == cond["time_ids"].tolist()
    assert on_device["text_embeds"].dtype == torch.bfloat16
    half = base.in_precision(torch.bfloat16)
    with torch.no_grad():
        assert half.denoiser(torch.randn(1, 4, 16, 16), torch.tensor([5]), on_device).isfinite().all()


def test_a_single_file_with_its_configuration_beside_it_is_the_same_base(base, xl_folder, tmp_path):
    shutil.copytree(xl_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    file = write_xl_single_file(xl_folder, tmp_path / "model.safetensors")
    other = load_base(file, device="cpu")
    ours = other.generate(PROMPTS, SEEDS, num_inference_steps=3)
    assert difference(ours, base.generate(PROMPTS, SEEDS, num_inference_steps=3)).max() <= 1


def test_a_velocity_file_is_not_guessed_to_predict_noise(xl_folder, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    file = write_xl_single_file(xl_folder, tmp_path / "model.safetensors")
    save_file(load_file(file) | {"v_pred": torch.zeros(1)}, file)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(LabError, match="does not say how it was made"):
        load_base(file)


def test_the_configuration_beside_a_file_must_be_of_its_kind(sd_folder, xl_folder, tmp_path):
    shutil.copytree(sd_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    file = write_xl_single_file(xl_folder, tmp_path / "model.safetensors")
    with pytest.raises(LabError, match="is a file of SDXL, while .* describes another model"):
        load_base(file)


def test_velocity_is_predicted_where_the_schedule_says_so(tmp_path, xl_folder):
    folder = shutil.copytree(xl_folder, tmp_path / "v")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    assert load_base(folder, device="cpu").denoiser.prediction_type == "v_prediction"


@pytest.mark.parametrize("change, message", [
    ({"text_encoder": [None, None]}, "no first, as SDXL's refiner"),
    ({"text_encoder_2": ["transformers", "T5EncoderModel"]}, "'T5EncoderModel'.* as its text_encoder_2"),
])
def test_other_models_of_two_text_encoders_are_named(xl_folder, tmp_path, change, message):
    folder = shutil.copytree(xl_folder, tmp_path / "other")
    (folder / INDEX).write_text(json.dumps(json.loads((folder / INDEX).read_text()) | change))
    with pytest.raises(LabError, match=message):
        load_base(folder)


@pytest.mark.parametrize("lost, message", [
    ("text_encoder_2/model.safetensors", "text_encoder_2/model.safetensors is missing"),
    ("tokenizer_2", "tokenizer_2 has neither"),
    ("text_encoder_2/config.json", "text_encoder_2/config.json is missing"),
])
def test_a_part_that_is_missing_is_named_before_anything_is_loaded(xl_folder, tmp_path, monkeypatch, lost, message):
    folder = shutil.copytree(xl_folder, tmp_path / "cut")
    shutil.rmtree(folder / lost) if (folder / lost).is_dir() else (folder / lost).unlink()
    monkeypatch.setattr("labkit.engine.base.load_models", lambda files: pytest.fail("a model was loaded"))
    with pytest.raises(LabError, match=message):
        load_base(folder)


def test_what_a_base_is_can_be_told_without_loading_it(xl_folder, sd_folder, tmp_path):
    assert kind_of(find_base(str(xl_folder))) == "SDXL, 128 pixels a side, predicts 'epsilon'"
    assert "of a size of its own, 128 pixels" in kind_of(find_base("embedded"))
    folder = shutil.copytree(sd_folder, tmp_path / "two")
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cross_attention_dim": 1024}))
    assert kind_of(find_base(str(folder))).startswith("Stable Diffusion 2.x, ")


def test_a_folder_of_the_hub_is_asked_for_with_both_encoders(xl_folder, base, monkeypatch):
    asked = []

    def hub(name, *, revision, allow_patterns):
        asked.append(allow_patterns)
        return str(xl_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert load_base("somebody/xl", device="cpu").fingerprint == base.fingerprint
    assert {"text_encoder_2/model.safetensors", "tokenizer_2/*"} < set(asked[0])
