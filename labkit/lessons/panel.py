"""The lab panel: choose a design, train it, watch the curve and the pictures grow, read the verdict."""

import contextvars
import math
import threading

from labkit import settings
from labkit.design.config import RunConfig, load_design
from labkit.design.ladders import check_knobs
from labkit.design.presets import preset, preset_set
from labkit.errors import LabError
from labkit.lessons import panel_run, session
from labkit.lessons.panel_run import PanelRun
from labkit.lessons.shelf import RunShelf
from labkit.store.runs import Store
from labkit.view.curves import plot_validation
from labkit.view.frontend import frontend, say, show
from labkit.view.pictures import plot_beside

KNOBS = ("learning_rate", "lr_scheduler", "max_train_steps")
FAST_STEPS = 6


class LabPanel:
    """Train one design at a time on one territory, and keep what came of it.

    territory   name of a shipped territory, or a folder of pictures with captions
    knobs       fields of RunConfig that can be moved; each must have a ladder
    presets     designs to begin with: 'verdicts', 'rank and alpha', 'epochs and batches', 'variations' of the design,
                or {name: Preset} of one's own
    design      RunConfig, share string, file or mapping to start from
    base        'embedded', a folder, a file or a hub name
    store       folder of the run store; None takes the usual one
    lab         a Lab whose base, territory and store are used instead of the three above, with its dtype, max_rows and
                gradient_checkpointing
    voice       'both', 'field' or 'chapter': whose terms are shown
    pictures    number of prompts drawn

    A notebook that ends a cell with the panel shows it. Where nobody can press a button the same cell trains the
    design and shows a static figure and a sentence. `train`, `stop`, `pin` and `choose` do what the buttons do; `run`
    trains in the calling thread and returns the Run. One run trains at a time in a kernel: a panel that is shown
    meanwhile shows that run, and others wait for their turn. `result` is the Run that is shown, None before the
    first, and `verdict` is what is said of it.
    """

    def __init__(self, territory="liminal", *, knobs=KNOBS, presets="verdicts", design=None, base="embedded",
                 store=None, lab=None, voice="both", pictures=2):
        """Check the knobs and the design; base and pictures are opened at first use."""
        self.knobs, self.voice, self.pictures = check_knobs(knobs), voice, pictures
        self._lab = lab
        self._base, self._data, self._store = base, str(territory), store
        if lab is not None:
            self._base, self._data, self._store = lab.base_name, lab.data_name, lab.store.root
        self.design = self._short(load_design(design, base=self._base, data=self._data))
        self.presets = preset_set(presets, self.design)
        self.result = self.verdict = self.error = self.preset = None
        self.is_from_store, self.pictures_known = False, None
        self._run, self._starting = None, threading.Lock()
        self._view, self.pace = Silent(), Pace()

    # -- what a person does

    def choose(self, name: str) -> None:
        """Take over a preset's design, on this panel's base, territory and seed; take the last run's verdict away."""
        chosen = preset(self.presets, name)
        self._refuse_while_training()
        self.preset = chosen
        self._view.clear()
        kept = {field: getattr(self.design, field) for field in ("base", "data", "seed")}
        self.change(**RunConfig().replace(**chosen.changes).to_dict() | kept)

    def change(self, **fields) -> None:
        """Change fields of the design; LabError names one that is not possible, or says that the design trains now."""
        self._refuse_while_training()
        self.design = self._short(self.design.replace(**fields))
        self._view.show_design()

    def _refuse_while_training(self):
        if self.is_training:
            raise LabError("This panel is training, and its design is that run's: stop it or wait for it, "
                           "then change the design.")

    def train(self, *, new_seed=False) -> None:
        """Train the design, or show the run that the store has: in a thread where a browser watches, else here."""
        if frontend() != "browser":
            self.run(new_seed=new_seed)
            return
        with self._starting:
            if not self.is_training:
                self._begin(new_seed).start()

    def run(self, *, new_seed=False):
        """Train the design in the calling thread and return its Run; raise what went wrong."""
        self._begin(new_seed).work()
        return self.wait()

    def stop(self) -> None:
        """End training after the update that is under way, or waiting for the turn to train."""
        if self._run is not None:
            self._run.stopping.set()
        self._view.show_stage("stopping after this update")

    def wait(self, timeout=None):
        """Wait for training to end and return the shown Run; raise what went wrong."""
        if self._run is not None:
            self._run.wait(timeout)
        if self.error is not None:
            raise self.error
        return self.result

    def pin(self) -> None:
        """Keep the shown run beside the next ones, as their baseline; again takes it off."""
        if self.result is not None:
            self.shelf.pin(self.result)
            self._view.show_pinned()

    @property
    def is_training(self) -> bool:
        """Tell whether a run is going on that this panel began or shows."""
        return self._run is not None and not self._run.is_over

    @property
    def place(self) -> tuple:
        """Return what runs of this panel have in common: base, territory, store, resolution."""
        store = str(Store(self._store).root.resolve())
        return self._base, self._data, store, getattr(self._lab, "resolution", None)

    @property
    def lab(self):
        """Return base, territory and store, opened at first use."""
        if self._lab is None:
            from labkit.lab import Lab  # it loads torch, which is part of warming up

            self._lab = Lab.from_config(self.design, store=self._store, monitor=session.monitor())
        return self._lab

    @property
    def shelf(self) -> RunShelf:
        """Return the shelf of past runs, read at first use."""
        if not hasattr(self, "_shelf"):
            self._shelf = RunShelf(Store(self._store), base=self._base, data=self._data)
        return self._shelf

    # -- how it is shown

    @property
    def widget(self):
        """Return the panel as a widget, built at first use."""
        if isinstance(self._view, Silent):
            from labkit.lessons.panel_view import PanelView  # nobody needs ipywidgets where no panel is shown

            self._view = PanelView(self)
        return self._view.widget

    def _ipython_display_(self):
        """Show the widget where someone can use it; train and show a figure and a sentence where nobody can."""
        audience = frontend()
        if audience == "headless":
            self.run()
            show(*self.figures())
            say(self.verdict.sentence, self.result.provenance)
            return
        show(self.widget)
        if audience == "colab":
            self.run()
        elif not self.is_training and not self._adopt():
            self._start_warming()

    def figures(self) -> list:
        """Return the curve and the pictures of the shown run as figures."""
        figures = [plot_validation(self.result, verdict=self.verdict, pinned=self.beside).figure]
        if self.result.samples:
            figures.append(plot_beside(self.result, self.verdict, self.beside))
        return figures

    @property
    def beside(self):
        """Return the pinned run, if it is another than the shown one."""
        pinned = self.shelf.pinned
        return pinned if pinned is not None and pinned.run_id != self.result.run_id else None

    def _start_warming(self):
        """Import and load in the background, so that the first click trains at once."""
        context = contextvars.copy_context()
        self._warming = threading.Thread(target=context.run, args=(self._warm,), name="labkit-warm-up", daemon=True)
        self._warming.start()

    def _warm(self):
        try:
            self.load(lambda words: None if self.is_training else self._view.show_stage(words))
            if not self.is_training:
                self._view.show_stage("ready")
                self._view.show_design()
        except Exception as error:
            self.error = error
            self._view.show_error(error)

    # -- what the run tells

    def _begin(self, new_seed):
        """Clear what the last run left, say within an instant that something happens, and return the run to be."""
        self.error, self.is_from_store = None, False
        self._view.begin()
        self._run = PanelRun(self, new_seed=new_seed)
        return self._run

    def _adopt(self) -> bool:
        """Show the run that goes on in this kernel, where there is one, as if it had been begun here."""
        run = panel_run.current_run()
        if run is None or not run.watch(self):
            return False
        self._run, self.error, self.is_from_store = run, None, False
        if run.place == self.place:
            self.design = run.design
            self._view.show_design()
        self._view.begin()
        self._view.show_stage(run.stage)
        if run.result is not None:
            self.show(run.result, run.verdict)
        return True

    def load(self, stage):
        """Open the base and the encoded pictures, telling each stage."""
        with LOADING:
            stage("warming up: importing")
            lab = self.lab
            stage("warming up: loading the base")
            lab.base                                                  # noqa: B018  it is opened at first use
            stage("warming up: reading the pictures")
            self.pictures_known = len(lab.cache.train)

    def show(self, run, verdict) -> None:
        """Show a run as far as it is; of another territory's only the drawing, since it is not this panel's."""
        if self._run is None or self._run.place == self.place:
            self.result, self.verdict = run, verdict
        self._view.show_run(run, verdict)

    def show_end(self, run) -> None:
        """Show how a run ended, then the next one that goes on.

        A run of another territory leaves this panel as it was.
        """
        if run is not self._run:
            return
        try:
            if run.place == self.place:
                self._take(run)
            else:
                self._view.clear()
        except Exception as error:
            self.error = error
        self._view.end(run)
        if run.owner is not self:
            self._adopt()

    def _take(self, run):
        self.design, self.error, self.is_from_store = run.design, run.error, run.is_from_store
        self._lab = run.owner.lab
        self.pictures_known = run.owner.pictures_known
        if run.result is not None and run.error is None:
            self.result, self.verdict = run.result, run.verdict
            if "validation" in run.result.validations:               # else it was stopped before the first measurement
                self._view.show_run(run.result, run.verdict)
            self.shelf.add(run.result)

    def _short(self, design):
        """Return a design as it is, or cut to a few updates where tests ask for the short form."""
        if settings.fast and (design.max_train_steps or math.inf) > FAST_STEPS:       # None: stated in epochs
            return design.replace(max_train_steps=FAST_STEPS)
        return design


LOADING = threading.Lock()                                            # two panels must not load the same base twice


class Silent:
    """Stand in for the view where there is none: every call does nothing."""

    def __getattr__(self, name):
        """Return a function that takes anything and does nothing."""
        return lambda *args, **options: None


class Pace:
    """Know how long a run takes here: a guess before the first run, then what was measured."""

    def __init__(self):
        """Begin with the pace of two CPU cores."""
        self.factor, self.is_measured = 1.0, False

    def guess(self, config) -> float:
        """Return the seconds that a run takes: on two CPU cores, 4 for its measurements, the rest by its batches."""
        passes = config.max_train_steps * config.gradient_accumulation_steps
        return self.factor * (4 + passes * (0.03 + 0.014 * config.rows))

    def learn(self, config, seconds) -> None:
        """Correct the guess by the seconds that a run took."""
        self.factor *= seconds / self.guess(config)
        self.is_measured = True
