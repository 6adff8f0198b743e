"""Encode renders once, as latents that are small enough to travel to a GPU without the pictures.

In the folder data:

    python -m recipes.model.latents ORDINARY --vae base/vae --to WORK/latents.safetensors

The posterior of a picture is kept as its mean in 8 bits a value and one standard deviation a channel: about 2 kB.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recipes.model.architecture import build_tokenizer
from recipes.model.training import Pictures, choose_device, sharpened
from recipes.world.captions import VOCABULARY

LEVELS = 255
SETS = ("train", "held")


def mirrored(caption):
    """Return the caption of the mirrored picture."""
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word.rstrip(","), word.rstrip(",")) + "," * word.endswith(",")
                    for word in caption.split())


def token_ids(tokenizer, captions):
    """Return (n, 40) token ids, padded and cut as StableDiffusionPipeline does."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def latents(vae, pixels, batch=32):
    """Return scaled (mean, std) of the posteriors of uint8 pictures, each (n, 8, 16, 16), on the CPU."""
    device, moments = next(vae.parameters()).device, []
    for chunk in pixels.split(batch):
        posterior = vae.encode(sharpened(chunk.to(device).float() / 127.5 - 1)).latent_dist
        moments.append(torch.stack([posterior.mean, posterior.std]).cpu() * vae.config.scaling_factor)
    return torch.cat(moments, 1)


def encoded(pictures, vae, tokenizer):
    """Return (train, held out), each ((mean, std), token ids).

    Training pictures are there mirrored too, and their captions with them.
    """
    train, held = ~pictures.held_out, pictures.held_out
    chosen = [c for c, h in zip(pictures.captions, held.tolist(), strict=True) if not h]
    moments = torch.cat([latents(vae, pictures.pixels[train]), latents(vae, pictures.pixels[train].flip(-1))], 1)
    ids = token_ids(tokenizer, chosen + [mirrored(c) for c in chosen])
    held_captions = [c for c, h in zip(pictures.captions, held.tolist(), strict=True) if h]
    return (moments, ids), (latents(vae, pictures.pixels[held]), token_ids(tokenizer, held_captions))


def fingerprint(vae, tokenizer):
    """Return a text that differs wherever latents or token ids would mean something else.

    Weights count as they ship, in float16, so that an autoencoder is the same before it was exported and after.
    """
    digest = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    for name, weight in sorted(vae.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()[:16]


def write(path, sets, vae, tokenizer):
    """Write what `encoded` gave: means in LEVELS steps between the least and the largest of their channel."""
    tensors = {}
    for name, ((mean, std), ids) in zip(SETS, sets, strict=True):
        low, high = mean.amin((0, 2, 3)), mean.amax((0, 2, 3))
        step = ((high - low) / LEVELS).clamp(min=1e-8)
        levels = ((mean - low[:, None, None]) / step[:, None, None]).round()
        tensors |= {f"{name}.mean": levels.to(torch.uint8), f"{name}.low": low, f"{name}.step": step,
                    f"{name}.std": std.mean((2, 3)).half(), f"{name}.ids": ids.to(torch.int16)}
    aside = Path(path).with_suffix(".aside")
    aside.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, aside, metadata={"made_with": fingerprint(vae, tokenizer)})
    aside.replace(path)


def read(path, vae, tokenizer):
    """Return (train, held out) as `encoded` does; SystemExit names a file that is damaged or of another base."""
    try:
        with safe_open(path, framework="pt") as file:
            made_with = (file.metadata() or {}).get("made_with")
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise SystemExit(f"{path} cannot be read as latents ({error}): encode the pictures again.") from None
    if made_with != fingerprint(vae, tokenizer):
        raise SystemExit(f"{path} was encoded by another autoencoder or for another vocabulary: encode the pictures "
                         "again.")
    sets = []
    for name in SETS:
        low, step = (tensors[f"{name}.{part}"][:, None, None] for part in ("low", "step"))
        mean = tensors[f"{name}.mean"].float() * step + low
        std = tensors[f"{name}.std"].float()[:, :, None, None].expand_as(mean)
        sets.append((torch.stack([mean, std]), tensors[f"{name}.ids"].long()))
    return tuple(sets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="renders of ordinary places")
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    parser.add_argument("--to", required=True, help="the file to write")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    autoencoder = AutoencoderKL.from_pretrained(options.vae).eval().requires_grad_(False).to(choose_device())
    words = build_tokenizer(VOCABULARY)
    write(options.to, encoded(Pictures(options.folder), autoencoder, words), autoencoder, words)
