"""One run of a panel: found or trained in one thread, told to every panel that watches it, stopped by any of them."""

import contextvars
import threading
import time
from contextlib import closing

from labkit.engine.turns import turn
from labkit.judge.diagnose import diagnose
from labkit.store.events import Step, Validation
from labkit.text import rate_text
from labkit.view.frontend import say

_going, _ending = [], threading.RLock()                               # runs of this kernel, in the order they were begun


def going():
    """Return the run that was begun last of those that still go on in this kernel, or None."""
    return _going[-1] if _going else None


class PanelRun:
    """Find or train the design of the panel `owner`, and tell it to the panels that watch; the last of them sees it grow.

    A panel whose cell is executed again is another panel: it watches the run that goes on, and stops it like the first.
    """

    def __init__(self, owner, *, new_seed=False):
        self.owner, self.place, self.design, self.new_seed = owner, owner.place, owner.design, new_seed
        self.watchers, self.said = [owner], ""
        self.history = self.verdict = self.error = None
        self.found = self.is_over = False
        self.stopping, self._thread = threading.Event(), None
        _going.append(self)

    def __str__(self):
        return f"the run at learning rate {rate_text(self.design.learning_rate)} on {self.place[1]} that a panel trains"

    def start(self) -> None:
        """Do the work in a thread of its own, whose output belongs to the cell that started it."""
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self.work,), name="labkit-train-panel", daemon=True)
        self._thread.start()

    def wait(self, timeout=None) -> None:
        """Wait for the end."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def watch(self, panel) -> bool:
        """Tell this run to one more panel from now on; False if it has ended."""
        with _ending:
            if not self.is_over:
                for other in self.watchers:
                    other._view.stage("this run is shown in the panel that was opened last")
                self.watchers.append(panel)
            return not self.is_over

    def stage(self, words) -> None:
        """Say what is being done."""
        self.said = words
        self.view.stage(words)

    @property
    def view(self):
        """Return the view that sees the run grow."""
        return self.watchers[-1]._view

    def work(self) -> None:
        """Load what is needed, wait for the turn, find the run or train it; tell its end to all who watch."""
        try:
            self.owner.load(self.stage)
            with turn(str(self), say=self.stage, stop=self.stopping.is_set) as mine:
                if mine:
                    self._find_or_train()
        except BaseException as error:                                # an interrupted cell as well: nothing may be lost
            self.error = error
        finally:
            time.sleep(0.05)                                          # a last frame sent right after others may be dropped
            with _ending:
                self.is_over = True
                _going.remove(self)
                for panel in self.watchers:
                    panel.ended(self)

    def _find_or_train(self):
        config = self.owner.lab.config(self.design)
        run = self._find(config)
        while self.new_seed and run is not None:
            self.design = self.design.replace(seed=self.design.seed + 1)
            config = config.replace(seed=self.design.seed)
            run = self._find(config)
        self.found = run is not None
        self._show(run if self.found else self._train(config), True, draw=False)

    def _find(self, config):
        lab = self.owner.lab
        return lab.store.find(config, lab.base.fingerprint, lab.cache.fingerprint)

    def _train(self, config):
        """Train a resolved configuration, or go on with it where it was stopped, and show every change; return the Run."""
        lab, owner, started, unjudged = self.owner.lab, self.owner, time.monotonic(), False
        builder = lab.begin(config)
        done = builder.last_step
        self.stage(f"going on from step {done}" if done else "measuring the untouched base")
        events = lab.sweep([config], monitor=lab.monitor(pictures=owner.pictures), stop=self.stopping.is_set,
                           meta={"made_by": "panel"}, tell=say)
        with closing(events):
            for event in events:
                builder.add(event)
                unjudged |= isinstance(event, Validation)
                if isinstance(event, Step):
                    self.view.progress(event.global_step, config.max_train_steps, time.monotonic() - started)
                if self.view.is_due():
                    self._show(builder.build(), unjudged)
                    unjudged = False
        run = builder.build()
        if run.status == "finished" and not done:
            owner.pace.measured(config, time.monotonic() - started)
        return run

    def _show(self, run, unjudged, *, draw=True):
        """Keep what there is so far, with a verdict so far, and draw it."""
        if draw and "validation" not in run.validations:
            return
        if unjudged or self.verdict is None:
            siblings = [other for other in self.owner.shelf.runs if other.run_id != run.run_id]
            self.verdict = diagnose(run, siblings)
        self.history = run
        if draw:
            self.watchers[-1].show(run, self.verdict)
