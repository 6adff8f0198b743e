"""A frozen text-to-image base: load, encode, decode, generate. The only module that knows diffusers and transformers.

K runs side by side, N pictures, C H W latent, L tokens, D width.
"""

import contextlib
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from labkit.engine.adapters import bare
from labkit.engine.base_files import BaseFiles, find_base
from labkit.engine.casting import cast, fit_for_cpu
from labkit.engine.devices import find_device
from labkit.engine.dtypes import chosen_dtype, keep_float32, sentence
from labkit.engine.loss import Denoiser
from labkit.engine.old_keys import old_text_encoder
from labkit.engine.out_of_memory import choose, enough_memory
from labkit.engine.seeding import generator
from labkit.errors import LabError, first_cause
from labkit.machine import keep_freed_memory, limit_torch
from labkit.text import shown

MOST_TIMES = 4                                                # its own resolution: beyond, a base only repeats itself
PICTURES_AT_ONCE = 8                                          # through the autoencoder: 512 x 512 needs 0.4 GB each
ROWS_AT_ONCE = 64                                             # through the U-Net while sampling
FEWER = "fewer pictures at once (rows= when drawing, pictures= when training)"
KEPT = "device='cpu' once (what is encoded there is kept for every device)"


def load_base(name: str = "embedded", *, device=None, dtype=None, revision: str | None = None) -> "Base":
    """Load a base, frozen and in evaluation mode.

    name        'embedded', a folder in diffusers' layout, a .safetensors single file, or a name on the Hugging Face hub
    device      'cpu', 'cuda', 'mps'; None takes the best there is
    dtype       of the U-Net: float32, bfloat16 or float16, as torch.dtype or text; None takes what the device is best at
                (`dtypes.chosen_dtype`); the encoders run once and stay float32
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
    with _loading(name), enough_memory(f"The base {name}", choose(device, dtype, "a smaller base")), _quiet():
        unet, vae, text_encoder, tokenizer, noise_scheduler = _load(files)
        unet.to(device, dtype), vae.float(), text_encoder.float()
    if unet.config.in_channels != vae.config.latent_channels:
        raise LabError(f"base: the U-Net of {name} takes {unet.config.in_channels} channels where its autoencoder makes "
                       f"{vae.config.latent_channels}: an inpainting or depth model. Give its text-to-image sibling.")
    if not 2 < tokenizer.model_max_length <= text_encoder.config.max_position_embeddings:
        raise LabError(f"base: the tokenizer of {name} makes captions of {shown(tokenizer.model_max_length)} tokens, its text encoder takes "
                       f"{text_encoder.config.max_position_embeddings}: set model_max_length in tokenizer/tokenizer_config.json to that.")
    for model in (unet, vae, text_encoder):
        model.requires_grad_(False).eval()
    base = Base(name=str(name), fingerprint=fingerprint, unet=fit_for_cpu(unet), vae=vae, text_encoder=text_encoder, tokenizer=tokenizer,
                noise_scheduler=noise_scheduler, device=device, dtype=dtype)
    with _loading(name):                                      # its configuration may tell no size
        return base.at(base.own_resolution)


@contextlib.contextmanager
def _loading(name):
    """Turn what goes wrong in it into a LabError: the libraries build models from unchecked files, and fail on odd ones in every way."""
    try:
        yield
    except (LabError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LabError(f"base: {name} could not be loaded ({reason}). Its files do not fit each other or this version of "
                       "diffusers; download it again.") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """Hold a frozen base; one pass at a time uses it, whoever trains, validates or samples holds `lock`."""

    name: str
    fingerprint: str                                          # 64 hex digits of the content of all its files
    unet: torch.nn.Module
    vae: torch.nn.Module                                      # encoders wait on the CPU and come to the device while they work,
    text_encoder: torch.nn.Module                             # since training needs the room
    tokenizer: object
    noise_scheduler: object                                   # diffusers' DDPMScheduler: the betas and the prediction type
    device: torch.device
    dtype: torch.dtype                                        # of the U-Net
    resolution: int | None = None                             # pixels a side
    lock: threading.RLock = field(default_factory=threading.RLock)
    known_losses: dict = field(default_factory=dict)          # of the untouched U-Net on sets already measured

    @property
    def vae_scale_factor(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def own_resolution(self) -> int:
        """Give the side in pixels of the pictures it was made for."""
        side = self.unet.config.sample_size
        return (side if isinstance(side, int) else min(side)) * self.vae_scale_factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.resolution // self.vae_scale_factor
        return self.vae.config.latent_channels, side, side    # (C, H, W)

    @property
    def prediction_type(self) -> str:
        return self.noise_scheduler.config.prediction_type

    @property
    def num_inference_steps(self) -> int:
        """Give the steps after which a drawn picture is settled: few for the embedded base's small latents, twenty for Stable Diffusion's."""
        return 8 if max(self.latent_shape[1:]) <= 32 else 20

    @property
    def computes(self) -> str:
        """Say in which precision the U-Net computes, and how to choose otherwise."""
        return sentence(self.device, self.dtype)

    @cached_property
    def denoiser(self) -> Denoiser:
        """Give what the loss needs of this base: U-Net, noise levels, prediction type."""
        return Denoiser(self.unet, self.noise_scheduler.alphas_cumprod.to(self.device), self.prediction_type)

    def sampler(self):
        """Give a fresh sampler: DPM-Solver++ 2M from the noisiest timestep down, as accurate in 8 steps here as DDIM in 16."""
        from diffusers import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler.from_config(self.noise_scheduler.config, timestep_spacing="trailing")

    def at(self, resolution: int) -> "Base":
        """Give the same base, sharing weights and lock, for pictures of `resolution` pixels a side."""
        step = self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if resolution < step or resolution % step:
            raise LabError(f"resolution: {resolution} does not fit {self.name}; give a multiple of {step} pixels, "
                           f"{self.resolution} being its own.")
        if resolution > MOST_TIMES * self.own_resolution:
            raise LabError(f"resolution: {resolution} is more than {MOST_TIMES} times the {self.own_resolution} pixels that {self.name} was made for: "
                           "it would draw nothing there, and the machine might run out of memory.")
        return replace(self, resolution=resolution)

    def in_precision(self, dtype: torch.dtype) -> "Base":
        """Give this base with its U-Net in `dtype`: itself where it is kept so, else one with a U-Net of its own."""
        return self if dtype == self.dtype else replace(self, unet=cast(self.unet, dtype), dtype=dtype)

    @torch.no_grad()
    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Encode uint8 (N, H, W, 3) into mean and standard deviation of the scaled latents, each (N, C, H/8, W/8) float32."""
        mean, std = [], []
        with self.lock, self._enough_memory("Encoding pictures", elsewhere=KEPT), self._at_work(self.vae):
            for some in np.split(pictures, range(PICTURES_AT_ONCE, len(pictures), PICTURES_AT_ONCE)):
                x = torch.from_numpy(np.ascontiguousarray(some)).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
                latents = self.vae.encode(x).latent_dist
                mean.append(latents.mean)
                std.append(latents.std)
        factor = self.vae.config.scaling_factor
        return (torch.cat(mean) - self._shift) * factor, torch.cat(std) * factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Decode scaled latents (N, C, H, W) into uint8 (N, 8H, 8W, 3). What is not finite comes out black."""
        with self.lock, self._enough_memory("Decoding pictures", FEWER), self._at_work(self.vae):
            x = torch.cat([self.vae.decode(some / self.vae.config.scaling_factor + self._shift).sample
                           for some in latents.float().to(self.device).split(PICTURES_AT_ONCE)])
        x = ((x / 2 + 0.5).clamp(0, 1).nan_to_num(0) * 255).round()     # a cast of NaN to uint8 differs between machines
        return x.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()

    def _enough_memory(self, doing, *smaller, elsewhere="device='cpu'"):
        """Say what to choose instead where memory runs out while `doing` pictures of this size."""
        remedy = choose(self.device, self.dtype, *smaller, "a smaller resolution", elsewhere=elsewhere)
        return enough_memory(f"{doing} of {self.resolution} pixels", remedy)

    @contextlib.contextmanager
    def _at_work(self, *encoders):
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
        """Encode captions, cut at the tokenizer's length, into the U-Net's conditions: (N, L, D) float32 each."""
        ids = self.tokenizer(list(captions), padding="max_length", max_length=self.tokenizer.model_max_length,
                             truncation=True, return_tensors="pt")
        mask = ids.attention_mask.to(self.device) if getattr(self.text_encoder.config, "use_attention_mask", False) else None
        enough = enough_memory("Encoding captions", choose(self.device, self.dtype))
        with self.lock, enough, self._at_work(self.text_encoder):
            hidden = self.text_encoder(ids.input_ids.to(self.device), attention_mask=mask)[0]
        return {"encoder_hidden_states": hidden.float()}

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, adapters=None, num_inference_steps: int | None = None,
                 guidance_scale: float = 3.0, rows: int = ROWS_AT_ONCE) -> np.ndarray:
        """Draw one picture per (prompt, seed) by DPM-Solver++ with classifier-free guidance: uint8 (N, H, W, 3).

        With `adapters`, the LoRAStack of K runs on this base's U-Net, all K draw in one pass: (K, N, H, W, 3); without, the
        bare base draws, whatever is attached. A picture depends on its own prompt and seed, never on its company. Equal to
        StableDiffusionPipeline with the same sampler given `generator(seed, "sample")` for each picture.
        Lu et al. 2022 (2M), algorithm 2; Ho & Salimans 2022, eq. 6. num_inference_steps: None takes the base's own; rows: through the U-Net at once.
        """
        if len(prompts) != len(seeds) or not len(prompts):
            raise LabError(f"seeds: {len(seeds)} for {len(prompts)} prompts. Give one seed for each picture, and one picture at least.")
        K = 1 if adapters is None else adapters.K
        at_once = max(1, rows // (2 * K))
        attached = bare(self.unet) if adapters is None else adapters.attached()
        with self.lock, self._enough_memory("Drawing pictures", FEWER), attached:
            parts = (self._draw(prompts[i:i + at_once], seeds[i:i + at_once], K, num_inference_steps, guidance_scale)
                     for i in range(0, len(prompts), at_once))
            pictures = np.concatenate([self.decode(part.flatten(0, 1)).reshape(K, -1, self.resolution, self.resolution, 3) for part in parts], axis=1)
        return pictures[0] if adapters is None else pictures

    def draw_latents(self, prompts, seeds, *, num_inference_steps: int | None = None, guidance_scale: float = 3.0) -> Tensor:
        """Draw with the bare base, as `generate` does, and give the latents before they are decoded: (N, C, H, W)."""
        with self.lock, torch.no_grad(), self._enough_memory("Drawing pictures"), bare(self.unet):
            return self._draw(prompts, seeds, 1, num_inference_steps, guidance_scale)[0]

    def _draw(self, prompts, seeds, K, num_inference_steps, guidance_scale) -> Tensor:
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
        noise = torch.cat([torch.randn((1, *self.latent_shape), generator=generator(seed, "sample")) for seed in seeds])
        latents = noise.to(self.device).expand(K, *noise.shape)                          # (K, N, C, H, W)
        for t, there in zip(sampler.timesteps, sampler.timesteps.to(self.device)):       # sent once: a copy a step would wait for the device
            rows = torch.cat([latents, latents], dim=1) if guided else latents
            prediction = denoiser(rows.flatten(0, 1), there, cond).unflatten(0, (K, -1))
            if guided:
                plain, told = prediction.chunk(2, dim=1)
                prediction = plain + guidance_scale * (told - plain)
            latents = sampler.step(prediction, t, latents).prev_sample
        return latents


def diffusers_picture(base: Base, prompt: str, seed: int, adapter_file, *, num_inference_steps: int | None = None, guidance_scale: float = 3.0) -> np.ndarray:
    """Draw the picture of `Base.generate` with diffusers' own pipeline, sampler and LoRA loader (which needs peft): uint8 (H, W, 3).

    LabError: peft is not installed, or the file is none that diffusers can load.
    """
    with (base.lock, base._enough_memory("Drawing a picture"), bare(base.unet),
          base._at_work(base.vae, base.text_encoder), _quiet(), torch.no_grad()):
        from diffusers import StableDiffusionPipeline  # which remarks on what is not installed
        pipe = StableDiffusionPipeline(vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet,
                                       scheduler=base.sampler(), safety_checker=None, feature_extractor=None,
                                       requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        try:
            pipe.load_lora_weights(str(adapter_file))
            drawn = pipe(prompt, num_inference_steps=num_inference_steps or base.num_inference_steps, guidance_scale=guidance_scale, generator=generator(seed, "sample"),
                         height=base.resolution, width=base.resolution, output_type="np").images[0]
        except (ValueError, OSError, KeyError) as error:
            raise LabError(f"{adapter_file} cannot be loaded by diffusers here ({str(error).splitlines()[0]}). Its LoRA loader needs peft: pip install peft.") from None
        finally:
            with contextlib.suppress(ValueError):
                pipe.unload_lora_weights()
            base.unet.requires_grad_(False)
    return (drawn * 255).round().astype(np.uint8)


def load_libraries():
    """Import what bases are loaded with; LabError with the true cause where that fails, which is no fault of any base."""
    try:
        from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
    except Exception as error:                                # these libraries wrap what they meet in errors of many kinds
        raise LabError(f"diffusers or transformers cannot be imported ({first_cause(error)}): `labkit checkup` says what to do.") from error
    return AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer


def _load(files: BaseFiles):
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    here = {"pretrained_model_name_or_path": str(files.folder), "local_files_only": True}
    if files.single_file:
        from diffusers import StableDiffusionPipeline  # seconds to import, and only needed here
        from diffusers.loaders.single_file_utils import SingleFileComponentError
        ready = {}
        if weights := old_text_encoder(files.single_file):
            config = CLIPTextConfig.from_pretrained(**here, subfolder="text_encoder")
            ready["text_encoder"], told = CLIPTextModel.from_pretrained(None, config=config, state_dict=weights, output_loading_info=True)
            if missing := sorted(told["missing_keys"]):       # which would be drawn at random
                raise ValueError(f"its text encoder lacks {missing[0]}")
        try:
            pipe = StableDiffusionPipeline.from_single_file(str(files.single_file), config=str(files.folder), local_files_only=True,
                                                            safety_checker=None, requires_safety_checker=False, **ready)
        except SingleFileComponentError as error:             # an Exception of its own kind, of several lines
            raise ValueError(str(error)) from error
        parts = pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer
    else:
        def weights(part):
            return {"subfolder": part, "use_safetensors": True, "variant": "fp16" if ".fp16." in files.weights[part].name else None}
        parts = (UNet2DConditionModel.from_pretrained(**here, **weights("unet"), low_cpu_mem_usage=False),
                 AutoencoderKL.from_pretrained(**here, **weights("vae"), low_cpu_mem_usage=False),
                 CLIPTextModel.from_pretrained(**here, **weights("text_encoder")),
                 CLIPTokenizer.from_pretrained(**here, subfolder="tokenizer"))
    return *parts, DDPMScheduler.from_pretrained(**here, subfolder="scheduler")


@contextlib.contextmanager
def _quiet():
    """Keep the libraries' progress bars and remarks on loading out of the notebook, and put their settings back."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in (diffusers_logging, transformers_logging)]
    try:
        for log, _, _ in before:
            log.set_verbosity_error()
            log.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bar in before:
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
