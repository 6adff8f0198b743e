"""An adapter leaves with its card and nothing is written over; merged into a base it is what diffusers would fuse."""

import json

import numpy as np
import pytest
import torch
from command_line import labkit
from made_runs import made_run
from safetensors.torch import load_file, save_file

from labkit.cli import model_card, progress_line
from labkit.cli.export import holds
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.base_files import find_base
from labkit.store.events import Checkpoint, Sample, Step, Stopped, Validation
from labkit.store.foreign_adapters import read_adapter
from labkit.store.runs import Store, record

ID, DENSE = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture(scope="module")
def store(sd_folder, sd_base, tmp_path_factory):
    """Give a store with a finished run on that base, and a dense one, which nobody trained."""
    store = Store(tmp_path_factory.mktemp("store"))
    for name, changes in ((ID, {}), (DENSE, {"adapter": "full"})):
        config = RunConfig(base=str(sd_folder), data="/home/someone/pools", rank=4, alpha=2, max_train_steps=4,
                           target_modules="all", **changes).resolved(12)
        stack, source = LoRAStack(sd_base.unet, [config]).initialize(), torch.Generator().manual_seed(1)
        tensors = {key: array if "lora_A" in key else 0.2 * torch.randn(array.shape, generator=source).numpy()
                   for key, array in stack.tensors(0).items()}
        losses = np.full((8, 1), 0.2, np.float32)
        pictures = np.zeros((1, 16, 16, 3), np.uint8)
        events = [Validation(name, 0, 0, "validation", "monitor", losses, np.arange(8).reshape(8, 1)),
                  Step(name, 2, 8, 0.2, 1e-3, 1.0, 0.1),
                  Checkpoint(name, 2, 8, tensors, {}), Step(name, 4, 16, 0.2, 1e-3, 1.0, 0.1),
                  Validation(name, 4, 16, "validation", "monitor", 0.9 * losses, np.arange(8).reshape(8, 1)),
                  Sample(name, 4, 16, pictures, ("a pool",), (0,), 3.0),
                  Checkpoint(name, 4, 16, tensors, {}), Stopped(name, 4, 16, "finished")]
        list(record(store, events, {name: config}))
    return store


def export(capsys, store, target, *options):
    code, out, err = labkit(capsys, "export", ID, "--to", target, "--store", store.root, "--json", *options)
    return code, json.loads(out), err


def test_an_adapter_leaves_in_kohyas_form_with_card_and_figure(capsys, store, tmp_path):
    code, told, err = export(capsys, store, tmp_path / "pool.safetensors", "--format", "kohya")
    assert code == 0, err
    assert sorted(path.name for path in tmp_path.glob("pool.*")) == ["pool.md", "pool.png", "pool.safetensors"]
    adapter = read_adapter(tmp_path / "pool.safetensors")
    assert adapter.form == "kohya" and {(layer.rank, layer.alpha) for layer in adapter.layers} == {(4, 2.0)}
    card = (tmp_path / "pool.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers") and "](pool.png)" in card and "| rank | 4 |" in card
    assert "<lora:pool:1>" in card and "`pools`" in card and "someone" not in card and str(tmp_path) not in card
    assert told["files"] == [str(tmp_path / name) for name in ("pool.safetensors", "pool.md", "pool.png")]


def test_nothing_is_written_over_without_being_asked(capsys, store, tmp_path):
    target = tmp_path / "pool.safetensors"
    assert export(capsys, store, target)[0] == export(capsys, store, target)[0] == 0      # the same once more
    (tmp_path / "pool.md").write_text("my own words")
    before = target.read_bytes()
    code, told, _ = export(capsys, store, target, "--format", "kohya")
    assert code == 2 and "pool.safetensors is there already" in told["error"]
    code, told, _ = export(capsys, store, target)
    assert code == 2 and "pool.md is there already" in told["error"] and "--overwrite" in told["error"]
    assert (tmp_path / "pool.md").read_text() == "my own words" and target.read_bytes() == before
    assert export(capsys, store, target, "--no-card")[0] == 0
    assert export(capsys, store, target, "--format", "kohya", "--overwrite")[0] == 0
    assert read_adapter(target).form == "kohya" and "my own words" not in (tmp_path / "pool.md").read_text()
    assert not holds(target, before)


