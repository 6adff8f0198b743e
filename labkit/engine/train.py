"""Train K runs side by side on one frozen base, as an iterator of events.

Prints nothing, writes nothing, seeds nothing global. K runs, P numbers of one adapter, B batch of one run.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils import checkpoint as recompute

from labkit.design.adapter_start import start_file
from labkit.design.config import RunConfig, run_id
from labkit.design.schedules import rates
from labkit.engine.adapters import LoRAStack, weight_shapes
from labkit.engine.base import Base
from labkit.engine.batches import Batches
from labkit.engine.cache import Cache
from labkit.engine.dtypes import MIXED
from labkit.engine.inputs import check_inputs
from labkit.engine.loss import per_sample_loss
from labkit.engine.loss_scale import LossScale
from labkit.engine.monitor import Measurements, Monitor
from labkit.engine.optim import OPTIMIZERS, clip_per_run
from labkit.engine.prefetch import prefetched
from labkit.engine.validation import ROWS_AT_ONCE
from labkit.errors import LabError
from labkit.reading import BUCKETS
from labkit.store.adapter_starts import start
from labkit.store.events import Checkpoint, Event, Step, Stopped

# What runs must have in common to share a pass, and with crop = "buckets" too, where these say which shape an update
# has; ranks may differ by RANK_SPREAD, since the smaller are padded.
PASS_FIELDS = ("base", "revision", "data", "resolution", "adapter", "target_modules", "train_batch_size",
               "gradient_accumulation_steps", "prior_loss_weight", "mixed_precision", "optimizer", "max_train_steps")
OF_BUCKETS = ("seed", "n_train")
RANK_SPREAD = 4
CPU_BLOCK, GPU_BLOCK = 1, 10                                  # steps whose numbers reach the host together
GPU_AHEAD = 2                                                 # updates drawn early; on a CPU both share the cores

Draws = list[dict[str, Tensor]]                               # of one update, from `Batches.draw`


def train(base: Base, cache: Cache, configs: Sequence[RunConfig] | Mapping[str, RunConfig], *,
          monitor: Monitor | None = None, resume: Sequence[Checkpoint] | None = None,
          checkpoint_at: Sequence[int] = (), stop: Callable[[], bool] = lambda: False,
          gradient_checkpointing: bool = False) -> Generator[Event, None, None]:
    """Train the runs of one pass and yield what happens, each event after the fact.

    base              from `load_base`; locked while the iterator lives, left as it was at its end
    cache             from `encode`
    configs           runs that may share a pass (`sweep.groups` makes such lists), each resolved for the pictures of
                      the cache by `config.resolved(len(cache.train))`: a list, or a plan {run id: configuration}
    monitor           what is measured and drawn, and when; None: the usual
    resume            one Checkpoint a run; a run whose checkpoint is behind the others' is neither changed nor told of
    checkpoint_at     completed updates after which a Checkpoint is yielded; there is always one at the end
    stop              asked after each update; when true, Checkpoint and Stopped("stopped") follow
    gradient_checkpointing    compute activations again in the backward pass instead of keeping them (Chen et al. 2016)

    Every run ends with Stopped: finished, stopped, diverged (at its first loss or gradient that is not finite; the
    others go on) or error (and the exception is raised, as it is where weights or pictures are not finite themselves).
    Closing the iterator loses what follows the last Checkpoint.
    Raises LabError where configurations are not resolved or cannot share a pass, or a checkpoint or the file that an
    adapter begins from does not fit.
    """
    plan = list(configs.items()) if isinstance(configs, Mapping) else [(None, config) for config in configs]
    runs = [config for _, config in plan]
    _check_resolved(runs, len(cache.train))
    check_pass(runs)
    ids = [name or run_id(config, base.fingerprint, cache.fingerprint) for name, config in plan]
    if resume is not None and len(resume) != len(runs):
        raise LabError(f"resume: {len(resume)} checkpoints for {len(runs)} runs; "
                       "give one for each, in the same order.")
    training = _Pass(base, cache, runs, ids, monitor or Monitor(), resume, gradient_checkpointing)
    return training.run(set(checkpoint_at), stop)


def _check_resolved(configs: Sequence[RunConfig], n_images: int) -> None:
    """Raise LabError where something about a run is left open, or it asks for more pictures than there are."""
    for config in configs:
        if not config.is_resolved or config.pictures > n_images:
            raise LabError(f"A configuration is not resolved for these {n_images} pictures: give "
                           f"config.resolved({n_images}), or what Lab.plan returns.")


def pass_fields(config: RunConfig) -> tuple[str, ...]:
    """Return the fields that runs must have in common with this one to share a pass."""
    return PASS_FIELDS + OF_BUCKETS if config.crop == BUCKETS else PASS_FIELDS


def check_pass(configs: Sequence[RunConfig]) -> None:
    """Raise LabError where configurations cannot share a pass."""
    if not configs:
        raise LabError("There is nothing to train: give at least one configuration.")
    for name in pass_fields(configs[0]):
        values = list(dict.fromkeys(getattr(config, name) for config in configs))
        if len(values) > 1:
            raise LabError(f"{name}: {values[0]!r} and {values[1]!r} cannot share a pass; "
                           "use sweep, which makes groups.")
    ranks = [config.rank for config in configs]
    if max(ranks) > RANK_SPREAD * min(ranks):
        raise LabError(f"rank: {min(ranks)} and {max(ranks)} cannot share a pass, "
                       f"being more than {RANK_SPREAD} times apart; "
                       "use sweep, which makes groups.")


class _Pass:
    """Hold the state of K runs between updates."""

    def __init__(self, base: Base, cache: Cache, configs: Sequence[RunConfig], ids: Sequence[str], monitor: Monitor,
                 resume: Sequence[Checkpoint] | None = None, gradient_checkpointing: bool = False):
        self.dtype = MIXED.get(configs[0].mixed_precision, base.dtype)     # of the U-Net; adapters are float32
        base = base.in_precision(self.dtype)
        self.base, self.cache, self.configs, self.K = base, cache, configs, len(configs)
        self.ids = ids
        self.device, self.last = base.device, configs[0].steps
        self.stack = LoRAStack(base.unet, configs)
        self.optimizer = OPTIMIZERS[configs[0].optimizer](self.stack.theta, configs)
        self.loss_scale = LossScale(self.K, self.device) if self.dtype == torch.float16 else None
        self.weights = torch.tensor([1.0, configs[0].prior_loss_weight], device=self.device)  # of own and kept
        self.prior = cache.prior() if configs[0].prior_loss_weight else None
        timesteps = len(base.noise_scheduler.alphas_cumprod)
        self.batches = Batches(cache.train, cache.null_cond, configs, self.device, timesteps, self.prior, self.dtype)
        rows = ROWS_AT_ONCE if self.device.type == "cpu" else sum(config.rows for config in configs)    # known to fit
        self.measurements = Measurements(base, cache, configs, monitor, self.ids, min(rows, ROWS_AT_ONCE))
        self.gradient_checkpointing = gradient_checkpointing
        self.denoiser = base.denoiser
        self.rates = [rates(config) for config in configs]    # [run][update]
        self.lr = torch.tensor(self.rates, device=self.device)    # (K, updates), so that a step sends nothing
        self.lr_ratio = self._lr_ratio()
        self.max_norm = torch.tensor([config.max_grad_norm or math.inf for config in configs], device=self.device)
        self.alive = torch.ones(self.K, dtype=torch.bool, device=self.device)
        self.done = [0] * self.K                              # completed updates of each run
        self.living = list(range(self.K))                     # runs that still train, as far as the host knows
        self.unread: list[tuple[int, Tensor]] = []            # (update, (4, K) numbers) still on the device
        if resume is None:
            self._begin()
        else:
            self._restore(resume)

    def _begin(self) -> None:
        """Draw the first adapters, or read those that begin from a file."""
        self.stack.initialize()
        for k, config in enumerate(self.configs):
            if file := start_file(config.init_lora_weights):
                self.stack.load(k, start(file, config, weight_shapes(self.base.unet)))

    def _restore(self, checkpoints: Sequence[Checkpoint]) -> None:
        for k, checkpoint in enumerate(checkpoints):
            if checkpoint.run_id != self.ids[k]:
                raise LabError(f"resume: the checkpoint of run {checkpoint.run_id} was given for run {self.ids[k]}; "
                               "the configuration, base or data changed since.")
            self.stack.load(k, checkpoint.adapter)
            for name, state in self.optimizer.state.items():
                self.stack.load(k, _within(checkpoint.optimizer, name), state)
            self.done[k] = checkpoint.global_step
            self._restore_counts(k, checkpoint)
        start = max(self.done)
        self.living = [k for k in range(self.K) if self.done[k] == start]
        self.alive = torch.tensor([k in self.living for k in range(self.K)], device=self.device)

    def _restore_counts(self, k: int, checkpoint: Checkpoint) -> None:
        self.optimizer.steps[k] = int(checkpoint.optimizer["step"])
        if self.loss_scale is not None:
            for name, now in vars(self.loss_scale).items():
                # a run that was begun in another precision has none
                now[k] = float(checkpoint.optimizer.get(name, now[k]))

    def run(self, checkpoint_at: set[int], stop: Callable[[], bool]) -> Generator[Event, None, None]:
        """Yield the events of the pass; `finally` restores the base."""
        with self.base.lock, self.stack.attached(), self._checkpointing():
            try:
                yield from self._updates(checkpoint_at, stop)
            except Exception as error:
                for k in self.living:
                    yield Stopped(*self._at(k), "error", f"{type(error).__name__}: {error}"[:2000])
                raise

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """Let the U-Net's blocks be computed again in the backward pass, if requested; they draw nothing at random."""
        unet = self.base.unet
        if self.gradient_checkpointing:
            unet.enable_gradient_checkpointing(
                partial(recompute.checkpoint, use_reentrant=False, preserve_rng_state=False))
        try:
            yield
        finally:
            if self.gradient_checkpointing:
                unet.disable_gradient_checkpointing()

    def _updates(self, checkpoint_at: set[int], stop: Callable[[], bool]) -> Iterator[Event]:
        block = CPU_BLOCK if self.device.type == "cpu" else GPU_BLOCK
        start = max(self.done)
        read_after = checkpoint_at | set(self.measurements.steps) | set(self.measurements.sample_steps) | {self.last}
        if start == 0:
            yield from self._measure(0)
        with closing(prefetched(self.batches.draw, range(start, self.last), self._ahead())) as draws:
            yield from self._train(draws, start, block, read_after, checkpoint_at, stop)

    def _train(self, draws: Iterable[Draws], start: int, block: int, read_after: set[int], checkpoint_at: set[int],
               stop: Callable[[], bool]) -> Iterator[Event]:
        for update, drawn in enumerate(draws, start):
            self.unread.append((update, self._update(update, drawn)))
            is_stopped = stop()
            if is_stopped or len(self.unread) == block or update + 1 in read_after:
                yield from self._read()
            yield from self._measure(update + 1)
            if not self.living:
                return
            if is_stopped and update + 1 < self.last:
                yield from self._end("stopped")
                return
            if update + 1 in checkpoint_at and update + 1 < self.last:
                yield from self._checkpoints(self.living)
        yield from self._end("finished")

    def _ahead(self) -> int:
        return 0 if self.device.type == "cpu" else GPU_AHEAD

    def _update(self, update: int, drawn: Draws) -> Tensor:
        """Make update `update` (from 0) of all runs; return loss, gradient norm, relative change and alive, (4, K).

        Nothing here waits for the device: the input lies there or comes from pinned memory, the result stays there.
        """
        stack, passes = self.stack, self.configs[0].gradient_accumulation_steps
        loss_scale = self.loss_scale
        scale = None if loss_scale is None else loss_scale.loss_scale
        loss = torch.zeros(self.K, device=self.device)
        with torch.enable_grad():                             # whatever mode the caller is in
            for batch in self.batches.send(drawn):
                losses = per_sample_loss(self.denoiser, batch.latents, batch.noise, batch.timesteps, batch.cond,
                                         batch.snr_gamma)
                # (K, 1), or 2 where what the base should keep is in the same batch
                shown = losses.unflatten(0, (self.K, -1, self.configs[0].train_batch_size)).mean(2)
                per_run = (shown * self.weights[batch.sets]).sum(1) / passes      # (K,)
                scaled = per_run if scale is None else per_run * scale
                scaled.sum().backward()                       # rows do not meet, so neither do the runs' gradients
                loss += per_run.detach()
        with torch.no_grad():
            grad = stack.take_grad()
            if scale is not None:
                grad.div_(scale[:, None])
            norm = clip_per_run(grad, self.max_norm)
            finite = loss.isfinite() & norm.isfinite()
            if loss_scale is None:
                self.alive &= finite
            else:                                             # an overflow costs a run this update, not its life
                loss_scale.update(finite | ~self.alive)
                self.alive &= loss_scale.usable
            change = self.optimizer.step(grad, self._lr(update), self.alive & finite)
            length = torch.linalg.vector_norm(stack.theta, dim=1)      # 0 of whole matrices that have not changed yet
            moved = torch.linalg.vector_norm(change, dim=1) / length.clamp_min(torch.finfo(length.dtype).tiny)
            return torch.stack([loss, norm, moved, self.alive])

    def _lr(self, update: int) -> Tensor:
        """Return the rates (K, 1), or (K, P) where B has its own."""
        lr = self.lr[:, update, None]
        return lr if self.lr_ratio is None else lr * self.lr_ratio

    def _lr_ratio(self) -> Tensor | None:
        """Return the factor on the rate of every number of an adapter, (K, P); None where all are 1."""
        if self.configs[0].adapter == "full" or all(config.lr_ratio_B == 1 for config in self.configs):
            return None                                       # a change of whole matrices has no B
        ratio = torch.ones_like(self.stack.theta)
        ratio[:, self.stack.first_B:] = torch.tensor([[config.lr_ratio_B] for config in self.configs])
        return ratio

    # -- what is told

    def _at(self, k: int, step: int | None = None) -> tuple[str, int, int]:
        step = self.done[k] if step is None else step
        return self.ids[k], step, step * self.configs[k].effective_batch_size

    def _measure(self, step: int) -> Iterator[Event]:
        samples_seen = [step * config.effective_batch_size for config in self.configs]
        if self.living:
            yield from self.measurements(step, self.stack, samples_seen, self.living)

    def _read(self) -> Iterator[Event]:
        """Bring the numbers of the last updates to the host and yield them, with the end of runs that diverged."""
        numbers = torch.stack([row for _, row in self.unread]).cpu().double().numpy()        # (updates, 4, K)
        memory = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None
        for (update, _), (losses, norms, moved, alive) in zip(self.unread, numbers, strict=True):
            for k in list(self.living):
                if not alive[k]:                              # before the rate is blamed
                    check_inputs(self.base, self.cache, self.prior)
                yield Step(*self._at(k, update + 1), losses[k].item(), self.rates[k][update], norms[k].item(),
                           moved[k].item() if alive[k] else math.nan, memory)
                if alive[k]:
                    self.done[k] = update + 1
                else:                                         # the update was not made: the adapter is that before it
                    self.living.remove(k)
                    yield from self._checkpoints([k])
                    yield Stopped(*self._at(k), "diverged", f"loss or gradient was not finite at update {update + 1}")
        self.unread = []

    def _checkpoints(self, runs: Sequence[int]) -> Iterator[Checkpoint]:
        """Yield a Checkpoint of each of these runs; everything comes to the host in one copy a tensor."""
        states = {name: state.cpu() for name, state in self.optimizer.state.items()}
        adapters, steps = self.stack.theta.cpu(), self.optimizer.steps.cpu().numpy()
        scale_state = {} if self.loss_scale is None else vars(self.loss_scale)
        scales = {name: value.cpu().numpy() for name, value in scale_state.items()}
        for k in runs:
            optimizer = {f"{name}.{key}": array for name, state in states.items()
                         for key, array in self.stack.tensors(k, state).items()}
            optimizer["step"] = np.array(steps[k])
            optimizer |= {name: np.array(values[k]) for name, values in scales.items()}
            yield Checkpoint(*self._at(k), self.stack.tensors(k, adapters), optimizer)

    def _end(self, reason: str) -> Iterator[Event]:
        for checkpoint, k in zip(self._checkpoints(self.living), self.living, strict=True):
            yield checkpoint
            yield Stopped(*self._at(k), reason)


def _within(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose name begins with `prefix.`, without it."""
    return {name.removeprefix(prefix + "."): array for name, array in arrays.items() if name.startswith(prefix + ".")}
