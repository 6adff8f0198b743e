"""AdamW and SGD for K runs at once: every run has its own rate, betas, decay, step count and clipping.

All adapters of all runs lie in one tensor (K, P), so that a step is a handful of operations whatever the number of
layers. Each row equals torch.optim and clip_grad_norm_ on that run alone.
"""

import torch
from torch import Tensor


def clip_per_run(grad: Tensor, max_norm: Tensor) -> Tensor:
    """Clip gradients (K, P) in place, each run to its max_norm (K,), infinity being off; return the norms (K,) before."""
    norm = torch.linalg.vector_norm(grad, dim=1)
    grad.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0)[:, None])
    return norm


class StackedOptimizer:
    """Hold theta (K, P), the moments of every run, and how many updates each has made."""

    moments = ()                                              # names of the (K, P) states

    def __init__(self, theta: Tensor, configs):
        self.theta = theta
        self.configs = configs
        self.steps = [0] * len(configs)                       # completed updates of each run
        self.state = {name: torch.zeros_like(theta) for name in self.moments}

    def step(self, grad: Tensor, lr: Tensor, alive: Tensor) -> Tensor:
        """Change theta where `alive` (K,) and return the change (K, P).

        grad              (K, P), finite where alive, used up; elsewhere it is not looked at
        lr                (K, 1), or (K, P) where parts of an adapter have rates of their own
        """
        self.steps = [t + 1 for t in self.steps]
        frozen = ~alive[:, None]
        # a frozen run has rate 0, gradient 0 and betas 1: not a bit of it moves, and no branch depends on the device
        change = self._change(grad.masked_fill_(frozen, 0.0), lr.masked_fill(frozen, 0.0), frozen)
        self.theta += change
        return change

    def _columns(self, values) -> list[Tensor]:
        """Return numbers of each run, from its step count and configuration, as (K, 1) tensors; computed in double precision."""
        table = torch.tensor([values(t, config) for t, config in zip(self.steps, self.configs)], dtype=torch.float64)
        return list(table.to(self.theta.dtype).to(self.theta.device).split(1, dim=1))


class StackedSGD(StackedOptimizer):
    """Step theta -= lr (grad + weight_decay theta), as torch.optim.SGD without momentum."""

    def _change(self, grad, lr, frozen):
        (decay,) = self._columns(lambda t, c: [c.weight_decay])
        return grad.addcmul_(self.theta, decay).mul_(lr).neg_()


class StackedAdamW(StackedOptimizer):
    """Step Adam with decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW."""

    moments = ("exp_avg", "exp_avg_sq")

    def _change(self, grad, lr, frozen):
        keep1, take1, keep2, take2, unbias1, root_unbias2, epsilon, decay = self._columns(lambda t, c: [
            c.adam_beta1, 1 - c.adam_beta1, c.adam_beta2, 1 - c.adam_beta2,
            1 - c.adam_beta1**t, (1 - c.adam_beta2**t) ** 0.5, c.adam_epsilon, c.weight_decay])
        exp_avg, exp_avg_sq = self.state["exp_avg"], self.state["exp_avg_sq"]
        exp_avg.mul_(keep1.masked_fill(frozen, 1.0)).addcmul_(grad, take1)
        exp_avg_sq.mul_(keep2.masked_fill(frozen, 1.0)).addcmul_(grad.square_(), take2)
        root = exp_avg_sq.sqrt().div_(root_unbias2).add_(epsilon)
        change = torch.div(exp_avg, root, out=root).mul_(lr / unbias1)
        return change.addcmul_(self.theta, lr * decay).neg_()


OPTIMIZERS = {"adamw": StackedAdamW, "sgd": StackedSGD}