def test_a_folded_adapter_has_alpha_equal_to_its_rank_and_the_same_effect(capsys, store, tmp_path):
    code, told, _ = export(capsys, store, tmp_path / "folded.safetensors", "--fold", "--no-card")
    assert (code, told["alpha"], told["scaling"]) == (0, 4.0, 1.0)
    export(capsys, store, tmp_path / "plain.safetensors", "--no-card")
    plain, flat = load_file(tmp_path / "plain.safetensors"), load_file(tmp_path / "folded.safetensors")
    assert all(torch.equal(flat[key], 0.5 * plain[key] if "lora_B" in key else plain[key]) for key in plain)


def test_a_card_of_a_run_without_curve_or_pictures_has_none_and_names_the_hub():
    run = made_run("healthy", upto=0, pictures=False, base="org/model", data="pools/kind=a,b")
    bare = run.__class__(**vars(run) | {"validations": {}, "samples": []})
    assert model_card.figure(bare) is None
    card = model_card.card(bare, "a.safetensors", bare.config)
    assert 'base_model: "org/model"' in card and "![" not in card and "`pools/kind=a,b`" in card


def test_a_card_of_the_embedded_base_says_who_can_load_it():
    run = made_run("overfitting")
    card = model_card.card(run, "a.safetensors", run.config, form="kohya")
    assert "8 channels" in card and "**overfitting**" in card and "stable-diffusion" not in card.split("---")[1]


def merged(capsys, store, adapter, folder, *options):
    code, out, err = labkit(capsys, "merge", adapter, "--to", folder, "--store", store.root, "--json", *options)
    return code, json.loads(out), err


def test_a_merged_base_is_what_diffusers_fuses_at_a_strength(capsys, store, sd_folder, tmp_path):
    from diffusers import StableDiffusionPipeline

    export(capsys, store, tmp_path / "pool.safetensors", "--format", "kohya", "--no-card")
    code, told, err = merged(capsys, store, ID, tmp_path / "run", "--strength", "0.7")
    assert code == 0 and told["weights"] > 100, err
    assert merged(capsys, store, tmp_path / "pool.safetensors", tmp_path / "file", "--strength", "0.7",
                  "--base", sd_folder)[0] == 0
    pipe = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None)
    pipe.load_lora_weights(str(tmp_path / "pool.safetensors"))
    pipe.fuse_lora(lora_scale=0.7)
    pipe.unload_lora_weights()
    ours = StableDiffusionPipeline.from_pretrained(tmp_path / "run")
    theirs, plain = pipe.unet.state_dict(), load_file(sd_folder / "unet" / "diffusion_pytorch_model.safetensors")
    for key, weight in ours.unet.state_dict().items():
        torch.testing.assert_close(weight, theirs[key], rtol=1e-5, atol=1e-6)
    assert not torch.equal(ours.unet.state_dict()["mid_block.resnets.0.conv1.weight"],
                           plain["mid_block.resnets.0.conv1.weight"])
    assert type(ours.scheduler) is type(pipe.scheduler) and not list(tmp_path.glob("*unfinished*"))
    for part, name in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")):
        run, file = (load_file(tmp_path / folder / part / f"{name}.safetensors") for folder in ("run", "file"))
        assert all(torch.equal(run[key], file[key]) for key in run)
    before = load_file(sd_folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(run[key], before[key]) for key in before)


def test_a_merged_base_is_one_that_the_kit_takes_however_large_it_is(capsys, store, tmp_path, monkeypatch):
    from diffusers.models.modeling_utils import ModelMixin

    save = ModelMixin.save_pretrained

    def save_cut(self, folder, safe_serialization=True, variant=None, max_shard_size="200KB", **options):
        """Cut what is large by default, as 10 GB are in diffusers: here that is any U-Net."""
        save(self, folder, safe_serialization=safe_serialization, variant=variant, max_shard_size=max_shard_size)

    monkeypatch.setattr(ModelMixin, "save_pretrained", save_cut)
    monkeypatch.setattr(progress_line, "BREATH_S", -1.0)      # so that a log hears of all that a terminal shows
    code, _, err = merged(capsys, store, ID, tmp_path / "large")
    assert code == 0 and all(f"labkit: {what} " in err for what in ("loading the base", "merging", "writing"))
    assert find_base(tmp_path / "large").weights["unet"].is_file()


