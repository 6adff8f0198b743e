"""AdamW and SGD for K runs at once: every run has its own rate, betas, decay, step count and clipping.

All adapters of all runs lie in one tensor (K, P), so that a step is a handful of operations whatever the number of
layers. Each row equals torch.optim and clip_grad_norm_ on that run alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.design.config import RunConfig


def clip_per_run(grad: Tensor, max_norm: Tensor) -> Tensor:
    """Clip gradients (K, P) in place, each run to its max_norm (K,), infinity being off; return the norms before."""
    norm = torch.linalg.vector_norm(grad, dim=1)
    grad.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0)[:, None])
    return norm


class StackedOptimizer:
    """Hold theta (K, P), the moments of every run, and how many updates each has made.

    Whatever a step needs lies on theta's device from the beginning, in double precision until it is rounded once: a
    step sends nothing there and asks nothing back.
    """

    moments: tuple[str, ...] = ()                             # names of the (K, P) states
    constant: tuple[str, ...] = ()                            # names of the (K, 1) numbers that configurations fix

    def __init__(self, theta: Tensor, configs: Sequence[RunConfig]):
        """Begin with moments of zero."""
        self.theta, self.configs = theta, configs
        self.steps = torch.zeros(len(configs), dtype=torch.long, device=theta.device)   # completed updates of each run
        self.state = {name: torch.zeros_like(theta) for name in self.moments}
        self.constants = [self._table([[getattr(config, name)] for config in configs]) for name in self.constant]

    def step(self, grad: Tensor, lr: Tensor, alive: Tensor) -> Tensor:
        """Change theta where `alive` (K,) and return the change (K, P).

        grad              (K, P), finite where alive, used up; elsewhere it is not looked at
        lr                (K, 1), or (K, P) where parts of an adapter have rates of their own
        """
        frozen = ~alive[:, None]
        # a frozen run has rate 0, gradient 0 and betas 1: not a bit of it moves, and no branch depends on the device
        change = self._change(grad.masked_fill_(frozen, 0.0), lr.masked_fill(frozen, 0.0), frozen)
        self.theta += change
        self.steps += alive
        return change

    def _change(self, grad: Tensor, lr: Tensor, frozen: Tensor) -> Tensor:
        """Return the change (K, P) of one step; frozen (K, 1) is true for runs that must not change."""
        raise NotImplementedError

    def _table(self, rows: Sequence[Sequence[float]]) -> Tensor:
        """Send numbers (K, n) to theta's device, rounded to its precision."""
        return torch.tensor(rows, dtype=torch.float64).to(self.theta.dtype).to(self.theta.device)


class StackedSGD(StackedOptimizer):
    """Step theta -= lr (grad + weight_decay theta), as torch.optim.SGD without momentum."""

    constant = ("weight_decay",)

    def _change(self, grad: Tensor, lr: Tensor, frozen: Tensor) -> Tensor:
        (decay,) = self.constants
        return grad.addcmul_(self.theta, decay).mul_(lr).neg_()


class StackedAdamW(StackedOptimizer):
    """Step Adam with decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW."""

    moments = ("exp_avg", "exp_avg_sq")
    constant = ("adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay")

    def __init__(self, theta: Tensor, configs: Sequence[RunConfig]):
        """Tabulate the bias corrections of all updates."""
        super().__init__(theta, configs)
        self.take1 = self._table([[1 - config.adam_beta1] for config in configs])
        self.take2 = self._table([[1 - config.adam_beta2] for config in configs])
        updates = range(1, max(config.steps for config in configs) + 1)
        # (K, updates)
        self.unbias1 = self._table([[1 - config.adam_beta1**t for t in updates] for config in configs])
        self.root_unbias2 = self._table([[(1 - config.adam_beta2**t) ** 0.5 for t in updates] for config in configs])

    def _change(self, grad: Tensor, lr: Tensor, frozen: Tensor) -> Tensor:
        keep1, keep2, epsilon, decay = self.constants
        at = self.steps[:, None]
        unbias1, root_unbias2 = self.unbias1.gather(1, at), self.root_unbias2.gather(1, at)                    # (K, 1)
        exp_avg, exp_avg_sq = self.state["exp_avg"], self.state["exp_avg_sq"]
        exp_avg.mul_(keep1.masked_fill(frozen, 1.0)).addcmul_(grad, self.take1)
        exp_avg_sq.mul_(keep2.masked_fill(frozen, 1.0)).addcmul_(grad.square_(), self.take2)
        root = exp_avg_sq.sqrt().div_(root_unbias2).add_(epsilon)
        change = torch.div(exp_avg, root, out=root).mul_(lr / unbias1)
        return change.addcmul_(self.theta, lr * decay).neg_()


OPTIMIZERS = {"adamw": StackedAdamW, "sgd": StackedSGD}
