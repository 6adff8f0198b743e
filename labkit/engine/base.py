"""A frozen text-to-image base: load, encode, decode, generate. Its models come from `loading`.

K runs side by side, N pictures, C H W latent, L tokens, D width.
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.engine.adapters import LoRAStack, bare
from labkit.engine.base_files import find_base
from labkit.engine.casting import cast, fit_for_cpu
from labkit.engine.devices import find_device
from labkit.engine.dtypes import chosen_dtype, keep_float32, sentence
from labkit.engine.loading import fitting_files, load_libraries, load_models, pipeline, quiet
from labkit.engine.loss import Denoiser
from labkit.engine.out_of_memory import choose, enough_memory
from labkit.engine.seeding import generator
from labkit.engine.text_encoders import check_length, encode_one, encode_two, size_numbers
from labkit.errors import LabError
from labkit.machine import keep_freed_memory, limit_torch

MOST_TIMES = 4                                                # its own resolution: beyond, a base only repeats itself
PICTURES_AT_ONCE = 8                                          # through the autoencoder: 512 x 512 needs 0.4 GB each
ROWS_AT_ONCE = 64                                             # through the U-Net while sampling
FEWER = "fewer pictures at once (rows= when drawing, pictures= when training)"
KEPT = "device='cpu' once (what is encoded there is kept for every device)"


def load_base(name: str = "embedded", *, device: str | torch.device | None = None,
              dtype: str | torch.dtype | None = None, revision: str | None = None) -> "Base":
    """Load a base, frozen and in evaluation mode.

    name        'embedded', a folder in diffusers' layout, a .safetensors single file, or a name on the
                Hugging Face hub
    device      'cpu', 'cuda', 'mps'; None takes the best there is
    dtype       of the U-Net: float32, bfloat16 or float16, as torch.dtype or text; None takes what the device is
                best at (`dtypes.chosen_dtype`); the encoders run once and stay float32
    revision    branch, tag or commit of a hub name
    LabError names what is wrong with the base, the device or the dtype, before anything is loaded,
    or says that memory is too small.
    """
    device = find_device(device)
    dtype = chosen_dtype(dtype, device)
    files = find_base(name, revision)
    load_libraries()
    limit_torch()
    keep_float32()
    keep_freed_memory()
    fingerprint = files.fingerprint()
    remedy = choose(device, dtype, "a smaller base")
    with fitting_files(name), enough_memory(f"The base {name}", remedy), quiet():
        models = load_models(files)
        unet, vae = models["unet"], models["vae"]
        encoders = [models[part] for part in ("text_encoder", "text_encoder_2") if part in models]
        unet.to(device, dtype), vae.float(), *(encoder.float() for encoder in encoders)
    if unet.config.in_channels != vae.config.latent_channels:
        raise LabError(f"base: the U-Net of {name} takes {unet.config.in_channels} channels where its autoencoder "
                       f"makes {vae.config.latent_channels}: an inpainting or depth model. "
                       "Give its text-to-image sibling.")
    if getattr(vae.config, "latents_mean", None) is not None:
        raise LabError(f"base: the autoencoder of {name} shifts each channel of its latents (latents_mean), "
                       "which labkit does not do. Give a base without that, such as Stable Diffusion XL's own.")
    for encoder, part in zip(encoders, ("tokenizer", "tokenizer_2"), strict=False):
        check_length(name, part, models[part], encoder)
    for model in (unet, vae, *encoders):
        model.requires_grad_(False).eval()
    base = Base(name=str(name), fingerprint=fingerprint, device=device, dtype=dtype,
                zeros_for_empty=files.zeros_for_empty, **models | {"unet": fit_for_cpu(unet)})
    with fitting_files(name):                                 # its configuration may tell no size
        return base.at(base.own_resolution)


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """Hold a frozen base; one pass at a time uses it, whoever trains, validates or samples holds `lock`."""

    name: str
    fingerprint: str                                          # 64 hex digits of the content of all its files
    unet: torch.nn.Module
    vae: torch.nn.Module                                      # encoders wait on the CPU and come to the device
    text_encoder: torch.nn.Module                             # while they work, since training needs the room
    tokenizer: Any                                            # transformers' CLIPTokenizer
    noise_scheduler: Any                                      # diffusers' DDPMScheduler: betas and prediction type
    device: torch.device
    dtype: torch.dtype                                        # of the U-Net
    text_encoder_2: torch.nn.Module | None = None             # SDXL's second, with its tokenizer
    tokenizer_2: Any = None
    zeros_for_empty: bool = False                             # SDXL: the empty caption is zeros, not encoded
    resolution: int = 0                                       # pixels a side, which `at` sets
    lock: threading.RLock = field(default_factory=threading.RLock)
    known_losses: dict = field(default_factory=dict)          # of the untouched U-Net on sets already measured

    @property
    def vae_scale_factor(self) -> int:
        """Give how many pixels a side become one of the latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def side_multiple(self) -> int:
        """Give the pixels of which each side must be a multiple: U-Net and autoencoder halve it so often."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    @property
    def own_resolution(self) -> int:
        """Give the side in pixels of the pictures it was made for."""
        side = self.unet.config.sample_size
        return (side if isinstance(side, int) else min(side)) * self.vae_scale_factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Give (C, H, W) of one picture's latent."""
        side = self.resolution // self.vae_scale_factor
        return self.vae.config.latent_channels, side, side

    @property
    def prediction_type(self) -> str:
        """Give what the U-Net predicts: "epsilon", "v_prediction" or "sample"."""
        return self.noise_scheduler.config.prediction_type

    @property
    def num_inference_steps(self) -> int:
        """Give the steps after which a drawn picture is settled.

        They are few for the embedded base's small latents, twenty for Stable Diffusion's.
        """
        return 8 if max(self.latent_shape[1:]) <= 32 else 20

    @property
    def computes(self) -> str:
        """Say in which precision the U-Net computes, and how to choose otherwise."""
        return sentence(self.device, self.dtype)

    @cached_property
    def denoiser(self) -> Denoiser:
        """Give what the loss needs of this base: U-Net, noise levels, prediction type."""
        return Denoiser(self.unet, self.noise_scheduler.alphas_cumprod.to(self.device), self.prediction_type)

    def sampler(self) -> Any:
        """Give a fresh sampler: DPM-Solver++ 2M from the noisiest timestep down.

        It is as accurate in 8 steps here as DDIM in 16.
        """
        from diffusers import DPMSolverMultistepScheduler  # loads slowly

        return DPMSolverMultistepScheduler.from_config(self.noise_scheduler.config, timestep_spacing="trailing")

    def at(self, resolution: int) -> "Base":
        """Give the same base, sharing weights and lock, for pictures of `resolution` pixels a side."""
        if resolution < self.side_multiple or resolution % self.side_multiple:
            raise LabError(f"resolution: {resolution} does not fit {self.name}; "
                           f"give a multiple of {self.side_multiple} pixels, {self.own_resolution} being its own.")
        if resolution > MOST_TIMES * self.own_resolution:
            raise LabError(f"resolution: {resolution} is more than {MOST_TIMES} times "
                           f"the {self.own_resolution} pixels that {self.name} was made for: "
                           "it would draw nothing there, and the machine might run out of memory.")
        return replace(self, resolution=resolution)

    def in_precision(self, dtype: torch.dtype) -> "Base":
        """Give this base with its U-Net in `dtype`: itself where it is kept so, else one with a U-Net of its own."""
        return self if dtype == self.dtype else replace(self, unet=cast(self.unet, dtype), dtype=dtype)

    @property
    def _at_once(self) -> int:
        """Return how many pictures go through the autoencoder at once, whose memory grows with their pixels."""
        return max(1, min(PICTURES_AT_ONCE, PICTURES_AT_ONCE * 512**2 // self.resolution**2))

    @torch.no_grad()
    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Encode uint8 (N, H, W, 3) into mean and standard deviation of the scaled latents.

        Each is (N, C, H/8, W/8) float32.
        """
        mean, std = [], []
        with self.lock, self._enough_memory("Encoding pictures", elsewhere=KEPT), self._at_work(self.vae):
            for part in np.split(pictures, range(self._at_once, len(pictures), self._at_once)):
                pixels = torch.from_numpy(np.ascontiguousarray(part)).to(self.device).permute(0, 3, 1, 2)
                latents = self.vae.encode(pixels.float() / 127.5 - 1).latent_dist
                mean.append(latents.mean)
                std.append(latents.std)
        factor = self.vae.config.scaling_factor
        return (torch.cat(mean) - self._shift) * factor, torch.cat(std) * factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Decode scaled latents (N, C, H, W) into uint8 (N, 8H, 8W, 3). What is not finite comes out black."""
        with self.lock, self._enough_memory("Decoding pictures", FEWER), self._at_work(self.vae):
            x = torch.cat([self.vae.decode(part / self.vae.config.scaling_factor + self._shift).sample
                           for part in latents.float().to(self.device).split(self._at_once)])
        # a cast of NaN to uint8 differs between machines
        x = ((x / 2 + 0.5).clamp(0, 1).nan_to_num(0) * 255).round()
        return x.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()

    def _enough_memory(self, doing: str, *smaller: str,
                       elsewhere: str = "device='cpu'") -> contextlib.AbstractContextManager[None]:
        """Say what to choose instead where memory runs out while `doing` pictures of this size."""
        remedy = choose(self.device, self.dtype, *smaller, "a smaller resolution", elsewhere=elsewhere)
        return enough_memory(f"{doing} of {self.resolution} pixels", remedy)

    @contextlib.contextmanager
    def _at_work(self, *encoders: torch.nn.Module) -> Iterator[None]:
        """Hold encoders on the device; those that were there before stay."""
        guests = [encoder for encoder in encoders if encoder.device.type != self.device.type]
        try:
            for encoder in guests:
                encoder.to(self.device)
            yield
        finally:
            for encoder in guests:
                encoder.to("cpu")

    @property
    def _shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0

    @torch.no_grad()
    def encode_captions(self, captions: Sequence[str]) -> Mapping[str, Tensor]:
        """Encode captions, cut at the tokenizer's length, into the U-Net's conditions, (N, ...) float32 each.

        encoder_hidden_states (N, L, D); of SDXL text_embeds (N, D2) and time_ids (N, 6) too, these of a picture that
        was made at this resolution and not cropped.
        """
        enough = enough_memory("Encoding captions", choose(self.device, self.dtype))
        if self.text_encoder_2 is None:
            with self.lock, enough, self._at_work(self.text_encoder):
                return encode_one(self.tokenizer, self.text_encoder, captions)
        pairs = (self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)
        with self.lock, enough, self._at_work(self.text_encoder, self.text_encoder_2):
            cond = encode_two(pairs, captions, zeros_for_empty=self.zeros_for_empty)
        whole = torch.tensor([size_numbers((self.resolution,) * 2, (self.resolution,) * 2)])
        return cond | {"time_ids": whole.to(self.device).expand(len(captions), -1)}

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, adapters: LoRAStack | None = None,
                 num_inference_steps: int | None = None, guidance_scale: float = 3.0,
                 rows: int = ROWS_AT_ONCE) -> np.ndarray:
        """Draw one picture per (prompt, seed) by DPM-Solver++ with classifier-free guidance: uint8 (N, H, W, 3).

        With `adapters`, the LoRAStack of K runs on this base's U-Net, all K draw in one pass: (K, N, H, W, 3);
        without, the bare base draws, whatever is attached. A picture depends on its own prompt and seed, never on
        those drawn beside it.
        Equal to StableDiffusionPipeline with the same sampler given `generator(seed, "sample")` for each picture.
        Lu et al. 2022 (2M), algorithm 2; Ho & Salimans 2022, eq. 6.

        num_inference_steps    None takes the base's own
        rows                   through the U-Net at once
        """
        if len(prompts) != len(seeds) or not len(prompts):
            raise LabError(f"seeds: {len(seeds)} for {len(prompts)} prompts. "
                           "Give one seed for each picture, and one picture at least.")
        K = 1 if adapters is None else adapters.K
        at_once = max(1, rows // (2 * K))
        attached = bare(self.unet) if adapters is None else adapters.attached()
        with self.lock, self._enough_memory("Drawing pictures", FEWER), attached:
            parts = (self._draw(prompts[i:i + at_once], seeds[i:i + at_once], K, num_inference_steps, guidance_scale)
                     for i in range(0, len(prompts), at_once))
            shape = K, -1, self.resolution, self.resolution, 3
            pictures = np.concatenate([self.decode(part.flatten(0, 1)).reshape(shape) for part in parts], axis=1)
        return pictures[0] if adapters is None else pictures

    def draw_latents(self, prompts: Sequence[str], seeds: Sequence[int], *, num_inference_steps: int | None = None,
                     guidance_scale: float = 3.0) -> Tensor:
        """Draw with the bare base, as `generate` does, and give the latents before they are decoded: (N, C, H, W)."""
        with self.lock, torch.no_grad(), self._enough_memory("Drawing pictures"), bare(self.unet):
            return self._draw(prompts, seeds, 1, num_inference_steps, guidance_scale)[0]

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], K: int, num_inference_steps: int | None,
              guidance_scale: float) -> Tensor:
        """Return (K, N, C, H, W)."""
        sampler, denoiser, N = self.sampler(), self.denoiser, len(prompts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # diffusers 0.42 hands numpy 2 a tensor the old way
            sampler.set_timesteps(self.num_inference_steps if num_inference_steps is None else num_inference_steps)
        guided = guidance_scale > 1                           # diffusers' rule
        # The two halves of guidance stand inside each run's block, (K, 2, N): diffusers' order (2, K, N) would give
        # half of each run's rows to another run's adapter.
        words = self.encode_captions([""] * N + list(prompts) if guided else prompts)
        cond = {name: value.repeat(K, *[1] * (value.dim() - 1)) for name, value in words.items()}
        noise = torch.cat([torch.randn((1, *self.latent_shape), generator=generator(seed, "sample"))
                           for seed in seeds])
        latents = noise.to(self.device).expand(K, *noise.shape)                          # (K, N, C, H, W)
        # sent once: a copy a step would wait for the device
        sent_timesteps = sampler.timesteps.to(self.device)
        for t, sent_t in zip(sampler.timesteps, sent_timesteps, strict=True):
            rows = torch.cat([latents, latents], dim=1) if guided else latents
            prediction = denoiser(rows.flatten(0, 1), sent_t, cond).unflatten(0, (K, -1))
            if guided:
                without, prompted = prediction.chunk(2, dim=1)
                prediction = without + guidance_scale * (prompted - without)
            latents = sampler.step(prediction, t, latents).prev_sample
        return latents


@contextlib.contextmanager
def _narrow(base: Base) -> Iterator[None]:
    """Have diffusers' pipeline, whose encoders are float32, hand the U-Net numbers of its type, as `Denoiser` does."""
    def before(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named["encoder_hidden_states"] = named["encoder_hidden_states"].to(base.dtype)
        return (inputs[0].to(base.dtype), *inputs[1:]), named

    def after(_: Any, inputs: Any, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (outputs[0].float(), *outputs[1:])

    hooks = (base.unet.register_forward_pre_hook(before, with_kwargs=True), base.unet.register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def diffusers_picture(base: Base, prompt: str, seed: int, adapter_file: Path | str, *,
                      num_inference_steps: int | None = None, guidance_scale: float = 3.0) -> np.ndarray:
    """Draw the picture of `Base.generate`, uint8 (H, W, 3), with diffusers' own pipeline, sampler and LoRA loader.

    The loader needs peft.
    LabError: peft is not installed, or the file is none that diffusers can load.
    """
    encoders = [encoder for encoder in (base.text_encoder, base.text_encoder_2) if encoder is not None]
    with (base.lock, base._enough_memory("Drawing a picture"), bare(base.unet), _narrow(base),
          base._at_work(base.vae, *encoders), quiet(), torch.no_grad()):
        pipe = pipeline(base)
        pipe.set_progress_bar_config(disable=True)
        try:
            pipe.load_lora_weights(str(adapter_file))
            steps = num_inference_steps or base.num_inference_steps
            drawn = pipe(prompt, num_inference_steps=steps, guidance_scale=guidance_scale,
                         generator=generator(seed, "sample"), height=base.resolution, width=base.resolution,
                         output_type="np").images[0]
        except (ValueError, OSError, KeyError) as error:
            raise LabError(f"{adapter_file} cannot be loaded by diffusers here ({str(error).splitlines()[0]}). "
                           "Its LoRA loader needs peft: pip install peft.") from None
        finally:
            with contextlib.suppress(ValueError):
                pipe.unload_lora_weights()
            base.unet.requires_grad_(False)
    return (drawn * 255).round().astype(np.uint8)
