"""The embedded base: Stable Diffusion 1.5 in miniature, from the same classes of diffusers.

128x128 pictures, 8x16x16 latents, captions of up to 40 tokens. Stored (`save_base`) it stays
under 24 MB: UNet and autoencoder in float16; the text encoder in float32, since transformers
would load a float16 one as float16 beside a float32 UNet.
"""

import os
import tempfile
from itertools import pairwise
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

RESOLUTION = 128
LATENT_CHANNELS = 8  # with 4, as Stable Diffusion has, pictures this small lose three decibels
MAX_TOKENS = 40
TEXT_WIDTH = 128
HEAD_WIDTH = 32  # smaller heads are a third of a step on a CPU
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters():
    """The 256 printable characters that stand for bytes in CLIP's byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def merge(pieces, ranks):
    """Apply ranked byte-pair merges to a word's pieces until none fits."""
    while True:
        pairs = [p for p in pairwise(pieces) if p in ranks]
        if not pairs:
            return pieces
        first, merged, i = min(pairs, key=ranks.get), [], 0
        while i < len(pieces):
            pair = i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == first
            merged.append(pieces[i] + pieces[i + 1] if pair else pieces[i])
            i += 2 if pair else 1
        pieces = merged


def byte_pairs(vocabulary):
    """Merges, in order, that make each word one token. Later merges never break earlier words:
    a word is one token by older, stronger merges alone. -> dict (left, right) -> rank."""
    ranks = {}
    for word in vocabulary:
        pieces = merge([*word[:-1], word[-1] + "</w>"], ranks)
        while len(pieces) > 1:
            ranks[pieces[0], pieces[1]] = len(ranks)
            pieces = merge(pieces, ranks)
    return ranks


def build_tokenizer(vocabulary):
    """A CLIPTokenizer in which each word of `vocabulary` (lower-case letters) is one token; any other text
    falls back to pieces and bytes."""
    ranks = byte_pairs(vocabulary)
    characters = byte_characters()
    tokens = characters + [c + "</w>" for c in characters]
    tokens += dict.fromkeys(left + right for left, right in ranks)
    vocab = {token: i for i, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    return CLIPTokenizer(vocab=vocab, merges=list(ranks), model_max_length=MAX_TOKENS)


def build_text_encoder(tokenizer):
    """A CLIP text encoder, (N, 40) token ids -> (N, 40, 128)."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=MAX_TOKENS, hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH, projection_dim=TEXT_WIDTH, num_hidden_layers=4,
        num_attention_heads=TEXT_WIDTH // HEAD_WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))


def build_vae(scaling_factor=1.0):
    """The autoencoder, (N, 3, 128, 128) in -1..1 <-> (N, 8, 16, 16). No attention: it is trained on crops."""
    channels = (16, 32, 64, 80)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(channels), up_block_types=["UpDecoderBlock2D"] * len(channels),
        block_out_channels=channels, layers_per_block=1, latent_channels=LATENT_CHANNELS, norm_num_groups=8,
        sample_size=RESOLUTION, scaling_factor=scaling_factor, mid_block_add_attention=False)


def build_unet():
    """The conditional UNet, (N, 8, 16, 16), timesteps, (N, 40, 128) -> (N, 8, 16, 16)."""
    channels = (64, 128, 160)
    return UNet2DConditionModel(
        sample_size=RESOLUTION // 8, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        block_out_channels=channels,
        layers_per_block=1, norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=[c // HEAD_WIDTH for c in channels])  # diffusers' name for the number of heads


def build_scheduler():
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                         clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon")


def build_pipeline(tokenizer, text_encoder=None, vae=None, unet=None):
    """A StableDiffusionPipeline of these parts; random weights for what is not given."""
    return StableDiffusionPipeline(
        vae=vae or build_vae(), text_encoder=text_encoder or build_text_encoder(tokenizer), tokenizer=tokenizer,
        unet=unet or build_unet(), scheduler=build_scheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)


def save_base(pipeline, folder):
    """Write the pipeline as a diffusers folder, UNet and autoencoder as float16; appears whole or not at all."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        new, old = Path(aside) / "new", Path(aside) / "old"
        pipeline.save_pretrained(new, safe_serialization=True)
        for name, part in (("unet", build_unet()), ("vae", build_vae(pipeline.vae.config.scaling_factor))):
            part.load_state_dict(getattr(pipeline, name).state_dict())
            part.half().save_pretrained(new / name, safe_serialization=True)
        # transformers before 5 read these two, later ones tokenizer.json
        pipeline.tokenizer.backend_tokenizer.model.save(str(new / "tokenizer"))
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)


def load_base(folder):
    """The stored pipeline; diffusers loads every part as float32 unless told otherwise."""
    return StableDiffusionPipeline.from_pretrained(folder)
