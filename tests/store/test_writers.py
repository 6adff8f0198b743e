"""Kills, full disks and a second writer: nothing that was acknowledged is lost, and what is wrong is named."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from told_runs import CONFIG, ID, keep, some_events

from labkit import settings
from labkit.errors import LabError
from labkit.store import runs


def in_another_process(code, **kwargs):
    path = os.pathsep.join(map(str, (settings.REPO, settings.REPO / "tests" / "support")))
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": path}, **kwargs)


def test_a_process_killed_while_it_writes_leaves_everything_acknowledged():
    code = """
        from labkit.store import runs
        from labkit.design.config import RunConfig
        from told_runs import CONFIG, ID, Step, validation
        def events():
            step = 0
            while True:
                step += 1
                yield Step(ID, step, step, 0.5, 1e-3, 0.5, 0.01)
                if step % 50 == 0:
                    yield validation(step, 0.1)
        for event in runs.record(runs.Store(), events(), {ID: CONFIG}):
            if hasattr(event, "losses"):
                print(event.global_step, flush=True)
    """
    process = in_another_process(code, cwd=settings.REPO)
    acknowledged = [int(process.stdout.readline()) for _ in range(3)]
    assert runs.Store().run(ID).status == "running"
    process.kill()
    acknowledged += [int(word) for word in process.communicate()[0].split()]
    run = runs.Store().run(ID).load()
    assert run.status == "interrupted"
    assert set(acknowledged) <= set(run.validations["validation"].steps)
    assert len(run.steps["loss"]) >= acknowledged[-1]


def test_two_processes_cannot_write_one_run_and_death_frees_it():
    code = """
        import time
        from labkit.store import runs
        from told_runs import CONFIG, ID, some_events
        for event in runs.record(runs.Store(), some_events(reason=None), {ID: CONFIG}):
            print(flush=True)
            time.sleep(60)
    """
    process = in_another_process(code, cwd=settings.REPO)
    process.stdout.readline()
    with pytest.raises(LabError, match="written by another process"):
        keep(runs.Store(), some_events())
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    process.stdout.close()
    keep(runs.Store(), some_events())
    assert runs.Store().run(ID).status == "finished"


def test_two_writers_in_one_process_exclude_each_other():
    with runs.Store().run(ID).writer(CONFIG):
        with pytest.raises(LabError, match="written by this process, in another cell or panel"):
            runs.Store().run(ID).writer(CONFIG)
    runs.Store().run(ID).writer(CONFIG).journal.close()


def test_breaking_off_closes_the_training_and_frees_the_run():
    closed = []

    def events():
        try:
            yield from some_events()
        finally:
            closed.append(True)

    recording = runs.record(runs.Store(), events(), {ID: CONFIG})
    next(recording)
    recording.close()
    assert closed and runs.Store().run(ID).status == "interrupted"


def test_a_full_disk_is_a_labeled_error_and_loses_nothing_acknowledged():
    code = """
        import resource, signal
        from labkit.store import runs
        from labkit.errors import LabError
        from told_runs import CONFIG, ID, validation
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        try:
            for event in runs.record(runs.Store(), (validation(step, 0.1) for step in range(1000)), {ID: CONFIG}):
                print(event.global_step, flush=True)
        except LabError as error:
            print(error)
    """
    process = in_another_process(code, cwd=settings.REPO)
    *acknowledged, message = process.communicate()[0].splitlines()
    assert "events.jsonl cannot be written" in message and "LABKIT_STORE" in message
    run = runs.Store().run(ID).load()
    assert len(acknowledged) > 3
    np.testing.assert_array_equal(run.validations["validation"].steps, range(len(acknowledged)))
    assert runs.Store().run(ID).events_path.read_bytes().endswith(b"\n")


def test_a_store_that_cannot_be_written_is_a_labeled_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabError, match="cannot be written.*LABKIT_STORE"):
        keep(runs.Store(tmp_path / "file"), some_events())


def test_a_picture_that_cannot_be_written_leaves_no_line_about_it(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    recording = runs.record(runs.Store(), some_events(), {ID: CONFIG})
    for event in recording:
        if event.global_step == 2:
            break
    with monkeypatch.context() as patched, pytest.raises(LabError, match="No space left"):
        patched.setattr(os, "replace", full)
        next(recording)
    run = runs.Store().run(ID).load()
    assert run.samples == [] and len(run.steps["loss"]) == 2
    assert not list(runs.Store().run(ID).path.rglob(".*"))
