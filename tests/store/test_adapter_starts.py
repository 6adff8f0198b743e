"""A run begins from an adapter of any trainer where everything fits, and one sentence says what does not."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.store.adapter_files import save_adapter
from labkit.store.adapter_forms import kohya_bytes
from labkit.store.adapter_starts import check_kind, start

SHAPES = {"down.attn1.to_q": (8, 8), "down.attn1.to_k": (8, 8), "down.attn1.to_v": (8, 8),
          "down.attn1.to_out.0": (8, 8), "down.proj_in": (8, 8, 1, 1), "down.resnets.0.conv1": (8, 4, 3, 3)}
CONFIG = RunConfig(rank=2, alpha=1, target_modules=["to_q", "to_k", "to_v", "to_out.0", "proj_in", "conv1"])
SOURCE = np.random.default_rng(0)
TENSORS = {}
for module, (out, *rest) in SHAPES.items():
    TENSORS[f"{module}.lora_A.weight"] = SOURCE.normal(size=(2, *rest)).astype(np.float32)
    TENSORS[f"{module}.lora_B.weight"] = SOURCE.normal(size=(out, 2, *(1 for _ in rest[1:]))).astype(np.float32)


def torch_tensors(names=lambda name: f"unet.{name}", tensors=TENSORS):
    return {names(name): torch.from_numpy(array) for name, array in tensors.items()}


def old_diffusers(name):
    """Call a weight as diffusers did before PEFT; attention had processors for it."""
    module, part = name.replace("lora_A", "down").replace("lora_B", "up").rsplit(".", 2)[0], name.rsplit(".", 2)[1]
    part = {"lora_A": "down", "lora_B": "up"}[part]
    if ".attn1." in module:
        layer = module.rsplit("attn1.", 1)[1].removesuffix(".0")
        return f"unet.{module.rsplit('attn1.', 1)[0]}attn1.processor.{layer}_lora.{part}.weight"
    return f"unet.{module}.lora.{part}.weight"


def write(path, form):
    """Write the same adapter in one of the forms that are met."""
    if form == "kohya":
        path.write_bytes(kohya_bytes(TENSORS, CONFIG))
    elif form == "ours":
        save_adapter(path, TENSORS, CONFIG)
    elif form == "diffusers":
        save_file(torch_tensors(), path, metadata={"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 1})})
    elif form == "before PEFT":
        save_file(torch_tensors(old_diffusers), path,
                  metadata={"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 1})})
    elif form == "PEFT":
        save_file(torch_tensors(lambda name: f"base_model.model.{name}"), path)
        path.with_name("adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 1}))
    return path


@pytest.mark.parametrize("form", ["ours", "diffusers", "before PEFT", "PEFT", "kohya"])
def test_every_form_gives_the_same_arrays_under_our_names(tmp_path, form):
    arrays = start(write(tmp_path / "adapter_model.safetensors", form), CONFIG, SHAPES)
    assert arrays.keys() == TENSORS.keys()
    assert all(np.array_equal(arrays[name], TENSORS[name]) for name in TENSORS)


def test_a_1_by_1_convolution_may_be_kept_as_a_matrix(tmp_path):
    flat = TENSORS | {name: TENSORS[name].reshape(TENSORS[name].shape[:2]) for name in TENSORS if "proj_in" in name}
    save_file(torch_tensors(tensors=flat), tmp_path / "a.safetensors")
    arrays = start(tmp_path / "a.safetensors", CONFIG.replace(alpha=2), SHAPES)
    assert arrays["down.proj_in.lora_A.weight"].shape == (2, 8, 1, 1)


@pytest.mark.parametrize("changes, remedy", [
    ({"rank": 4}, "has rank 2 and scaling 0.5, the run rank 4 and scaling 0.25: set rank=2, alpha=1 and"),
    ({"alpha": 2}, "the run rank 2 and scaling 1: set rank=2, alpha=1"),
    ({"target_modules": "attention"}, "adapts 6 layers where target_modules = attention are 4 of this base: set "
                                      "target_modules="),
    ({"target_modules": ("to_q", "conv1")}, "are 2 of this base: set target_modules=")])
def test_what_does_not_fit_says_which_settings_would(tmp_path, changes, remedy):
    with pytest.raises(LabError) as caught:
        start(write(tmp_path / "a.safetensors", "kohya"), CONFIG.replace(**changes), SHAPES)
    assert remedy in str(caught.value) and str(caught.value).startswith(str(tmp_path))


def test_the_settings_that_a_sentence_names_do_fit(tmp_path):
    with pytest.raises(LabError) as caught:
        start(write(tmp_path / "a.safetensors", "ours"), CONFIG.replace(target_modules="to_q"), SHAPES)
    named = str(caught.value).rstrip(".").rsplit("target_modules=", 1)[1]
    assert start(tmp_path / "a.safetensors", CONFIG.replace(target_modules=named), SHAPES)


def test_an_adapter_on_a_whole_set_is_named_by_it(tmp_path):
    attention = {name: array for name, array in TENSORS.items() if ".to_" in name}
    save_adapter(tmp_path / "a.safetensors", attention, CONFIG)
    with pytest.raises(LabError, match="set target_modules=attention"):
        start(tmp_path / "a.safetensors", CONFIG, SHAPES)


def kinds():
    """Give files that no run can begin from, by what is said of them."""
    kohya = {"lora_unet_down_attn1_to_q.lora_down.weight": torch.ones(2, 8),
             "lora_unet_down_attn1_to_q.lora_up.weight": torch.ones(8, 2),
             "lora_unet_down_attn1_to_q.alpha": torch.tensor(1.0)}
    text = {key.replace("lora_unet", "lora_te"): value for key, value in kohya.items()}
    other = {key.replace("down_attn1", "input_blocks_9"): value for key, value in kohya.items()}
    broken = kohya | {"lora_unet_down_attn1_to_q.lora_up.weight": torch.full((8, 2), float("nan"))}
    ranks = {key.replace("to_q", "to_k"): torch.ones(4, 8) if "down.w" in key else torch.ones(8, 4)
             for key in kohya if "alpha" not in key}
    wide = kohya | {"lora_unet_down_attn1_to_q.lora_down.weight": torch.ones(2, 9)}
    return [({"lora_unet_down_attn1_to_q.hada_w1_a": torch.ones(8, 2)}, "holds LoHa in 1 of 1 layer"),
            (kohya | {"lora_unet_down_attn1_to_q.dora_scale": torch.ones(8, 1)}, "holds DoRA"),
            (kohya | {"lora_unet_down_attn1_to_q.lora_mid.weight": torch.ones(2, 2, 3, 3)}, "holds Tucker"),
            ({"lora_unet_a.oft_R.weight": torch.ones(2, 2), "lora_unet_a.alpha": torch.tensor(1.0)}, "holds OFT in 1"),
            ({"lora_unet_a.strange": torch.ones(2, 2), "lora_unet_a.alpha": torch.tensor(1.0)},
             "holds an unknown kind in 1 of 1 layer"),
            (kohya | text, "adapts text_encoder too (1 layer), which is not trained"),
            (broken, "holds numbers that are not finite"), (kohya | ranks, "has ranks 2 to 4"),
            ({key: value for key, value in kohya.items() if "up" not in key}, "has half of the layer"),
            (kohya | {"lora_unet_down_attn1_to_q.lora_down.weight": torch.tensor(1.0)}, "in a shape that no LoRA has"),
            (kohya | {"lora_unet_down_attn1_to_q.lora_down.weight": torch.ones(0, 8)}, "in a shape that no LoRA has"),
            (kohya | {"lora_unet_down_attn1_to_q.alpha": torch.tensor(float("inf"))}, "are not finite, in"),
            (other, "which the base embedded does not have: it was made for another base"),
            (wide, "of shape (2, 9) where this base needs (2, 8): it was made for another base")]


@pytest.mark.parametrize("number", range(len(kinds())))
def test_an_adapter_of_another_kind_or_base_is_refused_in_one_sentence(tmp_path, number):
    tensors, words = kinds()[number]
    save_file({key: value.clone() for key, value in tensors.items()}, tmp_path / "a.safetensors")
    with pytest.raises(LabError) as caught:
        start(tmp_path / "a.safetensors", CONFIG.replace(target_modules="to_q"), SHAPES)
    assert words in str(caught.value) and "a.safetensors" in str(caught.value)


@pytest.mark.parametrize("name", ["down_blocks.1.attentions.0.attn1.to_q", "input_blocks.4.1.attn1.to_q"])
def test_layers_of_a_unet_as_comfyui_names_them_are_not_those_of_a_transformer(tmp_path, name):
    save_file({f"diffusion_model.{name}.lora_{end}.weight": torch.ones(*shape)
               for end, shape in (("A", (2, 8)), ("B", (8, 2)))}, tmp_path / "a.safetensors")
    module = "down_blocks.1.attentions.0.attn1.to_q"
    assert list(start(tmp_path / "a.safetensors", CONFIG.replace(alpha=2, target_modules="to_q"), {module: (8, 8)})) \
        == [f"{module}.lora_A.weight", f"{module}.lora_B.weight"]


def test_an_alpha_that_is_not_told_is_taken_as_loaders_take_it(tmp_path):
    save_file(torch_tensors(), tmp_path / "a.safetensors")
    assert check_kind(tmp_path / "a.safetensors", CONFIG.replace(alpha=2))
    with pytest.raises(LabError, match="it does not say, so as loaders take it"):
        check_kind(tmp_path / "a.safetensors", CONFIG)


def test_a_layer_with_an_alpha_of_its_own_in_pefts_settings_is_not_overlooked(tmp_path):
    told = {"unet.lora_alpha": 1, "unet.alpha_pattern": {"down.attn1.to_k": 2}}
    save_file(torch_tensors(), tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": json.dumps(told)})
    with pytest.raises(LabError, match="scalings 0.5 to 1 over its layers"):
        check_kind(tmp_path / "a.safetensors", CONFIG)


def test_the_names_of_the_original_code_are_known_which_kohyas_sdxl_trainer_writes(tmp_path):
    block = "mid_block.attentions.0.transformer_blocks.0"
    layers = {"middle_block_1_transformer_blocks_0_attn1_to_q": (f"{block}.attn1.to_q", (8, 8)),
              "input_blocks_4_0_in_layers_2": ("down_blocks.1.resnets.0.conv1", (8, 4, 3, 3)),
              "output_blocks_2_1_proj_in": ("up_blocks.0.attentions.2.proj_in", (8, 8)),
              "input_blocks_3_0_op": ("down_blocks.0.downsamplers.0.conv", (8, 8, 3, 3)),
              "output_blocks_5_2_conv": ("up_blocks.1.upsamplers.0.conv", (8, 8, 3, 3))}
    tensors = {}
    for name, (_, (out, *rest)) in layers.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.ones(2, *rest)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.ones(out, 2, *(1 for _ in rest[1:]))
    save_file(tensors, tmp_path / "xl.safetensors")
    config = CONFIG.replace(alpha=2, target_modules="to_q,conv1,proj_in,conv")
    arrays = start(tmp_path / "xl.safetensors", config, dict(layers.values()))
    assert {name.rsplit(".", 2)[0] for name in arrays} == {module for module, _ in layers.values()}
