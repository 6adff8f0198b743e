"""Adapter files of other trainers on a U-Net: side by side in our layers they do what diffusers' loader does."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack, weight_shapes
from labkit.engine.base import load_base
from labkit.engine.base_files import find_base, unet_shapes
from labkit.engine.cache import Encoded
from labkit.engine.diffusers_loader import LoadedFile
from labkit.engine.foreign_stacks import foreign_stack, named_as_in_first_code, text_width
from labkit.engine.validation import ValidationSet
from labkit.errors import LabError
from labkit.store.adapter_files import save_adapter
from labkit.store.adapter_starts import placed
from labkit.store.foreign_adapters import read_adapter

STRENGTHS = [1.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def xl_base(xl_folder):
    """Give a base of SDXL's kind."""
    return load_base(xl_folder, device="cpu")


@pytest.fixture(scope="module")
def fixed(sd_base):
    """Give four noisy pictures to measure losses on."""
    draw = torch.Generator().manual_seed(0)
    C, H, W = sd_base.latent_shape
    width = sd_base.unet.config.cross_attention_dim
    pictures = Encoded(torch.randn(4, C, H, W, generator=draw), torch.zeros(4, C, H, W),
                       {"encoder_hidden_states": torch.randn(4, 5, width, generator=draw)}, tuple("abcd"), ())
    return ValidationSet(pictures, 4, 1)


@pytest.fixture(scope="module")
def files(sd_base, tmp_path_factory):
    """Write three adapters, as this kit, kohya and the first diffusers do, of unequal layers, ranks and alphas."""
    folder = tmp_path_factory.mktemp("files")
    ours = drawn(sd_base, RunConfig(rank=4, alpha=2, target_modules="all"))
    save_adapter(folder / "ours.safetensors", *ours)
    tensors, config = drawn(sd_base, RunConfig(rank=6, alpha=12, target_modules="linear"))
    kohya = {f"lora_unet_{name.split('.lora_')[0].replace('.', '_')}.lora_{'down' if '_A' in name else 'up'}.weight":
             array.astype(np.float16) for name, array in tensors.items()}
    kohya |= {f"{key.split('.')[0]}.alpha": np.array(config.alpha, np.float32) for key in list(kohya)}
    save_file(kohya, folder / "kohya.safetensors", metadata={"ss_network_dim": "6"})
    tensors, _ = drawn(sd_base, RunConfig(rank=2, target_modules=("to_q", "to_out.0")))
    old = {f"unet.{name.split('.lora_')[0].replace('.to_', '.processor.to_').replace('to_out.0', 'to_out')}_lora."
           f"{'down' if '_A' in name else 'up'}.weight": array for name, array in tensors.items()}
    save_file(old, folder / "old.safetensors")
    return [folder / f"{name}.safetensors" for name in ("ours", "kohya", "old")]


def drawn(base, config):
    """Return an adapter whose change is as large as that of a trained one, and its configuration."""
    config = config.resolved(8)
    stack = LoRAStack(base.unet, [config])
    stack.theta.copy_(0.1 * torch.randn(stack.theta.shape, generator=torch.Generator().manual_seed(config.rank)))
    return stack.tensors(0), config


def on_unet(base, paths):
    return [placed(read_adapter(path), weight_shapes(base.unet), base.name) for path in paths]


def test_files_of_three_forms_in_one_pass_have_the_losses_that_diffusers_loader_gives_each(sd_base, fixed, files):
    with foreign_stack(sd_base.unet, on_unet(sd_base, files), STRENGTHS).attached():
        together = fixed.losses(sd_base.denoiser, 3)
    untouched = fixed.losses(sd_base.denoiser)[0]
    for path, strength, losses in zip(files, STRENGTHS, together, strict=True):
        with LoadedFile(sd_base, path, strength).attached():
            alone = fixed.losses(sd_base.denoiser)[0]
        assert abs(alone - untouched).max() > 1e-3           # it acts at all
        assert np.allclose(losses, alone, rtol=1e-5, atol=1e-6), path
    assert np.array_equal(fixed.losses(sd_base.denoiser)[0], untouched)    # and is gone again


