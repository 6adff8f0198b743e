"""An exported adapter is to other programs what it is here: diffusers, ComfyUI and AUTOMATIC1111's web UI."""

import json

import loaders
import numpy as np
import pytest
import small_bases
import torch
import weightless
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack, find_targets
from labkit.engine.base import diffusers_picture, load_base
from labkit.engine.merging import changes_of_run, merge, write_base
from labkit.store.adapter_files import adapter_bytes, load_adapter
from labkit.store.adapter_forms import folded, kohya_bytes, kohya_name, original_name
from labkit.store.foreign_adapters import read_adapter

CONFIG = RunConfig(rank=4, alpha=2, target_modules="all", max_train_steps=9)


@pytest.fixture(scope="module")
def tensors(sd_base):
    """Give an adapter on all layers that changes pictures."""
    stack, source = LoRAStack(sd_base.unet, [CONFIG]).initialize(), torch.Generator().manual_seed(1)
    return {name: array if "lora_A" in name else 0.2 * torch.randn(array.shape, generator=source).numpy()
            for name, array in stack.tensors(0).items()}


@pytest.fixture(scope="module")
def picture(sd_base, tensors):
    """Draw what the lab itself draws with it."""
    stack = LoRAStack(sd_base.unet, [CONFIG])
    stack.load(0, tensors)
    return sd_base.generate(["a room"], [3], adapters=stack, num_inference_steps=2)[0, 0]


def drawn(base, path):
    return diffusers_picture(base, "a room", 3, path, num_inference_steps=2)


def test_diffusers_draws_the_same_picture_from_kohyas_form_bit_for_bit(sd_base, tensors, picture, tmp_path):
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(tensors, CONFIG))
    (tmp_path / "peft.safetensors").write_bytes(adapter_bytes(tensors, CONFIG))
    ours, theirs = drawn(sd_base, tmp_path / "peft.safetensors"), drawn(sd_base, tmp_path / "kohya.safetensors")
    assert np.array_equal(ours, theirs) and np.abs(ours.astype(int) - picture).max() <= 1
    bare = sd_base.generate(["a room"], [3], num_inference_steps=2)[0]
    assert np.abs(bare.astype(int) - picture).mean() > 5      # or nothing was shown


@pytest.mark.parametrize("use_rslora", [False, True])
def test_diffusers_reads_every_weight_and_the_scaling_of_kohyas_form(sd_base, tensors, tmp_path, use_rslora):
    from diffusers import StableDiffusionPipeline

    config = CONFIG.replace(use_rslora=use_rslora)
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(tensors, config))
    state, alphas, _ = StableDiffusionPipeline.lora_state_dict(tmp_path / "kohya.safetensors",
                                                               return_lora_metadata=True)
    assert len(state) == len(tensors) and len(alphas) == len(tensors) // 2
    assert {alpha / config.rank for alpha in alphas.values()} == {np.float32(config.scaling * 4).item() / 4}
    given = sorted(array.tobytes() for array in tensors.values())
    assert sorted(tensor.numpy().tobytes() for tensor in state.values()) == given


@pytest.mark.parametrize("alpha, difference", [(2, 0), (3, 1)])
def test_a_folded_adapter_draws_the_same_where_alpha_is_ignored(sd_base, tensors, tmp_path, alpha, difference):
    config = CONFIG.replace(alpha=alpha)
    (tmp_path / "plain.safetensors").write_bytes(adapter_bytes(tensors, config))
    weights, like = folded(tensors, config)
    assert like.scaling == 1 and like.alpha == like.rank == 4
    save_file({f"unet.{name}": torch.from_numpy(array) for name, array in weights.items()},
              tmp_path / "folded.safetensors")                # no header tells of an alpha
    pictures = [drawn(sd_base, tmp_path / f"{name}.safetensors").astype(int) for name in ("plain", "folded")]
    assert np.abs(pictures[0] - pictures[1]).max() <= difference      # a power of two leaves every bit


