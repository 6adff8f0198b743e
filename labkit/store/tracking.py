"""Pass the events of runs on to the boards that people watch: TensorBoard's event files and Trackio.

The journal remains the record of a run; a board gets a copy. There single updates are named `train/...`, fixed-noise
losses and scores `validation/...`, `probe/...` and `ordinary/...`, and the verdict `verdict`.
"""

import importlib
import inspect
import io
import math
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.files.event_writer import EventFile, png_size
from labkit.files.regular import read_regular
from labkit.settings import given_path
from labkit.store.events import Event, Sample, Score, Step, Stopped, Validation
from labkit.store.history import Samples
from labkit.store.runs import COMPLETE, RunFolder
from labkit.text import rate_text

FILE = "events.out.tfevents.0.labkit"  # one for each run, written anew in each session: no point is there twice
Recorded = Event | Samples
Verdict = Mapping                                             # of it "label" and "sentence" are told


class Board(Protocol):
    """Interface of a board: it takes the events of runs, after those that each run recorded before."""

    def begin(self, run_id: str, config: RunConfig, before: Iterable[tuple[float, Recorded]]) -> None:
        """Begin a run with what it has recorded so far, each event with its time in seconds since 1970."""

    def take(self, event: Event) -> None:
        """Take an event of a run that was begun."""

    def end(self, run_id: str, verdict: Verdict) -> None:
        """Take the verdict on a run; nothing comes after it."""


def scalars(event: Recorded) -> dict[str, float]:
    """Return the numbers of an event by the names that a board shows; none for pictures and checkpoints."""
    if isinstance(event, Step):
        return {f"train/{name}": float(getattr(event, name))
                for name in ("loss", "learning_rate", "grad_norm", "update_norm")}
    if isinstance(event, Validation) and event.grade == "monitor":
        return {f"{event.name}/loss": float(np.asarray(event.losses, dtype=np.float64).mean())}
    if isinstance(event, Score):
        return {f"{event.name}/accepted": float(event.accepted.mean())}
    return {}


def label(run_id: str, config: RunConfig) -> str:
    """Name a run on a board, always the same way: "rate-1e-3_rank-8_seed-0_57e35dfd"."""
    return f"rate-{rate_text(config.learning_rate)}_rank-{config.rank}_seed-{config.seed}_{run_id[:8]}"


def recorded(folder: RunFolder) -> list[tuple[float, Recorded]]:
    """Return the events of a run that will not come again: all, or those up to the checkpoint that it goes on from."""
    if not folder.path.exists():
        return []
    lines, events, _ = folder.read()
    last = len(lines)
    if folder.status not in COMPLETE:
        last = max((number for number, line in enumerate(lines, 1) if line["event"] == "Checkpoint"), default=0)
    pairs = zip(lines[:last], events[:last], strict=True)
    return [(float(line["time"]), event) for line, event in pairs if event is not None]


def tracked(events: Generator[Event, None, None], boards: Sequence[Board]) -> Generator[Event, None, None]:
    """Pass events through, each given to the boards first."""
    with closing(events):
        for event in events:
            for board in boards:
                board.take(event)
            yield event


class TensorBoard:
    """Write an event file for each run into a folder of its own below `folder`."""

    def __init__(self, folder: str):
        """Name the folder, there or not yet; LabError where it cannot be one."""
        self.folder = given_path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise LabError(f"--tensorboard {folder}: it is a file; give a folder for event files.")
        self.files: dict[str, EventFile] = {}
        self.last: dict[str, int] = {}                        # updates of each run so far

    def begin(self, run_id: str, config: RunConfig, before: Iterable[tuple[float, Recorded]]) -> None:
        """Begin a run's file with what the run recorded before."""
        self.files[run_id] = EventFile(self.folder / label(run_id, config) / FILE, "--tensorboard")
        self.last[run_id] = 0
        self.files[run_id].text("settings", f"    {config.share()}", 0, time.time())
        for time_s, event in before:
            self._write(run_id, event, time_s)
        self.files[run_id].flush()

    def take(self, event: Event) -> None:
        """Add an event; all but single updates are in the file at once."""
        if event.run_id in self.files:
            self._write(event.run_id, event, time.time())
            if not isinstance(event, Step):
                self.files[event.run_id].flush()

    def end(self, run_id: str, verdict: Verdict) -> None:
        """Add the verdict as a text and close the file."""
        if file := self.files.pop(run_id, None):
            file.text("verdict", f"**{verdict['label']}** {verdict['sentence']}", self.last[run_id], time.time())
            file.close()

    def _write(self, run_id: str, event: Recorded, time_s: float) -> None:
        file, self.last[run_id] = self.files[run_id], event.global_step
        for tag, value in scalars(event).items():
            file.scalar(tag, value, event.global_step, time_s)
        if isinstance(event, Sample | Samples):
            for number, png in enumerate(_pngs(event)):
                width, height = png_size(png)
                tag = f"pictures/{number} {event.prompts[number][:60]}" + (
                    "" if event.strength == 1 else f", strength {event.strength:g}")
                file.image(tag, png, width, height, event.global_step, time_s)


