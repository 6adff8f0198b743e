"""Ctrl-C, `kill`, a closed terminal and a reader that went away: one sentence at most, the exit code, no traceback."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from labkit import interrupts
from labkit.cli import jupyterlab
from labkit.cli import parser as cli
from labkit.settings import REPO


def labkit(*arguments, **options):
    command = [sys.executable, "-m", "labkit", *arguments]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_signal_asks_and_the_second_interrupts(number):
    with interrupts.stop_on_interrupt() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop() and stop.code == 128 + number
        with pytest.raises(KeyboardInterrupt) as second:
            os.kill(os.getpid(), number)
            time.sleep(1)
    assert second.value.code == 128 + number


def test_afterwards_signals_are_answered_as_before_and_ignored_ones_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)      # what nohup does
    try:
        answers = [signal.getsignal(number) for number in interrupts.SIGNALS]
        with interrupts.stop_on_interrupt() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert [signal.getsignal(number) for number in interrupts.SIGNALS] == answers
    finally:
        signal.signal(signal.SIGHUP, before)


# A module that is loaded early says so, then takes its time: a signal must find no traceback that early either.
SLOW = """import sys, time
print("loading", flush=True)
time.sleep(30)
"""


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_while_the_program_still_loads_gives_one_line_and_its_code(tmp_path, number):
    (tmp_path / "difflib.py").write_text(SLOW)                 # the command line's parser imports it
    process = labkit("runs", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    _, message = process.communicate(timeout=300)
    assert process.returncode == 128 + number and message == "labkit: interrupted\n"


def test_a_reader_that_goes_away_ends_a_list_quietly():
    process = labkit("runs")
    process.stdout.close()                                     # before anything is written
    assert process.stderr.read() == "" and process.wait(300) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_of_notebooks_is_ended_with_the_command_that_started_it(monkeypatch, number):
    servers = []

    def command(*_, **__):
        threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
        return [sys.executable, "-c", "import time; time.sleep(60)"]

    class Server(subprocess.Popen):
        def __init__(self, *arguments):
            servers.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(jupyterlab, "command", command)
    monkeypatch.setattr(subprocess, "Popen", Server)
    lesson = str(REPO / "notebooks/00_start.ipynb")
    assert jupyterlab.lab(cli.parse(["lab", lesson])).code == 128 + number
    assert servers[0].returncode == -signal.SIGTERM
