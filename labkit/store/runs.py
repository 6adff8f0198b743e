"""The run store: one folder a run, readable by anyone, never half written."""

import io
import time
import warnings
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
from labkit.store.run_files import checkpoint_name, inherit, remove, remove_others

COMPLETE = ("finished", "diverged")  # a diverged run is a result


_written = {}                                                 # folders of the runs that this process has written, in order


class RunFolder:
    """Read and write the folder of one run: config.json, events.jsonl, adapter.safetensors, checkpoints/, samples/."""

    def __init__(self, path, origin="store"):
        self.path, self.run_id, self.origin = Path(path), Path(path).name, origin
        self.events_path = self.path / "events.jsonl"

    @property
    def adapter_path(self) -> Path:
        """Return where the adapter of the last checkpoint lies."""
        return self.path / "adapter.safetensors"

    @property
    def status(self) -> str:
        """Return running, interrupted (its process is gone), finished, stopped, diverged or error; LabError when that is damaged."""
        if journal.is_locked(self.events_path):
            return "running"
        return self.status_of([journal.last(self.events_path)])

    def status_of(self, lines) -> str:
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
        described = self._about()
        builder = RunBuilder(self.run_id, RunConfig.from_dict(described["config"]), meta=described["sessions"][0]["meta"], origin=self.origin)
        lines, told, _ = self.read()
        for found in told:
            builder.add_samples(found) if isinstance(found, Samples) else builder.add(found)
        builder.time_s = lines[-1]["time"] if lines else None
        return builder

    def read(self) -> tuple[list[dict], list[Event | Samples | None], list[int]]:
        """Return the lines of the journal, what each tells and where it ends; LabError names one that is damaged."""
        lines, ends = journal.read(self.events_path)
        told = []
        for number, line in enumerate(lines, 1):
            try:
                told.append(replay.told(line, self.run_id, self.path))
                replay.time_of(line)
            except replay.FAULTS as error:
                raise replay.damaged(number, self.events_path, error) from None
        return lines, told, ends

    @property
    def group(self) -> list[str]:
        """Return the runs that share the pass this one was begun in, in order."""
        return self._about()["sessions"][0]["meta"].get("group", [self.run_id])

    @property
    def dtype(self) -> str | None:
        """Return the precision in which the base computed when this run was last written; None where that was not recorded."""
        return self._about()["sessions"][-1]["meta"].get("dtype") if self.path.exists() else None

    def checkpoints(self) -> list[int]:
        """Return the steps at which a checkpoint was told, whether or not its file is still whole."""
        return sorted(self._checkpoint_lines())

    def checkpoint(self, step=None) -> Checkpoint:
        """Return the checkpoint after `step` updates, the last one by default; LabError when there is none or it is damaged."""
        known = self._checkpoint_lines()
        if not known or step not in (None, *known):
            raise LabError(f"The run {self.run_id} has no checkpoint {'' if step is None else f'at step {step}'}: it has {sorted(known) or 'none'}.")
        step = max(known) if step is None else step
        tensors, _ = opened(self.path / checkpoint_name(step))
        parts = [{name.split("/", 1)[1]: array for name, array in tensors.items() if name.startswith(part)} for part in ("adapter/", "optimizer/")]
        return Checkpoint(self.run_id, step, known[step], *parts)

    def adapter(self, step=None) -> dict[str, np.ndarray]:
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
        except LabError:                                      # removed to save space, or damaged: the adapter was checked by itself
            return tensors
        if _bytes(tensors) != _bytes(checkpoint.adapter):
            raise LabError(f"{self.adapter_path} is not the adapter of the last checkpoint, it was replaced or belongs to a later one that was lost: "
                           f"take it from that checkpoint with --step {checkpoint.global_step}.")
        return tensors

    def _checkpoint_lines(self) -> dict[int, int]:
        """Return the checkpoints that the journal tells of: how many pictures had been seen, by step."""
        found = {}
        for number, line in enumerate(journal.read(self.events_path)[0], 1):
            try:
                if (step := replay.checkpoint_step(line)) is not None:
                    found[step] = line["samples_seen"]
            except replay.FAULTS as error:
                raise replay.damaged(number, self.events_path, error) from None
        return found

    def writer(self, config, meta=None, resume_at=None) -> "RunWriter":
        """Lock the folder for writing; with resume_at, what lies behind that checkpoint is dropped, else everything."""
        return RunWriter(self, config, meta or {}, resume_at)

    def _about(self) -> dict:
        return about.read(self.path / "config.json")


def _bytes(tensors) -> dict:
    return {name: (array.shape, array.astype(np.float32).tobytes()) for name, array in tensors.items()}


