"""Small experiments on one frozen base that test single sentences about gradients and updates; none of them trains.

K runs side by side carry K random directions, or K single pictures, through one pass. n pictures, P numbers of an adapter.
"""

import contextlib
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from labkit.engine.adapters import LoRAStack, bare
from labkit.engine.loss import add_noise, per_sample_loss
from labkit.engine.seeding import generator
from labkit.judge.stats import Interval, resampled_means, spread, t_quantile, wilson

ROWS = 32                                                     # of one pass


@dataclass(frozen=True)
class Fixed:
    """Hold draws that stay the same throughout an experiment: latents, noise (n, C, H, W), timesteps (n,), cond (n, ...)."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    cond: dict

    def rows(self, index) -> tuple:
        """Return the arguments of per_sample_loss for the rows `index`."""
        return self.latents[index], self.noise[index], self.timesteps[index], {k: v[index] for k, v in self.cond.items()}


def fixed_draws(base, encoded, n: int, seed: int, purpose: str) -> Fixed:
    """Draw n (picture, timestep, noise) from a set: pictures in order and repeated, timesteps in even strata."""
    source = generator(seed, purpose)
    index = torch.arange(n) % len(encoded.mean)
    strata = (torch.arange(n) + torch.rand(n, generator=source)) / n
    timesteps = (strata[torch.randperm(n, generator=source)] * len(base.denoiser.alphas_cumprod)).long()
    latents = encoded.mean[index].to(base.device)
    noise = torch.randn(latents.shape, generator=source).to(base.device)
    return Fixed(latents, noise, timesteps.to(base.device), {k: v[index].to(base.device) for k, v in encoded.cond.items()})


def step_zero(base, cache, config) -> dict[str, float]:
    """Compare the base with and without a fresh adapter: largest change of the output, norms of the first gradients.

    B starts at zero, so the change is exactly 0, and A cannot move before B has: Hu et al. 2021, section 4.1.
    """
    draws = fixed_draws(base, cache.train, 4, config.seed, "step_zero")
    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        with stack.attached():
            noisy = add_noise(draws.latents, draws.noise, draws.timesteps, base.denoiser.alphas_cumprod)
            with torch.no_grad():
                adapted = base.denoiser(noisy, draws.timesteps, draws.cond)
                with bare(base.unet):
                    alone = base.denoiser(noisy, draws.timesteps, draws.cond)
            grad = gradients_of(base, stack, draws, torch.arange(4))
    return {"largest_change": float((adapted - alone).abs().max()), "grad_A": float(grad[:, : stack.first_B].norm()),
            "grad_B": float(grad[:, stack.first_B :].norm())}


@dataclass(frozen=True)
class RandomDirections:
    """Hold how many of `count` random changes of the adapter lowered the loss, at each length."""

    factors: tuple[float, ...]                                # lengths, in lengths of a real first update
    shares: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]                # 95 %, Wilson
    along_gradient: tuple[float, ...]                         # change of the loss by the real update at that length
    median_change: tuple[float, ...]                          # change of the loss by a random one
    count: int


def random_directions(base, cache, config, *, factors=(0.1, 1.0, 10.0), count=64, n=4) -> RandomDirections:
    """Move the fresh adapter's B in random directions and count how often the loss on fixed draws falls.

    config            resolved; its learning_rate fixes the length of a real first update (AdamW: the rate, in every coordinate)
    """
    K = ROWS // n
    draws = fixed_draws(base, cache.train, n, config.seed, "random_directions")
    rows = torch.arange(n).repeat(K)
    with base.lock:
        stack = LoRAStack(base.unet, [config] * K).initialize()
        with stack.attached():
            B = stack.theta[:, stack.first_B :]
            before = _losses(base, draws, rows)[:n].mean()
            real = -config.learning_rate * gradients_of(base, stack, draws, rows)[0, stack.first_B :].sign()
            shares, along, median = [], [], []
            for factor in factors:
                B.copy_((real * factor).expand_as(B))
                along.append(float(_losses(base, draws, rows)[:n].mean() - before))
                changes = []
                for start in range(0, count, K):
                    for k in range(K):
                        way = torch.randn(B.shape[1], generator=generator(config.seed, "direction", start + k)).to(B.device)
                        B[k] = way * (factor * real.norm() / way.norm())
                    changes += (_losses(base, draws, rows).view(K, n).mean(1) - before).tolist()
                shares.append(float(np.mean(np.array(changes[:count]) < 0)))
                median.append(float(np.median(changes[:count])))
    return RandomDirections(tuple(factors), tuple(shares), tuple(wilson(share, count) for share in shares), tuple(along),
                            tuple(median), count)


@dataclass(frozen=True)
class GradientByBatch:
    """Hold, for each batch size, the mean norm of the gradient and of its part along the true direction."""

    batch_sizes: tuple[int, ...]
    norm: tuple[float, ...]                                   # mean of |g_B|
    squared: tuple[float, ...]                                # mean of |g_B|^2, a straight line in 1 / B
    along: tuple[float, ...]                                  # mean of g_B . u, u the direction of the mean gradient of other draws
    along_interval: tuple[tuple[float, float], ...]           # 95 %, over batches
    noise: "NoiseScale"                                       # from all the draws


def gradient_by_batch(base, cache, config, *, adapter=None, batch_sizes=(1, 2, 4, 8, 16, 32), draws=256) -> GradientByBatch:
    """Measure gradients of single draws and average them into batches.

    adapter           arrays of a trained run; None takes the fresh adapter
    draws             (picture, timestep, noise) in all; the first half gives the direction u, the second the batches
    """
    K = 16
    fixed = fixed_draws(base, cache.train, draws, config.seed, "gradient_by_batch")
    with base.lock:
        stack = LoRAStack(base.unet, [config] * K).initialize()
        if adapter is not None:
            for k in range(K):
                stack.load(k, adapter)
        gradients = torch.empty(draws, stack.theta.shape[1], device=base.device)
        with stack.attached():
            for start in range(0, draws, K):                  # K runs of one picture each: one gradient a draw
                gradients[start : start + K] = gradients_of(base, stack, fixed, torch.arange(start, start + K))
    mixed = torch.randperm(draws, generator=generator(config.seed, "batches")).numpy()
    products = inner_products(gradients)[np.ix_(mixed, mixed)]
    n = draws // 2
    u = products[n:, :n].mean(1) / np.sqrt(products[:n, :n].mean())                   # (n,) part of each later draw along u
    squared, norm, along = {}, {}, {}
    for B in batch_sizes:
        blocks = np.diagonal(products[n:, n:].reshape(n // B, B, n // B, B).mean((1, 3)))     # |g|^2 of each batch
        squared[B], norm[B], along[B] = float(blocks.mean()), float(np.sqrt(blocks).mean()), u.reshape(n // B, B).mean(1)
    spreads = [values.std(ddof=1) / np.sqrt(len(values)) * t_quantile(0.975, len(values) - 1) for values in along.values()]
    return GradientByBatch(tuple(batch_sizes), tuple(norm.values()), tuple(squared.values()), tuple(float(v.mean()) for v in along.values()),
                           tuple((float(v.mean() - s), float(v.mean() + s)) for v, s in zip(along.values(), spreads)), noise_scale(products))


def inner_products(gradients) -> np.ndarray:
    """Return all inner products (n, n) of gradients (n, P), in double precision and a few columns at a time: a copy of all would take twice their memory."""
    found = np.zeros((len(gradients),) * 2)
    for columns in gradients.split(8192, dim=1):
        part = columns.numpy(force=True).astype(np.float64)
        found += part @ part.T
    return found


class NoiseScale(NamedTuple):
    """Hold the simple noise scale: the batch at which noise and signal of the gradient are equally large."""

    signal: float                                             # |G|^2, G the gradient of the whole
    noise: float                                              # tr(Sigma), Sigma the covariance of single gradients
    batch: Interval                                           # tr(Sigma) / |G|^2 in pictures; 95 %; inf where no signal is sure


def noise_scale(products) -> NoiseScale:
    """Estimate the simple noise scale from the inner products (n, n) of single draws' gradients: McCandlish et al. 2018, appendix A.1.

    The two batch sizes of their unbiased estimators are 1 and n: |G|^2 = (n |g_n|^2 - |g_1|^2) / (n - 1), the mean product of
    two different draws, tr(Sigma) = (|g_1|^2 - |g_n|^2) / (1 - 1 / n). Draws are resampled; a draw is never paired with itself.
    """
    n = len(products)
    weights = np.vstack([np.full(n, 1 / n), resampled_means(np.eye(n))])              # (1 + resamples, n), shares of the draws
    single = weights @ products.diagonal()
    alike = weights**2 @ products.diagonal()
    signal = (((weights @ products) * weights).sum(1) - alike) / (1 - (weights**2).sum(1))
    noise = single - signal
    inverse = spread(float(signal[0] / noise[0]), signal[1:] / noise[1:], n)          # unlike the scale itself it has a finite spread
    return NoiseScale(float(signal[0]), float(noise[0]), Interval(*(1 / x if x > 0 else math.inf for x in (inverse.mean, inverse.high, inverse.low))))


class CostByBatch(NamedTuple):
    """Hold what one update costs at each batch size."""

    batch_sizes: tuple[int, ...]
    kept_bytes: tuple[int, ...]                               # what the forward pass keeps until the gradient is made
    seconds: tuple[float, ...]                                # forward and backward, the quickest of three


def cost_by_batch(base, cache, config, *, batch_sizes=(1, 2, 4, 8, 16), repeats=3) -> CostByBatch:
    """Count the bytes that autograd keeps for one update and time it, at each batch size; weights are not counted."""
    fixed, kept_bytes, seconds = fixed_draws(base, cache.train, max(batch_sizes), config.seed, "cost_by_batch"), [], []
    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        with stack.attached():
            weights = {weight.untyped_storage().data_ptr() for weight in (*base.unet.parameters(), stack.theta)}
            for batch in batch_sizes:
                taken, storages = [], {}
                for repeat in range(repeats + 1):             # the first also counts
                    hooks = (lambda x: storages.__setitem__(x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()) or x, lambda x: x)
                    started = time.perf_counter()
                    with torch.autograd.graph.saved_tensors_hooks(*hooks) if repeat == 0 else contextlib.nullcontext():
                        float(gradients_of(base, stack, fixed, torch.arange(batch)).sum())            # read, so that a GPU has finished
                    taken.append(time.perf_counter() - started)
                kept_bytes.append(sum(size for place, size in storages.items() if place not in weights))
                seconds.append(min(taken[1:]))
    return CostByBatch(tuple(batch_sizes), tuple(kept_bytes), tuple(seconds))


@dataclass(frozen=True)
class StepByRank:
    """Hold how far one update of the same rate moves the model's output at each rank, under each rule for alpha."""

    ranks: tuple[int, ...]
    change: dict[str, tuple[float, ...]]                      # rule -> RMS change of the output at each rank
    power: dict[str, float]                                   # rule -> slope of log change on log rank


