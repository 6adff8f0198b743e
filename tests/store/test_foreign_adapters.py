"""Adapter files as diffusers, PEFT, kohya and LyCORIS write them: layers, ranks and alphas as their loaders see."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.store.adapter_forms import kohya_bytes
from labkit.store.foreign_adapters import read_adapter

GENERATOR = torch.Generator().manual_seed(0)


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=GENERATOR).to(dtype)


def kohya(dtype=torch.float32):
    """Return two layers as kohya writes them, a linear one and a convolution."""
    return {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": drawn(4, 32, dtype=dtype),
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": drawn(32, 4, dtype=dtype),
            "lora_unet_down_blocks_0_attentions_0_proj_in.alpha": torch.tensor(2.0),
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": drawn(8, 64, dtype=dtype),
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": drawn(128, 8, dtype=dtype),
            "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha": torch.tensor(8.0)}


@pytest.mark.parametrize("use_rslora", [False, True])
def test_our_own_file_in_kohyas_form_has_the_scaling_of_its_run(tmp_path, use_rslora):
    config = RunConfig(rank=16, alpha=8, use_rslora=use_rslora)
    tensors = {f"mid_block.attentions.0.proj_in.lora_{end}.weight": drawn(*shape).numpy()
               for end, shape in (("A", (16, 32)), ("B", (32, 16)))}
    (tmp_path / "own.safetensors").write_bytes(kohya_bytes(tensors, config))
    [layer] = read_adapter(tmp_path / "own.safetensors").layers
    assert layer.scaling == config.scaling == (2 if use_rslora else 0.5)


def by_part(adapter):
    """Return the layers of the U-Net and of the text encoder, one each, however the file orders them."""
    layers = {layer.part: layer for layer in adapter.layers}
    return layers["unet"], layers["text_encoder"]


def written(tmp_path, tensors, header=None, name="adapter.safetensors"):
    save_file(tensors, tmp_path / name, metadata=header)
    return tmp_path / name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kohyas_form_is_read_in_every_number_format(tmp_path, dtype):
    tensors = kohya(dtype)
    adapter = read_adapter(written(tmp_path, tensors))
    unet, text = by_part(adapter)
    assert (adapter.form, unet.part, text.part) == ("kohya", "unet", "text_encoder")
    assert (unet.rank, unet.alpha, unet.scaling, text.scaling) == (4, 2.0, 0.5, 1.0)
    for layer, name in ((unet, "lora_unet_down_blocks_0_attentions_0_proj_in"), (text, text.name)):
        assert np.array_equal(layer.arrays["A"], tensors[f"{name}.lora_down.weight"].float().numpy())
        assert np.array_equal(layer.arrays["B"], tensors[f"{name}.lora_up.weight"].float().numpy())


@pytest.mark.parametrize("use_rslora", [False, True])
def test_what_diffusers_saves_has_the_scaling_that_peft_has(tmp_path, use_rslora):
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.training_utils import _collate_lora_metadata
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = UNet2DConditionModel(sample_size=8, layers_per_block=1, block_out_channels=(32, 64), norm_num_groups=8,
                                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=768,
                                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=8)
    unet.add_adapter(LoraConfig(r=9, lora_alpha=6, use_rslora=use_rslora, target_modules=["to_q", "to_k"],
                                init_lora_weights=False))
    StableDiffusionPipeline.save_lora_weights(tmp_path, get_peft_model_state_dict(unet),
                                              **_collate_lora_metadata({"unet": unet}))
    adapter = read_adapter(tmp_path / "pytorch_lora_weights.safetensors")
    assert {layer.rank for layer in adapter.layers} == {9} and adapter.form == "diffusers"
    there = next(module for module in unet.modules() if hasattr(module, "scaling")).scaling["default"]
    assert {layer.scaling for layer in adapter.layers} == {there}


def test_the_form_of_before_peft_names_the_same_layers(tmp_path):
    old = {"unet.down_blocks.0.attn1.processor.to_q_lora.down.weight": drawn(4, 8),
           "unet.down_blocks.0.attn1.processor.to_q_lora.up.weight": drawn(8, 4),
           "text_encoder.layers.0.q_proj.lora_linear_layer.down.weight": drawn(4, 8),
           "text_encoder.layers.0.q_proj.lora_linear_layer.up.weight": drawn(8, 4)}
    unet, text = by_part(read_adapter(written(tmp_path, old)))
    assert unet.name == "unet.down_blocks.0.attn1.to_q" and set(unet.arrays) == set(text.arrays) == {"A", "B"}
    assert unet.alpha is None and unet.scaling == 1.0 and text.part == "text_encoder"


@pytest.mark.parametrize("name, part", [("down_blocks.0.a", "unet"), ("middle_block.1.a", "unet"),
                                        ("double_blocks.0.a", "transformer"), ("blocks.0.a", "transformer")])
def test_what_comfyui_calls_the_model_is_a_unet_or_a_transformer_by_its_blocks(tmp_path, name, part):
    shapes = {"A": (4, 8), "B": (8, 4)}
    tensors = {f"diffusion_model.{name}.lora_{end}.weight": drawn(*shape) for end, shape in shapes.items()}
    [layer] = read_adapter(written(tmp_path, tensors)).layers
    assert layer.part == part


@pytest.mark.parametrize("ending, kind", [
    ("hada_w1_a", "LoHa"), ("lokr_w1", "LoKr"), ("dora_scale", "DoRA"), ("diff", "whole difference"),
    ("oft_blocks", "OFT"), ("oft_R.weight", "OFT"), ("on_input", "(IA)3"), ("ia3_l", "(IA)3"), ("a2.weight", "GLoRA"),
    ("strange", "an unknown kind")])
def test_other_kinds_are_told_from_loras(tmp_path, ending, kind):
    tensors = {"lora_unet_a.lora_down.weight": drawn(4, 8), "lora_unet_a.lora_up.weight": drawn(8, 4)} \
        if ending == "dora_scale" else {"lora_unet_a.alpha": torch.tensor(1.0)}
    [layer] = read_adapter(written(tmp_path, tensors | {f"lora_unet_a.{ending}": drawn(8, 4)})).layers
    assert layer.kind == kind and layer.part == "unet"


def test_dead_and_broken_layers_are_known(tmp_path):
    tensors = kohya()
    names = [key for key in tensors if key.endswith("lora_up.weight")]
    tensors[names[0]].zero_()
    tensors[names[1]][0, 0] = float("nan")
    dead, broken = by_part(read_adapter(written(tmp_path, tensors)))
    assert dead.is_dead and dead.is_finite and not broken.is_finite and not broken.is_dead


def test_a_header_that_cannot_be_read_states_nothing(tmp_path):
    tensors = {"unet.a.lora_A.weight": drawn(4, 8), "unet.a.lora_B.weight": drawn(8, 4)}
    for text in ("{", "[1]", json.dumps({"unet.lora_alpha": "many"})):
        [layer] = read_adapter(written(tmp_path, tensors, {"lora_adapter_metadata": text})).layers
        assert layer.alpha is None


def test_weights_of_8_bits_are_named_as_such(tmp_path):
    kept = {key: value if key.endswith("alpha") else value.to(torch.float8_e4m3fn) for key, value in kohya().items()}
    with pytest.raises(LabError, match=r"adapter.safetensors is stored as F8_E4M3, .* give the file in float16"):
        read_adapter(written(tmp_path, kept))


def test_what_is_no_adapter_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"\x80\x04")
    with pytest.raises(LabError, match="is a pickle"):
        read_adapter(tmp_path / "a.ckpt")
    (tmp_path / "b.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      junk")
    with pytest.raises(LabError, match="cannot be read as a safetensors file"):
        read_adapter(tmp_path / "b.safetensors")
    with pytest.raises(LabError, match="holds no adapter of a kind that is known here: its keys are conv_in.weight"):
        read_adapter(written(tmp_path, {"conv_in.weight": drawn(2, 2)}))
    with pytest.raises(LabError, match="its keys are nothing"):
        read_adapter(written(tmp_path, {}))
