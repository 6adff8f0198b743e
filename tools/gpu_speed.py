"""Time Stable Diffusion 1.5's architecture at full size with random weights: diffusers' loop, it cached, and ours.

Updates at 512 pixels in bfloat16. Every row tells seconds per update of one run, peak memory against the prediction,
what was launched and waited for, and the share of the card's measured rate of matrix products. On a CPU everything is
reduced.
"""

import contextlib
import gc
import statistics
import time
from functools import partial

import reference_loop
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from labkit.datasets.folders import load_picture, territory
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import Base
from labkit.engine.batches import Batches
from labkit.engine.cache import Cache, Encoded
from labkit.engine.loss import per_sample_loss
from labkit.engine.memory import predict
from labkit.engine.monitor import Monitor
from labkit.engine.train import train
from labkit.store.events import Step

DTYPE, PICTURES, BLOCK = torch.bfloat16, 32, 10               # a card's numbers come in blocks of ten updates
SECONDS = 6                                                   # to spend on a cell, from its second block on
BATCHES, RUNS = (1, 4), (8, 4, 1)
ATTENTION, EVERY_KIND = ("attention",), ("all",)
# pixels, words, width of words; the rest as diffusers has it
SIZES = {
    False: dict(pixels=512, unet=dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
                vae=(128, 256, 512, 512), text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                                                    num_attention_heads=12),
                matrix=8192),
    True: dict(pixels=128, unet=dict(sample_size=16, cross_attention_dim=32, attention_head_dim=4, layers_per_block=1,
                                     block_out_channels=(32, 32, 32, 32)),
               vae=(32, 32, 32, 32), text=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                                               num_attention_heads=2),
               matrix=256),
}


def rows(device, rehearse: bool):
    """Give one row a cell, those that answer most first."""
    torch.manual_seed(0)
    bench = _Bench(device, SIZES[rehearse], rehearse)
    yield {"what": "matrix product", "ok": True, "tflops": bench.rate / 1e12, "size": bench.size["matrix"]}
    references = {B: [] for B in BATCHES}
    for B in BATCHES:
        for what, batches in (("diffusers' script", bench.encoding), ("the same, inputs cached", bench.cached)):
            def steps(B=B, batches=batches):
                return bench.reference(B, batches(B))
            references[B].append(bench.row(what, 1, B, False, steps))
            yield references[B][-1]
    bench.start_ours()
    cells = [(K, B, checkpointing, ATTENTION) for checkpointing in (False, True) for B in BATCHES for K in RUNS]
    cells += [(max(RUNS), B, False, EVERY_KIND) for B in BATCHES]
    for K, B, checkpointing, layers in cells:
        configs = bench.configs(K, B, layers)
        what = "ours, in one pass" + ", all kinds of layers" * (layers is EVERY_KIND)
        row = bench.row(what, K, B, checkpointing, partial(bench.ours, configs, checkpointing))
        predicted = bench.predicted(configs, checkpointing).total / 2**30
        yield row | _ratios(row, *references[B]) | {"predicted_gib": predicted}


