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

_unfinished = []                                                      # runs of this kernel, in the order they began
_ending = threading.RLock()


def current_run() -> "PanelRun | None":
    """Return the run that was begun last of those that still go on in this kernel, or None."""
    return _unfinished[-1] if _unfinished else None


class PanelRun:
    """Find or train the design of the panel `owner`; tell all panels that watch, of which the last sees it grow.

    A panel whose cell is executed again is another panel: it watches the run that goes on, and can stop it too.
    `result` is the Run as far as it is, None before its first measurement.
    """

    def __init__(self, owner, *, new_seed=False):
        """Take over the owner's design; new_seed asks for the next seed that the store has no run of."""
        self.owner, self.place, self.design, self.new_seed = owner, owner.place, owner.design, new_seed
        self.watchers, self.stage = [owner], ""
        self.result = self.verdict = self.error = None
        self.is_from_store = self.is_over = False
        self.stopping, self._thread = threading.Event(), None
        _unfinished.append(self)

    def __str__(self):
        """Name the run as others that wait for it do."""
        rate = rate_text(self.design.learning_rate)
        return f"the run at learning rate {rate} on {self.place[1]} that a panel trains"

    def start(self) -> None:
        """Do the work in a thread of its own, whose output belongs to the cell that started it."""
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self.work,), name="labkit-train-panel", daemon=True)
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
                    other._view.show_stage("this run is shown in the panel that was opened last")
                self.watchers.append(panel)
            return not self.is_over

    def show_stage(self, words) -> None:
        """Show what is being done, and keep it for a panel that is opened meanwhile."""
        self.stage = words
        self.view.show_stage(words)

    @property
    def view(self):
        """Return the view that sees the run grow."""
        return self.watchers[-1]._view

    def work(self) -> None:
        """Load what is needed, wait for the turn, find the run or train it; tell its end to all who watch."""
        try:
            self.owner.load(self.show_stage)
            with turn(str(self), say=self.show_stage, stop=self.stopping.is_set) as is_our_turn:
                if is_our_turn:
                    self._find_or_train()
        except BaseException as error:                                # an interrupted cell too: nothing may be lost
            self.error = error
        finally:
            time.sleep(0.05)                                          # else a last frame may be dropped
            with _ending:
                self.is_over = True
                _unfinished.remove(self)
                for panel in self.watchers:
                    panel.show_end(self)

    def _find_or_train(self):
        config = self.owner.lab.config(self.design)
        run = self._find(config)
        while self.new_seed and run is not None:
            self.design = self.design.replace(seed=self.design.seed + 1)
            config = config.replace(seed=self.design.seed)
            run = self._find(config)
        self.is_from_store = run is not None
        self._take(run if self.is_from_store else self._train(config), has_news=True)

    def _find(self, config):
        lab = self.owner.lab
        return lab.store.find(config, lab.base.fingerprint, lab.cache.fingerprint)

    def _train(self, config):
        """Train a resolved configuration, or go on where it was stopped; show every change and return the Run."""
        lab, owner, started, has_news = self.owner.lab, self.owner, time.monotonic(), False
        plan = lab.plan([config])
        (builder,) = lab.begin(plan).values()
        done = builder.last_step
        self.show_stage(f"going on from step {done}" if done else "measuring the untouched base")
        events = lab.sweep(plan, monitor=lab.monitor(pictures=owner.pictures), stop=self.stopping.is_set,
                           meta={"made_by": "panel"}, tell=say)
        with closing(events):
            for event in events:
                builder.add(event)
                has_news |= isinstance(event, Validation)
                if isinstance(event, Step):
                    self.view.show_progress(event.global_step, config.max_train_steps, time.monotonic() - started)
                if self.view.is_due():
                    self._draw(builder.build(), has_news)
                    has_news = False
        run = builder.build()
        if run.status == "finished" and not done:
            owner.pace.learn(config, time.monotonic() - started)
        return run

    def _draw(self, run, has_news):
        """Keep the run so far and draw it in the panel that was opened last, once there is a measurement."""
        if "validation" in run.validations:
            self._take(run, has_news)
            self.watchers[-1].show(run, self.verdict)

    def _take(self, run, has_news):
        """Keep the run so far; judge it anew where it was measured since the last verdict."""
        if has_news or self.verdict is None:
            siblings = [other for other in self.owner.shelf.runs if other.run_id != run.run_id]
            self.verdict = diagnose(run, siblings)
        self.result = run