class RunWriter:
    """Hold the lock on a run folder and write its events; a context manager."""

    def __init__(self, folder: RunFolder, config, meta, resume_at):
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

    def _begin(self, meta, resume_at):
        """Keep what a resumed run, or the parent of a fork, already told; note who writes now in config.json."""
        folder, source = self.folder, self.folder
        lines, _, ends = folder.read()
        if folder.status_of(lines) in COMPLETE:
            raise LabError(f"The run {folder.run_id} is already complete in {folder.path.parent}: read it from there, or train with another seed.")
        if resume_at and not lines and self.config.parent:
            source = RunFolder(folder.path.parent / self.config.parent)
            lines, _, ends = source.read()
        kept = 0
        if resume_at:
            kept = max((n for n, line in enumerate(lines, 1) if line["event"] == "Checkpoint" and line["global_step"] == resume_at), default=0)
            if not kept:
                raise LabError(f"The run {source.run_id} has no checkpoint at step {resume_at} to go on from.")
        sessions = folder._about()["sessions"] if kept and source is folder else []
        session = {"started_s": time.time(), "meta": meta}
        write_file(folder.path / "config.json", about.written(folder.run_id, self.config, [*sessions, session]))
        if source is folder:
            self.journal.cut(ends[kept - 1] if kept else 0)
            self._say_lost([line["global_step"] for line in lines if line["event"] == "Step" and not kept])
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

    def _say_lost(self, made):
        if made:
            warnings.warn(f"The run {self.folder.run_id} was interrupted at update {max(made)} and has no checkpoint to go on from: it begins again, "
                          "and what it had written was removed.", LabWarning, stacklevel=2)

    def write(self, event: Event):
        """Write one event; on return a Validation, Checkpoint, Sample or Stopped is safe on the disk."""
        line = {"event": type(event).__name__, "time": round(time.time(), 3)}
        values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "run_id"}
        if isinstance(event, Sample):
            values["scale"] = values.pop("strength")          # as journals have called it from the first
            values["files"] = self._write_pictures(event.global_step, event.strength, values.pop("images"))
        elif isinstance(event, Checkpoint):
            self._write_tensors(event.global_step, values.pop("adapter"), values.pop("optimizer"))
        self.journal.append(line | values, durable=not isinstance(event, Step))

    def _write_pictures(self, step, strength, images) -> list[str]:
        from PIL import Image

        names = []
        for index, image in enumerate(images):
            data = io.BytesIO()
            Image.fromarray(np.asarray(image)).save(data, "PNG")
            names.append(f"samples/{step:06d}_{strength:g}_{index}.png")
            write_file(self.folder.path / names[-1], data.getvalue())
        return names

    def _write_tensors(self, step, adapter, optimizer):
        """Write the files before the line that speaks of them."""
        tensors = {f"adapter/{name}": array for name, array in adapter.items()} | {f"optimizer/{name}": array for name, array in optimizer.items()}
        write_file(self.folder.path / checkpoint_name(step), sealed(tensors))
        save_adapter(self.folder.adapter_path, adapter, self.config)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.journal.close()


def _written_at(path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:                                           # removed since, or a link to nothing: who reads it is told
        return 0.0


class Store:
    """Find the runs in one folder, `paths.store_dir()` by default."""

    def __init__(self, root=None, origin="store"):
        self.root, self.origin = settings.given_path(root) if root else settings.store_dir(), origin

    def run(self, name) -> RunFolder:
        """Return the folder of a run, there or not yet."""
        return RunFolder(self.root / name, self.origin)

    def named(self, name: str) -> RunFolder:
        """Return the folder of the one run whose id begins so; LabError when there is none, or more than one."""
        folders = self.runs()
        whole = [folder for folder in folders if folder.run_id == name]
        close = whole or [folder for folder in folders if name and folder.run_id.startswith(name)]
        if len(close) > 1:
            raise LabError(f"{name} is the beginning of {len(close)} run ids: {', '.join(folder.run_id for folder in close)}.")
        if not close:
            raise LabError(f"There is no run {name} in the store {self.root}: `labkit runs` lists the {len(folders)} that are there.")
        return close[0]

    def runs(self) -> list[RunFolder]:
        """Return the folders of all runs, oldest first."""
        found = sorted((_written_at(path), path) for path in self.root.glob("*/config.json"))
        return [self.run(path.parent.name) for _, path in found]

    def load_runs(self, last: int | None = None, names=None) -> list[Run]:
        """Return all runs that can be read, oldest first, or those among the `last` ones, or those of these names; warn of the others."""
        runs = []
        for folder in self.runs()[-last if last else None:] if names is None else map(self.run, names):
            try:
                runs.append(folder.load())
            except LabError as error:
                warnings.warn(str(error), LabWarning, stacklevel=2)
        return runs

    def begin(self, name, config, meta=None) -> RunBuilder:
        """Return what is known of a run that is about to be trained: nothing, or what was told before it was stopped."""
        folder = self.run(name)
        if not folder.path.exists() or folder.status in COMPLETE or not folder.checkpoints():
            return RunBuilder(name, config, meta=meta)
        builder = folder.builder()
        builder.cut(max(folder.checkpoints()))
        builder.origin = "live"
        return builder

    def find(self, config, base_fingerprint, data_fingerprint) -> Run | None:
        """Return the complete run of a resolved configuration, if there is one; its `provenance` says so with its time."""
        folder = self.run(run_id(config, base_fingerprint, data_fingerprint))
        is_there = (folder.path / "config.json").exists() and folder.status in COMPLETE
        return folder.load() if is_there else None


def written_here() -> list[RunFolder]:
    """Return the runs that this process has written, in the order in which it began to."""
    return [RunFolder(path) for path in _written]


def record(store, events, configs, *, meta=None, resume_at=None):
    """Pass events through, each written to its run's folder before it is yielded.

    configs: resolved configurations by run id. resume_at: the step of the checkpoint all of them go on from; members
    that were complete by then stay as they are, and what they tell again is dropped. LabError before the first event when a run is locked or complete.
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
