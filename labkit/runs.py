"""The run store: one folder a run, readable by anyone, never half written."""

import io
import json
import time
import warnings
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import numpy as np

from labkit import journal, paths
from labkit.adapter_files import save_adapter
from labkit.atomic import cannot_write, write_file
from labkit.config import RunConfig, run_id
from labkit.errors import LabError
from labkit.events import Checkpoint, Event, Sample, Step, Stopped, Validation
from labkit.history import History, Samples, Trace

STORE_VERSION = 1
COMPLETE = ("finished", "diverged")  # a diverged run is a result


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
        """Return running, interrupted (its process is gone), finished, stopped, diverged or error."""
        if journal.is_locked(self.events_path):
            return "running"
        line = journal.last(self.events_path)
        return line["reason"] if line.get("event") == "Stopped" else "interrupted"

    def history(self) -> History:
        """Return everything recorded; LabError when the folder is damaged or from a newer version."""
        status = self.status
        return self.trace().history(status)

    def trace(self) -> Trace:
        """Return everything recorded as a Trace, which takes further events."""
        about = self._about()
        trace = Trace(self.run_id, RunConfig.from_dict(about["config"]), meta=about["sessions"][0]["meta"], origin=self.origin)
        lines, _ = journal.read(self.events_path)
        for number, line in enumerate(lines, 1):
            try:
                self._replay(trace, line)
            except (KeyError, TypeError, ValueError) as error:
                raise LabError(f"Line {number} of {self.events_path} is damaged ({error!r}): restore the file or remove its folder.") from None
        return trace

    @property
    def group(self) -> list[str]:
        """Return the runs that share the pass this one was begun in, in order."""
        return self._about()["sessions"][0]["meta"].get("group", [self.run_id])

    def checkpoints(self) -> list[int]:
        """Return the steps that can be resumed from or forked at."""
        lines, _ = journal.read(self.events_path)
        return sorted({line["global_step"] for line in lines if line["event"] == "Checkpoint"})

    def checkpoint(self, step=None) -> Checkpoint:
        """Return the checkpoint after `step` updates, the last one by default."""
        lines, _ = journal.read(self.events_path)
        known = {line["global_step"]: line for line in lines if line["event"] == "Checkpoint"}
        if not known or step not in (None, *known):
            raise LabError(f"The run {self.run_id} has no checkpoint {'' if step is None else f'at step {step}'}: it has {sorted(known) or 'none'}.")
        line = known[max(known) if step is None else step]
        from safetensors.numpy import load_file

        tensors = load_file(self._checkpoint_path(line["global_step"]))
        parts = [{name.split("/", 1)[1]: array for name, array in tensors.items() if name.startswith(part)} for part in ("adapter/", "optimizer/")]
        return Checkpoint(self.run_id, line["global_step"], line["samples_seen"], *parts)

    def writer(self, config, meta=None, resume_at=None) -> "RunWriter":
        """Lock the folder for writing; with resume_at, what lies behind that checkpoint is dropped, else everything."""
        return RunWriter(self, config, meta or {}, resume_at)

    def _about(self) -> dict:
        try:
            about = json.loads((self.path / "config.json").read_bytes())
        except (OSError, ValueError) as error:
            raise LabError(f"{self.path / 'config.json'} cannot be read ({error}): the run is not in this store, or its folder is damaged.") from None
        try:
            about["store_version"], about["config"], about["sessions"][0]["meta"]
        except (LookupError, TypeError):
            raise LabError(f"{self.path / 'config.json'} is not that of a run: {self.path.parent} is no run store, or its folder is damaged.") from None
        if about["store_version"] > STORE_VERSION:
            raise LabError(f"{self.path} was written by a newer labkit (store version {about['store_version']}): update this one.")
        return about

    def _checkpoint_path(self, step) -> Path:
        return self.path / "checkpoints" / f"{step:06d}.safetensors"

    def _replay(self, trace, line):
        kind, trace.time_s = line["event"], line["time"]
        at = (self.run_id, line["global_step"], line["samples_seen"])
        if kind == "Step":
            trace.add(Step(*at, *(float(line[name]) for name in ("loss", "learning_rate", "grad_norm", "update_norm")), line["max_alloc"]))
        elif kind == "Validation":
            trace.add(Validation(*at, line["name"], line["grade"], np.array(line["losses"], dtype=np.float32), np.array(line["timesteps"])))
        elif kind == "Sample":
            files = tuple(self.path / name for name in line["files"])
            trace.add_samples(Samples(at[1], tuple(line["prompts"]), tuple(line["seeds"]), line["guidance_scale"], line["scale"], files))
        elif kind == "Stopped":
            trace.add(Stopped(*at, line["reason"], line["message"]))


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

    def _begin(self, meta, resume_at):
        """Keep what a resumed run, or the parent of a fork, already told; note who writes now in config.json."""
        folder, source = self.folder, self.folder
        lines, ends = journal.read(folder.events_path)
        if lines and lines[-1].get("reason") in COMPLETE:
            raise LabError(f"The run {folder.run_id} is already complete in {folder.path.parent}: read it from there, or train with another seed.")
        if resume_at and not lines and self.config.parent:
            source = RunFolder(folder.path.parent / self.config.parent)
            lines, ends = journal.read(source.events_path)
        kept = 0
        if resume_at:
            kept = max((n for n, line in enumerate(lines, 1) if line["event"] == "Checkpoint" and line["global_step"] == resume_at), default=0)
            if not kept:
                raise LabError(f"The run {source.run_id} has no checkpoint at step {resume_at} to go on from.")
        sessions = folder._about()["sessions"] if kept and source is folder else []
        about = {"store_version": STORE_VERSION, "run_id": folder.run_id, "config": self.config.to_dict()}
        about["sessions"] = [*sessions, {"started_s": time.time(), "meta": meta}]
        write_file(folder.path / "config.json", json.dumps(about, indent=1, sort_keys=True).encode())
        if source is folder:
            self.journal.cut(ends[kept - 1] if kept else 0)
        else:
            self._inherit(source, lines[:kept])

    def _inherit(self, source, lines):
        """Copy the lines of a parent and the files they speak of."""
        self.journal.cut(0)
        for line in lines:
            for path in [source.path / name for name in line.get("files", ())] + [source._checkpoint_path(line["global_step"])] * (line["event"] == "Checkpoint"):
                write_file(self.folder.path / path.relative_to(source.path), path.read_bytes())
            self.journal.append(line, durable=line is lines[-1])

    def write(self, event: Event):
        """Write one event; on return a Validation, Checkpoint, Sample or Stopped is safe on the disk."""
        line = {"event": type(event).__name__, "time": round(time.time(), 3)}
        values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "run_id"}
        if isinstance(event, Sample):
            values["files"] = self._write_pictures(event.global_step, event.scale, values.pop("images"))
        elif isinstance(event, Checkpoint):
            self._write_tensors(event.global_step, values.pop("adapter"), values.pop("optimizer"))
        self.journal.append(line | values, durable=not isinstance(event, Step))

    def _write_pictures(self, step, scale, images) -> list[str]:
        from PIL import Image

        names = []
        for index, image in enumerate(images):
            data = io.BytesIO()
            Image.fromarray(np.asarray(image)).save(data, "PNG")
            names.append(f"samples/{step:06d}_{scale:g}_{index}.png")
            write_file(self.folder.path / names[-1], data.getvalue())
        return names

    def _write_tensors(self, step, adapter, optimizer):
        """Write the files before the line that speaks of them."""
        from safetensors.numpy import save

        tensors = {f"adapter/{name}": array for name, array in adapter.items()} | {f"optimizer/{name}": array for name, array in optimizer.items()}
        data = save({name: np.asarray(array, order="C") for name, array in tensors.items()})
        write_file(self.folder._checkpoint_path(step), data)
        save_adapter(self.folder.adapter_path, adapter, self.config)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.journal.close()