def test_comfyui_makes_of_kohyas_form_the_weights_that_the_lab_trains_with(sd_base, tensors, tmp_path):
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(tensors, CONFIG))
    modules = find_targets(sd_base.unet, CONFIG.targets)
    weights = {name: module.weight for name, module in sd_base.unet.named_modules() if hasattr(module, "weight")}
    changes = loaders.comfyui_changes(load_file(tmp_path / "kohya.safetensors"), weights)
    assert changes.keys() == modules.keys()
    stack = LoRAStack(sd_base.unet, [CONFIG])
    stack.load(0, tensors)
    for name, module in modules.items():
        x = torch.randn(1, module.weight.shape[1], *((5, 5) if module.weight.dim() == 4 else ()),
                        generator=torch.Generator().manual_seed(2))
        with stack.attached():
            ours = module(x)
        with torch.no_grad():
            how = {} if module.weight.dim() == 2 else {"stride": module.stride, "padding": module.padding}
            call = torch.nn.functional.linear if module.weight.dim() == 2 else torch.nn.functional.conv2d
            theirs = call(x, module.weight + changes[name], module.bias, **how)
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-4, atol=1e-4)


def test_comfyui_takes_of_diffusers_form_only_what_is_not_attention(tensors, sd_base, tmp_path):
    (tmp_path / "peft.safetensors").write_bytes(adapter_bytes(tensors, CONFIG))
    weights = {name: module.weight for name, module in sd_base.unet.named_modules() if hasattr(module, "weight")}
    found = loaders.comfyui_changes(load_file(tmp_path / "peft.safetensors"), weights)
    left_out = {name.rsplit(".", 2)[0] for name in tensors} - found.keys()
    assert left_out and all(".to_" in name for name in left_out)     # which is why docs/adapters.md sends to kohya's


SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL = {"sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816}
# Layers of transformer blocks with those that bring pictures in and out, convolutions of residual blocks, shortcuts.
ALL_LAYERS = {"SD15": 16 * (10 + 2) + 22 * 2 + 14, "SDXL": 70 * 10 + 11 * 2 + 17 * 2 + 11}


@pytest.mark.parametrize("model", ["SD15", "SDXL"])
def test_every_layer_of_the_full_models_has_the_name_that_both_programs_look_for(model):
    settings = {"SD15": SD15, "SDXL": SDXL}[model]
    modules = find_targets(weightless.weightless(settings), ("all",))
    assert len(modules) == ALL_LAYERS[model]
    renamed = small_bases.original_names((f"{name}.weight" for name in modules), 4 if model == "SD15" else 3)
    for module, original in zip(modules, renamed, strict=True):
        assert f"{original_name(module)}.weight" == original  # as kohya's SDXL trainer calls them, which are read
        assert kohya_name(module) in loaders.comfyui_names(module)
        in_ui = "diffusion_model_" + original.removesuffix(".weight").replace(".", "_")
        assert loaders.a1111_name(f"{kohya_name(module)}.lora_up.weight") == in_ui
    assert len({kohya_name(module) for module in modules}) == len(modules)      # underscores do not make two of one


def test_down_and_upsamplers_of_sdxl_which_kohya_adapts_with_conv_dim_have_their_original_names():
    modules = find_targets(weightless.weightless(SDXL), ("conv",))
    assert len(modules) == 4 and all("samplers.0.conv" in module for module in modules)
    renamed = small_bases.original_names((f"{name}.weight" for name in modules), 3)
    assert [f"{original_name(module)}.weight" for module in modules] == renamed


def test_kohyas_header_tells_the_settings_and_nothing_of_the_machine(tensors, tmp_path):
    config = CONFIG.replace(base="/home/someone/sd15.safetensors", data="/home/someone/cats", learning_rate=3e-4)
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(tensors, config, steps=5))
    with safe_open(tmp_path / "kohya.safetensors", "np") as file:
        header = file.metadata()
    assert (header["ss_network_dim"], header["ss_network_alpha"], header["ss_unet_lr"]) == ("4", "2", "0.0003")
    assert header["ss_steps"] == "5" and header["ss_sd_model_name"] == "sd15.safetensors"
    assert "someone" not in str(header) and "conv_dim" in header["ss_network_args"]


