"""Everything recorded of one run, as plain arrays: built event by event, live or from the store."""

import math
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.files.regular import require_regular
from labkit.store.events import Event, Sample, Score, Step, Stopped, Validation

STEP_FIELDS = ("global_step", "samples_seen", "loss", "learning_rate", "grad_norm", "update_norm", "max_alloc")


class Curve(NamedTuple):
    """Hold fixed-noise losses over a run."""

    steps: np.ndarray  # (T,) completed updates
    losses: np.ndarray  # (T, images, strata) float32

    @property
    def means(self) -> np.ndarray:
        """Return the mean loss (T,) over pictures and strata."""
        return self.losses.astype(np.float64).mean(axis=(1, 2))


@dataclass(frozen=True, eq=False)
class Scores:
    """Hold which of the same N prompts were accepted over a run."""

    steps: np.ndarray  # (T,) completed updates
    accepted: np.ndarray  # (T, N) bool
    prompts: tuple[str, ...]
    asked: tuple[str, ...]  # what each picture had to show
    scored_by: str

    def at(self, step: int) -> np.ndarray | None:
        """Return which prompts (N,) were accepted after `step` updates; None where nothing was drawn then."""
        (places,) = np.nonzero(self.steps == step)
        return self.accepted[places[0]] if len(places) else None

    def share(self, step: int | None = None) -> float:
        """Return the share accepted after `step` updates, the last of them by default; NaN where none was drawn."""
        accepted = self.at(int(self.steps[-1]) if step is None else step)
        return math.nan if accepted is None else float(accepted.mean())


@dataclass(frozen=True, eq=False)
class Samples:
    """Hold pictures made at one step, in memory or as files."""

    global_step: int
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance_scale: float
    strength: float
    paths: tuple[Path, ...] = ()
    images: np.ndarray | None = None

    def load(self) -> np.ndarray:
        """Return the pictures (N, H, W, 3) uint8; LabError names a file that is missing or damaged."""
        if self.images is not None:
            return self.images
        return np.stack([_picture(path) for path in self.paths])


def _picture(path: Path) -> np.ndarray:
    from PIL import Image  # not at the top: plain numbers are read without Pillow

    from labkit.datasets.pixels import DAMAGED

    require_regular(path)
    try:
        with Image.open(path) as picture:  # closed at once, whatever is wrong with the file
            return np.asarray(picture.convert("RGB"))
    except (*DAMAGED, Image.DecompressionBombError) as error:
        fault = error or type(error).__name__
        raise LabError(f"{path} cannot be read as a picture ({fault}): it is damaged.") from None


@dataclass(frozen=True, eq=False)
class Run:
    """Hold everything recorded of a run; arrays are ordered by step and a step occurs once."""

    run_id: str
    config: RunConfig
    status: str  # running, interrupted (its process is gone), finished, stopped, diverged or error
    steps: dict[str, np.ndarray]  # STEP_FIELDS -> (S,)
    validations: dict[str, Curve]  # "validation", "probe", "ordinary": monitor grade
    timesteps: dict[str, np.ndarray]  # the same names -> (images, strata)
    final_validations: dict[str, Curve]  # the same names: verdict grade
    samples: list[Samples]
    stopped: Stopped | None
    meta: dict = field(default_factory=dict)
    origin: str = "live"  # live, store or recorded
    time_s: float | None = None  # when the last event was written, in seconds since 1970
    scores: dict[str, Scores] = field(default_factory=dict)  # "validation", "ordinary"; empty where none were drawn

    @property
    def provenance(self) -> str:
        """Say where these numbers come from and when they were made."""
        when = "an unknown time"
        if self.time_s:
            when = datetime.fromtimestamp(self.time_s).strftime("%d %B %Y at %H:%M").lstrip("0")
        if self.origin == "recorded":
            return f"A recorded run that ships with the kit, made {when}; it was not trained here."
        if self.origin == "store":
            return f"Found in the run store: trained {when}, not trained again. Another seed gives a new run."
        return f"Trained {when}." if self.time_s else "Trained here."

    @property
    def is_held_out(self) -> bool:
        """Tell whether the validation losses are of pictures not trained on; of fewer than eight none is held out."""
        return not self.meta.get("nothing_held_out")

    @property
    def measured_on(self) -> str:
        """Say which pictures the validation losses are of."""
        return "held-out pictures" if self.is_held_out else "training pictures"


