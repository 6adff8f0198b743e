"""What a pass is predicted to hold is what it holds, and what the architectures people train are known to need."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import tiny
import torch
from torch.utils.checkpoint import checkpoint
from weightless import GiB, conditions, config, weightless

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.memory import SPARE, _Alive, _FusedAttention, fitting, predict
from labkit.engine.monitor import Monitor
from labkit.engine.train import _Pass

SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SD15_COND = {"encoder_hidden_states": (77, 768)}


@pytest.fixture(scope="module")
def sd15():
    return weightless(SD15)


def kept_by_hooks(unet, latent_shape, words, configs, checkpointing=False):
    """Measure a real forward on the CPU: the bytes of all storages that autograd saves, those of weights left out."""
    rows = sum(one.rows for one in configs)
    stack = LoRAStack(unet, configs).initialize()
    own = {t.untyped_storage().data_ptr() for t in (*unet.parameters(), *unet.buffers(), stack.theta, stack.scale)}
    given = torch.randn(rows, *latent_shape), torch.arange(rows), torch.randn(rows, *words)
    own |= {t.untyped_storage().data_ptr() for t in given}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    (unet.enable_gradient_checkpointing if checkpointing else unet.disable_gradient_checkpointing)()
    with stack.attached(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = unet(*given, return_dict=False)[0].square().sum()
    unet.disable_gradient_checkpointing()
    assert loss.requires_grad
    return sum(saved.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("fields", [
    {},
    {"adapter": "full"},
    {"target_modules": ("to_q", "to_v", "ff.net.2", "conv1", "proj_in")},
], ids=["attention", "full", "convolutions"])
def test_what_is_kept_is_what_autograd_saves(fields, checkpointing):
    unet = tiny.unet()
    for runs, batch in ((1, 1), (3, 2)):
        configs = [config(batch, seed=k, **fields) for k in range(runs)]
        predicted = predict(unet, tiny.LATENT, tiny.cache().null_cond, configs, checkpointing=checkpointing)
        measured = kept_by_hooks(unet, tiny.LATENT, (tiny.WORDS, tiny.WIDTH), configs, checkpointing)
        assert predicted.kept == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("dtype, checkpointing, stated", [
    (torch.float32, False, 1.5), (torch.bfloat16, False, 0.75), (torch.bfloat16, True, 0.14)])
def test_stable_diffusion_at_512_keeps_what_was_measured_of_it(sd15, dtype, checkpointing, stated):
    memory = predict(sd15, (4, 64, 64), conditions(SD15_COND), [config()], dtype=dtype, checkpointing=checkpointing)
    assert memory.kept / GiB == pytest.approx(stated, rel=0.2)
    assert memory.weights == 859_520_964 * dtype.itemsize
    assert memory.kept < memory.kept + memory.passing < 2 * memory.kept       # one block again is less than all kept


@pytest.mark.parametrize("fields", [
    {},
    {"adapter": "full", "optimizer": "sgd"},
    {"rank": 64, "gradient_accumulation_steps": 2},
    {"rank": 512},
    {"rank": 512, "lr_ratio_B": 4.0},
    {"gradient_checkpointing": True},
], ids=str)
def test_the_peak_is_that_of_the_engines_own_update(fields):
    """Walk an update of `train` itself on the meta device, optimizer included."""
    again = fields.get("gradient_checkpointing", False)
    fields = {name: value for name, value in fields.items() if name != "gradient_checkpointing"}
    base = replace(tiny.base(), unet=torch.nn.Module.to(tiny.unet(), "meta"), device=torch.device("meta"))
    common = {"max_train_steps": 4, "train_batch_size": 2} | fields
    configs = [RunConfig(**{"seed": seed} | common).resolved(12) for seed in range(2)]
    running = _Pass(base, tiny.cache(), configs, ["a", "b"], Monitor(images=0))
    ratios = [] if running.lr_ratio is None else [running.lr_ratio]
    states = [running.stack.theta, *running.optimizer.state.values(), *ratios]
    alive, attention = _Alive([*base.unet.parameters(), *states, running.stack.scale]), _FusedAttention()
    if again:
        walked = partial(checkpoint, use_reentrant=False, context_fn=lambda: (nullcontext(), attention))
        base.unet.enable_gradient_checkpointing(walked)
    drawn = running.batches.draw(0)
    with running.stack.attached(), alive, attention:
        running._update(0, drawn)
    measured = alive.most + sum(state.nbytes for state in states)
    predicted = predict(base.unet, tiny.LATENT, tiny.cache().null_cond, configs, checkpointing=again)
    assert predicted.beside_weights == pytest.approx(measured, rel=0.03)


def test_memory_is_proportional_to_the_runs_and_adapters_count_their_moments():
    one, two, three = (predict(tiny.unet(), tiny.LATENT, tiny.cache().null_cond, [config()] * K) for K in (1, 2, 3))
    third, second = (more.beside_weights - less.beside_weights for more, less in ((three, two), (two, one)))
    assert third == pytest.approx(second, rel=0.1)            # the peak moves between convolutions
    P = LoRAStack(tiny.unet(), [config()]).theta.shape[1]
    assert one.adapters == 3 * 4 * P and two.adapters == 2 * one.adapters
    plain = predict(tiny.unet(), tiny.LATENT, tiny.cache().null_cond, [config(optimizer="sgd")])
    assert plain.adapters == 4 * P and plain.kept == one.kept
    assert one.total == one.weights + one.beside_weights


def test_as_many_runs_fit_as_the_prediction_says():
    unet, words, attention = tiny.unet(), tiny.cache().null_cond, config(target_modules="attention")

    def needed(K, checkpointing=False, config=attention):
        return predict(unet, tiny.LATENT, words, [config] * K, checkpointing=checkpointing).beside_weights / SPARE

    def fit(free, config=attention, **options):
        return fitting(unet, tiny.LATENT, words, config, int(free), **options)

    assert fit(needed(5) + 1000) == (5, False) and fit(needed(5) - 1000) == (4, False)
    assert fit(needed(1) + 1000) == (1, False)
    runs, recomputed = fit(needed(1) - 1000)                  # recomputed only where not one run fits otherwise
    assert recomputed and runs >= 1 and needed(runs, True) <= needed(1) - 1000 < needed(runs + 1, True)
    assert fit(needed(5), checkpointing=True)[0] > 5
    assert fit(1000) == (0, True)
    everywhere = config(target_modules="all")                 # whose peak moves between layers: one run of slack
    for free in (needed(5, config=everywhere) + 1000, needed(8, config=everywhere) - 1000):
        runs, recomputed = fit(free, everywhere)
        assert not recomputed and needed(runs, config=everywhere) <= free < needed(runs + 2, config=everywhere)


def test_a_prediction_leaves_the_base_as_it_was():
    unet = tiny.unet()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    predict(unet, tiny.LATENT, tiny.cache().null_cond, [config()], checkpointing=True)
    assert not unet.is_gradient_checkpointing
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
