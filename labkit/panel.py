"""The lab panel: choose a design, train it, watch the curve and the pictures grow, read the verdict."""

import contextvars
import math
import threading
import time
from contextlib import closing

from labkit import lesson
from labkit.config import RunConfig, load_design
from labkit.curves import plot_validation
from labkit.diagnose import diagnose
from labkit.events import Step, Validation
from labkit.frontend import frontend, show
from labkit.ladders import LADDERS
from labkit.pictures import plot_beside
from labkit.presets import PRESETS
from labkit.runs import Store
from labkit.shelf import RunShelf

KNOBS = ("learning_rate", "lr_scheduler", "max_train_steps")
FAST_STEPS = 6


class LabPanel:
    """Train one design at a time on one territory, and keep what came of it.

    territory   name of a shipped territory, or a folder of pictures with captions
    knobs       fields of RunConfig that can be moved; each must have a ladder
    presets     designs to begin with, by name (presets.PRESETS, or a lesson's own)
    design      RunConfig, share string, file or mapping to start from
    base        'embedded', a folder, a file or a hub name
    store       folder of the run store; None takes the usual one
    lab         a Lab whose base, territory and store are used instead of the three above
    voice       'both', 'field' or 'chapter': whose terms are shown
    pictures    number of prompts drawn

    A notebook that ends a cell with the panel shows it. Where nobody can press a button the same cell trains the design and
    shows a static figure and a sentence. `train`, `stop`, `pin` and `choose` do what the buttons do; `run` trains in the
    calling thread and returns the History.
    """

    def __init__(self, territory="liminal", *, knobs=KNOBS, presets=PRESETS, design=None, base="embedded", store=None,
                 lab=None, voice="both", pictures=2):
        for name in knobs:
            LADDERS[name]
        self.knobs, self.presets, self.voice, self.pictures = tuple(knobs), dict(presets), voice, pictures
        self._lab, self._where = lab, {"base": base, "data": str(territory), "store": store}
        if lab is not None:
            self._where = {"base": lab.base_name, "data": lab.data_name, "store": lab.store.root}
        self.design = self._short(load_design(design, base=self._where["base"], data=self._where["data"]))
        self.history = self.verdict = self.error = self.preset = None
        self.found, self.pictures_known = False, None
        self._stop, self._starting, self._thread = threading.Event(), threading.Lock(), None
        self._view, self.pace = Silent(), Pace()

    # -- what a person does

    def choose(self, preset: str) -> None:
        """Take over a preset's design, on top of this panel's own knobs and seed."""
        self.preset = self.presets[preset]
        self.change(**RunConfig().replace(**self.preset.changes).to_dict() | {name: getattr(self.design, name) for name in ("base", "data", "seed")})

    def change(self, **fields) -> None:
        """Move knobs; LabError names the field that cannot be."""
        self.design = self._short(self.design.replace(**fields))
        self._view.design_changed()

    def train(self, *, new_seed=False) -> None:
        """Train the design: in a thread where a browser watches, else here. A run that was found is shown instead."""
        if frontend() != "browser":
            self.run(new_seed=new_seed)
            return
        with self._starting:
            if self.is_training:
                return
            self._begin()
            context = contextvars.copy_context()                      # carries the cell to which updates belong
            self._thread = threading.Thread(target=context.run, args=(self._work, new_seed), name="labkit-train-panel", daemon=True)
            self._thread.start()

    def run(self, *, new_seed=False):
        """Train the design in the calling thread and return its History; raise what went wrong."""
        self._begin()
        self._work(new_seed)
        return self.wait()

    def stop(self) -> None:
        """End training after the update that is under way."""
        self._stop.set()
        self._view.stage("stopping after this update")

    def wait(self, timeout=None):
        """Wait for training to end and return the History; raise what went wrong."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return self.history

    def pin(self) -> None:
        """Keep the shown run beside the next ones, as their baseline; again takes it off."""
        if self.history is not None:
            self.shelf.pin(self.history)
            self._view.history(self.history, self.verdict)

    @property
    def is_training(self) -> bool:
        """Tell whether a run is going on in the background."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def lab(self):
        """Return base, territory and store, opened at first use."""
        if self._lab is None:
            from labkit.lab import Lab

            self._lab = Lab(self._where["base"], self._where["data"], store=self._where["store"])
        return self._lab

    @property
    def shelf(self) -> RunShelf:
        """Return the shelf of past runs, read at first use."""
        if not hasattr(self, "_shelf"):
            self._shelf = RunShelf(Store(self._where["store"]), base=self._where["base"], data=self._where["data"])
        return self._shelf

    # -- how it is shown

    @property
    def widget(self):
        """Return the panel as a widget, built at first use."""
        if isinstance(self._view, Silent):
            from labkit.panel_view import PanelView

            self._view = PanelView(self)
        return self._view.widget

    def _ipython_display_(self):
        """Show the widget where someone can use it; train and show a figure and a sentence where nobody can."""
        where = frontend()
        if where == "headless":
            self.run()
            show(*self.figures())
            print(self.verdict.sentence, self.history.provenance)
            return
        show(self.widget)
        if where == "colab":
            self.run()
        else:
            self._start_warming()

    def figures(self) -> list:
        """Return the curve and the pictures of the shown run as figures."""
        beside = self.beside
        figures = [plot_validation(self.history, verdict=self.verdict, pinned=beside).figure]
        return figures + [plot_beside(self.history, self.verdict, beside)] if self.history.samples else figures

    @property
    def beside(self):
        """Return the pinned run, if it is another than the shown one."""
        pinned = self.shelf.pinned
        return pinned if pinned is not None and pinned.run_id != self.history.run_id else None

    def _start_warming(self):
        """Import and load in the background, so that the first click trains at once."""
        context = contextvars.copy_context()
        self._warming = threading.Thread(target=context.run, args=(self._warm,), name="labkit-warm-up", daemon=True)
        self._warming.start()

    def _warm(self):
        try:
            self._load()
            if not self.is_training:
                self._view.stage("ready")
                self._view.design_changed()
        except Exception as error:
            self._fail(error)

    # -- what happens in the worker

    def _begin(self):
        """Clear what the last run left, and say within an instant that something happens."""
        self._stop.clear()
        self.error, self.found = None, False
        self._view.begin()

    def _work(self, new_seed):
        try:
            self._load()
            config = self.lab.config(self.design)
            history = self._find(config)
            while new_seed and history is not None:
                self.design = self.design.replace(seed=self.design.seed + 1)
                config = config.replace(seed=self.design.seed)
                history = self._find(config)
            self.found = history is not None
            self._follow(config) if history is None else self._take(history)
            self.shelf.add(self.history)
        except BaseException as error:                                # an interrupted cell as well: nothing may be lost
            self._fail(error)
        finally:
            time.sleep(0.05)                                          # a last frame sent right after others may be dropped
            self._view.end()

    def _load(self):
        """Open the base and the encoded pictures, telling each stage."""
        with LOADING:
            self._view.stage("warming up: importing")
            lab = self.lab
            self._view.stage("warming up: loading the base")
            lab.base
            self._view.stage("warming up: reading the pictures")
            self.pictures_known = len(lab.cache.train)

    def _find(self, config):
        return self.lab.store.find(config, self.lab.base.fingerprint, self.lab.cache.fingerprint)

    def _follow(self, config):
        """Train a resolved configuration, or go on with it where it was stopped, and show every change."""
        from labkit.sweep import sweep

        lab, started, unjudged = self.lab, time.monotonic(), False
        trace = lab.begun(config)
        done = trace.last_step
        self._view.stage(f"going on from step {done}" if done else "measuring the untouched base")
        events = sweep(lab.base, lab.cache, [config], lab.store, monitor=lab.monitor(pictures=self.pictures), stop=self._stop.is_set,
                       meta={"made_by": "panel"})
        with closing(events):
            for event in events:
                trace.add(event)
                unjudged |= isinstance(event, Validation)
                if isinstance(event, Step):
                    self._view.progress(event.global_step, config.max_train_steps, time.monotonic() - started)
                if self._view.is_due():
                    self._show(trace.history(), unjudged)
                    unjudged = False
        history = trace.history()
        if history.status == "finished" and not done:
            self.pace.measured(config, time.monotonic() - started)
        self._take(history)

    def _show(self, history, unjudged):
        """Draw what there is so far, with a verdict so far."""
        if "validation" not in history.validations:
            return
        if unjudged or self.verdict is None:
            self.verdict = diagnose(history, self._siblings(history))
        self.history = history
        self._view.history(history, self.verdict)

    def _take(self, history):
        """Show a complete history with its verdict."""
        self.history, self.verdict = history, diagnose(history, self._siblings(history))
        if "validation" in history.validations:                       # else it was stopped before the first measurement
            self._view.history(history, self.verdict)

    def _siblings(self, history):
        return [other for other in self.shelf.histories if other.run_id != history.run_id]

    def _fail(self, error):
        self.error = error
        self._view.error(error)

    def _short(self, design):
        """Keep a design as it is, or cut it to a few updates where tests ask for the short form."""
        if lesson.fast and (design.max_train_steps or math.inf) > FAST_STEPS:    # None: told in epochs
            return design.replace(max_train_steps=FAST_STEPS)
        return design


LOADING = threading.Lock()                                            # two panels must not load the same base twice


class Silent:
    """Stand in for the view where there is none: every call does nothing."""

    def __getattr__(self, name):
        return lambda *args, **options: None


class Pace:
    """Know how long a run takes here: a guess before the first run, then what was measured."""

    def __init__(self):
        self.factor, self.is_measured = 1.0, False

    def guess(self, config) -> float:
        """Return the seconds of a run on the embedded base on two CPU cores: monitoring, and updates by their batch."""
        return self.factor * (4 + config.max_train_steps * config.gradient_accumulation_steps * (0.03 + 0.014 * config.rows))

    def measured(self, config, seconds) -> None:
        """Learn from a run."""
        self.factor *= seconds / self.guess(config)
        self.is_measured = True