class Store:
    """Find the runs in one folder, `paths.store_dir()` by default."""

    def __init__(self, root=None, origin="store"):
        self.root, self.origin = Path(root) if root else paths.store_dir(), origin

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
        found = sorted(self.root.glob("*/config.json"), key=lambda path: (path.stat().st_mtime, path))
        return [self.run(path.parent.name) for path in found]

    def histories(self, last: int | None = None) -> list[History]:
        """Return all runs that can be read, or those among the `last` ones, oldest first; warn of the others."""
        histories = []
        for folder in self.runs()[-last if last else None:]:
            try:
                histories.append(folder.history())
            except LabError as error:
                warnings.warn(str(error), stacklevel=2)
        return histories

    def begun(self, name, config, meta=None) -> Trace:
        """Return what is known of a run that is about to be trained: nothing, or what was told before it was stopped."""
        folder = self.run(name)
        if not folder.path.exists() or folder.status in COMPLETE or not folder.checkpoints():
            return Trace(name, config, meta=meta)
        trace = folder.trace()
        trace.cut(max(folder.checkpoints()))
        trace.origin = "live"
        return trace

    def find(self, config, base_fingerprint, data_fingerprint) -> History | None:
        """Return the complete run of a resolved configuration, if there is one; its `provenance` says so with its time."""
        folder = self.run(run_id(config, base_fingerprint, data_fingerprint))
        is_there = (folder.path / "config.json").exists() and folder.status in COMPLETE
        return folder.history() if is_there else None


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
