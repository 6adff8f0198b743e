"""One line on stderr that says what is being done and how long it will take.

On a terminal it is drawn anew twice a second, by a thread of its own, so that it moves while a library or a base
loads.
In a log there is a line for each evaluation, and one for whatever takes longer than a breath.
"""

import contextlib
import itertools
import shutil
import sys
import threading
import time
import warnings

from labkit.cli.parser import tell
from labkit.design.adapter_start import beginning
from labkit.errors import LabError
from labkit.store.events import Step, Stopped, Validation
from labkit.text import duration, printable

REDRAW_S = 0.5
BREATH_S = 2.0  # what takes no longer is not told in a log
NAMED = 4  # runs whose losses a line has room for
SPINNER = "|/-\\"


class ProgressLine:
    """Show what is being done; a context manager, since the line that moves must end before anything else is said."""

    def __init__(self, stream=None, clock=time.monotonic):
        """Take where to write, stderr by default, and what tells the time in seconds."""
        self.stream, self.clock = stream or sys.stderr, clock
        self.moves = self.stream.isatty()
        self.what, self.since, self.is_told = "", clock(), True
        self.course, self.done, self.spinner = None, threading.Event(), itertools.cycle(SPINNER)
        self.lock = threading.RLock()                         # the thread that draws, and whoever else writes
        self.thread = threading.Thread(target=self._keep_drawing, daemon=True)

    def __enter__(self):
        """Begin to draw; warnings meanwhile come on lines of their own."""
        self.before = warnings.showwarning
        warnings.showwarning = self._warn
        self.thread.start()
        return self

    def __exit__(self, *error):
        """End the line."""
        self.done.set()
        self.thread.join()
        if warnings.showwarning == self._warn:
            warnings.showwarning = self.before
        self._clear()

    @contextlib.contextmanager
    def doing(self, what):
        """Say that this is being done, as in "loading the base"."""
        with self.lock:
            self.what, self.since, self.is_told = what, self.clock(), False
            self._draw()
        try:
            yield
        finally:
            with self.lock:
                self.what, self.is_told = "", True

    def count(self, done, total):
        """Say how far what is being done has come: pictures, of so many; and how long the rest takes, once known."""
        with self.lock:
            if self.what:
                seconds = self.clock() - self.since
                pace = (f", {done / seconds:.2g} a second, {duration(seconds * (total - done) / done)} left"
                        if 0 < done < total and seconds > BREATH_S else "")
                self.what = f"{self.what.split(':')[0]}: {done:,} of {total:,}{pace}"

    def tell(self, text):
        """Say a sentence on a line of its own."""
        with self.lock:
            self._clear()
            tell(f"labkit: {text}", self.stream)

    def follow(self, plan, names, begun=None, measured=lambda last: (), loss="held-out loss"):
        """Begin to show a training.

        plan        {run id: configuration} of what is to be trained
        names       what each run is called, by its id
        begun       {run id: updates that it has done before}
        measured    gives the updates after which a run of so many is measured, as `Monitor.steps` does
        loss        what the measured loss is called
        """
        with self.lock:
            self.course = Course(plan, names, begun or {}, measured, self.clock, loss)

    def show(self, event):
        """Take one event of the training."""
        with self.lock:
            self._log(self.course.take(event))
            if isinstance(event, Stopped) and event.reason not in ("finished", "stopped"):
                self._clear()
                tell(f"{event.run_id[:8]}  {event.reason} at update {event.global_step:,} {printable(event.message)}",
                     self.stream)

    def end(self):
        """End the training's line."""
        with self.lock:
            self._log(self.course.evaluation())
            self.course = None

    def _log(self, line):
        if line and not self.moves:
            tell(line, self.stream)

    def _keep_drawing(self):
        while not self.done.wait(REDRAW_S):
            with self.lock:
                self._draw()

    def _draw(self):
        seconds = self.clock() - self.since
        if self.moves:
            sign = next(self.spinner)
            course = self.course.line(sign) if self.course else ""
            line = f"{sign} {self.what} ({seconds:.0f} s)" if self.what else course
            if line:
                width = shutil.get_terminal_size().columns - 1
                tell_raw(f"\r\033[K{printable(line)[:width]}", self.stream)
        elif self.what and not self.is_told and seconds > BREATH_S:
            self.is_told = True
            tell(f"labkit: {self.what} ...", self.stream)

    def _clear(self):
        if self.moves:
            tell_raw("\r\033[K", self.stream)

    def _warn(self, *words, **options):
        with self.lock:
            self._clear()
            self.before(*words, **options)


