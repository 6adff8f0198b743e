"""Train text encoder and UNet together on the latents of ordinary pictures; liminal ones are never seen.

In the folder data:

    python -m recipes.model.denoiser ORDINARY --vae FOLDER --work FOLDER --minutes 50

ORDINARY is the folder of renders, or the file that `recipes.model.latents` made of it. The averaged weights of every
KEEP updates stay in WORK/kept, so that `recipes.ship.quality` can measure how quality grows.
"""

import argparse
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from recipes.model.architecture import build_scheduler, build_text_encoder, build_tokenizer, build_unet, load_base
from recipes.model.latents import encoded, fingerprint, read, token_ids
from recipes.model.muon import Muon, groups
from recipes.model.training import (
    Average,
    Budget,
    Checkpoint,
    Pictures,
    choose_device,
    generator,
    keep_log,
    log,
    warmup_cosine,
)
from recipes.world.captions import VOCABULARY

BATCH, RATE, ADAM_RATE, DROPOUT, SNR_GAMMA = 48, 0.01, 1e-3, 0.1, 5.0
MEASURE, KEEP = 250, 1250  # updates between measurements of the loss, and between averages that are kept
STRATA = 8  # timesteps of a held-out picture's fixed-noise loss


def start_weights(unet, text_encoder):
    """Output layers of all residual branches start at zero, as in the original UNet; token embeddings start wide,
    so that words the base never sees stay as distinct as those it learns."""
    for name, module in unet.named_modules():
        if name.endswith((".conv2", ".proj_out")) or name == "conv_out":
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    torch.nn.init.normal_(text_encoder.get_input_embeddings().weight, std=0.2)


def take_over(base, unet, text_encoder, tokenizer):
    """Begin with the weights of a base.

    Its vocabulary may differ: a word takes its embedding along, new words keep theirs.
    """
    unet.load_state_dict(base.unet.state_dict())
    weights, own = base.text_encoder.state_dict(), text_encoder.state_dict()
    (name,) = (key for key in own if key.endswith("token_embedding.weight"))
    old, rows = base.tokenizer.get_vocab(), own[name].clone()
    for token, i in tokenizer.get_vocab().items():
        if token in old:
            rows[i] = weights[name][old[token]]
    text_encoder.load_state_dict(weights | {name: rows})


def predict(unet, text_encoder, noisy, timesteps, ids):
    """The UNet's prediction for noisy latents, given timesteps and token ids."""
    return unet(noisy, timesteps, text_encoder(ids).last_hidden_state).sample