def change_by_rank(base, cache, config, *, ranks=(1, 2, 4, 8, 16, 32, 64), n=16) -> StepByRank:
    """Make one Adam update of equal rate at each rank and measure how far the output moves, with alpha by three rules.

    The rules agree at rank 8. The first update moves B alone, by the rate in the gradient's direction, whatever the scaling.
    """
    rules = {"alpha = rank": lambda rank: 1.0, "alpha = 8": lambda rank: 8 / rank, "alpha / √rank": lambda rank: math.sqrt(8 / rank)}
    draws, change = fixed_draws(base, cache.train, n, config.seed, "change_by_rank"), {rule: [] for rule in rules}
    noisy = add_noise(draws.latents, draws.noise, draws.timesteps, base.denoiser.alphas_cumprod)
    with base.lock:
        for rank in ranks:
            stack = LoRAStack(base.unet, [config.replace(rank=rank, alpha=rank, use_rslora=False)]).initialize()
            with stack.attached():
                B, gradient = stack.theta[:, stack.first_B :], gradients_of(base, stack, draws, torch.arange(n))[:, stack.first_B :]
                with torch.no_grad():
                    before = base.denoiser(noisy, draws.timesteps, draws.cond)
                    B.copy_(-config.learning_rate * gradient.sign())
                    for rule, scaling in rules.items():
                        stack.strength = scaling(rank)
                        moved = base.denoiser(noisy, draws.timesteps, draws.cond) - before
                        change[rule].append(float(moved.square().mean().sqrt()))
    power = {rule: float(np.polyfit(np.log(ranks), np.log(values), 1)[0]) for rule, values in change.items()}
    return StepByRank(tuple(ranks), {rule: tuple(values) for rule, values in change.items()}, power)


def _losses(base, draws, rows) -> torch.Tensor:
    with torch.no_grad():
        return per_sample_loss(base.denoiser, *draws.rows(rows))


def gradients_of(base, stack, draws, rows) -> torch.Tensor:
    """Return the gradients (K, P) of each run's mean loss over its block of rows."""
    losses = per_sample_loss(base.denoiser, *draws.rows(rows))
    losses.view(stack.K, -1).mean(1).sum().backward()
    return stack.take_grad()
