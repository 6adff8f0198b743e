"""What do gradients say: does a step along one beat a random step, and how much of one picture's gradient is noise?

Nothing is trained: K runs side by side carry K random directions, or K single pictures, through one pass of the frozen
base. n pictures, P numbers of an adapter.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from labkit.engine.adapters import LoRAStack, bare
from labkit.engine.loss import add_noise, per_sample_loss
from labkit.engine.ragged import by_shape
from labkit.engine.seeding import generator
from labkit.judge.stats import Interval, resampled_means, spread, t_interval, wilson
from labkit.view.curves import loss_axis
from labkit.view.style import LINES, MARKERS, STYLE, VERDICTS, direct_labels, name_axes, new_axes

ROWS = 32                                                     # of one pass
BLUE, ORANGE = VERDICTS["stagnating"][1], VERDICTS["diverged"][1]


@dataclass(frozen=True)
class Fixed:
    """Hold draws that stay the same throughout an experiment.

    latents, noise (n, C, H, W); timesteps (n,); cond: what the U-Net is conditioned on, by name, (n, ...) each
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    cond: dict

    def rows(self, index) -> tuple:
        """Return the arguments of per_sample_loss for the rows `index`."""
        cond = {name: values[index] for name, values in self.cond.items()}
        return self.latents[index], self.noise[index], self.timesteps[index], cond


def fixed_draws(base, encoded, n: int, seed: int, purpose: str) -> Fixed:
    """Draw n (picture, timestep, noise) from a set: pictures in order and repeated, timesteps in even strata.

    Of pictures of several shapes, those of the first one's are taken.
    """
    source = generator(seed, purpose)
    alike = torch.tensor(by_shape(encoded.mean)[0])
    index = alike[torch.arange(n) % len(alike)]
    strata = (torch.arange(n) + torch.rand(n, generator=source)) / n
    timesteps = (strata[torch.randperm(n, generator=source)] * len(base.denoiser.alphas_cumprod)).long()
    latents = encoded.mean[index].to(base.device)
    noise = torch.randn(latents.shape, generator=source).to(base.device)
    cond = {name: values[index].to(base.device) for name, values in encoded.cond.items()}
    return Fixed(latents, noise, timesteps.to(base.device), cond)


def gradients_of(base, stack, draws, rows) -> torch.Tensor:
    """Return the gradients (K, P) of each run's mean loss over its block of rows."""
    losses = per_sample_loss(base.denoiser, *draws.rows(rows))
    losses.view(stack.K, -1).mean(1).sum().backward()
    return stack.take_grad()


def step_zero(base, cache, config) -> dict[str, float]:
    """Compare the base with and without a fresh adapter: largest change of the output, norms of the first gradients.

    B starts at zero, so the change is exactly 0, and A cannot move before B has: Hu et al. 2021, section 4.1.
    """
    count = 4 if base.device.type == "cpu" else 1             # a large base's activations fill a card
    draws = fixed_draws(base, cache.train, count, config.seed, "step_zero")
    with base.lock:
        stack = LoRAStack(base.unet, [config]).initialize()
        with stack.attached():
            noisy = add_noise(draws.latents, draws.noise, draws.timesteps, base.denoiser.alphas_cumprod)
            with torch.no_grad():
                adapted = base.denoiser(noisy, draws.timesteps, draws.cond)
                with bare(base.unet):
                    alone = base.denoiser(noisy, draws.timesteps, draws.cond)
            grad = gradients_of(base, stack, draws, torch.arange(count))
    return {"largest_change": float((adapted - alone).abs().max()), "grad_A": float(grad[:, : stack.first_B].norm()),
            "grad_B": float(grad[:, stack.first_B :].norm())}


# -- a step along the gradient, and random ones

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

    config            resolved; its learning_rate is the length of a real first update (of AdamW) in every coordinate
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
                        source = generator(config.seed, "direction", start + k)
                        direction = torch.randn(B.shape[1], generator=source).to(B.device)
                        B[k] = direction * (factor * real.norm() / direction.norm())
                    changes += (_losses(base, draws, rows).view(K, n).mean(1) - before).tolist()
                shares.append(float(np.mean(np.array(changes[:count]) < 0)))
                median.append(float(np.median(changes[:count])))
    intervals = tuple(wilson(share, count) for share in shares)
    return RandomDirections(tuple(factors), tuple(shares), intervals, tuple(along), tuple(median), count)


def _losses(base, draws, rows) -> torch.Tensor:
    with torch.no_grad():
        return per_sample_loss(base.denoiser, *draws.rows(rows))


