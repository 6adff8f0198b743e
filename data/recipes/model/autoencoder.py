"""Train the autoencoder on random crops of rendered pictures: ordinary ones, and some of other worlds.

In the folder data:

    python -m recipes.model.autoencoder ORDINARY [LIMINAL NEAR] --work FOLDER --minutes 65
    python -m recipes.model.autoencoder ORDINARY [LIMINAL NEAR] --work OTHER --minutes 5 --start base --decoder-only
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from recipes.model.architecture import LATENT_CHANNELS, build_vae, load_base
from recipes.model.muon import Muon, groups
from recipes.model.training import (
    SHARP,
    Average,
    Budget,
    Checkpoint,
    Pictures,
    choose_device,
    generator,
    keep_log,
    log,
    sharpened,
    warmup_cosine,
)

CROP, BATCH, RATE, ADAM_RATE, KL = 64, 16, 0.015, 1.5e-3, 2e-5


def crops(pictures, step, seed, others=0.2):
    """One batch of random crops, flipped and sharpened, (BATCH, 3, CROP, CROP) in -1..1.

    A share of `others` is from all folders but the first.
    """
    draw = generator(seed, "crops", step)
    batch = []
    for _ in range(BATCH):
        other = len(pictures) > 1 and torch.rand((), generator=draw) < others
        world = int(torch.randint(1, len(pictures), (), generator=draw)) if other else 0
        trained = torch.nonzero(~pictures[world].held_out).flatten()
        i = trained[torch.randint(len(trained), (), generator=draw)]
        top, left = torch.randint(pictures[world].pixels.shape[-1] - CROP + 1, (2,), generator=draw).tolist()
        crop = pictures[world].pixels[i, :, top:top + CROP, left:left + CROP]
        batch.append(crop.flip(-1) if torch.rand((), generator=draw) < 0.5 else crop)
    amount = 2 * SHARP * torch.rand(BATCH, 1, 1, 1, generator=draw)
    return sharpened(torch.stack(batch).float() / 127.5 - 1, amount)


def reconstruction_loss(output, target):
    """L1 of values, of finite differences (edges) and of 4x4 means (colours, slow to come otherwise)."""
    d = output - target
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return d.abs().mean() + edges + F.avg_pool2d(d, 4).abs().mean()


def loss_of(vae, pixels, noise):
    """Loss of pictures that were encoded, sampled with the given noise and decoded again."""
    posterior = vae.encode(pixels).latent_dist
    output = vae.decode(posterior.mean + posterior.std * noise).sample
    return reconstruction_loss(output, pixels) + KL * posterior.kl().mean() / noise[0].numel()


@torch.no_grad()
def psnr(vae, pixels, batch=16):
    """Mean over pictures of the peak signal-to-noise ratio in dB; pixels uint8 (n, 3, h, w)."""
    device, ratios = next(vae.parameters()).device, []
    for chunk in pixels.split(batch):
        x = chunk.to(device).float() / 127.5 - 1
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        ratios.append(-10 * torch.log10(((y - x) / 2).square().mean((1, 2, 3))))
    return torch.cat(ratios).mean().item()


@torch.no_grad()
def scaling_factor(vae, pixels, batch=16):
    """What makes latents of these pictures have unit standard deviation."""
    device = next(vae.parameters()).device
    means = [vae.encode(chunk.to(device).float() / 127.5 - 1).latent_dist.mean for chunk in pixels.split(batch)]
    return 1 / torch.cat(means).std().item()


def train(folders, work, budget, seed=0, every=90, log_to=None, start=None, decoder_only=False):
    """Train until the budget is spent, resuming from `work`; -> the averaged autoencoder.

    start: a base to begin from when `work` holds no checkpoint.
    decoder_only: leave the encoder as it is, so that latents and a UNet trained on them stay valid.
    """
    device = choose_device()
    torch.manual_seed(seed)
    vae = load_base(start).vae if start else build_vae()
    vae = vae.to(device).train()
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    average = Average(vae)
    optimizer = Muon(groups([vae], RATE, ADAM_RATE))
    checkpoint = Checkpoint(Path(work) / "autoencoder.safetensors")
    modules = {"vae": vae, "average": average.module}
    state = checkpoint.load(modules, optimizer) or {"step": 0, "seconds": 0.0}
    step, log_to = state["step"], log_to or Path(work) / "autoencoder.jsonl"
    average.updates = step
    keep_log(log_to, step)
    pictures = [Pictures(f) for f in folders]
    budget.begin(state["seconds"])
    saved, total, counted = budget.seconds(), 0.0, 0
    while budget.progress(step) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * warmup_cosine(step, budget.progress(step))
        pixels = crops(pictures, step, seed).to(device)
        draw = generator(seed, "posterior", step)
        noise = torch.randn(BATCH, LATENT_CHANNELS, CROP // 8, CROP // 8, generator=draw).to(device)
        optimizer.zero_grad()
        loss = loss_of(vae, pixels, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(vae)
        step, total, counted = step + 1, total + loss.item(), counted + 1
        done = budget.progress(step) >= 1
        if done or budget.seconds() - saved > every:
            seconds = budget.seconds()
            checkpoint.save({"step": step, "seconds": seconds}, modules, optimizer)
            dB = {f"dB_{p.folder.name}": psnr(average.module, p.pixels[p.held_out][:40 if not done else None])
                  for p in pictures}
            log(log_to, step=step, seconds=seconds, loss=total / counted,
                pictures=len(pictures[0]), **dB)
            total, counted, saved = 0.0, 0, budget.seconds()  # measuring does not count towards the next
            for p in pictures:
                p.refresh()
    if not decoder_only:
        average.module.register_to_config(scaling_factor=scaling_factor(average.module, pictures[0].pixels[:400]))
    return average.module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", help="renders of ordinary places, then of other worlds")
    parser.add_argument("--work", default="work")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--steps", type=int, help="instead of minutes: exactly repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--start", help="a base to start from, such as base")
    parser.add_argument("--decoder-only", action="store_true",
                        help="keep the encoder, and so the latents, as they are")
    parser.add_argument("--log", help="JSONL of losses")
    a = parser.parse_args()
    if a.decoder_only and not a.start:
        parser.error("--decoder-only needs --start: the base whose decoder is trained on")
    torch.set_num_threads(a.threads)
    vae = train(a.folders, a.work, Budget(a.steps, a.minutes), a.seed, log_to=a.log, start=a.start,
                decoder_only=a.decoder_only)
    vae.save_pretrained(Path(a.work) / "vae", safe_serialization=True)
