"""Train the attribute reader on ordinary and liminal renders, plain and passed through the autoencoder.

In the folder data:

    python -m recipes.model.attribute_reader ORDINARY LIMINAL --vae FOLDER --out reader --work FOLDER
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from labkit.engine.attribute_reader import NO_PLACE, Reader, ReaderNet
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

ATTRIBUTES = ("kind", "wall_color", "main_color", "second_color", "floor", "light")
BATCH, RATE, ADAM_RATE = 64, 0.01, 1e-3
WIDTHS = (24, 48, 96, 128, 128)
ACCEPTED = 0.95  # share of held-out renders that the threshold lets through


@torch.no_grad()
def autoencoded(vae, pixels, batch=32):
    """uint8 pictures as they come back from the autoencoder."""
    device, found = next(vae.parameters()).device, []
    for chunk in pixels.split(batch):
        y = vae.decode(vae.encode(chunk.to(device).float() / 127.5 - 1).latent_dist.mean).sample
        found.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().cpu())
    return torch.cat(found)


@torch.no_grad()
def no_places(vae, pixels, seed, batch=32):
    """uint8 pictures that show no place: latents drowned in noise, shuffled in patches, mixed, or noise alone."""
    device, found = next(vae.parameters()).device, []
    for step, chunk in enumerate(pixels.split(batch)):
        draw = generator(seed, "no place", step)
        z = vae.encode(chunk.to(device).float() / 127.5 - 1).latent_dist.mean.cpu()
        noise = torch.randn(z.shape, generator=draw) * z.std()
        patches = z.unfold(2, 4, 4).unfold(3, 4, 4).reshape(*z.shape[:2], 16, 4, 4)
        patches = patches[:, :, torch.randperm(16, generator=draw)]
        shuffled = patches.reshape(*z.shape[:2], 4, 4, 4, 4).permute(0, 1, 2, 4, 3, 5).reshape(z.shape)
        mixed = (z + z.roll(1, 0) + z.roll(2, 0)) / 3
        low = F.interpolate(torch.randn(*z.shape[:2], 4, 4, generator=draw), 16, mode="bilinear") * 2 * z.std()
        wild = torch.stack([z + 1.2 * noise, shuffled, mixed, noise, low + 0.3 * noise, z * 2.5 + 0.5 * noise])
        choice = torch.randint(len(wild), (len(z),), generator=draw)
        y = vae.decode(wild[choice, torch.arange(len(z))].to(device)).sample
        found.append(((y.clamp(-1, 1) + 1) * 127.5).round().byte().cpu())
    return torch.cat(found)


def no_pictures(count, size, seed):
    """Pictures that no autoencoder made: in turn flat colour, coarse and fine colour noise, stripes.

    uint8 (count, 3, size, size).
    """
    found = []
    for i in range(count):
        draw = generator(seed, "no picture", i)
        rows, columns = [(1, 1), (8, 8), (size, size), (1, 16), (16, 1)][i % 5]
        coarse = torch.randint(256, (1, 3, rows, columns), generator=draw).float()
        found.append(F.interpolate(coarse, (size, size)).byte())
    return torch.cat(found)


def answers_of(worlds):
    """Every answer to each attribute, sorted; 'none' is left out."""
    rows = [a for pictures in worlds for a in pictures.attributes]
    found = {name: sorted({a[name] for a in rows if a.get(name, "none") != "none"}) for name in ATTRIBUTES}
    return found | {"kind": [*found["kind"], NO_PLACE]}


def labels_of(attributes, answers):
    """(n, attributes) indices of the answers, -100 where there is none (cross-entropy passes it over)."""
    return torch.tensor([[values.index(a[name]) if a.get(name, "none") in values else -100
                          for name, values in answers.items()] for a in attributes])


def examples(worlds, vae, answers, held_out, seed):
    """(pixels, labels): all pictures plain and autoencoded, half as many wrecked, a tenth as many no picture."""
    pixels = torch.cat([w.pixels[w.held_out == held_out] for w in worlds])
    labels = torch.cat([labels_of(w.attributes, answers)[w.held_out == held_out] for w in worlds])
    wreck = no_places(vae, pixels[torch.randperm(len(pixels), generator=generator(seed, "wrecks", 0))[::2]], seed)
    wreck = torch.cat([wreck, no_pictures(len(pixels) // 10, pixels.shape[-1], seed + held_out)])
    nothing = torch.full((len(wreck), labels.shape[1]), -100)
    nothing[:, 0] = answers["kind"].index(NO_PLACE)
    return torch.cat([pixels, autoencoded(vae, pixels), wreck]), torch.cat([labels, labels, nothing])


def batch_of(data, step, seed):
    """A batch of examples, mirrored, shifted, sharpened and changed a little in brightness: (x in -1..1, labels)."""
    draw, (pixels, labels) = generator(seed, "reader", step), data
    pick = torch.randint(len(labels), (BATCH,), generator=draw)
    x = pixels[pick].float() / 127.5 - 1
    x = torch.where(torch.rand(BATCH, 1, 1, 1, generator=draw) < 0.5, x.flip(-1), x)
    top, left = torch.randint(9, (2,), generator=draw).tolist()
    x = F.pad(x, (4, 4, 4, 4), mode="replicate")[..., top:top + 128, left:left + 128]
    x = sharpened(x, 2 * SHARP * torch.rand(BATCH, 1, 1, 1, generator=draw))
    return x * (1 + 0.1 * (torch.rand(BATCH, 1, 1, 1, generator=draw) - 0.5)), labels[pick]


def loss_of(net, x, labels):
    """Cross-entropy summed over the attributes, the kind of place counted twice."""
    logits, _ = net(x)
    return sum(F.cross_entropy(value, labels[:, i], ignore_index=-100, label_smoothing=0.02)
               * (2 if name == "kind" else 1) for i, (name, value) in enumerate(logits.items()))


def accuracy(reader, pixels, labels):
    """Share of right first answers of each attribute."""
    reading, right = reader.read(pixels.permute(0, 2, 3, 1).numpy()), {}
    for i, (name, values) in enumerate(reader.answers.items()):
        answers = reading.kinds if name == "kind" else [a[name] for a in reading.attributes]
        known = [(values[label], answer)
                 for label, answer in zip(labels[:, i].tolist(), answers, strict=True) if label >= 0]
        right[name] = sum(a == b for a, b in known) / max(1, len(known))
    return right


def set_threshold(reader, pixels, labels):
    """Let through 95 % of these renders: those whose kind is not read right count as refused."""
    scores = torch.from_numpy(reader.read(pixels.permute(0, 2, 3, 1).numpy()).scores)
    reader.thresholds["kind"] = scores[torch.arange(len(labels)), labels[:, 0]].quantile(1 - ACCEPTED).item()


def train(worlds, vae, work, budget, seed=0, every=60, log_to=None):
    """Train until the budget is spent, resuming from `work`; -> Reader."""
    device, answers = choose_device(), answers_of(worlds)
    vae = vae.to(device)
    torch.manual_seed(seed)
    net = ReaderNet(answers, WIDTHS).to(device)
    average = Average(net, 0.99)
    optimizer = Muon(groups([net], RATE, ADAM_RATE, weight_decay=0.01))
    checkpoint, modules = Checkpoint(Path(work) / "reader.safetensors"), {"net": net, "average": average.module}
    state = checkpoint.load(modules, optimizer) or {"step": 0, "seconds": 0.0}
    step, log_to = state["step"], log_to or Path(work) / "reader.jsonl"
    average.updates = step
    keep_log(log_to, step)
    data, held = examples(worlds, vae, answers, False, seed), examples(worlds, vae, answers, True, seed)
    reader = Reader(average.module, answers, {"kind": 0.0})
    budget.begin(state["seconds"])
    saved, total, counted = budget.seconds(), 0.0, 0
    while budget.progress(step) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * warmup_cosine(step, budget.progress(step))
        x, labels = batch_of(data, step, seed)
        optimizer.zero_grad()
        loss = loss_of(net, x.to(device), labels.to(device))
        loss.backward()
        optimizer.step()
        average.update(net)
        step, total, counted = step + 1, total + loss.item(), counted + 1
        if budget.progress(step) >= 1 or budget.seconds() - saved > every:
            seconds = budget.seconds()
            checkpoint.save({"step": step, "seconds": seconds}, modules, optimizer)
            log(log_to, step=step, seconds=seconds, loss=total / counted,
                **accuracy(reader, *held))
            total, counted, saved = 0.0, 0, budget.seconds()  # measuring does not count towards the next
    places = held[1][:, 0] != answers["kind"].index(NO_PLACE)
    set_threshold(reader, held[0][places], held[1][places])
    return reader


def save(reader, folder):
    """Write config.json and model.safetensors."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: t.cpu().contiguous() for k, t in reader.net.state_dict().items()}, folder / "model.safetensors")
    config = {"answers": reader.answers, "widths": WIDTHS, "thresholds": reader.thresholds,
              "resolution": reader.resolution}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", help="folders of renders, one a world")
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    parser.add_argument("--out", default=str(Path(__file__).parents[2] / "reader"))
    parser.add_argument("--work", default="work")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="instead of minutes: exactly repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--log", help="JSONL of losses and accuracies")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    autoencoder = AutoencoderKL.from_pretrained(a.vae).eval().requires_grad_(False)
    worlds = [Pictures(f) for f in a.folders]
    save(train(worlds, autoencoder, a.work, Budget(a.steps, a.minutes), a.seed, log_to=a.log), a.out)
