"""Write data/base from a checkpoint of the denoiser (its averages) and the trained autoencoder.

In the folder data:

    python -m recipes.model.export --vae FOLDER --checkpoint WORK/denoiser.safetensors --out base

WORK/kept holds the averages of earlier updates, which are written in the same way.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from recipes.model.architecture import (
    build_pipeline,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    build_vae,
    save_base,
)
from recipes.model.training import Checkpoint
from recipes.world.captions import VOCABULARY


def export(vae, checkpoint, out):
    """Save the pipeline of a checkpoint's file; -> the checkpoint's state."""
    tokenizer = build_tokenizer(VOCABULARY)
    unet, text_encoder = build_unet(), build_text_encoder(tokenizer)
    state = Checkpoint(checkpoint).load({"average_unet": unet, "average_text_encoder": text_encoder})
    if state is None:
        raise FileNotFoundError(f"{checkpoint} holds no checkpoint: train recipes.model.denoiser first")
    trained = AutoencoderKL.from_pretrained(vae)
    fresh = build_vae(trained.config.scaling_factor)  # its configuration names no folder of this machine
    fresh.load_state_dict(trained.state_dict())
    save_base(build_pipeline(tokenizer, text_encoder, fresh, unet), out)
    return state


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", required=True, help="folder of the trained autoencoder")
    parser.add_argument("--checkpoint", default="work/denoiser.safetensors")
    parser.add_argument("--out", default=str(Path(__file__).parents[2] / "base"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    print(export(a.vae, a.checkpoint, a.out))
