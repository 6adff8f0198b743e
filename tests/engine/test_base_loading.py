"""A base is found, checked and loaded without warnings and without the network; what is damaged is refused by name."""

import json
import logging
import shutil
import socket
import warnings

import pytest
import torch
from diffusers import StableDiffusionPipeline
from small_bases import write_single_file
from three_pictures import PROMPTS, SEEDS, difference

from labkit.engine.base import load_base
from labkit.engine.base_files import find_base
from labkit.errors import LabError


def state(base):
    return {f"{part}.{key}": value for part in ("unet", "vae", "text_encoder")
            for key, value in getattr(base, part).state_dict().items()}


def drawn(base):
    return base.generate(PROMPTS, SEEDS, num_inference_steps=2)


def without_weights(folder, copy):
    """Copy a base's folder without its weights into a folder that may be there."""
    return shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)


def with_older_keys(tensors):
    """Name the text encoder's tensors as files of before do."""
    return {key.replace("transformer.text_model.", "transformer."): value for key, value in tensors.items()}


# -- loading

@pytest.mark.parametrize("beside", ["in the same folder", "in a folder of the same name"])
def test_a_single_file_loads_as_its_folder_does(sd_folder, sd_base, tmp_path, beside):
    configs = tmp_path if beside == "in the same folder" else tmp_path / "model"
    without_weights(sd_folder, configs)
    base = load_base(write_single_file(sd_folder, tmp_path / "model.safetensors"), device="cpu")
    ours, theirs = state(base), state(sd_base)
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)
    assert (drawn(base) == drawn(sd_base)).all()


def test_a_single_file_with_the_text_encoder_keys_of_before_loads_too(sd_folder, sd_base, tmp_path):
    from safetensors.torch import load_file, save_file

    without_weights(sd_folder, tmp_path)
    tensors = load_file(write_single_file(sd_folder, tmp_path / "model.safetensors"))
    save_file(with_older_keys(tensors), tmp_path / "old.safetensors")
    ours, theirs = state(load_base(tmp_path / "old.safetensors", device="cpu")), state(sd_base)
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)


def test_a_single_file_without_the_weights_of_a_part_is_refused_in_one_sentence(sd_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    without_weights(sd_folder, tmp_path)
    tensors = load_file(write_single_file(sd_folder, tmp_path / "model.safetensors"))
    words = {key for key in tensors if "transformer.text_model." in key}
    lacking = {key: value for key, value in tensors.items() if key not in words}
    save_file(lacking | {"cond_stage_model.transformer.text_model.x": torch.zeros(1)}, tmp_path / "cut.safetensors")
    with pytest.raises(LabError, match="cut.safetensors could not be loaded .*CLIPTextModel"):
        load_base(tmp_path / "cut.safetensors", device="cpu")
    left = {key: value for key, value in tensors.items() if "final_layer_norm" not in key or key not in words}
    save_file(with_older_keys(left), tmp_path / "old.safetensors")
    refusal = "old.safetensors could not be loaded .*its text encoder lacks .*final_layer_norm"
    with pytest.raises(LabError, match=refusal):
        load_base(tmp_path / "old.safetensors", device="cpu")


def test_a_folder_with_half_precision_files_alone_loads(sd_folder, sd_base, tmp_path):
    pipe = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None).to(torch.float16)
    pipe.save_pretrained(tmp_path / "half", variant="fp16")
    base = load_base(tmp_path / "half", device="cpu")
    assert {value.dtype for value in state(base).values() if value.is_floating_point()} == {torch.float32}
    assert difference(drawn(base), drawn(sd_base)).mean() < 1


def test_dtype_is_that_of_the_unet_while_the_encoders_stay_float32(sd_folder, sd_base):
    base = load_base(sd_folder, device="cpu", dtype="bf16")
    assert base.unet.dtype == base.dtype == torch.bfloat16
    assert base.vae.dtype == base.text_encoder.dtype == torch.float32
    assert 0 < difference(drawn(base), drawn(sd_base)).mean() < 8


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
        return [(log.get_verbosity(), log.is_progress_bar_enabled())
                for log in (diffusers_logging, transformers_logging)]

    before = settings()
    load_base(sd_folder, device="cpu")
    assert settings() == before


# -- fingerprint

def test_the_fingerprint_is_of_the_content_not_of_the_place(sd_folder, sd_base, tmp_path):
    copy = shutil.copytree(sd_folder, tmp_path / "copy")
    assert find_base(copy).fingerprint() == sd_base.fingerprint
    (copy / "README.md").write_text("notes")
    schedule = copy / "scheduler/scheduler_config.json"
    schedule.write_bytes(schedule.read_bytes().replace(b"\n", b"\r\n"))
    assert find_base(copy).fingerprint() == sd_base.fingerprint