def plot_random_directions(directions, ax=None):
    """Draw the share of random changes that lower the loss, at each length, with its interval."""
    ax = new_axes(ax, height=3.0, top=0.2)
    factors, shares = directions.factors, 100 * np.array(directions.shares)
    reach = np.abs(100 * np.array(directions.intervals).T - shares)
    ax.axhline(50, color=STYLE["faint"], linestyle="--", linewidth=1.2)
    ax.errorbar(factors, shares, reach, color=BLUE, marker="o", markersize=STYLE["marker"], linewidth=STYLE["line"],
                capsize=4)
    ax.set_xscale("log")
    ax.set_xticks(factors, [f"{factor:g}×" for factor in factors])
    ax.minorticks_off()
    ax.set_ylim(0, 100)
    name_axes(ax, "length of the change, in lengths of a real first update", "random changes that\nlower the loss (%)")
    words = f"{directions.count} random changes\neach, 95 % interval"
    direct_labels(ax, [(50, "a coin", STYLE["faint"]), (shares[-1], words, BLUE)])
    ax.figure.summary = "; ".join(
        f"{factor:g} × a real update: {share:.0f} % of {directions.count} random changes lower the loss, "
        f"they change it by {median:+.2g} in the median, the real one by {along:+.2g}"
        for factor, share, median, along in zip(factors, shares, directions.median_change, directions.along_gradient,
                                                strict=True))
    return ax


# -- signal and noise by batch size

@dataclass(frozen=True)
class GradientByBatch:
    """Hold, for each batch size, the mean norm of the gradient and of its part along the true direction.

    The batches of every size are the same draws, grouped otherwise, so that their mean gradient is the same by
    construction, and with it the part along any direction: what is measured is how the norm falls towards it.
    """

    batch_sizes: tuple[int, ...]
    norm: tuple[float, ...]                                   # mean of |g_B|
    squared: tuple[float, ...]                                # mean of |g_B|^2, a straight line in 1 / B
    along: tuple[float, ...]                                  # mean of g_B . u, u: of the mean gradient of other draws
    along_interval: tuple[tuple[float, float], ...]           # 95 %, over batches
    noise: "NoiseScale"                                       # from all the draws


class NoiseScale(NamedTuple):
    """Hold the simple noise scale: the batch at which noise and signal of the gradient are equally large."""

    signal: float                                             # |G|^2, G the gradient of the whole
    noise: float                                              # tr(Sigma), Sigma the covariance of single gradients
    batch: Interval                                           # noise / signal in pictures, 95 %; inf: no sure signal