class _Bench:
    """Hold one architecture and what cells have in common; a cell yields once an update of all its runs."""

    def __init__(self, device, size, rehearse):
        self.device, self.size, self.block = device, size, 1 if rehearse else BLOCK
        self.seconds = 0 if rehearse else SECONDS
        self.config = RunConfig(rank=8, target_modules=ATTENTION, max_train_steps=200,
                                mixed_precision="bf16").resolved(PICTURES)
        self.noise_scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.rate = self._matrix_rate()
        self.paths = territory("liminal").train.paths[:PICTURES]
        with torch.device(device):
            words = CLIPTextConfig(max_position_embeddings=77, vocab_size=49408, **size["text"])
            self.text_encoder = _frozen(CLIPTextModel(words))
            self.vae = _frozen(AutoencoderKL(block_out_channels=size["vae"], layers_per_block=2, latent_channels=4,
                                             norm_num_groups=32,
                                             down_block_types=("DownEncoderBlock2D",) * 4,
                                             up_block_types=("UpDecoderBlock2D",) * 4))
        self.base, self.cache = self._base(), self._cache()
        self.flops = self._flops()                            # of one picture
        self.unet = self.base.unet
        self.trained = reference_loop.add_adapter(self.unet, self.config)

    def _base(self):
        with torch.device(self.device):
            unet = _frozen(UNet2DConditionModel(**self.size["unet"]))
        return Base(name="random", fingerprint="random", unet=unet, vae=None, text_encoder=None, tokenizer=None,
                    noise_scheduler=self.noise_scheduler, device=self.device, dtype=DTYPE,
                    resolution=self.size["pixels"])

    def _cache(self):
        side = self.size["unet"]["sample_size"]
        words = torch.randn(PICTURES, 77, self.size["unet"]["cross_attention_dim"])
        made = Encoded(mean=torch.randn(PICTURES, 4, side, side), std=torch.full((PICTURES, 4, side, side), 0.1),
                       cond={"encoder_hidden_states": words}, captions=tuple(map(str, range(PICTURES))), paths=())
        return Cache(train=made, validation=made, ordinary=made, null_cond={"encoder_hidden_states": words[:1]},
                     prompts=(),
                     fingerprint="random", base_fingerprint="random", prior=lambda: made)

    def start_ours(self):
        """Drop the encoders and the U-Net that PEFT has changed, and make another."""
        self.trained = self.unet = self.base = self.vae = self.text_encoder = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.base = self._base()

    # -- cells

    def reference(self, B, batches):
        """Yield each update of the plain loop under autocast, with weights in bfloat16, as the script has it."""
        config = self.config.replace(train_batch_size=B)

        def autocast(*inputs):
            with torch.autocast(self.device.type, DTYPE):
                return self.unet(*inputs)

        return reference_loop.steps(autocast, self.noise_scheduler, self.trained, config, batches)

    def encoding(self, B):
        """Yield batches as the script makes them: it reads and encodes pictures and captions at every update."""
        at = 0
        while True:
            pictures = [torch.tensor(load_picture(self.paths[(at + i) % PICTURES], self.size["pixels"]))
                        for i in range(B)]
            at += B
            with torch.no_grad():
                pixels = torch.stack(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).to(self.device, DTYPE)
                latents = self.vae.encode(pixels).latent_dist.sample() * 0.18215
                words = self.text_encoder(torch.randint(49408, (B, 77)).to(self.device))[0]
            yield self._noised(latents, words)

    def cached(self, B):
        """Yield batches of what was encoded before and lies on the device."""
        encoded = self.cache.train
        latents, words = (value.to(self.device, DTYPE)
                          for value in (encoded.mean, encoded.cond["encoder_hidden_states"]))
        while True:
            some = torch.randint(PICTURES, (B,), device=self.device)
            yield self._noised(latents[some], words[some])

    def _noised(self, latents, words):
        return latents, torch.randn_like(latents), torch.randint(1000, (len(latents),), device=self.device), words

    def ours(self, configs, checkpointing):
        """Yield each update of a pass, as a caller of `train` sees them."""
        with contextlib.closing(train(self.base, self.cache, configs, monitor=Monitor(images=0),
                                      gradient_checkpointing=checkpointing)) as events:
            steps = (event for event in events if isinstance(event, Step))
            for _ in zip(*[steps] * len(configs), strict=False):            # an event of each run
                yield

    def configs(self, K, B, layers):
        return [self.config.replace(train_batch_size=B, seed=k, learning_rate=1e-4 / (k + 1), target_modules=layers)
                for k in range(K)]

    def predicted(self, configs, checkpointing):
        return predict(self.base.unet, self.cache.train.mean.shape[1:], self.cache.null_cond, configs,
                       checkpointing=checkpointing)

    # -- what is measured

    def row(self, what, K, B, checkpointing, cell):
        """Measure one cell, or say why it could not be."""
        row = {"what": what, "runs": K, "batch": B, "checkpointing": checkpointing}
        try:
            with contextlib.closing(cell()) as updates:
                return row | {"ok": True} | self._measured(updates, K, B)
        except torch.OutOfMemoryError:
            return row | {"ok": True, "error": "does not fit"}
        except Exception as error:                            # the other cells are still worth knowing
            return row | {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}

    def _measured(self, updates, K, B):
        beside = self._allocated() - _bytes(self.base.unet)   # what lies there that is no part of the cell
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        blocks = self._blocks(updates)
        median = statistics.median(blocks)
        row = {"ms_per_run_step": 1000 * median / K, "fastest": 1000 * min(blocks) / K,
               "slowest": 1000 * max(blocks) / K, "blocks": len(blocks),
               "share_of_rate": self.flops * K * B / median / self.rate}
        if self.device.type == "cuda":
            row["peak_gib"] = (torch.cuda.max_memory_allocated(self.device) - beside) / 2**30
        return row | (self._launches(updates) if B == 1 else {})       # a larger batch launches as much

    def _allocated(self):
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0

    def _blocks(self, updates):
        """Return seconds per update of each block after the first, which warms up, until their time is spent."""
        blocks, spent = [], 0.0
        while len(blocks) < 2 or spent < self.seconds and len(blocks) < 8:
            start = time.perf_counter()
            for _ in range(self.block):
                next(updates)
            blocks.append((time.perf_counter() - start) / self.block)
            spent += blocks[-1] * self.block if len(blocks) > 1 else 0
        return blocks[1:]

    def _launches(self, updates):
        """Count in one block, per update: kernels, and times the host waited for the device; on a CPU, operations."""
        cuda = self.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
            for _ in range(self.block):
                next(updates)
        events = profiler.events()
        if not cuda:
            return {"operations": sum(event.name.startswith("aten::") for event in events) / self.block}
        kernels = sum(event.device_type == DeviceType.CUDA and not event.name.startswith(("Memcpy", "Memset"))
                      for event in events)
        return {"kernels": kernels / self.block,
                "waits": sum("Synchronize" in event.name for event in events) / self.block}

    def _flops(self):
        """Count the floating-point operations of one picture's forward and backward."""
        configs = self.configs(1, 1, ATTENTION)
        stack = LoRAStack(self.base.unet, configs).initialize()
        (batch,) = Batches(self.cache.train, self.cache.null_cond, configs, self.device)(0)
        with FlopCounterMode(display=False) as counter, stack.attached():
            per_sample_loss(self.base.denoiser, batch.latents, batch.noise, batch.timesteps,
                            batch.cond).sum().backward()
        return counter.get_total_flops()

    def _matrix_rate(self):
        """Measure matrix products in bfloat16, in operations a second: the best of five."""
        n = self.size["matrix"]
        a, b = torch.randn(2, n, n, device=self.device, dtype=DTYPE)
        seconds = []
        for _ in range(8):
            start = self._now()
            a @ b
            seconds.append(self._now() - start)
        return 2 * n**3 / min(seconds[3:])

    def _now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _ratios(row, script, cached):
    """Return how many times as fast as the two plain loops a run is, where all three were measured."""
    return {f"times_{name}": other["ms_per_run_step"] / row["ms_per_run_step"]
            for name, other in (("script", script), ("cached", cached))
            if "ms_per_run_step" in row and "ms_per_run_step" in other}


def _frozen(model):
    return torch.nn.Module.to(model, DTYPE).requires_grad_(False).eval()


def _bytes(model):
    return sum(p.nbytes for p in model.parameters())
