"""One base, one territory and one store: what a notebook, the panel and ten lines of Python share."""

import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit import settings
from labkit.datasets import buckets
from labkit.datasets.folders import Territory, territory
from labkit.datasets.notes import cut_texts
from labkit.design.adapter_start import is_pinned, start_file
from labkit.design.config import RunConfig, load_design, run_id
from labkit.design.ladders import rung_text
from labkit.engine.adapters import LoRAStack, weight_shapes
from labkit.engine.base import Base, load_base
from labkit.engine.base_files import find_base, resolution_and_step, unet_shapes
from labkit.engine.by_reader import NO_READER, scored_prompts
from labkit.engine.cache import Cache, encode
from labkit.engine.devices import find_device
from labkit.engine.dtypes import check_mixed_precision
from labkit.engine.monitor import Monitor
from labkit.engine.out_of_memory import enough_memory
from labkit.engine.room import room
from labkit.engine.scores import ScoredPrompts
from labkit.engine.sweep import MAX_ROWS, sweep
from labkit.engine.train import check_pass, train
from labkit.engine.turns import holder, turn
from labkit.errors import LabError, LabWarning
from labkit.interrupts import Interrupted, stop_on_interrupt
from labkit.judge.kept import with_cached_findings
from labkit.reading import BUCKETS
from labkit.store.adapter_starts import check_kind, start
from labkit.store.events import Event
from labkit.store.history import Run, RunBuilder
from labkit.store.runs import COMPLETE, Store
from labkit.text import counted, shown
from labkit.view.frontend import say
from labkit.view.live import live

Design = RunConfig | dict | str | Path | None                # what `load_design` takes


