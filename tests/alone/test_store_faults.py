"""A run's folder under many kills, flipped bits and full disks: no acknowledged event is lost, all damage is told.

Counts are printed; every draw is seeded, so a failure comes again.
"""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from damage import contents, flipped, values
from told_runs import CONFIG, ID, keep, some_events

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.settings import REPO
from labkit.store import runs
from labkit.store.events import Checkpoint, Sample, Step, Stopped, Validation

# The warning is that a run without a checkpoint begins again.
pytestmark = pytest.mark.filterwarnings("ignore::labkit.errors.LabWarning")
KILLS, FLIPS, DISKS = 25, 1000, 8
LAST, EVERY = 300, 10
LONG = RunConfig(max_train_steps=LAST).resolved(8)
WRITER = """
import sys
from test_store_faults import going_on
for event in going_on(sys.argv[1]):
    if type(event).__name__ != "Step":
        print(type(event).__name__, event.global_step, flush=True)
"""


def events(first):
    """Tell a run after `first` updates to its end: the same numbers whenever it is told."""
    for step in range(first + 1, LAST + 1):
        rng = np.random.default_rng(step)
        yield Step(ID, step, step, float(rng.random()), 1e-3, 0.5, 0.01)
        if step % EVERY == 0:
            losses, timesteps = rng.random((16, 1), np.float32), np.zeros((16, 1), int)
            yield Validation(ID, step, step, "validation", "monitor", losses, timesteps)
            yield Sample(ID, step, step, rng.integers(0, 256, (1, 8, 8, 3), np.uint8), ("a pool",), (1,), 5.0)
            tensors = {"to_q.lora_A.weight": rng.random((8, 64), np.float32)}
            tensors["to_q.lora_B.weight"] = rng.random((64, 8), np.float32)
            yield Checkpoint(ID, step, step, tensors, {"to_q.exp_avg": rng.random((8, 64), np.float32)})
    yield Stopped(ID, LAST, LAST, "finished")


