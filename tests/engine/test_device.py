"""What reaches the device during an update, and what is asked of it: counted on torch's meta device, without numbers.

Anything that would wait for a GPU (`.item()`, `.cpu()`, a mask that is counted) is an error there.
"""

from dataclasses import replace

import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from labkit.design.config import RunConfig
from labkit.engine import train as engine
from labkit.engine.monitor import Monitor
from labkit.engine.validation import ValidationSet

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Keep the shapes of what crosses from the CPU to the device, and fail where something comes back."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        devices = {one.device.type for one in given}
        for one in (one for one in tree_leaves(made) if isinstance(one, torch.Tensor)):
            assert not (one.device.type == "cpu" and "meta" in devices), f"{func} brings numbers back"
            if one.device.type == "meta" and "cpu" in devices:
                self.sent.append(tuple(one.shape))
        return made


@pytest.fixture(scope="module")
def base():
    ours = tiny.base()
    return replace(ours, unet=torch.nn.Module.to(ours.unet, META), device=META)


def begun(base, configs, cache=None):
    """Give a pass that measures nothing, before its first update."""
    ids = [str(k) for k in range(len(configs))]
    return engine._Pass(base, cache or tiny.cache(), configs, ids, Monitor(images=0))


@pytest.mark.parametrize("changes", [
    {},
    {"optimizer": "sgd", "lr_scheduler": "cosine"},
    {"mixed_precision": "fp16"},
    {"lr_ratio_B": 4, "caption_dropout": 0.5, "snr_gamma": 5.0},
    {"prior_loss_weight": 1.0, "gradient_accumulation_steps": 2},
])
def test_an_update_sends_what_was_drawn_for_it_and_nothing_else_and_asks_nothing_back(base, changes):
    configs = [RunConfig(seed=seed, max_train_steps=5, **changes).resolved(12) for seed in (0, 1)]
    one_pass = begun(base, configs)
    with one_pass.stack.attached():
        one_pass._update(0, one_pass.batches.draw(0))
        drawn = one_pass.batches.draw(1)
        with Crossings() as crossings:
            numbers = one_pass._update(1, drawn)
    assert numbers.shape == (4, 2) and numbers.device == META
    assert crossings.sent == [tuple(value.shape) for part in drawn for value in part.values()]


def test_conditions_of_the_training_pictures_are_sent_once_for_all_passes(base):
    cache = tiny.cache()
    configs = [RunConfig(max_train_steps=5).resolved(12)]
    counts = []
    for _ in range(2):
        with Crossings() as crossings:
            begun(base, configs, cache)
        counts.append(crossings.sent.count(tuple(cache.train.cond["encoder_hidden_states"].shape)))
    assert counts == [1, 0]


def test_a_validation_set_is_sent_once_and_its_losses_come_back_in_one_copy(base):
    chosen = ValidationSet(tiny.encoded(8), 8, 2)
    for sent in (4, 0):                                       # latents, noise, timesteps, words
        with Crossings() as crossings, pytest.raises(NotImplementedError, match="meta"):
            chosen.losses(base.denoiser, 1, rows=4)
        assert len(crossings.sent) == sent


def test_checkpoints_of_all_runs_come_back_in_one_copy_a_tensor(base, monkeypatch):
    configs = [RunConfig(seed=seed, max_train_steps=5).resolved(12) for seed in range(3)]
    one_pass, brought = begun(base, configs), []

    def cpu(tensor):
        if tensor.device != META:
            return tensor
        brought.append(tuple(tensor.shape))
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    assert [len(made.adapter) > 10 for made in one_pass._checkpoints([0, 1, 2])] == [True] * 3
    flat = tuple(one_pass.stack.theta.shape)
    assert sorted(brought) == [(3,), flat, flat, flat]        # steps; adapters and two moments


def test_on_the_cpu_nothing_is_drawn_ahead_since_drawing_and_training_share_the_cores(base):
    passes = [begun(one, [RunConfig().resolved(12)]) for one in (tiny.base(), base)]
    assert [one._ahead() for one in passes] == [0, engine.GPU_AHEAD]