class Float32Attention(torch.overrides.TorchFunctionMode):
    """Within it attention is computed in float32 whatever it is given: torch's backward in bf16 is slow on a CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Widen the queries, keys and values of attention; pass every other call on."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with torch.autocast(args[0].device.type, enabled=False):
            return func(*(x.float() for x in args[:3]), *args[3:], **(kwargs or {})).to(args[0].dtype)


@contextmanager
def precision(device, bf16):
    """Make convolutions and linear layers compute in bf16, if wanted; weights, gradients and, on a CPU, attention stay
    float32.

    On a processor with AMX, or with bf16 in its AVX-512, an update takes about 0.7 of the time.
    """
    widened = bf16 and device == "cpu"
    with torch.autocast(device, torch.bfloat16, enabled=bf16), Float32Attention() if widened else nullcontext():
        yield


def drawn(schedule, data, empty_ids, step, seed, batch):
    """What one update learns from: (noisy latents, timesteps, token ids, noise, weights of the losses).

    Pictures, mirrors, timesteps and noise are drawn for the step, on the device that holds the data. The weights are
    those of Min-SNR (Hang et al. 2023, gamma 5).
    """
    moments, ids = data
    device = ids.device
    own = {"generator": generator(seed, "denoiser", step, device), "device": device}
    pick = torch.randint(len(ids), (batch,), **own)
    mean, std = moments[:, pick]
    clean = mean + std * torch.randn(mean.shape, **own)
    noise = torch.randn(mean.shape, **own)
    # one timestep in each of `batch` bins
    places = (torch.arange(batch, device=device) + torch.rand(batch, **own)) / batch
    timesteps = (places * schedule.config.num_train_timesteps).long()
    ids = torch.where(torch.rand(batch, 1, **own) < DROPOUT, empty_ids, ids[pick])
    alpha = schedule.alphas_cumprod.to(device)[timesteps]
    weight = (SNR_GAMMA * (1 - alpha) / alpha).clamp(max=1.0)
    return schedule.add_noise(clean, noise, timesteps), timesteps, ids, noise, weight


def weighted_loss(unet, text_encoder, noisy, timesteps, ids, noise, weight):
    """The loss of what `drawn` gave."""
    output = predict(unet, text_encoder, noisy, timesteps, ids)
    return ((output - noise).square().mean((1, 2, 3)) * weight).mean()


def gradients(unet, text_encoder, bf16):
    """Return a function that gives the loss of what was drawn, and leaves its gradients at the weights."""
    parameters, device = weights(unet, text_encoder), unet.device.type

    def backward(*batch):
        for p in parameters:
            p.grad = None
        with precision(device, bf16):
            loss = weighted_loss(unet, text_encoder, *batch)
        loss.backward()
        return loss.detach()

    return backward


def graphed(backward, batch):
    """Return the same function as one CUDA graph, for batches of the shapes of this one.

    A GPU would otherwise wait for each of a thousand small kernels to be started by Python.
    """
    inputs, aside = [x.clone() for x in batch], torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what is made at the first call, such as workspaces, stays out of the graph
        for _ in range(3):
            backward(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = backward(*inputs)

    def replay(*batch):
        for own, given in zip(inputs, batch, strict=True):
            own.copy_(given)
        graph.replay()
        return loss

    return replay


def device_name(device):
    """The name of the card, or the kind of device."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def weights(*modules):
    """Return all parameters of some modules."""
    return [p for module in modules for p in module.parameters()]


@torch.no_grad()
def fixed_noise_loss(unet, text_encoder, schedule, data, seed=0, batch=256):
    """Mean squared error over pictures x timesteps, noise fixed by picture and timestep."""
    device, (moments, ids), losses = unet.device, data, []
    for i, t in enumerate(((torch.arange(STRATA) + 0.5) * 1000 / STRATA).long()):
        noise = torch.randn(moments[0].shape, generator=generator(seed, "fixed noise", i))
        steps = t.repeat(len(ids))
        noisy = schedule.add_noise(moments[0], noise, steps)
        for rows in torch.arange(len(ids)).split(batch):
            output = predict(unet, text_encoder, noisy[rows].to(device), steps[rows].to(device), ids[rows].to(device))
            losses.append((output.cpu() - noise[rows]).square().mean((1, 2, 3)))
    return torch.cat(losses).mean().item()