def _pngs(samples: Sample | Samples) -> list[bytes]:
    """Return the pictures as PNG files; those of a run whose files are gone are left out."""
    if samples.images is None:
        paths: Sequence[Path] = getattr(samples, "paths", ())
        return [read_regular(path) for path in paths] if all(path.is_file() for path in paths) else []
    from PIL import Image  # not at the top: most runs are read without their pictures

    files = []
    for image in samples.images:
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(image)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


class Trackio:
    """Give Trackio each run once it is complete, its verdict as an alert, by Trackio's module-level functions alone.

    Trackio has one current run; runs that train side by side are therefore sent one after another at their ends.
    """

    def __init__(self, project: str, load: Callable[[str], ModuleType] = importlib.import_module):
        """Take the project's name; LabError where Trackio is not installed or the name is no name."""
        if not re.fullmatch(r"[\w .-]{1,60}", project) or not project.strip(" ."):
            raise LabError(f"--trackio {project!r}: give a project's name of letters, digits, spaces and hyphens.")
        try:
            self.trackio = load("trackio")
        except ImportError:
            raise LabError("--trackio: Trackio is not installed here: `pip install trackio`, or leave --trackio "
                           "out.") from None
        self.project = project
        # Newer versions also log what the machine does, which while a run is sent is not what it did while it trained.
        known = inspect.signature(self.trackio.init).parameters
        self.quiet = {name: False for name in ("auto_log_cpu", "auto_log_gpu") if name in known}
        self.runs: dict[str, tuple[RunConfig, list[Recorded]]] = {}

    def begin(self, run_id: str, config: RunConfig, before: Iterable[tuple[float, Recorded]]) -> None:
        """Keep what a run recorded before; a run that was complete by then has been sent."""
        events = [event for _, event in before]
        if not any(isinstance(event, Stopped) and event.reason in COMPLETE for event in events):
            self.runs[run_id] = config, events

    def take(self, event: Event) -> None:
        """Keep an event."""
        if event.run_id in self.runs and (scalars(event) or isinstance(event, Stopped)):
            self.runs[event.run_id][1].append(event)

    def end(self, run_id: str, verdict: Verdict) -> None:
        """Send a run that is complete with its verdict; one that was stopped is sent when it is."""
        if run_id not in self.runs:
            return
        config, events = self.runs.pop(run_id)
        ends = [event.reason for event in events if isinstance(event, Stopped)]
        if not ends or ends[-1] not in COMPLETE:
            return
        self.trackio.init(project=self.project, name=label(run_id, config), config=config.to_dict(), **self.quiet)
        by_step: dict[int, dict[str, float]] = {}
        for event in events:
            by_step.setdefault(event.global_step, {}).update(scalars(event))
        for step, numbers in sorted(by_step.items()):
            finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
            if finite:
                self.trackio.log(finite, step=step)
        levels = getattr(self.trackio, "AlertLevel", None)
        if levels is not None and hasattr(self.trackio, "alert"):  # older versions have no alerts
            level = {"healthy": levels.INFO, "diverged": levels.ERROR}.get(verdict["label"], levels.WARN)
            self.trackio.alert(title=f"{label(run_id, config)}: {verdict['label']}",
                               text=verdict["sentence"], level=level)
        self.trackio.finish()
