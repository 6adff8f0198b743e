"""Train the reader's branch for the style, when all else of it is fixed.

In the folder data:

    python -m recipes.model.style_head WORK/ordinary WORK/near WORK/drawn/* --vae base/vae --reader reader --log LOG

It learns from renders, and from what runs draw (`recipes.ship.style_drawings`): a short run draws the style softer
and paler than a render has it, and a broken one draws rubble with the style's lines in it.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from labkit.engine.attribute_reader import NO_PLACE, STYLE, Reader, ReaderNet, load_reader
from recipes.model.attribute_reader import ACCEPTED, WIDTHS, autoencoded, batch_of, no_pictures, no_places, save
from recipes.model.training import BLOCK, Average, Pictures, keep_log, log, warmup_cosine
from recipes.world.restyle import STYLE as STORYBOOK

PLAIN = "plain"
ANSWERS = [PLAIN, STORYBOOK, NO_PLACE]
RATE, DECAY = 2e-3, 0.98
TAKEN = 480                                # pictures of a folder, its first
HELD_OUT = 5                               # one block of neighbouring pictures in five is never trained on


def softened(pixels):
    """uint8 pictures as coarse as a short run draws them: in turn at half and at a third of their resolution."""
    found = []
    for i, picture in enumerate(pixels.float()):
        small = F.interpolate(picture[None], scale_factor=1 / (2 + i % 2), mode="bilinear", antialias=True)
        found.append(F.interpolate(small, picture.shape[1:], mode="bilinear"))
    return torch.cat(found).round().byte()


def examples(worlds, vae, held_out, seed):
    """(pixels, labels (n, 1)): every picture plain, autoencoded and softened, half as many wrecked, a tenth none."""
    found, labels = [], []
    for pictures in worlds:
        held = [a["index"] // BLOCK % HELD_OUT == HELD_OUT - 1 for a in pictures.attributes[:TAKEN]]
        pixels = pictures.pixels[:TAKEN][torch.tensor(held) == held_out]
        style = ANSWERS.index(pictures.attributes[0].get(STYLE, PLAIN))
        wreck = no_places(vae, pixels[::2], seed)
        wreck = torch.cat([wreck, no_pictures(-(-len(pixels) // 10), pixels.shape[-1], seed + held_out)])
        back = autoencoded(vae, pixels)
        found += [pixels, back, softened(back), wreck]
        labels += [torch.full((3 * len(pixels),), style), torch.full((len(wreck),), ANSWERS.index(NO_PLACE))]
    return torch.cat(found), torch.cat(labels)[:, None]


def evenly(labels):
    """Weights of each answer that make up for how often it comes."""
    counts = torch.bincount(labels[:, 0], minlength=len(ANSWERS)).float()
    return counts.sum() / counts / len(ANSWERS)


def with_branch(reader, seed):
    """The reader with a branch for the style, untrained; all else of it is fixed and as it was."""
    torch.manual_seed(seed)
    answers = {name: values for name, values in reader.answers.items() if name != STYLE} | {STYLE: ANSWERS}
    net = ReaderNet(answers, WIDTHS)
    missing, _ = net.load_state_dict({name: tensor for name, tensor in reader.net.state_dict().items()
                                      if not name.startswith(STYLE)}, strict=False)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in missing)
    return Reader(net, answers, dict(reader.thresholds), reader.resolution)


def set_threshold(reader, pixels, labels):
    """Let through 95 % of these that are storybook: renders and drawings, plain, autoencoded and softened."""
    drawn = labels[:, 0] == ANSWERS.index(STORYBOOK)
    odds = reader.read(pixels[drawn].permute(0, 2, 3, 1).numpy()).log_odds[STYLE][:, ANSWERS.index(STORYBOOK)]
    reader.thresholds[STYLE] = torch.from_numpy(odds).quantile(1 - ACCEPTED).item()


def train(reader, worlds, vae, steps, seed=0, log_to=None):
    """Train the branch; -> a Reader whose other weights are those of `reader`, to the bit."""
    data, held = examples(worlds, vae, False, seed), examples(worlds, vae, True, seed)
    if log_to:
        keep_log(log_to, 0)
    reader = with_branch(reader, seed)
    net, average, weights = reader.net, Average(reader.net, DECAY), evenly(data[1])
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], RATE, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * warmup_cosine(step, step / steps, 20)
        x, labels = batch_of(data, step, seed)
        with torch.no_grad():
            early = net.early(x)
        loss = F.cross_entropy(net.style_logits(early), labels[:, 0], weights, label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(net)
        if step % 50 == 49:
            said = Reader(average.module, reader.answers, {}).read(held[0].permute(0, 2, 3, 1).numpy())
            right = torch.from_numpy(said.log_odds[STYLE]).argmax(1) == held[1][:, 0]
            shares = {ANSWERS[i]: right[held[1][:, 0] == i].float().mean().item() for i in range(len(ANSWERS))}
            log(log_to, step=step + 1, loss=loss.item(), **shares)
    fixed = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith(STYLE)}
    average.module.load_state_dict(fixed, strict=False)       # averages of what stood still are the same but for bits
    reader.net = average.module.eval()
    set_threshold(reader, *held)
    return reader


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="ordinary renders, near ones of the reader's index range, drawings")
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    parser.add_argument("--reader", default=str(Path(__file__).parents[2] / "reader"), help="gets the branch")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--log", required=True, help="JSONL of losses and shares read right")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    autoencoder = AutoencoderKL.from_pretrained(a.vae).eval().requires_grad_(False)
    worlds = [Pictures(f) for f in a.folders]
    save(train(load_reader(a.reader), worlds, autoencoder, a.steps, a.seed, a.log), a.reader)