def test_sdxl_with_an_adapter_merged_is_a_folder_that_loads_and_draws_what_the_adapter_did(xl_folder, tmp_path):
    base, config = load_base(xl_folder, device="cpu"), CONFIG.replace(base=str(xl_folder))
    stack, source = LoRAStack(base.unet, [config]).initialize(), torch.Generator().manual_seed(1)
    arrays = {name: array if "lora_A" in name else 0.2 * torch.randn(array.shape, generator=source).numpy()
              for name, array in stack.tensors(0).items()}
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(arrays, config))
    before = diffusers_picture(base, "a room", 3, tmp_path / "kohya.safetensors", num_inference_steps=2).astype(int)
    assert merge(base, changes_of_run(base, config, arrays)) == len(arrays) // 2
    write_base(base, tmp_path / "merged")
    again = load_base(tmp_path / "merged", device="cpu")
    drawn_now = again.generate(["a room"], [3], num_inference_steps=2)[0]
    assert np.abs(drawn_now - before).max() <= 2


def test_diffusers_draws_on_a_base_in_16_bits_what_the_lab_draws_there(sd_folder, tensors, tmp_path):
    """As on every card: the pipeline's encoders are float32, so its latents are, and the U-Net is not."""
    base = load_base(sd_folder, device="cpu", dtype="bfloat16")
    (tmp_path / "kohya.safetensors").write_bytes(kohya_bytes(tensors, CONFIG))
    theirs = diffusers_picture(base, "a room", 3, tmp_path / "kohya.safetensors", num_inference_steps=2).astype(int)
    stack = LoRAStack(base.unet, [CONFIG])
    stack.load(0, tensors)
    ours = base.generate(["a room"], [3], adapters=stack, num_inference_steps=2)[0, 0]
    assert np.abs(theirs - ours).mean() < 2


@pytest.mark.parametrize("dtype, limit", [("float16", 1), ("bfloat16", 6)])
@pytest.mark.parametrize("form", ["peft", "kohya"])
def test_diffusers_reads_in_16_bits_what_torch_rounds_to_and_draws_nearly_the_same(sd_base, tensors, picture, tmp_path,
                                                                                  dtype, limit, form):
    from diffusers import StableDiffusionPipeline

    path = tmp_path / f"{form}.safetensors"
    path.write_bytes(adapter_bytes(tensors, CONFIG, dtype) if form == "peft"
                     else kohya_bytes(tensors, CONFIG, dtype=dtype))
    state, *_ = StableDiffusionPipeline.lora_state_dict(path, return_lora_metadata=True)
    given = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in tensors.values()]
    assert {tensor.dtype for tensor in state.values()} == {getattr(torch, dtype)}
    assert (sorted(tensor.view(torch.int16).numpy().tobytes() for tensor in state.values())
            == sorted(tensor.view(torch.int16).numpy().tobytes() for tensor in given))
    assert np.abs(drawn(sd_base, path).astype(int) - picture).max() <= limit
    if form == "peft":
        again, fields = load_adapter(path)                    # the checksum holds, and the dtype is told
        assert all(np.array_equal(again[name], tensor.float().numpy())
                   for name, tensor in zip(tensors, given, strict=True)) and fields["rank"] == 4
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["labkit"])["dtype"] == dtype
    read = read_adapter(path)
    assert {layer.scaling for layer in read.layers} == {0.5}
    assert {"float16": "F16", "bfloat16": "BF16"}[dtype] in read.dtypes
