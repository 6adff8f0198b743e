"""The run store: one folder a run, readable by anyone, never half written."""

import io
import time
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import numpy as np

from labkit import settings
from labkit.design.config import RunConfig, run_id
from labkit.errors import LabError, LabWarning
from labkit.files.atomic import cannot_write, write_file
from labkit.files.tensor_files import opened, sealed
from labkit.store import about, journal, replay
from labkit.store.about import STORE_VERSION as STORE_VERSION
from labkit.store.adapter_files import load_adapter, save_adapter
from labkit.store.events import Checkpoint, Event, Sample, Step
from labkit.store.history import Run, RunBuilder, Samples
from labkit.store.names import run_named
from labkit.store.run_files import checkpoint_name, inherit, remove, remove_others

COMPLETE = ("finished", "diverged")  # a diverged run is a result

Tensors = Mapping[str, np.ndarray]
_written: dict[Path, None] = {}  # folders of the runs that this process has written, in order


class RunFolder:
    """Read and write the folder of one run: config.json, events.jsonl, adapter.safetensors, checkpoints/, samples/."""

    def __init__(self, path: Path | str, origin: str = "store"):
        """Name a folder, there or not yet. origin: as in `Run`."""
        self.path, self.run_id, self.origin = Path(path), Path(path).name, origin
        self.events_path = self.path / "events.jsonl"

    @property
    def adapter_path(self) -> Path:
        """Return where the adapter of the last checkpoint lies."""
        return self.path / "adapter.safetensors"

    @property
    def status(self) -> str:
        """Return the status, as in `Run`; LabError when the last line of the journal is damaged."""
        if journal.is_locked(self.events_path):
            return "running"
        return self.status_of([journal.last(self.events_path)])

    def status_of(self, lines: Sequence[dict]) -> str:
        """Return the status of a run that nobody writes, from the lines of its journal or the last of them."""
        try:
            return replay.reason(lines[-1]) if lines and lines[-1].get("event") == "Stopped" else "interrupted"
        except replay.FAULTS as error:
            raise replay.damaged(len(journal.read(self.events_path)[0]), self.events_path, error) from None

    def load(self) -> Run:
        """Return everything recorded; LabError when the folder is damaged or from a newer version."""
        status = self.status
        return self.builder().build(status)

    def builder(self) -> RunBuilder:
        """Return everything recorded as a RunBuilder, which takes further events."""
        values = self._about()
        config, meta = RunConfig.from_dict(values["config"]), values["sessions"][0]["meta"]
        builder = RunBuilder(self.run_id, config, meta=meta, origin=self.origin)
        lines, events, _ = self.read()
        for event in events:
            if isinstance(event, Samples):
                builder.add_samples(event)
            elif event is not None:
                builder.add(event)
        builder.time_s = lines[-1]["time"] if lines else None
        return builder

    def read(self) -> tuple[list[dict], list[Event | Samples | None], list[int]]:
        """Return the lines of the journal, the event of each and where it ends; LabError names one that is damaged."""
        lines, ends = journal.read(self.events_path)
        events = []
        for number, line in enumerate(lines, 1):
            try:
                events.append(replay.parse(line, self.run_id, self.path))
                replay.time_of(line)
            except replay.FAULTS as error:
                raise replay.damaged(number, self.events_path, error) from None
        return lines, events, ends

    @property
    def group(self) -> list[str]:
        """Return the runs that share the pass this one was begun in, in order."""
        return self._about()["sessions"][0]["meta"].get("group", [self.run_id])

    @property
    def began_s(self) -> float:
        """Return when this run was begun, in seconds since 1970: a fork's first events are older, its parent's."""
        return self._about()["sessions"][0]["started_s"]

    @property
    def dtype(self) -> str | None:
        """Return the precision of the base when this run was last written; None where that was not recorded."""
        return self._about()["sessions"][-1]["meta"].get("dtype") if self.path.exists() else None

    def checkpoints(self) -> list[int]:
        """Return the steps at which the journal notes a checkpoint, whether or not its file is still whole."""
        return sorted(self._checkpoint_lines())

    def checkpoint(self, step: int | None = None) -> Checkpoint:
        """Return the checkpoint after `step` updates, the last one by default.

        LabError: there is none, or it is damaged.
        """
        samples_seen = self._checkpoint_lines()
        if not samples_seen or step not in (None, *samples_seen):
            where, steps = "" if step is None else f"at step {step}", sorted(samples_seen) or "none"
            raise LabError(f"The run {self.run_id} has no checkpoint {where}: it has {steps}.")
        step = max(samples_seen) if step is None else step
        tensors, _ = opened(self.path / checkpoint_name(step))
        adapter, optimizer = (
            {name.removeprefix(part): array for name, array in tensors.items() if name.startswith(part)}
            for part in ("adapter/", "optimizer/")
        )
        return Checkpoint(self.run_id, step, samples_seen[step], adapter, optimizer)

    def adapter(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Return the tensors of the adapter after `step` updates, of adapter.safetensors by default.

        LabError: there is none, it is damaged, or adapter.safetensors is not this run's.
        """
        if step is not None:
            return self.checkpoint(step).adapter
        if not self.adapter_path.exists():
            raise LabError(f"The run {self.run_id} has no adapter yet (it is {self.status}): resume it first.")
        tensors, _ = load_adapter(self.adapter_path)
        try:
            checkpoint = self.checkpoint()
        except LabError:                                      # removed to save space, or damaged: the adapter is whole
            return tensors
        if _bytes(tensors) != _bytes(checkpoint.adapter):
            raise LabError(f"{self.adapter_path} is not the adapter of the last checkpoint, it was replaced or "
                           "belongs to a later one that was lost: take it from that checkpoint with "
                           f"--step {checkpoint.global_step}.")
        return tensors

    def _checkpoint_lines(self) -> dict[int, int]:
        """Return the checkpoints that the journal notes: how many pictures had been seen, by step."""
        samples_seen = {}
        for number, line in enumerate(journal.read(self.events_path)[0], 1):
            try:
                if (step := replay.checkpoint_step(line)) is not None:
                    samples_seen[step] = line["samples_seen"]
            except replay.FAULTS as error:
                raise replay.damaged(number, self.events_path, error) from None
        return samples_seen

    def writer(self, config: RunConfig, meta: Mapping | None = None, resume_at: int | None = None) -> "RunWriter":
        """Lock the folder for writing; drop what was recorded after the checkpoint `resume_at`, without one all."""
        return RunWriter(self, config, meta or {}, resume_at)

    def _about(self) -> dict:
        return about.read(self.path / "config.json")


def _bytes(tensors: Tensors) -> dict:
    return {name: (array.shape, array.astype(np.float32).tobytes()) for name, array in tensors.items()}


class RunWriter:
    """Hold the lock on a run folder and write its events; a context manager."""

    def __init__(self, folder: RunFolder, config: RunConfig, meta: Mapping, resume_at: int | None):
        """Lock the folder and keep what was recorded up to `resume_at`; LabError as `record` raises it."""
        self.folder, self.config = folder, config
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder.path, error) from None
        self.journal = journal.Journal(folder.events_path)
        try:
            self._begin(meta, resume_at)
        except BaseException:
            self.journal.close()
            raise
        _written[folder.path.absolute()] = None

    def _begin(self, meta: Mapping, resume_at: int | None) -> None:
        """Keep the events of a resumed run, or of a fork's parent, up to the checkpoint; note the session."""
        folder, source = self.folder, self.folder
        lines, _, ends = folder.read()
        if folder.status_of(lines) in COMPLETE:
            raise LabError(f"The run {folder.run_id} is already complete in {folder.path.parent}: read it from there, "
                           "or train with another seed.")
        if resume_at and self.config.parent and not any(line["event"] == "Checkpoint" for line in lines):
            source = RunFolder(folder.path.parent / self.config.parent)
            lines, _, ends = source.read()
        kept = 0
        if resume_at:
            kept = max((number for number, line in enumerate(lines, 1)
                        if line["event"] == "Checkpoint" and line["global_step"] == resume_at), default=0)
            if not kept:
                raise LabError(f"The run {source.run_id} has no checkpoint at step {resume_at} to go on from.")
        sessions = folder._about()["sessions"] if kept and source is folder else []
        session = {"started_s": time.time(), "meta": meta}
        write_file(folder.path / "config.json", about.encode(folder.run_id, self.config, [*sessions, session]))
        if source is folder:
            self.journal.cut(ends[kept - 1] if kept else 0)
            self._warn_of_lost([line["global_step"] for line in lines if line["event"] == "Step" and not kept])
        else:
            self.journal.cut(0)
            for line in lines[:kept]:
                inherit(source.path, folder.path, line)
                self.journal.append(line, durable=line is lines[kept - 1])
        remove_others(folder.path, lines[:kept])
        if kept:
            save_adapter(folder.adapter_path, folder.checkpoint(resume_at).adapter, self.config)
        else:
            remove(folder.adapter_path)

    def _warn_of_lost(self, steps: list[int]) -> None:
        if steps:
            warnings.warn(f"The run {self.folder.run_id} was interrupted at update {max(steps)} and has no checkpoint "
                          "to go on from: it begins again, and what it had written was removed.",
                          LabWarning, stacklevel=2)

    def write(self, event: Event) -> None:
        """Write one event; on return a Validation, Checkpoint, Sample or Stopped is safe on the disk."""
        line = {"event": type(event).__name__, "time": round(time.time(), 3)}
        values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "run_id"}
        if isinstance(event, Sample):
            values["scale"] = values.pop("strength")          # as journals have called it from the first
            values["files"] = self._write_pictures(event.global_step, event.strength, values.pop("images"))
        elif isinstance(event, Checkpoint):
            self._write_tensors(event.global_step, values.pop("adapter"), values.pop("optimizer"))
        self.journal.append(line | values, durable=not isinstance(event, Step))

    def _write_pictures(self, step: int, strength: float, images: np.ndarray) -> list[str]:
        from PIL import Image  # not at the top: most runs are read without their pictures

        names = []
        for index, image in enumerate(images):
            data = io.BytesIO()
            Image.fromarray(np.asarray(image)).save(data, "PNG")
            names.append(f"samples/{step:06d}_{strength:g}_{index}.png")
            write_file(self.folder.path / names[-1], data.getvalue())
        return names

    def _write_tensors(self, step: int, adapter: Tensors, optimizer: Tensors) -> None:
        """Write the files before the line that names them."""
        tensors = {f"adapter/{name}": array for name, array in adapter.items()}
        tensors |= {f"optimizer/{name}": array for name, array in optimizer.items()}
        write_file(self.folder.path / checkpoint_name(step), sealed(tensors))
        save_adapter(self.folder.adapter_path, adapter, self.config)

    def __enter__(self) -> "RunWriter":
        """Return the writer itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock."""
        self.journal.close()


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:                                           # removed since, or a link to nothing: reading it tells
        return 0.0


