"""The line of progress: it moves on a terminal, says little in a log, and tells when a training will end."""

import io
import time
import warnings
from types import SimpleNamespace

from told_runs import validation

from labkit.cli import progress_line
from labkit.cli.progress_line import Course, ProgressLine
from labkit.errors import LabWarning
from labkit.store.events import Step, Stopped

A, B = "a" * 16, "b" * 16


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def step(run, number):
    return Step(run, number, 4 * number, 0.1, 1e-3, 0.5, 0.01)


def course(plan, clock, **options):
    configs = {name: SimpleNamespace(max_train_steps=last, init_lora_weights=options.get("start", "default"))
               for name, last in plan.items()}
    names = {A: "rank 4", B: "rank 8"}
    return Course(configs, names, options.get("begun", {}), lambda last: (0, last // 2, last), clock)


def test_a_terminal_is_never_left_alone_for_two_seconds(monkeypatch):
    monkeypatch.setattr(progress_line, "REDRAW_S", 0.02)
    screen = Terminal()
    with ProgressLine(screen) as line, line.doing("loading the base"):
        time.sleep(0.3)
    drawn = screen.getvalue().count("loading the base (0 s)")
    assert drawn > 3 and progress_line.REDRAW_S < 2 and screen.getvalue().endswith("\r\033[K")


def test_a_log_hears_only_of_what_takes_longer_than_a_breath(monkeypatch):
    monkeypatch.setattr(progress_line, "REDRAW_S", 0.02)
    log = io.StringIO()
    with ProgressLine(log) as line:
        with line.doing("reading the pictures"):
            time.sleep(0.1)
        assert log.getvalue() == ""
        monkeypatch.setattr(progress_line, "BREATH_S", 0.05)
        with line.doing("loading the base"):
            time.sleep(0.3)
    assert log.getvalue() == "labkit: loading the base ...\n"


def test_a_warning_gets_a_line_of_its_own(monkeypatch):
    said = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest, **more: said.append(str(message)))
    screen = Terminal()
    with ProgressLine(screen) as line, line.doing("loading the base"):
        warnings.showwarning(LabWarning("a caption is long"), LabWarning, "x.py", 1)
        assert screen.getvalue().endswith("\r\033[K")
    assert said == ["a caption is long"]


def test_a_counted_work_says_how_far_it_is():
    screen = Terminal()
    with ProgressLine(screen) as line, line.doing("encoding the pictures"):
        line.count(32, 10_000)
        line.count(64, 10_000)
        line._draw()
    assert "encoding the pictures: 64 of 10,000 (0 s)" in screen.getvalue()


def test_counted_work_of_some_time_says_how_fast_it_is_and_how_long_the_rest_takes():
    clock = Clock()
    with ProgressLine(io.StringIO(), clock) as line, line.doing("measuring"):
        clock.now = 5.0
        line.count(10, 40)
        assert line.what == "measuring: 10 of 40, 2 a second, 15 s left"
        line.count(40, 40)
        assert line.what == "measuring: 40 of 40"


def test_an_evaluation_of_a_pass_is_one_line_that_names_the_runs():
    clock = Clock()
    now = course({A: 40, B: 40}, clock)
    assert [now.take(validation(0, loss, run=run)) for run, loss in ((A, 0.2), (B, 0.2))] == ["", ""]
    assert now.take(step(A, 1)) == "update 0 of 40  held-out loss 0.2000 at rank 4, 0.2000 at rank 8"


def test_the_pace_counts_passes_not_runs_and_the_rest_counts_evaluations():
    clock = Clock()
    now = course({A: 40, B: 40}, clock)
    clock.now = 4.0
    for run in (A, B):
        now.take(validation(0, 0.2, run=run))
    for update in range(1, 11):                               # half a second each, both runs in one pass
        clock.now += 0.5
        for run in (A, B):
            now.take(step(run, update))
    # 30 updates are left, 15 s, and two evaluations of both runs, 4 s each.
    assert now._pace() == "2 updates/s, 23 s left"
    assert "update 10 of 40, 2 runs side by side" in now.line("|")
    clock.now += 10.0
    assert "23 s left" in now.line("|") and "measuring and drawing (10 s)" in now.line("|")


def test_a_run_that_goes_on_counts_from_where_it_stood_and_one_that_broke_is_no_more_waited_for():
    clock = Clock()
    now = course({A: 40, B: 40}, clock, begun={A: 30, B: 30})
    assert "measuring" not in now.line("") and "update 30 of 40" in now.line("")
    clock.now = 1.0
    for run in (A, B):
        now.take(step(run, 31))
    assert now._pace() == "1 updates/s, 9 s left"
    now.take(Stopped(B, 31, 124, "diverged"))
    assert "1 of 2 runs done" in now.line("|") and now._pace() == "1 updates/s, 4 s left"




def test_what_is_measured_first_is_named_as_it_is():
    clock = Clock()
    assert "measuring the untouched base (" in course({A: 20}, clock).line("|")
    from_file = course({A: 20}, clock, start="/home/me/mine.safetensors@0123456789abcdef")
    assert from_file.line("|") == "| measuring the file mine.safetensors (0 s)"