def going_on(root):
    """Record the run in a store from its last checkpoint, or from its beginning."""
    store = runs.Store(root)
    at = max(store.run(ID).checkpoints(), default=0)
    return runs.record(store, events(at), {ID: LONG}, resume_at=at or None)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Give the folder of the run as it is when nothing happens."""
    root = tmp_path_factory.mktemp("straight")
    for _ in going_on(root):
        pass
    return runs.Store(root).run(ID)


def process(root, **options):
    places = (REPO, REPO / "tests" / "support", REPO / "tests" / "alone")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root)], cwd=REPO, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def check(folder, acknowledged):
    """Everything that was told as written is there and whole."""
    run, checkpoints = folder.load(), folder.checkpoints()
    for kind, step in acknowledged:
        if kind == "Checkpoint":
            assert step in checkpoints
        elif kind == "Validation":
            assert step in run.validations["validation"].steps
        elif kind == "Sample":
            assert step in [sample.global_step for sample in run.samples]
    for sample in run.samples:
        sample.load()
    for step in checkpoints:
        written = next(event for event in events(step - 1) if isinstance(event, Checkpoint))
        assert contents(folder.checkpoint(step)) == contents(written)


def same(folder, straight):
    """The run ended as if nothing had happened."""
    one, other = values(folder.load()), values(straight.load())
    assert one[0] == other[0] == "finished" and one[4:6] == other[4:6]
    assert folder.checkpoints() == straight.checkpoints()
    assert contents(folder.adapter()) == contents(straight.adapter())
    assert files(folder) == files(straight)


def files(folder):
    """Return the names of all files of a run."""
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())


def test_kills_at_any_moment_lose_nothing_that_was_acknowledged(tmp_path, straight):
    rng, folder, kept, kills, events = np.random.default_rng(0), runs.Store(tmp_path).run(ID), set(), 0, 0
    while kills < KILLS and folder.status != "finished":
        writer = process(tmp_path)
        lines = [writer.stdout.readline() for _ in range(rng.integers(1, 8))]
        threading.Timer(rng.uniform(0, 0.02), writer.send_signal, [signal.SIGKILL]).start()
        lines += writer.communicate()[0].splitlines(keepends=True)
        acknowledged = {(kind, int(step)) for kind, step in (line.split() for line in lines if line.endswith("\n"))}
        # What lies behind the last checkpoint is written again.
        kept |= {(kind, step) for kind, step in acknowledged if kind == "Checkpoint"}
        kills, events = kills + (writer.returncode == -signal.SIGKILL), events + len(acknowledged)
        check(folder, acknowledged | kept)
    assert kills >= 8 and len(kept) >= 10
    for _ in going_on(tmp_path) if folder.status != "finished" else ():
        pass
    same(folder, straight)
    print(f"{kills} kills, {events} acknowledged events, none lost")


def test_no_flipped_bit_changes_what_is_read_without_being_told(straight, tmp_path):
    last = f"checkpoints/{LAST:06d}.safetensors"
    reads = {"events.jsonl": lambda: values(straight.load()), "config.json": lambda: values(straight.load()),
             last: lambda: contents(straight.checkpoint()),
             "adapter.safetensors": lambda: contents(straight.adapter())}
    for name, read in reads.items():
        file, noticed = straight.path / name, 0
        whole, expected = file.read_bytes(), read()
        for bit in np.random.default_rng(len(name)).choice(8 * len(whole), FLIPS, replace=False):
            file.write_bytes(flipped(whole, int(bit)))
            try:
                assert read() == expected
            except LabError as error:
                noticed += name in str(error)
        file.write_bytes(whole)
        print(f"{name}: {noticed} of {FLIPS} flipped bits told, the others changed nothing")
        assert noticed > 0.97 * FLIPS


class FullDisk:
    """Let a number of system calls that write succeed; then the disk is full, and its first write is cut in half."""

    def __init__(self, monkeypatch, calls):
        self.left = calls
        for place, name in ((os, "write"), (os, "fsync"), (os, "replace"), (tempfile, "mkstemp")):
            monkeypatch.setattr(place, name, self.limited(getattr(place, name), name))

    def limited(self, call, name):
        def limited(*arguments, **options):
            self.left -= 1
            if self.left < 0:
                if name == "write" and self.left == -1:
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments, **options)

        return limited


def test_a_disk_that_is_full_at_any_call_is_named_and_the_run_goes_on_when_there_is_room(tmp_path, monkeypatch):
    full = runs.Store(tmp_path / "straight")
    keep(full, some_events())
    calls = 0
    while True:
        store, acknowledged = runs.Store(tmp_path / str(calls)), []
        with monkeypatch.context() as patch:
            FullDisk(patch, calls)
            try:
                acknowledged += [None for _ in runs.record(store, some_events(), {ID: CONFIG})]
                break
            except LabError as error:
                assert "cannot be written" in str(error) and "No space left" in str(error)
        folder = store.run(ID)
        assert not list(Path(folder.path).rglob(".*"))
        at = max(folder.checkpoints(), default=0)
        rest = list(some_events(first=at)) if at else list(some_events())
        keep(store, rest, resume_at=at or None)
        assert values(folder.load())[4:6] == values(full.run(ID).load())[4:6] and folder.status == "finished"
        calls += 1
    print(f"{calls} calls after which the disk was full")
    assert calls > 40


def test_files_that_may_not_grow_are_named_and_lose_nothing(tmp_path, straight):
    largest = max(path.stat().st_size for path in straight.path.rglob("*") if path.is_file())
    for limit in np.random.default_rng(3).integers(1000, largest, DISKS):
        root = tmp_path / str(limit)

        def small(limit=int(limit)):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        out, message = process(root, preexec_fn=small).communicate()
        assert "cannot be written" in message and "LabError" in message
        folder = runs.Store(root).run(ID)
        if (folder.path / "config.json").exists():
            check(folder, [(kind, int(step)) for kind, step in (line.split() for line in out.splitlines())])
        for _ in going_on(root):
            pass
        same(folder, straight)