def train(source, vae, work, budget, seed=0, every=300, log_to=None, start=None, batch=None, bf16=False, measure=None,
          keep=None):
    """Train until the budget is spent, resuming from `work`; -> averaged (unet, text_encoder).

    source: a folder of renders, or a file of their latents.
    start: a base to begin from when `work` holds no checkpoint.
    every: seconds between checkpoints.
    batch: pictures an update; BATCH without it.
    bf16: compute in it, as `precision` says; a training may change this between its sessions.
    measure, keep: updates between measurements of the loss, and between averages that are kept; MEASURE and KEEP
        without them.
    """
    batch, measure, keep = batch or BATCH, measure or MEASURE, keep or KEEP
    device, tokenizer, schedule = choose_device(), build_tokenizer(VOCABULARY), build_scheduler()
    torch.manual_seed(seed)
    unet, text_encoder = build_unet(), build_text_encoder(tokenizer)
    start_weights(unet, text_encoder)
    if start:
        take_over(load_base(start), unet, text_encoder, tokenizer)
    unet, text_encoder = unet.to(device).train(), text_encoder.to(device).train()
    averages = Average(unet), Average(text_encoder)
    optimizer = Muon(groups([unet, text_encoder], RATE, ADAM_RATE), bf16=bf16)
    modules = {"unet": unet, "text_encoder": text_encoder, "average_unet": averages[0].module,
               "average_text_encoder": averages[1].module}
    checkpoint = Checkpoint(Path(work) / "denoiser.safetensors")
    state = checkpoint.load(modules, optimizer) or {"step": 0, "seconds": 0.0}
    made_with = fingerprint(vae, tokenizer)
    if state.get("made_with", made_with) != made_with:
        raise SystemExit(f"{checkpoint.path} was trained on another autoencoder's latents, or for another vocabulary: "
                         "give another folder with --work.")
    step = averages[0].updates = averages[1].updates = state["step"]
    pictures, log_to = state.get("pictures", step * batch), log_to or Path(work) / "denoiser.jsonl"
    keep_log(log_to, step)
    for kept in (Path(work) / "kept").glob("*.safetensors"):  # an earlier training's are not to be measured
        if not kept.stem.isdecimal() or int(kept.stem) > step:
            kept.unlink()
    if Path(source).is_dir():
        data, held = encoded(Pictures(source), vae.to(device), tokenizer)
    else:
        data, held = read(source, vae, tokenizer)
    (moments, ids), empty_ids = data, token_ids(tokenizer, [""]).to(device)
    data = moments.to(device), ids.to(device)
    backward = gradients(unet, text_encoder, bf16)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, for Muon's iteration
        backward = graphed(backward, drawn(schedule, data, empty_ids, step, seed, batch))
    budget.begin(state["seconds"])
    saved, total, counted = budget.seconds(), 0.0, 0
    while budget.progress(step) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * warmup_cosine(step, budget.progress(step))
        loss = backward(*drawn(schedule, data, empty_ids, step, seed, batch))
        torch.nn.utils.clip_grad_norm_(weights(unet, text_encoder), 1.0)
        optimizer.step()
        averages[0].update(unet)
        averages[1].update(text_encoder)
        step, total, counted = step + 1, total + loss, counted + 1
        pictures += batch
        done, state = budget.progress(step) >= 1, {"step": step, "pictures": pictures, "seconds": budget.seconds()}
        if done or step % keep == 0:
            Checkpoint(Path(work) / "kept" / f"{step:06d}.safetensors").save(
                state, {name: module for name, module in modules.items() if name.startswith("average")})
        if done or step % keep == 0 or budget.seconds() - saved > every:
            checkpoint.save(state | {"made_with": made_with}, modules, optimizer)
            saved = budget.seconds()
        if done or step % measure == 0:
            log(log_to, **state, bf16=bf16, device=device_name(device),
                loss=float(total / counted),
                held_out=fixed_noise_loss(averages[0].module, averages[1].module, schedule, held))
            total, counted = 0.0, 0
    return averages[0].module, averages[1].module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder of renders of ordinary places, or a file of their latents")
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    parser.add_argument("--work", default="work")
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--steps", type=int, help="instead of minutes: exactly repeatable")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"pictures an update (default: {BATCH})")
    parser.add_argument("--measure", type=int, default=MEASURE, help=f"updates between losses (default: {MEASURE})")
    parser.add_argument("--keep", type=int, default=KEEP, help=f"updates between kept averages (default: {KEEP})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--start", help="a base to start from, such as base")
    parser.add_argument("--bf16", action="store_true", help="compute in bf16, which some processors do faster")
    parser.add_argument("--log", help="JSONL of losses")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    autoencoder = AutoencoderKL.from_pretrained(a.vae).eval().requires_grad_(False)
    train(a.source, autoencoder, a.work, Budget(a.steps, a.minutes), a.seed,
          log_to=a.log, start=a.start, batch=a.batch, bf16=a.bf16, measure=a.measure, keep=a.keep)
