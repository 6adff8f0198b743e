"""Equality tests that make sense on a card: the engine against PEFT, diffusers, the CPU and itself.

Float32 without TF32, and the tolerance of the project's own tests: losses within 1e-4 over 20 updates. Whether two
computations agree to the last bit is told beside it, and is not asked for: a card may add in another order.
"""

import copy
from contextlib import closing
from functools import partial

import numpy as np
import reference_loop
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr

from labkit.datasets.folders import territory
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.engine.batches import Batches
from labkit.engine.cache import encode
from labkit.engine.loss import Denoiser, per_sample_loss
from labkit.engine.monitor import Monitor
from labkit.engine.prefetch import prefetched
from labkit.engine.train import train
from labkit.store.events import Checkpoint, Step

TOLERANCE = 1e-4                                              # of a loss of about 0.1
QUIET = Monitor(images=0)
EVERY_KIND = ("to_q", "to_v", "to_out.0", "ff.net.2", "proj_in", "conv1", "conv2")
REFERENCE = {                                                 # what differs from the default run
    "attention layers, AdamW, constant rate": {},
    "all kinds of layers, cosine schedule with warm-up, weight decay": {
        "target_modules": EVERY_KIND, "lr_scheduler": "cosine", "lr_warmup_steps": 2, "weight_decay": 1.0},
    "SGD, clipping, accumulation": {
        "optimizer": "sgd", "learning_rate": 30.0, "max_grad_norm": 0.005, "gradient_accumulation_steps": 2,
        "train_batch_size": 2},
}
RACE = [dict(learning_rate=rate, rank=rank, seed=seed, snr_gamma=gamma) for rate, rank, seed, gamma in
        ((1e-4, 8, 0, None), (1e-3, 4, 1, 5.0), (6e-3, 2, 2, None))]