def test_a_dense_change_can_leave_only_by_merging(capsys, store, sd_folder, tmp_path):
    code, told, _ = labkit(capsys, "export", DENSE, "--to", tmp_path / "a.safetensors", "--store", store.root)
    assert code == 2
    assert merged(capsys, store, DENSE, tmp_path / "dense", "--strength", "2")[0] == 0
    name = "mid_block.resnets.0.conv1"
    plain, dense = (load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")[f"{name}.weight"]
                    for folder in (sd_folder, tmp_path / "dense"))
    delta = torch.from_numpy(store.run(DENSE).adapter()[f"{name}.delta.weight"])
    torch.testing.assert_close(dense, plain + 2 * delta)


def test_what_cannot_be_merged_is_refused_before_a_base_loads(capsys, store, sd_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.engine.base.load_base", lambda *_, **__: pytest.fail("a base was loaded"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    text = {"lora_te_a.lora_down.weight": torch.ones(2, 8), "lora_te_a.lora_up.weight": torch.ones(8, 2)}
    save_file(text, tmp_path / "text.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"\x80")
    save_file({key.replace("_te_a", "_unet_mid_block"): value for key, value in text.items()},
              tmp_path / "other.safetensors")
    for arguments, words in [
            ([ID, "--to", tmp_path / "full"], "full is there already"),
            ([tmp_path / "text.safetensors", "--to", tmp_path / "x"], "give it with --base"),
            ([tmp_path / "text.safetensors", "--to", tmp_path / "x", "--base", sd_folder], "adapts text_encoder too"),
            ([tmp_path / "other.safetensors", "--to", tmp_path / "x", "--base", "embedded"], "made for another base"),
            ([tmp_path / "text.safetensors", "--to", tmp_path / "x", "--step", "3"], "--step names a checkpoint"),
            ([tmp_path / "old.ckpt", "--to", tmp_path / "x", "--base", sd_folder], "is a pickle"),
            ([tmp_path / "none.safetensors", "--to", tmp_path / "x", "--base", sd_folder], "cannot be read"),
            ([ID, "--to", tmp_path / "x", "--strength", "nan"], "--strength nan"),
            ([ID, "--to", tmp_path / "x", "--step", "3"], "no checkpoint at step 3")]:
        code, out, err = labkit(capsys, "merge", *arguments, "--store", store.root)
        assert code == 2 and words in err and "Traceback" not in err, err


def test_an_adapter_of_another_base_is_not_merged(capsys, store, tmp_path):
    code, told, _ = merged(capsys, store, ID, tmp_path / "x", "--base", "embedded")
    assert code == 2 and "another base" in told["error"] and not (tmp_path / "x").exists()


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_an_adapter_leaves_in_16_bits_folded_too_and_says_so(capsys, store, tmp_path, form):
    target = tmp_path / "half.safetensors"
    code, told, err = export(capsys, store, target, "--format", form, "--fold", "--dtype", "fp16")
    assert (code, told["dtype"]) == (0, "float16") and 0 < told["rounding"] < 1e-3, err
    export(capsys, store, tmp_path / "whole.safetensors", "--format", form, "--fold", "--no-card")
    half, whole = load_file(target), load_file(tmp_path / "whole.safetensors")
    assert all(torch.equal(half[key], tensor.half() if "weight" in key else tensor) for key, tensor in whole.items())
    assert "| stored in | float16 |" in (tmp_path / "half.md").read_text()
    code, out, _ = labkit(capsys, "export", ID, "--to", target, "--store", store.root, "--format", form, "--fold",
                          "--dtype", "float16")
    assert code == 0 and "Stored in float16: rounding moves no matrix by more than 0.000" in out


def test_a_merged_base_in_16_bits_is_the_one_in_32_rounded(capsys, store, tmp_path):
    from diffusers import StableDiffusionPipeline

    for dtype in ("float32", "float16"):
        assert merged(capsys, store, ID, tmp_path / dtype, "--dtype", dtype)[1]["dtype"] == dtype
    names = [path.relative_to(tmp_path / "float32") for path in (tmp_path / "float32").rglob("*.safetensors")]
    assert len(names) == 3
    for name in names:
        whole, half = load_file(tmp_path / "float32" / name), load_file(tmp_path / "float16" / name)
        assert all(torch.equal(half[key], tensor.half()) for key, tensor in whole.items())
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "float16", dtype=torch.float32)
    assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.float32
    assert load_base(tmp_path / "float16", device="cpu").unet.dtype == torch.float32