def test_the_base_is_as_it_was_after_a_file_that_diffusers_cannot_load(sd_base, fixed, tmp_path):
    before = fixed.losses(sd_base.denoiser)
    save_file({"unet.nothing.lora_A.weight": np.ones((2, 3), np.float32),
               "unet.nothing.lora_B.weight": np.ones((3, 2), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(LabError, match=r"other\.safetensors cannot be loaded by diffusers on this base"):
        with LoadedFile(sd_base, tmp_path / "other.safetensors").attached():
            pass
    assert np.array_equal(fixed.losses(sd_base.denoiser), before)
    assert not any(parameter.requires_grad for parameter in sd_base.unet.parameters())


def test_the_header_of_a_base_tells_the_shapes_of_its_layers_and_its_text(sd_base, sd_folder):
    assert unet_shapes(find_base(sd_folder)).items() >= weight_shapes(sd_base.unet).items()
    assert text_width(find_base(sd_folder)) == sd_base.unet.config.cross_attention_dim


@pytest.mark.parametrize("name, says", [
    ("unet.down_blocks.9.attentions.0.proj_in", "adapts unet.down_blocks.9.*does not have"),
    ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
     r"attn2.to_k of shape \(2, 768\) where this base needs \(2, 32\)"),
])
def test_an_adapter_of_another_base_is_named_with_its_layer(sd_base, tmp_path, name, says):
    ends = ("lora_down.weight", "lora_up.weight") if name.startswith("lora_") else ("lora_A.weight", "lora_B.weight")
    save_file({f"{name}.{ends[0]}": np.ones((2, 768), np.float32),
               f"{name}.{ends[1]}": np.ones((32, 2), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(LabError, match=says):
        placed(read_adapter(tmp_path / "a.safetensors"), weight_shapes(sd_base.unet), "small")


def test_sdxl_as_kohya_names_its_blocks_is_read_by_diffusers_and_does_what_the_same_layers_do(xl_base, tmp_path):
    inside = "transformer_blocks.0.attn1.to_q"
    names = {"theirs": f"lora_unet_input_blocks_4_1_{inside.replace('.', '_')}",
             "ours": f"lora_unet_down_blocks_1_attentions_0_{inside.replace('.', '_')}"}
    width = xl_base.unet.get_submodule(f"down_blocks.1.attentions.0.{inside}").weight.shape[1]
    draw = np.random.default_rng(0)
    down, up = draw.normal(size=(2, width)).astype(np.float32), draw.normal(size=(width, 2)).astype(np.float32)
    for form, name in names.items():
        save_file({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up,
                   f"{name}.alpha": np.array(1.0, np.float32)}, tmp_path / f"{form}.safetensors")
    theirs, ours = (tmp_path / f"{form}.safetensors" for form in names)
    assert named_as_in_first_code(read_adapter(theirs)) and not named_as_in_first_code(read_adapter(ours))
    prompts, seeds = ["a room"], [0]
    stack = foreign_stack(xl_base.unet, on_unet(xl_base, [ours]), [1.0])
    [expected] = xl_base.generate(prompts, seeds, adapters=stack, num_inference_steps=2)
    [drawn] = xl_base.generate(prompts, seeds, adapters=LoadedFile(xl_base, theirs), num_inference_steps=2)
    untouched = xl_base.generate(prompts, seeds, num_inference_steps=2)
    assert abs(drawn.astype(int) - expected).max() <= 1 and abs(drawn.astype(int) - untouched).max() > 1


def test_names_of_the_first_code_are_left_to_diffusers(tmp_path):
    key = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    save_file({f"{key}.lora_down.weight": np.ones((2, 8), np.float32),
               f"{key}.lora_up.weight": np.ones((8, 2), np.float32)}, tmp_path / "sdxl.safetensors")
    assert named_as_in_first_code(read_adapter(tmp_path / "sdxl.safetensors"))
    header = {"lora_adapter_metadata": json.dumps({})}
    save_file({"unet.a.lora_A.weight": np.ones((2, 8), np.float32),
               "unet.a.lora_B.weight": np.ones((8, 2), np.float32)}, tmp_path / "b.safetensors", metadata=header)
    assert not named_as_in_first_code(read_adapter(tmp_path / "b.safetensors"))