def rows(device, rehearse: bool):
    """Give one row a test as it ends: what was compared, the largest difference, whether it is small enough."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    base = load_base(device=device, dtype="float32")
    tests = _Tests(base, encode(base, territory("liminal")), 3 if rehearse else 20)
    for name, test in tests.all():
        try:
            yield {"what": name} | test()
        except Exception as error:                            # the others are still worth knowing
            yield {"what": name, "ok": False, "error": f"{type(error).__name__}: {error}"[:500]}


class _Tests:
    """Hold a base, its encoded pictures and how many updates are compared."""

    def __init__(self, base, cache, updates):
        self.base, self.cache, self.updates = base, cache, updates

    def all(self):
        yield "draws of the card and of the CPU", self.draws
        yield "loss and diffusers' noise schedule", self.loss
        for name, changes in REFERENCE.items():
            yield f"one run and PEFT's: {name}", partial(self.reference, changes)
        yield "three runs side by side and each alone", self.alone
        yield "the same pass twice", self.twice
        yield "a stopped and resumed pass and one that went on", self.resumed
        yield "gradient checkpointing and none", self.checkpointed
        yield "pictures of two adapters side by side and each alone", self.pictures

    def config(self, **changes) -> RunConfig:
        return RunConfig(**{"learning_rate": 3e-3, "rank": 4, "max_train_steps": self.updates}
                         | changes).resolved(len(self.cache.train))

    def losses(self, configs, **options) -> np.ndarray:
        """Train and return the losses (K, updates)."""
        return _losses(train(self.base, self.cache, configs, monitor=QUIET, **options), len(configs))

    def batches(self, config, device=None):
        return Batches(self.cache.train, self.cache.null_cond, [config], device or self.base.device)

    def draws(self):
        """Compare bit for bit what both send to the U-Net, drawn ahead in a thread: a late copy would show here."""
        config, updates = self.config(caption_dropout=0.2), range(10 * self.updates)
        here, there = self.batches(config, torch.device("cpu")), self.batches(config)
        with closing(prefetched(there.draw, updates, 2)) as draws:
            # looked at once all are sent
            sent = [batch for drawn in draws for batch in there.send(drawn)]
        unlike = sum(not all(torch.equal(a, b.cpu()) for a, b in zip(_tensors(x), _tensors(y), strict=True))
                     for x, y in zip((batch for update in updates for batch in here(update)), sent, strict=True))
        return {"ok": unlike == 0, "difference": float(unlike), "tolerance": 0.0, "bit_equal": unlike == 0}

    def loss(self):
        """Compare with diffusers' noise, velocity and signal-to-noise ratio."""
        worst = 0.0
        for prediction_type in ("epsilon", "v_prediction"):
            scheduler = DDPMScheduler.from_config(self.base.noise_scheduler.config, prediction_type=prediction_type)
            denoiser = Denoiser(self.base.unet, self.base.denoiser.alphas_cumprod, prediction_type)
            (batch,) = self.batches(self.config(train_batch_size=8))(0)
            ours = per_sample_loss(denoiser, batch.latents, batch.noise, batch.timesteps, batch.cond,
                                   torch.full((8,), 5.0, device=self.base.device))
            predicted = self.base.unet(scheduler.add_noise(batch.latents, batch.noise, batch.timesteps),
                                       batch.timesteps,
                                       batch.cond["encoder_hidden_states"]).sample
            velocity = prediction_type == "v_prediction"
            target = scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps) if velocity else batch.noise
            snr = compute_snr(scheduler, batch.timesteps)
            weight = snr.clamp(max=5.0) / (snr + 1 if velocity else snr)
            worst = max(worst, (ours - weight * (predicted - target).square().flatten(1).mean(1)).abs().max().item())
        return {"ok": worst < 1e-5, "difference": worst, "tolerance": 1e-5}

    def reference(self, changes):
        config = self.config(**changes)
        theirs = copy.deepcopy(self.base.unet)
        trained = reference_loop.add_adapter(theirs, config,
                                             LoRAStack(self.base.unet, [config]).initialize().tensors(0))
        batches = self.batches(config)
        drawn = ((batch.latents, batch.noise, batch.timesteps, batch.cond["encoder_hidden_states"])
                 for update in range(self.updates) for batch in batches(update))
        schedule = partial(get_scheduler, "cosine", num_warmup_steps=2,
                           num_training_steps=self.updates) if config.lr_scheduler == "cosine" else None
        expected = list(reference_loop.steps(theirs, self.base.noise_scheduler, trained, config, drawn, schedule))
        return _compared(self.losses([config])[0], expected)

    def alone(self):
        configs = [self.config(**changes) for changes in RACE]
        return _compared(self.losses(configs), np.concatenate([self.losses([config]) for config in configs]))

    def twice(self):
        configs = [self.config(**changes) for changes in RACE]
        return _compared(self.losses(configs), self.losses(configs))

    def resumed(self):
        configs, half = [self.config(**changes) for changes in RACE], self.updates // 2
        events = list(train(self.base, self.cache, configs, monitor=QUIET, checkpoint_at=(half,)))
        kept = [event for event in events if isinstance(event, Checkpoint) and event.global_step == half]
        return _compared(self.losses(configs, resume=kept), _losses(events, len(configs))[:, half:])

    def checkpointed(self):
        configs = [self.config(**changes | {"target_modules": EVERY_KIND}) for changes in RACE]
        return _compared(self.losses(configs, gradient_checkpointing=True), self.losses(configs))

    def pictures(self):
        """Compare guided pictures, uint8, of adapters that have learned something."""
        configs = [self.config(**changes) for changes in RACE[1:]]
        events = list(train(self.base, self.cache, configs, monitor=QUIET))
        adapters = [event.adapter for event in events if isinstance(event, Checkpoint)]

        def drawn(some):
            stack = LoRAStack(self.base.unet, [configs[k] for k in some])
            for place, k in enumerate(some):
                stack.load(place, adapters[k])
            return self.base.generate(self.cache.prompts[:2], (0, 1), adapters=stack,
                                      num_inference_steps=4).astype(int)

        difference = np.abs(drawn((0, 1)) - np.concatenate([drawn((0,)), drawn((1,))]))
        return {"ok": bool(difference.mean() < 0.5), "difference": float(difference.mean()), "tolerance": 0.5,
                "bit_equal": bool(difference.max() == 0)}


def _tensors(batch):
    return batch.latents, batch.noise, batch.timesteps, *batch.cond.values()


def _losses(events, K) -> np.ndarray:
    """Return the step losses (K, updates) in the order of the runs."""
    by_run = {}
    for event in events:
        if isinstance(event, Step):
            by_run.setdefault(event.run_id, []).append(event.loss)
    if len(by_run) != K:
        raise ValueError(f"{len(by_run)} of {K} runs told losses")
    return np.array(list(by_run.values()))


def _compared(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    difference = float(np.abs(ours - theirs).max())
    return {"ok": bool(ours.shape == theirs.shape and difference <= TOLERANCE), "difference": difference,
            "tolerance": TOLERANCE,
            "bit_equal": bool(np.array_equal(ours, theirs))}
