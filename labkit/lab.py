"""One base, one territory and one store: what a notebook, the panel and ten lines of Python share."""

import warnings
from collections.abc import Iterator
from contextlib import closing, nullcontext
from functools import cached_property

import numpy as np

from labkit import settings
from labkit.datasets.notes import cut_texts
from labkit.design.config import RunConfig, load_design, run_id
from labkit.design.ladders import rung_text
from labkit.engine.monitor import Monitor
from labkit.engine.out_of_memory import enough_memory
from labkit.engine.sweep import MAX_ROWS, sweep
from labkit.engine.train import train
from labkit.engine.turns import holder, turn
from labkit.errors import LabError, LabWarning
from labkit.interrupts import Interrupted, stop_on_interrupt
from labkit.judge.kept import kept
from labkit.store.events import Event
from labkit.store.history import Run, RunBuilder
from labkit.store.runs import COMPLETE, Store
from labkit.text import counted, shown
from labkit.view.frontend import say
from labkit.view.live import live


class Lab:
    """Train on one base and one territory, keep every run, and draw with what was trained.

    base          'embedded', a Stable Diffusion folder, a .safetensors file or a hub name
    data          a territory that ships, or a folder of pictures with captions
    store         folder of the run store; None takes the usual one
    device        'cpu', 'cuda', 'mps'; None takes the best there is
    revision      branch, tag or commit of a hub name
    resolution    side of a picture in pixels; None takes the base's own
    dtype         of the U-Net: float32, bf16 or fp16; None takes what LABKIT_DTYPE says, else what the device is best at
    max_rows      pictures that a pass may hold, all its runs together; fewer where memory is short
    gradient_checkpointing    whether activations are computed again in the backward pass instead of kept (Chen et
                  al. 2016), which needs less memory and about a third more time, and changes no number on a CPU;
                  None: where one run does not fit into predicted memory otherwise

    LabError: max_rows or gradient_checkpointing is no such value.
    Pictures are checked before the base is loaded; both happen at first use.
    """

    def __init__(self, base: str = "embedded", data: str = "liminal", *, store=None, device=None, revision=None,
                 resolution=None, dtype=None, max_rows: int = MAX_ROWS, gradient_checkpointing: bool | None = None):
        self.base_name, self.data_name, self.device, self.store = base, str(data), device, Store(store)
        self.revision, self.resolution, self.dtype = revision, resolution, dtype
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
            raise LabError(f"max_rows = {shown(max_rows)}: give a whole number from 1 up, such as 16.")
        if gradient_checkpointing not in (None, True, False):
            raise LabError(f"gradient_checkpointing = {shown(gradient_checkpointing)}: give True, False or None, "
                           "which decides by predicted memory.")
        self.max_rows, self.gradient_checkpointing = max_rows, gradient_checkpointing

    @classmethod
    def from_config(cls, config: RunConfig, **options) -> "Lab":
        """Open the lab a configuration asks for; options: store, device, dtype, max_rows, gradient_checkpointing."""
        asked = None if config.mixed_precision == "no" else config.mixed_precision           # "no": as the device is best at
        return cls(config.base, config.data, revision=config.revision, resolution=config.resolution, **{"dtype": asked} | options)

    @cached_property
    def territory(self):
        """Return pictures and captions, checked."""
        from labkit.datasets.folders import territory
        found = territory(self.data_name)
        for note in found.notes:
            warnings.warn(f"data: {note}.", LabWarning, stacklevel=3)
        return found

    @cached_property
    def base(self):
        """Return the frozen base; where it computes in anything but float32 on a CPU, that is printed."""
        from labkit.engine.base import load_base
        self.territory
        base = load_base(self.base_name, device=self.device, dtype=self.dtype, revision=self.revision)
        if (base.device.type, str(base.dtype)) != ("cpu", "torch.float32"):
            say(base.computes)
        return base.at(self.resolution) if self.resolution else base

    @cached_property
    def cache(self):
        """Return the encoded pictures and captions."""
        from labkit.engine.cache import encode
        train, validation = self.territory.train, self.territory.validation
        note = train.looks and cut_texts(self.base, train.captions + validation.captions)  # what ships was made to fit
        if note:
            warnings.warn(f"data: {note}.", LabWarning, stacklevel=3)
        return encode(self.base, self.territory)

    def config(self, design=None, **knobs) -> RunConfig:
        """Return a resolved configuration on this lab's base and territory, from a design and knobs on top of it."""
        config = load_design(design, **knobs)
        own = {"base": self.base_name, "data": self.data_name, "revision": self.revision, "resolution": self.resolution}
        for name, value in own.items():
            asked = getattr(config, name)
            if asked not in (value, RunConfig.__dataclass_fields__[name].default):
                raise LabError(f"{name} = {asked!r} was asked of a lab that was opened with {value!r}: open one with Lab({name}={asked!r}).")
        if config.mixed_precision != "no":
            from labkit.engine.devices import find_device
            from labkit.engine.dtypes import check_mixed_precision
            check_mixed_precision(config.mixed_precision, find_device(self.device))
        if self.resolution and self.resolution == self.base.own_resolution:
            own["resolution"] = None                          # one name for one run, whether its size was spelled out or not
        return config.replace(**own).resolved(len(self.territory.train))

    def with_data(self, data: str) -> "Lab":
        """Return a lab on another territory that shares this one's base and store."""
        other = Lab(self.base_name, data, store=self.store.root, device=self.device, revision=self.revision,
                    resolution=self.resolution, dtype=self.dtype, max_rows=self.max_rows,
                    gradient_checkpointing=self.gradient_checkpointing)
        other.__dict__["base"] = self.base
        return other

    def monitor(self, *, pictures: int = 2, **options) -> Monitor:
        """Return the usual measurements of a run: held-out loss at log-spaced steps, pictures at four."""
        short = {"images": 8, "num_inference_steps": 2} if settings.fast else {}
        return Monitor(**{"prompts": tuple(self.territory.prompts[:pictures])} | short | options)

    def train(self, design=None, *, pictures: int = 2, **knobs) -> Run:
        """Train one run, or find it in the store, and return its Run."""
        return self.train_all([self.config(design, **knobs)], pictures=pictures)[0]

    def race(self, name: str, values, design=None, *, pictures: int = 2, **knobs) -> list[Run]:
        """Train one run for each value of the field `name`, all else equal, in as few passes as can be."""
        return self.train_all([self.config(design, **knobs | {name: value}) for value in values], pictures=pictures,
                         label=lambda run: rung_text(name, getattr(run.config, name)))

    def train_all(self, configs, *, pictures: int = 2, monitor: Monitor | None = None, label=None, checkpoint_at=()) -> list[Run]:
        """Train the configurations that the store does not have, with growing curves, and return all Histories in order.

        checkpoint_at   updates after which each run's adapter is kept, beside its last
        """
        configs = [self.config(config) for config in configs]
        names = [self._id(config) for config in configs]
        is_to_train = any(self.store.run(name).status not in COMPLETE for name in names)
        with turn("the training in a cell", say=say) if is_to_train else nullcontext():
            builders = {name: self.begin(config) for name, config in zip(names, configs)}
            monitor = monitor or self.monitor(pictures=pictures)
            with stop_on_interrupt(lambda: say("Stopping after this update; interrupt again to stop at once.")) as stop:
                events = self.sweep(configs, monitor=monitor, checkpoint_at=checkpoint_at, stop=stop, tell=say)
                with closing(live(events, builders, label=label)) as events:
                    for _ in events:
                        pass
            if stop() and any(self.store.run(name).status not in COMPLETE for name in names):
                raise Interrupted(stop.number, "Stopped, and what was trained is kept: run this cell again and it goes on from there.")
        whole = {name: builders[name].stopped and not config.parent for name, config in zip(names, configs)}  # a fork's beginning is its parent's
        return [builders[name].build() if whole[name] else self.store.run(name).load() for name in names]

    def sweep(self, configs, **options) -> Iterator[Event]:
        """Train the configurations that the store does not have, within this lab's max_rows, and keep the findings of each for listings.

        Yields the events of `sweep.sweep`; gradient_checkpointing is the lab's too.
        options   of `sweep.sweep`: monitor, checkpoint_at, stop, meta, tell
        """
        events = sweep(self.base, self.cache, configs, self.store, max_rows=self.max_rows,
                       gradient_checkpointing=self.gradient_checkpointing, **options)
        return kept(self.store, events)

    def begin(self, config) -> RunBuilder:
        """Return what is known of a run that is about to be trained here: nothing yet, or what was told before it was stopped."""
        meta = {"base_fingerprint": self.base.fingerprint, "data_fingerprint": self.cache.fingerprint,
                "measured_fingerprint": self.cache.measured_fingerprint}
        return self.store.begin(self._id(config), config, meta)

    def one_update(self, learning_rates, design=None, **knobs) -> list[Run]:
        """Make one update at each rate from the same start and measure it on held-out pictures; nothing is kept."""
        configs = [self.config(design, **knobs | {"learning_rate": rate, "max_train_steps": 1}) for rate in learning_rates]
        builders = {self._id(config): RunBuilder(self._id(config), config) for config in configs}
        what = f"A pass of {counted(len(configs), 'run')}"
        less = "Give fewer learning_rates, or a smaller train_batch_size."
        with turn("the single updates of a cell", say=say), enough_memory(what, less):
            for event in train(self.base, self.cache, configs, monitor=self.monitor(pictures=0, sets=("validation",)),
                               gradient_checkpointing=bool(self.gradient_checkpointing)):
                builders[event.run_id].add(event)
        return [builder.build() for builder in builders.values()]

    def generate(self, prompts, seeds=None, *, run: Run | str | None = None, step: int | None = None,
                 strength: float | list[float] = 1.0, **options) -> np.ndarray:
        """Draw one picture a prompt, uint8 (N, H, W, 3), with the untouched base or with a run's adapter at a strength.

        seeds     one a prompt; None takes 0, 1, 2, ...
        run       a Run, or a run id as `labkit runs` shows it: its first characters suffice
        step      the checkpoint of the run; None takes its last
        strength  of the run's adapter; several give (strengths, N, H, W, 3), drawn in one pass
        options   num_inference_steps, guidance_scale
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        seeds = list(range(len(prompts))) if seeds is None else list(seeds)
        if note := cut_texts(self.base, prompts, "prompt"):
            warnings.warn(f"{note}.", LabWarning, stacklevel=2)
        if not self.base.lock.acquire(blocking=False):
            say(f"waiting for {holder()} to end")
        else:
            self.base.lock.release()
        if run is None:
            return self.base.generate(prompts, seeds, **options)
        from labkit.engine.adapters import LoRAStack
        folder = self.store.named(run if isinstance(run, str) else run.run_id)
        with self.base.lock:
            strengths = [strength] if np.ndim(strength) == 0 else list(strength)
            stack = LoRAStack(self.base.unet, [folder.load().config] * len(strengths))
            for k in range(stack.K):
                stack.load(k, folder.checkpoint(step).adapter)
            stack.strength = strengths
            with stack.attached():
                pictures = self.base.generate(prompts, seeds, adapters=stack, **options)
            return pictures[0] if np.ndim(strength) == 0 else pictures

    def _id(self, config):
        return run_id(config, self.base.fingerprint, self.cache.fingerprint)