@pytest.mark.parametrize("file", [
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "scheduler/scheduler_config.json",
    "vae/config.json",
    "tokenizer/tokenizer.json",
])
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


def replaced(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new))


def lying(length, header=b"{}"):
    return lambda path: path.write_bytes(length.to_bytes(8, "little") + header)


UNET, CONFIG, INDEX = "unet/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"


@pytest.mark.parametrize("file, change, message", [
    (UNET, cut, "diffusion_pytorch_model.safetensors, of .* bytes, is not a whole .safetensors file"),
    (UNET, pointer, "is not a whole .safetensors file"),
    (UNET, lying(5 * 10**9), "is not a whole .safetensors file"),
    (UNET, lying(17, b'{"a": {"dtype":1}'), "is not a whole .safetensors file"),
    (UNET, lying(100_000, b"[" * 100_000), "is not a whole .safetensors file"),
    (UNET, as_pickle, r"only as a pickle \(diffusion_pytorch_model.bin\)"),
    (UNET, lambda path: path.unlink(), "diffusion_pytorch_model.safetensors is missing"),
    ("vae/config.json", lambda path: path.unlink(), "vae/config.json is missing"),
    (CONFIG, lambda path: path.write_text("{"), "unet/config.json is not readable as JSON"),
    (INDEX, lambda path: path.unlink(), "has no model_index.json"),
    (INDEX, replaced("UNet2DConditionModel", "FluxTransformer2DModel"), "FluxTransformer2DModel.* as its unet"),
    (INDEX, changed(text_encoder_2=["a", "b"]), "'b'.* as its text_encoder_2, not CLIPTextModelWithProjection"),
    ("tokenizer", shutil.rmtree, "has neither tokenizer.json nor vocab.json"),
    (CONFIG, replaced('"cross_attention_dim": 32', '"cross_attention_dim": 48'), "could not be loaded"),
    (CONFIG, changed(sample_size="wide"), "could not be loaded"),
    (CONFIG, changed(down_block_types=[{}]), "could not be loaded"),
    (CONFIG, changed(block_out_channels=[10**299]), "unet/config.json gives 0 = 10.* which no such model has"),
    ("vae/config.json", lambda path: path.write_text("[" * 100_000),
     "vae/config.json is not readable as JSON .nested too deeply"),
    ("vae/config.json", lambda path: path.write_text("[]"), "an object in braces is needed, not list"),
    ("tokenizer/tokenizer_config.json", changed(model_max_length=10**30),
     "tokens, its text encoder takes 77: set model_max_length"),
    (INDEX, lambda path: path.write_text("7"), "an object in braces is needed, not int"),
])
def test_a_damaged_folder_is_refused_by_name(sd_folder, tmp_path, file, change, message):
    with pytest.raises(LabError, match=message):
        load_base(broken(sd_folder, tmp_path, file, change), device="cpu")


def test_weights_in_several_files_are_named_as_such(sd_folder, tmp_path):
    pipe = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None)
    pipe.save_pretrained(tmp_path / "base", max_shard_size="200KB")
    assert len(list((tmp_path / "base/unet").glob("*.safetensors"))) > 1
    with pytest.raises(LabError, match="unet has its weights in several files.* give NEW_FOLDER"):
        find_base(tmp_path / "base")


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
    refusal = r"somebody/model could not be had from the Hugging Face hub \(OSError: no route to host\)"
    with pytest.raises(LabError, match=refusal):
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
    without_weights(sd_folder, tmp_path / "hub")              # pickles are not asked for, so none arrive
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "hub"))
    refusal = ("somebody/model has no safetensors weights of its unet, vae, text_encoder on the hub.*pickles, "
               ".*Take a copy")
    with pytest.raises(LabError, match=refusal):
        load_base("somebody/model")


def test_an_adapter_or_another_model_as_single_file_is_named_as_such(sd_folder, tmp_path):
    from safetensors.torch import save_file

    def file(*keys):
        save_file({key: torch.zeros(1, 1) for key in keys}, tmp_path / "x.safetensors")
        return tmp_path / "x.safetensors"

    with pytest.raises(LabError, match="is an adapter"):
        load_base(file("lora_unet_x.lora_down.weight"))
    with pytest.raises(LabError, match="no autoencoder and no first text encoder and no second text encoder"):
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