class RunBuilder:
    """Collect the events of one run; `build()` returns what has come in so far."""

    def __init__(self, run_id: str, config: RunConfig, *, meta: dict | None = None, origin: str = "live"):
        """Begin without events. origin: as in `Run`; a live one is dated by the clock at each event."""
        self.run_id, self.config, self.meta, self.origin = run_id, config, meta or {}, origin
        self.stopped: Stopped | None = None
        self.time_s: float | None = None
        self._steps: dict[int, Step] = {}
        self._samples: dict[tuple[int, float], Samples] = {}                     # by step and strength
        self._validations: dict[tuple[str, str], dict[int, np.ndarray]] = {}    # losses by grade and name, then step
        self._timesteps: dict[tuple[str, str], np.ndarray] = {}                 # by grade and name
        self._scores: dict[str, dict[int, Score]] = {}                          # by name, then step

    def add(self, event: Event) -> None:
        """Add one event; it replaces one of the same step, since a resumed run repeats steps."""
        if self.origin == "live":
            self.time_s = time.time()
        if isinstance(event, Step):
            self._steps[event.global_step] = event
        elif isinstance(event, Validation):
            key = event.grade, event.name
            known = self._timesteps.get(key)
            if known is not None and known.shape != event.timesteps.shape:
                self._validations[key] = {}                   # of other pictures: no curve goes through both
            self._validations.setdefault(key, {})[event.global_step] = event.losses
            self._timesteps[key] = event.timesteps
        elif isinstance(event, Sample):
            how = (event.prompts, event.seeds, event.guidance_scale, event.strength)
            self.add_samples(Samples(event.global_step, *how, images=event.images))
        elif isinstance(event, Score):
            alike = {at: other for at, other in self._scores.get(event.name, {}).items()
                     if (other.prompts, other.asked, other.scored_by) == (event.prompts, event.asked, event.scored_by)}
            self._scores[event.name] = alike | {event.global_step: event}      # no share compares other prompts
        elif isinstance(event, Stopped):
            self.stopped = event

    def add_samples(self, samples: Samples) -> None:
        """Add the pictures of one step, in memory or in files."""
        self._samples[samples.global_step, samples.strength] = samples

    def cut(self, step: int) -> None:
        """Remove everything recorded after a step, and the run's end."""
        self._steps = {at: event for at, event in self._steps.items() if at <= step}
        self._samples = {key: samples for key, samples in self._samples.items() if key[0] <= step}
        self._validations = {key: {at: losses for at, losses in by_step.items() if at <= step}
                             for key, by_step in self._validations.items()}
        self._scores = {name: {at: score for at, score in by_step.items() if at <= step}
                        for name, by_step in self._scores.items()}
        self.stopped = None

    @property
    def last_step(self) -> int:
        """Return the last completed update, 0 before the first."""
        return max(self._steps, default=0)

    def build(self, status: str | None = None) -> Run:
        """Return all that was collected so far. status: of `Run`; None takes it from the events."""
        reason = self.stopped.reason if self.stopped else "running"
        return Run(
            self.run_id, self.config, status or reason, self._step_arrays(), self._curves("monitor"),
            {name: array for (grade, name), array in self._timesteps.items() if grade == "monitor"},
            self._curves("verdict"), [self._samples[key] for key in sorted(self._samples)],
            self.stopped, self.meta, self.origin, self.time_s, self._all_scores(),
        )

    def _all_scores(self) -> dict[str, Scores]:
        ordered = {name: [by_step[step] for step in sorted(by_step)] for name, by_step in self._scores.items()}
        return {name: Scores(np.array([event.global_step for event in events]),
                             np.stack([event.accepted for event in events]),
                             events[0].prompts, events[0].asked, events[0].scored_by)
                for name, events in ordered.items() if events}

    def _step_arrays(self) -> dict[str, np.ndarray]:
        events = [self._steps[step] for step in sorted(self._steps)]
        kinds = {"global_step": np.int64, "samples_seen": np.int64}
        columns = {name: [getattr(event, name) for event in events] for name in STEP_FIELDS}
        columns["max_alloc"] = [math.nan if value is None else value for value in columns["max_alloc"]]
        return {name: np.array(column, dtype=kinds.get(name, np.float64)) for name, column in columns.items()}

    def _curves(self, wanted: str) -> dict[str, Curve]:
        return {
            name: Curve(np.array(sorted(by_step)), np.stack([by_step[step] for step in sorted(by_step)]))
            for (grade, name), by_step in self._validations.items()
            if grade == wanted and by_step
        }