class Store:
    """Find the runs in one folder, `settings.store_dir()` by default."""

    def __init__(self, root: Path | str | None = None, origin: str = "store"):
        """Name the folder, there or not yet. origin: as in `Run`."""
        self.root, self.origin = settings.given_path(root) if root else settings.store_dir(), origin

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run, there or not yet."""
        return RunFolder(self.root / name, self.origin)

    def named(self, name: str) -> RunFolder:
        """Return the folder of the one run of this name, or whose id begins so; LabError where not one is."""
        return run_named(name, self.runs(), self.root)

    def runs(self) -> list[RunFolder]:
        """Return the folders of all runs, oldest first."""
        dated = sorted((_written_at(path), path) for path in self.root.glob("*/config.json"))
        return [self.run(path.parent.name) for _, path in dated]

    def load_runs(self, last: int | None = None, names: Iterable[str] | None = None) -> list[Run]:
        """Return all runs that can be read, oldest first, or those among the `last` ones, or those of these names.

        A LabWarning names each that cannot be read.
        """
        folders = self.runs()[-last if last else None:] if names is None else [self.run(name) for name in names]
        runs = []
        for folder in folders:
            try:
                runs.append(folder.load())
            except LabError as error:
                warnings.warn(str(error), LabWarning, stacklevel=2)
        return runs

    def begin(self, name: str, config: RunConfig, meta: dict | None = None) -> RunBuilder:
        """Return the builder of a run that is about to be trained, with the events up to its last checkpoint."""
        folder = self.run(name)
        if not folder.path.exists() or folder.status in COMPLETE or not folder.checkpoints():
            return RunBuilder(name, config, meta=meta)
        builder = folder.builder()
        builder.cut(max(folder.checkpoints()))
        builder.origin = "live"
        return builder

    def find(self, config: RunConfig, base_fingerprint: str, data_fingerprint: str) -> Run | None:
        """Return the complete run of a resolved configuration, if there is one; its `provenance` gives its time."""
        folder = self.run(run_id(config, base_fingerprint, data_fingerprint))
        is_there = (folder.path / "config.json").exists() and folder.status in COMPLETE
        return folder.load() if is_there else None


def written_here() -> list[RunFolder]:
    """Return the runs that this process has written, in the order in which it began to."""
    return [RunFolder(path) for path in _written]


def record(store: Store, events: Iterable[Event], configs: Mapping[str, RunConfig], *, meta: Mapping | None = None,
           resume_at: int | None = None) -> Generator[Event, None, None]:
    """Pass events through, each written to its run's folder before it is yielded.

    configs      resolved configurations by run id
    resume_at    the step of the checkpoint all of them go on from; members that were complete by then stay as they
                 are, and their repeated events are dropped

    LabError before the first event when a run is locked or complete.
    """
    with ExitStack() as stack:
        if hasattr(events, "close"):
            stack.callback(events.close)
        writers = {}
        for name, config in configs.items():
            if not (resume_at and store.run(name).status in COMPLETE):
                writers[name] = stack.enter_context(store.run(name).writer(config, meta, resume_at))
        for event in events:
            if event.run_id in writers:
                writers[event.run_id].write(event)
                yield event
