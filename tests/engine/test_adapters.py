"""K adapters side by side equal PEFT's one by one, leave the base alone, and keep alpha through a file."""

import copy

import numpy as np
import pytest
import reference_loop
import small_bases
import tiny
import torch
from torch import nn

from labkit import settings
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack, attached_to, bare, find_targets
from labkit.engine.base import diffusers_picture, load_base
from labkit.engine.batches import Batches
from labkit.engine.loss import per_sample_loss
from labkit.errors import LabError
from labkit.store.adapter_files import load_adapter, save_adapter

TWO_LEVELS = {"block_out_channels": (16, 32), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
              "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
EVERYWHERE = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "conv1", "time_emb_proj", "downsamplers.0.conv")


def inputs(rows, seed=0):
    source = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, *tiny.LATENT, generator=source), torch.arange(rows) * 100 + 3,
            torch.randn(rows, tiny.WORDS, tiny.WIDTH, generator=source))


def filled(unet, configs, seed=0):
    """Build a stack whose B is not zero: run k has the same B whoever stands beside it."""
    stack = LoRAStack(unet, configs).initialize()
    for k, config in enumerate(configs):
        source = torch.Generator().manual_seed(seed + config.seed)
        arrays = {name: array if "lora_A" in name else 0.1 * torch.randn(array.shape, generator=source).numpy()
                  for name, array in stack.tensors(k).items()}
        stack.load(k, arrays)
    return stack


def gradients(base, stack, batch):
    """Return each run's gradients by name, of the sum of the runs' mean losses."""
    with stack.attached():
        losses = per_sample_loss(base.denoiser, batch.latents, batch.noise, batch.timesteps, batch.cond)
        losses.unflatten(0, (stack.K, -1)).mean(1).sum().backward()
    grad = stack.take_grad()
    return [stack.tensors(k, grad) for k in range(stack.K)]


def batch_of(configs):
    configs = [config.resolved(12) for config in configs]
    cache = tiny.cache()
    return next(Batches(cache.train, cache.null_cond, configs, torch.device("cpu"))(0))


