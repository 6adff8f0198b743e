"""Stacked optimizers equal torch.optim and clip_grad_norm_ on each run alone; frozen runs don't move by a bit."""

import pytest
import torch

from labkit.design.config import RunConfig
from labkit.engine.optim import OPTIMIZERS, clip_per_run

RUNS = [
    RunConfig(learning_rate=1e-4, weight_decay=0.1, max_grad_norm=1.0),
    RunConfig(learning_rate=1e-2, weight_decay=0.0, adam_beta1=0.5, max_grad_norm=0.1),
    RunConfig(learning_rate=3e-3, adam_beta2=0.9, adam_epsilon=1e-4, max_grad_norm=0),
]


def gradients(steps, K=3, P=40):
    source = torch.Generator().manual_seed(0)
    sizes = torch.tensor([0.01, 1.0, 30.0])[:, None]          # the runs' gradients differ in norm as in life
    return [sizes * torch.randn(K, P, generator=source) for _ in range(steps)]


def torch_run(name, config, theta, grads):
    """Train one row as two tensors, clipped together, with torch's own optimizer."""
    params = [torch.nn.Parameter(part.clone()) for part in theta.split([15, 25])]
    if name == "sgd":
        optimizer = torch.optim.SGD(params, lr=config.learning_rate, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.AdamW(params, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
                                      eps=config.adam_epsilon, weight_decay=config.weight_decay)
    norms = []
    for grad in grads:
        for param, part in zip(params, grad.split([15, 25]), strict=True):
            param.grad = part.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(params, config.max_grad_norm or float("inf")))
        optimizer.step()
    return torch.cat([p.detach() for p in params]), torch.stack(norms)


def stacked_run(name, grads, alive=None):
    theta = torch.linspace(-1, 1, 40).repeat(3, 1)
    optimizer = OPTIMIZERS[name](theta, RUNS)
    max_norm = torch.tensor([config.max_grad_norm or float("inf") for config in RUNS])
    lr = torch.tensor([[config.learning_rate] for config in RUNS])
    norms = []
    for i, grad in enumerate(grads):
        grad = grad.clone()
        norms.append(clip_per_run(grad, max_norm))
        optimizer.step(grad, lr, torch.ones(3, dtype=torch.bool) if alive is None else alive[i])
    return theta, torch.stack(norms, dim=1), optimizer


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_each_run_equals_torch_with_its_own_clipping_rate_betas_and_decay(name):
    grads = gradients(30)
    theta, norms, _ = stacked_run(name, grads)
    for k, config in enumerate(RUNS):
        expected, expected_norms = torch_run(name, config, torch.linspace(-1, 1, 40), [grad[k] for grad in grads])
        torch.testing.assert_close(theta[k], expected, rtol=1e-6, atol=2e-6)
        torch.testing.assert_close(norms[k], expected_norms)


def test_one_run_of_large_gradients_does_not_clip_the_others():
    grad = gradients(1)[0]
    alone = grad[:1].clone()
    together = grad.clone()
    clip_per_run(together, torch.full((3,), 0.05))
    clip_per_run(alone, torch.full((1,), 0.05))
    assert torch.equal(together[:1], alone)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_frozen_run_stays_bit_for_bit_and_its_nan_reaches_nobody(name):
    grads = gradients(6)
    alive = [torch.tensor([True, i < 3, True]) for i in range(6)]
    poisoned = [torch.where(alive[i][:, None], grad, torch.nan) for i, grad in enumerate(grads)]
    frozen, _, optimizer = stacked_run(name, poisoned, alive)
    until_then, _, optimizer_then = stacked_run(name, grads[:3])
    everyone, _, _ = stacked_run(name, grads)
    assert torch.equal(frozen[1], until_then[1])
    assert torch.equal(frozen[[0, 2]], everyone[[0, 2]])
    for moment, state in optimizer.state.items():
        assert torch.equal(state[1], optimizer_then.state[moment][1])


def test_parts_of_an_adapter_can_have_rates_of_their_own():
    theta = torch.zeros(1, 4)
    optimizer = OPTIMIZERS["sgd"](theta, [RunConfig(optimizer="sgd", weight_decay=0)])
    optimizer.step(torch.ones(1, 4), torch.tensor([[0.1, 0.1, 1.6, 1.6]]), torch.tensor([True]))
    torch.testing.assert_close(theta, torch.tensor([[-0.1, -0.1, -1.6, -1.6]]))