def tell_raw(text, stream):
    """Write what moves a cursor, which `tell` would write out; nothing where nobody reads any more."""
    with contextlib.suppress(OSError, LabError):
        stream.write(text)
        stream.flush()


class Course:
    """Keep where a training stands: updates of each run, how fast they come, the last held-out losses."""

    def __init__(self, plan, names, begun, measured, clock, loss="held-out loss"):
        """Take what `ProgressLine.follow` takes."""
        self.last = {name: config.max_train_steps for name, config in plan.items()}
        self.measured = {name: measured(last) for name, last in self.last.items()}
        self.steps = {name: begun.get(name, 0) for name in plan}
        self.names, self.loss, self.clock, self.changed = names, loss, clock, clock()
        self.losses, self.fresh, self.ended = {}, [], set()   # by run id; runs measured since the last line; ids
        self.start = beginning(*(config.init_lora_weights for config in plan.values()))
        self.at, self.updates = max(self.steps.values(), default=0), 0   # the last update seen, how many since
        self.trained = self.evaluated = 0                     # updates and evaluations, each run's counted
        self.training_s = self.measuring_s = 0.0

    def take(self, event):
        """Take one event; return the line about an evaluation that has ended with it, or ""."""
        now, name = self.clock(), event.run_id
        line = self.evaluation() if self.fresh and not isinstance(event, Validation) else ""
        if isinstance(event, Step):                           # the time since the event before it went into updates
            self.training_s += now - self.changed
            self.trained += 1
            self.updates += event.global_step != self.at
            self.at = self.steps[name] = event.global_step
        else:
            self.measuring_s += now - self.changed
        if isinstance(event, Validation) and event.name == "validation" and event.grade == "monitor":
            self.losses[name] = float(event.losses.mean())
            self.evaluated += 1
            self.fresh.append(name)
            self.steps[name] = event.global_step
        elif isinstance(event, Stopped):
            self.ended.add(name)
        self.changed = now
        return line

    def evaluation(self):
        """Return a line about the runs that were measured since the last one, or ""."""
        if not self.fresh:
            return ""
        fresh, self.fresh = self.fresh, []
        where = f"update {self.steps[fresh[0]]:,} of {self.last[fresh[0]]:,}"
        return "  ".join(filter(None, (where, f"{self.loss} {self._losses(fresh)}", self._pace())))

    def line(self, sign):
        """Return the line as it is now. sign: what moves, so that one sees that it is alive."""
        still = self.clock() - self.changed
        if not self.trained and not self.losses and not self.at:
            return f"{sign} measuring {self.start} ({still:.0f} s)"
        running = [name for name in self.last if name not in self.ended and self.steps[name] == self.at]
        beside = f", {len(running)} runs side by side" if len(running) > 1 else ""
        whole = f", {len(self.ended)} of {len(self.last)} runs done" if self.ended else ""
        furthest = max(running, key=lambda name: self.last[name], default=next(iter(self.last)))
        where = f"{sign} update {self.at:,} of {self.last[furthest]:,}{beside}{whole}"
        usual = self.training_s / self.updates if self.updates else 0.0
        busy = f"measuring and drawing ({still:.0f} s)" if still > BREATH_S + 2 * usual else ""
        loss = f"{self.loss} {self._losses(list(self.losses), 1)}" if self.losses else ""
        return "  ".join(filter(None, (where, self._pace(), loss, busy)))

    def _losses(self, names, room=NAMED):
        """Write the losses of runs, each with its name where there are several; of many the lowest."""
        if len(self.last) == 1:
            return f"{self.losses[names[0]]:.4f}"
        if len(names) > room:
            lowest = min(names, key=lambda name: (self.losses[name] != self.losses[name], self.losses[name]))
            return f"{self.losses[lowest]:.4f} at {self.names[lowest]}, the lowest of {len(names)}"
        return ", ".join(f"{self.losses[name]:.4f} at {self.names[name]}" for name in names)

    def _pace(self):
        """Write how many updates a second there are and how long the rest will take, evaluations counted."""
        if not self.training_s or not self.trained:
            return ""
        going = [name for name in self.last if name not in self.ended]
        updates = sum(self.last[name] - self.steps[name] for name in going)
        evaluations = sum(step > self.steps[name] for name in going for step in self.measured[name])
        each = self.measuring_s / self.evaluated if self.evaluated else 0.0
        left = updates * self.training_s / self.trained + evaluations * each
        rest = f", {duration(left)} left" if updates else ""
        return f"{self.updates / self.training_s:.2g} updates/s{rest}"