def gradient_by_batch(base, cache, config, *, adapter=None, batch_sizes=(1, 2, 4, 8, 16, 32),
                      draws=256) -> GradientByBatch:
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
    u = products[n:, :n].mean(1) / np.sqrt(products[:n, :n].mean())       # (n,) part of each later draw along u
    squared, norm, along = [], [], []
    for B in batch_sizes:
        blocks = products[n:, n:].reshape(n // B, B, n // B, B).mean((1, 3))
        squares = np.diagonal(blocks)                         # |g|^2 of each batch
        squared.append(float(squares.mean()))
        norm.append(float(np.sqrt(squares).mean()))
        along.append(u.reshape(n // B, B).mean(1))
    intervals = tuple(t_interval(values) for values in along)
    return GradientByBatch(tuple(batch_sizes), tuple(norm), tuple(squared), tuple(mean for mean, *_ in intervals),
                           tuple((low, high) for _, low, high in intervals), noise_scale(products))


def inner_products(gradients) -> np.ndarray:
    """Return all inner products (n, n) of gradients (n, P), in double precision.

    It takes a few columns at a time: a copy of all in double precision would take twice their memory.
    """
    products = np.zeros((len(gradients),) * 2)
    for columns in gradients.split(8192, dim=1):
        part = columns.numpy(force=True).astype(np.float64)
        products += part @ part.T
    return products


def noise_scale(products) -> NoiseScale:
    """Estimate the simple noise scale from the inner products (n, n) of single draws' gradients.

    McCandlish et al. 2018, appendix A.1. The two batch sizes of their unbiased estimators are 1 and n:
    |G|^2 = (n |g_n|^2 - |g_1|^2) / (n - 1), the mean product of two different draws, and
    tr(Sigma) = (|g_1|^2 - |g_n|^2) / (1 - 1 / n). Draws are resampled; a draw is never paired with itself.
    """
    n = len(products)
    weights = np.vstack([np.full(n, 1 / n), resampled_means(np.eye(n))])  # (1 + resamples, n), shares of the draws
    single = weights @ products.diagonal()
    alike = weights**2 @ products.diagonal()
    signal = (((weights @ products) * weights).sum(1) - alike) / (1 - (weights**2).sum(1))
    noise = single - signal
    # signal / noise, unlike the scale itself, has a finite spread
    inverse = spread(float(signal[0] / noise[0]), signal[1:] / noise[1:], n)
    batch = Interval(*(1 / x if x > 0 else math.inf for x in (inverse.mean, inverse.high, inverse.low)))
    return NoiseScale(float(signal[0]), float(noise[0]), batch)


def plot_gradient_by_batch(gradient, ax=None):
    """Draw the mean norm of the gradient and the mean of its part along the true direction, against the batch size."""
    ax = new_axes(ax, height=3.4, top=0.2)
    sizes, norm, along = gradient.batch_sizes, gradient.norm, np.array(gradient.along)
    reach = np.abs(np.array(gradient.along_interval).T - along)
    line = {"markersize": STYLE["marker"], "linewidth": STYLE["line"]}
    ax.plot(sizes, norm, color=ORANGE, marker=MARKERS[0], **line)
    ax.errorbar(sizes, along, reach, color=BLUE, marker=MARKERS[1], linestyle="--", capsize=4, **line)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_ylim(0, None)
    name_axes(ax, "batch size (pictures)", "size of the gradient\n(no unit)")
    direct_labels(ax, [(norm[-1], "its length: signal and noise", ORANGE),
                       (along[-1], "its part along the\ntrue direction: signal", BLUE)])
    ax.figure.summary = (f"From batch {sizes[0]} to {sizes[-1]} the mean length of the gradient falls to "
                         f"{norm[-1] / norm[0]:.2f} of itself, which is noise averaged "
                         "away; the part along the true direction is the same at every batch size by construction, "
                         f"since all are made of the same draws: {along[-1]:.2g} of {norm[-1]:.2g} at "
                         f"batch {sizes[-1]}, of {norm[0]:.2g} at batch {sizes[0]}.")
    return ax


def plot_noise_scale(gradient, ax=None):
    """Draw the mean squared length of the gradient against the batch: signal, noise, and where they are equal.

    The unit is the mean squared length of a single picture's gradient.
    """
    ax = new_axes(ax, height=3.8)
    batch, sizes = gradient.noise.batch, np.array(gradient.batch_sizes, dtype=float)
    single = gradient.noise.signal + gradient.noise.noise
    signal, noise = max(gradient.noise.signal, 0) / single, gradient.noise.noise / single
    squared = np.array(gradient.squared) / single
    edges = [size for size in batch if size < 64 * sizes[-1]]             # farther out nothing was measured
    at = np.geomspace(min(sizes[0], *edges), max(sizes[-1], *edges) * 1.2, 100) if edges else sizes
    ax.plot(at, signal + noise / at, color=STYLE["text"], linewidth=STYLE["line"])
    ax.plot(sizes, squared, linestyle="none", color=STYLE["text"], marker=MARKERS[0], markersize=STYLE["marker"] + 1)
    ax.plot(at, noise / at, color=ORANGE, linestyle=LINES[2], linewidth=STYLE["line"])
    labels = [(signal + noise / at[-1], "● all of it", STYLE["text"]), (noise / at[-1], "noise, as 1 / batch", ORANGE)]
    words = "at a batch too large to be measured here"
    if signal:
        ax.plot(at, np.full(len(at), signal), color=BLUE, linestyle=LINES[1], linewidth=STYLE["line"])
        ax.axvspan(batch.low, min(batch.high, at[-1]), color=STYLE["faint"], alpha=STYLE["band"], linewidth=0)
        ax.plot(batch.mean, signal, "X", color=STYLE["text"], markersize=9, zorder=4)
        labels.append((signal, "signal: the gradient\nof all pictures", BLUE))
        high = f"to {batch.high:.3g}" if np.isfinite(batch.high) else "and up"
        words = f"at a batch of {batch.mean:.3g} (95 % interval {batch.low:.3g} {high})"
    ax.set_xscale("log", base=2)
    exponents = range(int(np.log2(at[0])), int(np.log2(at[-1])) + 1)
    ticks = [2.0**exponent for exponent in exponents[:: 1 + len(exponents) // 10]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlim(at[0] / 1.2, at[-1] * 1.2)
    loss_axis(ax, [signal + noise / at, noise / at, squared])
    name_axes(ax, "batch size (pictures, logarithmic)", "mean squared length of the\ngradient (1: of one picture's)",
              f"✖ Noise equals signal {words}")
    direct_labels(ax, labels)
    ax.figure.summary = f"Noise and signal of the gradient are equally large {words}."
    return ax
