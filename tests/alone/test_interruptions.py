"""Kills, a full disk and two writers at once: nothing acknowledged is lost, a resumed run equals an unbroken one."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_pictures import write_territory

from labkit.settings import REPO
from labkit.store.runs import Store

STEPS = 80  # enough that a busy machine still meets the run half way


@pytest.fixture(scope="module")
def place(tmp_path_factory, sd_folder):
    """Give the words that name base, pictures and a run, and a cache that is filled already."""
    root = tmp_path_factory.mktemp("faults")
    (root / "pictures").mkdir()
    environment = {**os.environ, "LABKIT_THREADS": "1", "LABKIT_FAST": "1", "LABKIT_CACHE": str(root / "cache"),
                   "PYTHONPATH": str(REPO)}
    pictures = write_territory(root / "pictures")
    words = ["--base", str(sd_folder), "--data", str(pictures), "--set", "train_batch_size=2"]
    straight = labkit(environment, "train", *words, "--set", f"max_train_steps={STEPS}", "--store", root / "straight")
    assert straight.wait(600) == 0, straight.stderr.read()
    return root, environment, words + ["--set", f"max_train_steps={STEPS}"]


def labkit(environment, *arguments, **options):
    command = [sys.executable, "-m", "labkit", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, cwd=REPO, **pipes, **options)


def wait_for_step(store, step):
    """Return the one run of a store once its journal tells of a step."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for folder in Store(store).runs():
            if '"event":"Step"' in (text := folder.events_path.read_text()) and f'"global_step":{step},' in text:
                return folder
        time.sleep(0.05)
    raise AssertionError(f"no run reached step {step}")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_or_stopped_run_goes_on_to_the_very_numbers_of_one_that_never_stopped(place, tmp_path, end):
    root, environment, words = place
    process = labkit(environment, "train", *words, "--store", tmp_path)
    folder = wait_for_step(tmp_path, STEPS // 3)
    process.send_signal(end)
    code = process.wait(600)
    assert code == (-signal.SIGKILL if end == signal.SIGKILL else 128 + end)
    assert folder.status == ("interrupted" if end == signal.SIGKILL else "stopped")
    assert len(folder.load().steps["loss"]) < STEPS
    resumed = labkit(environment, "resume", folder.run_id, "--store", tmp_path)
    assert resumed.wait(600) == 0, resumed.stderr.read()
    [straight] = Store(root / "straight").load_runs()
    for name in ("global_step", "loss", "grad_norm", "update_norm"):
        assert np.array_equal(folder.load().steps[name], straight.steps[name]), name


def test_a_second_writer_of_the_same_run_is_refused_and_harms_nothing(place, tmp_path):
    _, environment, words = place
    first = labkit(environment, "train", *words, "--store", tmp_path)
    wait_for_step(tmp_path, 1)
    first.send_signal(signal.SIGSTOP)
    second = labkit(environment, "train", *words, "--store", tmp_path)
    code, message = second.wait(600), second.stderr.read()
    first.send_signal(signal.SIGCONT)
    assert code == 2 and "being written by another process" in message
    assert first.wait(600) == 0 and Store(tmp_path).load_runs()[0].status == "finished"


def test_a_full_disk_is_named_and_what_was_acknowledged_stays_readable(place, tmp_path):
    _, environment, words = place
    limit = 60_000  # no file may grow beyond it: the journal fits for a while, a checkpoint does not

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = labkit(environment, "train", *words, "--store", tmp_path, preexec_fn=full)
    code, message = process.wait(600), process.stderr.read()
    assert code == 2 and "cannot be written" in message and "Traceback" not in message
    [run] = Store(tmp_path).load_runs()
    assert run.status == "interrupted" and len(run.steps["loss"]) >= 1
