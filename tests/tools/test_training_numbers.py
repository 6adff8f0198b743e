"""What a page reads of a run: sampler as a table, adapter's layout, course, and designs that are refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from labkit.cli.tools import load
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.validation import ValidationSet, untouched_losses
from labkit.errors import LabError

numbers = load("training_numbers")
PLAIN = RunConfig(data="near", target_modules=("all",), rank=2, lr_scheduler="linear", max_train_steps=20)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
def test_the_table_draws_what_the_sampler_draws():
    sizes = SimpleNamespace(latent_channels=tiny.LATENT[0], block_out_channels=(8,) * 4)
    base = replace(tiny.base(), vae=SimpleNamespace(config=sizes))
    told, sampler = numbers.sampler(base, 3.0), base.sampler()
    sampler.set_timesteps(base.num_inference_steps)
    source = torch.Generator().manual_seed(0)
    known = [torch.randn(tiny.LATENT, generator=source)]
    latents = known[0]
    assert told["timesteps"] == sampler.timesteps.tolist() and told["guidance"] == 3.0
    for row, t in zip(told["table"], sampler.timesteps, strict=True):
        known.append(torch.randn(tiny.LATENT, generator=source))
        latents = sampler.step(known[-1], t, latents).prev_sample
        mine = sum(factor * values for factor, values in zip(row, known, strict=True))
        torch.testing.assert_close(mine, latents, rtol=1e-4, atol=1e-4)


def test_the_layout_says_where_each_part_lies_in_adapter_and_file():
    stack = LoRAStack(tiny.unet(), [PLAIN.resolved(8)]).initialize()
    stack.theta += torch.arange(stack.theta.shape[1]) / 1e4   # so that no two numbers are alike
    layers, header = numbers.layout(stack)
    header, tensors = json.loads(header), stack.tensors(0)
    assert "checksum" not in header["__metadata__"] and len(layers) == len(tensors) == len(header) - 1
    data, theta = np.zeros(stack.theta.shape[1], np.float32), stack.theta[0].numpy()
    for layer in layers:
        values = theta[layer["start"]:][:np.prod(layer["shape"])].reshape(layer["shape"])
        written = values.transpose(2, 3, 0, 1) if layer["isKernel"] else values
        data[layer["offset"] // 4:][:values.size] = written.ravel()
    for name, tensor in tensors.items():
        begin, end = header[f"unet.{name}"]["data_offsets"]
        assert np.array_equal(data[begin // 4:end // 4], tensor.ravel())


def test_only_what_is_drawn_at_random_has_a_bound_and_keeps_within_it():
    stack = LoRAStack(tiny.unet(), [PLAIN.resolved(8)]).initialize()
    for layer in numbers.layout(stack)[0]:
        values = stack.theta[0][layer["start"]:][:np.prod(layer["shape"])].abs()
        assert values.max() <= layer["bound"] < 3 * values.max() if "bound" in layer else not values.any()


def test_a_shorter_run_falls_to_zero_by_its_own_end_and_is_looked_at_where_the_recorded_one_was():
    told = numbers.course(PLAIN.resolved(8), 8, [0, 3, 8, 20])
    assert told == {"factors": [1 - update / 8 for update in range(8)], "looks": [0, 3, 8]}
    assert numbers.course(PLAIN.resolved(8), 5, [0, 3, 8, 20])["looks"] == [0, 3, 5]


@pytest.mark.parametrize("field, value", [
    ("optimizer", "sgd"), ("snr_gamma", 5.0), ("adapter", "full"), ("lr_scheduler", "cosine"), ("lr_end", 1e-4)])
def test_a_design_that_the_page_has_no_form_for_is_refused_by_its_field(field, value):
    numbers.check(PLAIN, tiny.base())
    with pytest.raises(LabError, match=f"^{field} = .* build the site without --trainable"):
        numbers.check(PLAIN.replace(**{field: value}), tiny.base())
    with pytest.raises(LabError, match="v_prediction"):
        numbers.check(PLAIN, tiny.base("v_prediction"))


def measured(base, held_out):
    """Stand in for a recorded run that was measured on some pictures, and drawn for one prompt."""
    losses = untouched_losses(base, held_out)
    return SimpleNamespace(timesteps={"validation": held_out.timesteps}, samples=[SimpleNamespace(prompts=("a",))],
                           validations={"validation": SimpleNamespace(losses=losses)})


def test_curves_of_other_noise_or_of_another_base_are_refused():
    base, held_out = tiny.base(), ValidationSet(tiny.cache().validation, 8, 1)
    run = measured(base, held_out)
    numbers.check_held_out(base, held_out, run)
    with pytest.raises(LabError, match="began from another base or"):
        numbers.check_held_out(tiny.base(seed=1), held_out, run)
    run.timesteps["validation"] = held_out.timesteps + 1
    with pytest.raises(LabError, match="measured on other held-out noise"):
        numbers.check_held_out(base, held_out, run)


def test_numbers_that_make_no_whole_batches_are_refused():
    run = measured(tiny.base(), ValidationSet(tiny.cache().validation, 8, 1))
    numbers.check_rows(PLAIN.replace(train_batch_size=2), run)
    with pytest.raises(LabError, match="computes 4 rows at once.* 2 prompts, not 1"):
        numbers.check_rows(PLAIN.replace(train_batch_size=4), run)
