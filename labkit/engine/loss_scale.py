"""Loss scaling for float16, one scale a run: torch.amp.GradScaler for K runs side by side.

float16 ends at 65,504 and has few numbers below 6e-5, so the loss is multiplied before `backward` and the gradient
divided after it. What overflows all the same is no result of the run: that update is skipped and the scale halved.
Micikevicius et al. 2018, section 3.2.
"""

import torch
from torch import Tensor

INITIAL, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000                          # GradScaler's own
LEAST = 1.0                                                   # what overflows below it is the run, not the scaling


class LossScale:
    """Hold the scale of every run and the updates since it last changed, (K,) each, on the device."""

    def __init__(self, K: int, device: torch.device):
        """Begin every run at the initial scale."""
        self.loss_scale = torch.full((K,), INITIAL, device=device)
        self.growth_tracker = torch.zeros(K, device=device)

    def update(self, finite: Tensor) -> None:
        """Halve the scale of runs whose gradient was not finite (K,), double that of runs long finite."""
        since = self.growth_tracker + 1
        grow = finite & (since == GROWTH_INTERVAL)
        self.growth_tracker = torch.where(finite & ~grow, since, 0.0)
        self.loss_scale *= torch.where(finite, torch.where(grow, GROWTH, 1.0), BACKOFF)

    @property
    def usable(self) -> Tensor:
        """Tell which runs (K,) may still be helped by a smaller scale."""
        return self.loss_scale >= LEAST