@pytest.mark.parametrize("ranks", [(3,), (3, 8, 1)], ids=["one run", "three runs"])
@pytest.mark.parametrize("changes", [
    {},
    {"target_modules": "linear"},
    {"target_modules": "all"},
    {"alpha": 2.0, "use_rslora": True},
])
def test_gradients_of_each_run_equal_a_unet_with_peft_layers(changes, ranks):
    base = tiny.base(**TWO_LEVELS)
    configs = [RunConfig(rank=rank, seed=seed, **changes) for seed, rank in enumerate(ranks)]
    stack, batch = filled(base.unet, configs), batch_of(configs)
    ours = gradients(base, stack, batch)
    noisy = base.noise_scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    rows = zip(*(tensor.unflatten(0, (len(ranks), -1)) for tensor in (
        noisy, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"])), strict=True)
    for k, (latents, noise, timesteps, words) in enumerate(rows):
        theirs = copy.deepcopy(base.unet)
        trained = reference_loop.add_adapter(theirs, configs[k], stack.tensors(k))
        torch.nn.functional.mse_loss(theirs(latents, timesteps, words).sample, noise).backward()
        assert set(ours[k]) == set(trained)
        for name, parameter in trained.items():
            mine = torch.from_numpy(ours[k][name])
            torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-7,
                                       msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("changes", [
    {},
    {"target_modules": "all"},
    {"adapter": "full"},
    {"adapter": "full", "target_modules": "all"},
])
def test_gradients_of_runs_side_by_side_equal_those_of_each_alone(changes):
    base = tiny.base(**TWO_LEVELS)
    sizes = ((2, 8, 0), (8, 4, 1), (5, 1, 2))
    configs = [RunConfig(rank=rank, alpha=alpha, seed=seed, **changes) for rank, alpha, seed in sizes]
    together = gradients(base, filled(base.unet, configs), batch_of(configs))
    for config, ours in zip(configs, together, strict=True):
        alone = gradients(base, filled(base.unet, [config]), batch_of([config]))[0]
        for name, expected in alone.items():
            np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-7, err_msg=name)


def test_gradients_with_gradient_checkpointing_are_the_same():
    base, configs = tiny.base(), [RunConfig(rank=2), RunConfig(rank=4, seed=1)]
    plain = gradients(base, filled(base.unet, configs), batch_of(configs))
    base.unet.enable_gradient_checkpointing()
    again = gradients(base, filled(base.unet, configs), batch_of(configs))
    for before, after in zip(plain, again, strict=True):
        for name in before:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_an_untrained_adapter_leaves_the_output_bit_identical(adapter):
    unet = tiny.unet()
    before = unet(*inputs(4)).sample
    with LoRAStack(unet, [RunConfig(adapter=adapter), RunConfig(adapter=adapter, seed=1)]).initialize().attached():
        assert torch.equal(unet(*inputs(4)).sample, before)


def test_the_base_is_itself_again_when_disabled_bare_or_detached():
    unet = tiny.unet()
    before, keys = unet(*inputs(4)).sample, list(unet.state_dict())
    stack = filled(unet, [RunConfig(), RunConfig(seed=1)])
    with stack.attached():
        assert not torch.equal(unet(*inputs(4)).sample, before)
        with stack.disabled():
            assert torch.equal(unet(*inputs(4)).sample, before)
        with bare(unet):
            assert torch.equal(unet(*inputs(3)).sample, unet(*inputs(3)).sample)
        assert not torch.equal(unet(*inputs(4)).sample, before)
        assert list(unet.state_dict()) == keys
    assert torch.equal(unet(*inputs(4)).sample, before)
    assert attached_to(unet) is None
    assert not any("forward" in vars(module) for module in unet.modules())


def test_block_k_of_the_rows_belongs_to_run_k():
    unet, configs = tiny.unet(), [RunConfig(rank=2, seed=0), RunConfig(rank=4, seed=1), RunConfig(rank=3, seed=2)]
    latents, timesteps, words = inputs(6)
    with filled(unet, configs).attached():
        together = unet(latents, timesteps, words).sample
    for k, config in enumerate(configs):
        with filled(unet, [config]).attached():
            rows = slice(2 * k, 2 * k + 2)
            alone = unet(latents[rows], timesteps[rows], words[rows]).sample
        torch.testing.assert_close(together[rows], alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - unet(*inputs(6)).sample[0]).abs().max() > 1e-2


def test_a_full_adapter_equals_a_dense_change_of_the_weights():
    unet = tiny.unet(**TWO_LEVELS)
    stack = filled(unet, [RunConfig(adapter="full", target_modules=EVERYWHERE)])
    changed = copy.deepcopy(unet)
    for name, delta in stack.tensors(0).items():
        changed.get_submodule(name.removesuffix(".delta.weight")).weight += torch.from_numpy(delta)
    with stack.attached():
        torch.testing.assert_close(unet(*inputs(3)).sample, changed(*inputs(3)).sample, rtol=1e-4, atol=1e-4)


def test_strength_scales_the_change_of_the_weights():
    unet, config = tiny.unet(), RunConfig(rank=4, alpha=2)
    stack = filled(unet, [config])
    stack.strength = 0.5
    weaker = LoRAStack(unet, [config.replace(alpha=1)])
    weaker.load(0, stack.tensors(0))
    with stack.attached():
        half = unet(*inputs(2)).sample
    with weaker.attached():
        torch.testing.assert_close(unet(*inputs(2)).sample, half)


def test_a_padded_rank_has_no_gradient_and_stays_zero():
    base, configs = tiny.base(), [RunConfig(rank=2), RunConfig(rank=8, seed=1)]
    stack = filled(base.unet, configs)
    numbers = [sum(array.size for array in stack.tensors(k).values()) for k in range(2)]
    batch = batch_of(configs)
    gradients(base, stack, batch)
    with stack.attached():
        per_sample_loss(base.denoiser, batch.latents, batch.noise, batch.timesteps, batch.cond).sum().backward()
    grad = stack.take_grad()
    assert (stack.theta != 0).sum(1).tolist() == numbers
    assert (grad[0] != 0).sum() <= numbers[0] < grad.shape[1] == numbers[1]
    assert stack.tensors(0)["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"].shape == (2, 32)


def test_A_is_drawn_by_seed_and_layer_alone_as_peft_draws_it():
    unet, name = tiny.unet(), "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    config = RunConfig(rank=4, seed=5)
    alone = LoRAStack(unet, [config]).initialize().tensors(0)
    beside = LoRAStack(unet, [RunConfig(rank=8), config, RunConfig(rank=2)]).initialize().tensors(1)
    assert all(np.array_equal(alone[key], beside[key]) for key in alone)
    other = LoRAStack(unet, [config.replace(seed=6)]).initialize().tensors(0)
    assert not np.array_equal(alone[name], other[name])
    assert 0.9 / np.sqrt(32) < np.abs(alone[name]).max() <= 1 / np.sqrt(32)       # kaiming_uniform_(a=sqrt(5))
    wide = LoRAStack(unet, [config.replace(rank=64, init_lora_weights="gaussian")]).initialize().tensors(0)[name]
    assert abs(wide.std() * 64 - 1) < 0.05


def test_weights_stay_float32_on_a_bfloat16_base():
    base, config = tiny.base(dtype=torch.bfloat16), RunConfig(rank=4)
    stack = filled(base.unet, [config])
    grads = gradients(base, stack, batch_of([config]))[0]
    assert stack.theta.dtype == torch.float32
    arrays = (*grads.values(), *stack.tensors(0).values())
    assert all(array.dtype == np.float32 and np.abs(array).max() > 0 for array in arrays)


def test_alpha_survives_diffusers_load_lora_weights(tmp_path):
    pipe = small_bases.pipeline(tmp_path / "base")
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    rows = latents, torch.tensor([10, 700]), torch.ones(2, 7, small_bases.WIDTH)
    cases = (
        {"alpha": 16.0},
        {"alpha": 1.0},
        {"alpha": 6.0, "use_rslora": True},
        {"alpha": 2.0, "target_modules": ("to_v", "conv1")},
        {"alpha": 2.0, "target_modules": "linear"},
        {"alpha": 2.0, "target_modules": "all"},
    )
    with torch.no_grad():
        without = pipe.unet(*rows).sample
        for changes in cases:
            config = RunConfig(rank=4, **changes)
            stack = filled(pipe.unet, [config])
            save_adapter(tmp_path / "place.safetensors", stack.tensors(0), config)
            with stack.attached():
                ours = pipe.unet(*rows).sample
            pipe.load_lora_weights(tmp_path / "place.safetensors")
            torch.testing.assert_close(ours, pipe.unet(*rows).sample, rtol=1e-4, atol=1e-5)
            pipe.unload_lora_weights()
            assert (ours - without).abs().max() > 1e-2


@pytest.mark.parametrize("layers", ["linear", "all"])
def test_an_adapter_on_all_layers_of_the_shipped_base_goes_to_diffusers_and_back(tmp_path, layers):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(settings.REPO / "data" / "base", safety_checker=None)
    source, config = torch.Generator().manual_seed(0), RunConfig(rank=2, alpha=3, target_modules=layers)
    rows = (torch.randn(1, 8, 16, 16, generator=source), torch.tensor([300]),
            torch.randn(1, 5, pipe.unet.config.cross_attention_dim, generator=source))
    stack = filled(pipe.unet, [config])
    save_adapter(tmp_path / "place.safetensors", stack.tensors(0), config)
    tensors, fields = load_adapter(tmp_path / "place.safetensors")
    again = LoRAStack(pipe.unet, [RunConfig.from_dict(fields)])
    again.load(0, tensors)
    with torch.no_grad(), again.attached():
        ours = pipe.unet(*rows).sample
    pipe.load_lora_weights(tmp_path / "place.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(ours, pipe.unet(*rows).sample, rtol=1e-3, atol=1e-4)
        assert sum("lora_A" in name for name, _ in pipe.unet.named_parameters()) == len(stack.layers)
        pipe.unload_lora_weights()
        assert (ours - pipe.unet(*rows).sample).abs().max() > 1e-2


def test_a_picture_with_an_adapter_is_the_one_diffusers_draws_from_its_file(tmp_path):
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from labkit.engine.seeding import generator

    folder, config = small_bases.write_folder(tmp_path / "base"), RunConfig(rank=4, alpha=12)
    base = load_base(str(folder), device="cpu")
    stack = filled(base.unet, [config])
    save_adapter(tmp_path / "place.safetensors", stack.tensors(0), config)
    ours = base.generate(["a b"], [3], adapters=stack, num_inference_steps=3, guidance_scale=3.0)[0, 0]
    plain = base.generate(["a b"], [3], num_inference_steps=3, guidance_scale=3.0)[0]
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(base.noise_scheduler.config, timestep_spacing="trailing")
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(tmp_path / "place.safetensors")
    settings, noise = {"num_inference_steps": 3, "guidance_scale": 3.0}, generator(3, "sample")
    theirs = pipe("a b", generator=noise, output_type="np", **settings).images[0]
    assert np.abs(ours / 255 - theirs).max() < 0.02 < np.abs(ours / 255.0 - plain / 255.0).max()
    again = diffusers_picture(base, "a b", 3, tmp_path / "place.safetensors", num_inference_steps=3)
    assert np.abs(again / 255 - theirs).max() < 0.02
    afterwards = base.generate(["a b"], [3], num_inference_steps=3, guidance_scale=3.0)[0]
    assert np.array_equal(afterwards, plain)                  # nothing of the adapter stays


def test_an_adapter_returns_from_its_file(tmp_path):
    unet, config = tiny.unet(), RunConfig(rank=3, alpha=2)
    stack = filled(unet, [config])
    save_adapter(tmp_path / "a.safetensors", stack.tensors(0), config)
    tensors, settings = load_adapter(tmp_path / "a.safetensors")
    again = LoRAStack(unet, [RunConfig.from_dict(settings)])
    again.load(0, tensors)
    assert torch.equal(again.theta, stack.theta) and torch.equal(again.scale, stack.scale)


def test_a_set_takes_those_of_its_layers_that_the_base_has():
    unet = tiny.unet(**TWO_LEVELS)
    everything = {name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    others = ("conv_in", "conv_out", "time_emb", "samplers")
    left_out = {name for name in everything if any(part in name for part in others)}
    assert set(find_targets(unet, ["all"])) == everything - left_out and len(left_out) > 4
    attention = find_targets(unet, ["attention"])
    assert list(attention) == list(find_targets(unet, ["to_v", "to_k", "to_out.0", "to_q"]))
    alone = nn.ModuleDict({"attn1": copy.deepcopy(unet.mid_block.attentions[0].transformer_blocks[0].attn1)})
    assert list(find_targets(alone, ["all"])) == ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"]
    with pytest.raises(LabError, match="'all': this base has none of the layers of that set"):
        find_targets(nn.ModuleDict({"conv_in": nn.Conv2d(1, 1, 1)}), ["all"])


def test_what_does_not_fit_is_refused_by_name():
    unet = tiny.unet()
    with pytest.raises(LabError, match="'conv_shortcuts' names no layer of this base: did you mean conv_shortcut"):
        LoRAStack(unet, [RunConfig(target_modules="conv_shortcuts")])
    with pytest.raises(LabError, match="'to_nowhere' names no layer"):
        LoRAStack(unet, [RunConfig(target_modules=("to_q", "to_nowhere"))])
    with pytest.raises(LabError, match="norm1 is a"):
        LoRAStack(unet, [RunConfig(target_modules=("norm1",))])
    stack, other = LoRAStack(unet, [RunConfig(rank=2)]), LoRAStack(unet, [RunConfig(rank=3)])
    with pytest.raises(LabError, match="shape"):
        stack.load(0, other.tensors(0))
    with pytest.raises(LabError, match="missing"):
        stack.load(0, {})
    with stack.attached(), pytest.raises(LabError, match="already carries"), other.attached():
        pass
    pair = LoRAStack(unet, [RunConfig(), RunConfig()])
    with pair.attached(), pytest.raises(ValueError, match="3 rows"):
        unet(*inputs(3))