class Lab:
    """Train on one base and one territory, keep every run, and draw with what was trained.

    base          'embedded', a Stable Diffusion folder, a .safetensors file, a hub name, or a Base that is loaded
    data          a territory that ships, a folder of pictures with captions, or a Territory that is open
    cache         what `encode` made of the two; None encodes at first use
    store         folder of the run store; None takes the usual one
    device        'cpu', 'cuda', 'mps'; None takes the best there is
    revision      branch, tag or commit of a hub name
    resolution    side of a picture in pixels; None takes the base's own
    crop, captions    which part of each picture is used and where captions come from, as `territory` takes them;
                  of a Territory that is open, its own
    dtype         of the U-Net: float32, bf16 or fp16; None: what LABKIT_DTYPE says, else what the device is best at
    max_rows      pictures that a pass may hold, all its runs together; fewer where memory is short
    gradient_checkpointing    whether activations are computed again in the backward pass instead of kept (Chen et
                  al. 2016), which needs less memory and about a third more time, and changes no number on a CPU;
                  None: where one run does not fit into predicted memory otherwise
    monitor       fields of Monitor that are other than usual in all runs of this lab, as in {"images": 8}, or
                  {"scored": 0} for no score beside the verdicts

    LabError: max_rows or gradient_checkpointing has a value that is not possible.
    Pictures are checked before the base is loaded; both happen at first use.
    """

    def __init__(self, base: str | Base = "embedded", data: str | Path | Territory = "liminal", *,
                 cache: Cache | None = None, store: str | Path | None = None,
                 device: str | torch.device | None = None, revision: str | None = None, resolution: int | None = None,
                 crop: str = "center", captions: str | None = None,
                 dtype: str | torch.dtype | None = None, max_rows: int = MAX_ROWS,
                 gradient_checkpointing: bool | None = None, monitor: Mapping[str, Any] | None = None):
        """Keep the arguments; nothing is read or loaded yet."""
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
            raise LabError(f"max_rows = {shown(max_rows)}: give a whole number from 1 up, such as 16.")
        if gradient_checkpointing not in (None, True, False):
            raise LabError(f"gradient_checkpointing = {shown(gradient_checkpointing)}: give True, False or None, "
                           "which decides by predicted memory.")
        self.base_name = base if isinstance(base, str) else base.name
        self.data_name = str(data) if isinstance(data, str | Path) else data.name
        self.store, self.device, self.revision, self.resolution = Store(store), device, revision, resolution
        self.dtype, self.max_rows, self.gradient_checkpointing = dtype, max_rows, gradient_checkpointing
        self.crop, self.captions = (crop, captions) if isinstance(data, str | Path) else (data.crop, data.captions)
        self.usual: dict[str, Any] = dict(monitor or {})
        self._is_batch_told = False                           # that a batch is all pictures there are
        self.encoded: Callable[[int, int], None] = lambda done, total: None  # told while pictures are encoded
        if not isinstance(base, str):                         # objects take the place of what is made at first use
            self.base = base.at(resolution) if resolution else base
        if not isinstance(data, str | Path):
            self.territory = data
        if cache is not None:
            self.cache = cache

    @classmethod
    def from_config(cls, config: RunConfig, **options: Any) -> "Lab":
        """Open the lab that a configuration asks for.

        options   store, device, dtype, max_rows, gradient_checkpointing, monitor
        """
        precision = config.mixed_precision
        dtype = None if precision == "no" else precision      # "no": as the device is best at
        return cls(config.base, config.data, revision=config.revision, resolution=config.resolution,
                   crop=config.crop, captions=config.captions, **{"dtype": dtype} | options)

    @cached_property
    def territory(self) -> Territory:
        """Return pictures and captions, checked."""
        opened = territory(self.data_name, crop=self.crop, captions=self.captions)
        for note in opened.told[1:]:                          # the first line is its summary
            warnings.warn(f"data: {note}.", LabWarning, stacklevel=3)
        return opened

    @cached_property
    def base(self) -> Base:
        """Return the frozen base; where it computes in anything but float32 on a CPU, that is printed."""
        pictures = self.territory                             # whose faults are found sooner than a base is loaded
        sides = resolution_and_step(find_base(self.base_name, self.revision)) if self.crop == BUCKETS else None
        read = (pictures.train, self.resolution or sides[0], sides[1], pictures.prior) if sides else None
        for note in buckets.notes(*read) if read else ():
            warnings.warn(f"data: {note}.", LabWarning, stacklevel=3)
        base = load_base(self.base_name, device=self.device, dtype=self.dtype, revision=self.revision)
        if (base.device.type, str(base.dtype)) != ("cpu", "torch.float32"):
            say(base.computes)
        return base.at(self.resolution) if self.resolution else base

    @cached_property
    def cache(self) -> Cache:
        """Return the encoded pictures and captions."""
        train, validation = self.territory.train, self.territory.validation
        is_own = bool(train.looks)                            # captions of what ships were made to fit
        whole = [text for part in (train, validation) for text in part.every_caption] if is_own else []
        note = cut_texts(self.base, whole) if whole else None
        if note:
            warnings.warn(f"data: {note}.", LabWarning, stacklevel=3)
        return encode(self.base, self.territory, progress=self.encoded)

    def config(self, design: Design = None, **knobs: Any) -> RunConfig:
        """Return a resolved configuration on this lab's base and territory, from a design and knobs on top of it.

        design    as `load_design` takes it: a RunConfig, a dict, a design file, a share string or None
        LabError: the design asks for another base, territory or size than this lab was opened with, or begins from an
        adapter's file that does not fit it.
        """
        config = load_design(design, **knobs)
        opened_with = {"base": self.base_name, "data": self.data_name, "revision": self.revision,
                       "resolution": self.resolution, "crop": self.crop, "captions": self.captions}
        for name, value in opened_with.items():
            requested = getattr(config, name)
            if requested not in (value, RunConfig.__dataclass_fields__[name].default):
                raise LabError(f"{name} = {requested!r} was asked of a lab that was opened with {value!r}: "
                               f"open one with Lab({name}={requested!r}).")
        if config.mixed_precision != "no":
            check_mixed_precision(config.mixed_precision, find_device(self.device))
        if self.resolution and self.resolution == self.base.own_resolution:
            opened_with["resolution"] = None                  # one name for one run, whether its size is told or not
        resolved = config.replace(**opened_with).resolved(len(self.territory.train))
        if resolved.train_batch_size < config.train_batch_size and not self._is_batch_told:
            self._is_batch_told = True                        # once, however many runs there are
            warnings.warn(f"train_batch_size is {resolved.train_batch_size} where {config.train_batch_size} is usual: "
                          "there are no more pictures to train on.", LabWarning, stacklevel=2)
        if not is_pinned(config.init_lora_weights):           # a run that goes on may have lost the file
            self._check_start(resolved)
        return resolved

    def _check_start(self, config: RunConfig) -> None:
        """Raise LabError where the adapter's file that a run begins from does not fit, before a base is loaded."""
        file = start_file(config.init_lora_weights) or Path()
        check_kind(file, config)                              # sooner than a base may be fetched
        is_loaded = "base" in self.__dict__
        shapes = (weight_shapes(self.base.unet) if is_loaded
                  else unet_shapes(find_base(self.base_name, self.revision)))
        if shapes:
            start(file, config, shapes)

    def plan(self, designs: Iterable[Design]) -> dict[str, RunConfig]:
        """Resolve and name runs, once for all that follows: {run id: resolved configuration}, a run given twice once.

        designs   RunConfig or what else `config` takes
        """
        return dict(self._named(designs))

    def with_data(self, data: str | Path | Territory) -> "Lab":
        """Return a lab on another territory that shares this one's base and store; its captions and crop are usual."""
        return Lab(self.base, data, store=self.store.root, device=self.device, revision=self.revision,
                   resolution=self.resolution, dtype=self.dtype, max_rows=self.max_rows,
                   gradient_checkpointing=self.gradient_checkpointing, monitor=self.usual)

    def monitor(self, *, pictures: int = 2, **options: Any) -> Monitor:
        """Return the usual measurements of a run: held-out loss at log-spaced steps, pictures at four.

        pictures  prompts of the territory that are drawn
        options   fields of Monitor, over the lab's own
        """
        defaults: dict[str, Any] = {"prompts": tuple(self.territory.prompts[:pictures]),
                                    "scored_prompts": lambda: self.scored_prompts}
        return Monitor(**defaults | self.usual | options)

    @cached_property
    def scored_prompts(self) -> tuple[ScoredPrompts, ...]:
        """Return the prompts that are drawn for a run's score; none where the reader does not know these pictures."""
        return scored_prompts(self.territory)

    @property
    def _cannot_tell(self) -> dict[str, Any]:
        """Return the `no_score` and `nothing_held_out` entries that runs on this territory record, where they hold."""
        is_scored = any(scored.name == "validation" for scored in self.scored_prompts)
        without = {} if is_scored or self.usual.get("scored") == 0 else {"no_score": NO_READER}
        return without if self.territory.is_held_out else without | {"nothing_held_out": True}

    def train(self, design: Design = None, *, pictures: int = 2, **knobs: Any) -> Run:
        """Train one run, or find it in the store, and return its Run."""
        return self.train_all([load_design(design, **knobs)], pictures=pictures)[0]

    def race(self, name: str, values: Iterable, design: Design = None, *, pictures: int = 2,
             **knobs: Any) -> list[Run]:
        """Train one run for each value of the field `name`, all else equal, in as few passes as can be."""
        values = list(values)
        designs = [load_design(design, **knobs | {name: value}) for value in values]
        # None is a value of some fields, and load_design's word for one that is not given
        designs = [config if value is not None else config.replace(**{name: None})
                   for config, value in zip(designs, values, strict=True)]
        return self.train_all(designs, pictures=pictures, label=lambda run: rung_text(name, getattr(run.config, name)))

    def train_all(self, configs: Iterable[Design], *, pictures: int = 2, monitor: Monitor | None = None,
                  label: Callable[[Run], str] | None = None, checkpoint_at: Sequence[int] = ()) -> list[Run]:
        """Train the configurations that the store does not have, with growing curves; return all runs in their order.

        pictures        prompts that are drawn meanwhile, where no monitor is given
        label           names a curve by its Run
        checkpoint_at   updates after which each run's adapter is kept, beside its last
        """
        named = self._named(configs)
        plan = dict(named)
        with turn("the training in a cell", say=say) if self._is_incomplete(plan) else nullcontext():
            builders = self.begin(plan)
            monitor = monitor or self.monitor(pictures=pictures)
            words = "Stopping after this update; interrupt again to stop at once."
            with stop_on_interrupt(lambda: say(words)) as stop:
                events = self.sweep(plan, monitor=monitor, checkpoint_at=checkpoint_at, stop=stop, tell=say)
                with closing(live(events, builders, label=label)) as watched:
                    for _ in watched:
                        pass
            if stop.number is not None and self._is_incomplete(plan):
                raise Interrupted(stop.number, "Stopped, and what was trained is kept: "
                                               "run this cell again and it goes on from there.")
        return [self._whole(builders[name], config) for name, config in named]

    def sweep(self, plan: Mapping[str, RunConfig], **options: Any) -> Generator[Event, None, None]:
        """Train the planned runs that the store does not have, within this lab's max_rows, and keep their findings.

        Yields the events of `sweep.sweep`; gradient_checkpointing is the lab's too.
        options   of `sweep.sweep`: monitor, checkpoint_at, stop, meta, tell

        LabError: LABKIT_GRADING=1, and one of them would have to be trained.
        """
        if settings.switch("LABKIT_GRADING") == "1" and self._is_incomplete(plan):
            raise LabError("A run of this cell is not among those that were handed in, and none is trained while "
                           "answers are graded (LABKIT_GRADING=1): train it before handing in.")
        lesson = {"lesson": name} if (name := settings.switch("LABKIT_LESSON")) else {}
        options["meta"] = self._cannot_tell | lesson | (options.get("meta") or {})
        events = sweep(self.base, self.cache, plan, self.store, max_rows=self.max_rows,
                       gradient_checkpointing=self.gradient_checkpointing, **options)
        return with_cached_findings(self.store, events)

    def begin(self, plan: Mapping[str, RunConfig]) -> dict[str, RunBuilder]:
        """Return a RunBuilder for each planned run: empty, or with the events up to its last checkpoint."""
        meta = {"base_fingerprint": self.base.fingerprint, "data_fingerprint": self.cache.fingerprint,
                "measured_fingerprint": self.cache.measured_fingerprint} | self._cannot_tell
        return {name: self.store.begin(name, config, meta) for name, config in plan.items()}

    def one_update(self, learning_rates: Iterable[float], design: Design = None, **knobs: Any) -> list[Run]:
        """Make one update at each rate from the same start and measure it on held-out pictures; nothing is kept."""
        designs = [load_design(design, **knobs | {"learning_rate": rate, "max_train_steps": 1})
                   for rate in learning_rates]
        plan = self.plan(designs)
        builders = {name: RunBuilder(name, config) for name, config in plan.items()}
        still = self.monitor(pictures=0, sets=("validation",), scored=0)
        what = f"A pass of {counted(len(plan), 'run')}"
        less = "Give fewer learning_rates, or a smaller train_batch_size."
        with turn("the single updates of a cell", say=say), enough_memory(what, less):
            for event in train(self.base, self.cache, plan, monitor=still,
                               gradient_checkpointing=self.recomputes(*plan.values())):
                builders[event.run_id].add(event)
        return [builder.build() for builder in builders.values()]

    def recomputes(self, *configs: RunConfig) -> bool:
        """Tell whether runs of resolved configurations compute activations again, so that they fit into one pass.

        LabError: one alone does not fit even so, or there is none.
        """
        check_pass(configs)
        rows = sum(config.rows for config in configs)
        fits = room(self.base, self.cache, configs[0], rows, self.gradient_checkpointing)
        return fits.gradient_checkpointing or fits.rows < rows and self.gradient_checkpointing is None

    def generate(self, prompts: str | Sequence[str], seeds: Sequence[int] | None = None, *,
                 run: Run | str | None = None, step: int | None = None,
                 strength: float | Sequence[float] = 1.0, **options: Any) -> np.ndarray:
        """Draw one picture a prompt, uint8 (N, H, W, 3), with the bare base or with a run's adapter at a strength.

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
        folder = self.store.named(run if isinstance(run, str) else run.run_id)
        with self.base.lock:
            strengths = np.atleast_1d(strength).tolist()
            stack = LoRAStack(self.base.unet, [folder.load().config] * len(strengths))
            for k in range(stack.K):
                stack.load(k, folder.checkpoint(step).adapter)
            stack.strength = strengths
            with stack.attached():
                pictures = self.base.generate(prompts, seeds, adapters=stack, **options)
            return pictures[0] if np.ndim(strength) == 0 else pictures

    def _named(self, designs: Iterable[Design]) -> list[tuple[str, RunConfig]]:
        """Return run id and resolved configuration of each design, in order, also of one that is given twice."""
        configs = [self.config(design) for design in designs]
        return [(run_id(config, self.base.fingerprint, self.cache.fingerprint), config) for config in configs]

    def _is_incomplete(self, plan: Iterable[str]) -> bool:
        return any(self.store.run(name).status not in COMPLETE for name in plan)

    def _whole(self, builder: RunBuilder, config: RunConfig) -> Run:
        """Return the watched Run; load it from the store if it was not trained now, or is a fork."""
        is_watched = builder.stopped is not None and not config.parent
        return builder.build() if is_watched else self.store.run(builder.run_id).load()
