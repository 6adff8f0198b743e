"""The lab panel: choose values of a knob, train them in one pass, watch pictures and curves grow, read verdicts."""

import contextvars
import threading

from labkit.design.config import load_design
from labkit.errors import LabError
from labkit.lessons import panel_run, session
from labkit.lessons.panel_choice import Choice, parts
from labkit.lessons.panel_run import Pace, PanelRun, kept, race_of, verdict_of
from labkit.lessons.shelf import RunShelf
from labkit.store.recorded import recorded_run, sets_by_run
from labkit.store.runs import COMPLETE, Store
from labkit.view.curves import plot_validation
from labkit.view.frontend import frontend, say, show
from labkit.view.pictures import plot_beside
from labkit.view.race_data import MOST

KNOBS = ("learning_rate", "lr_scheduler", "max_train_steps")


class LabPanel(Choice):
    """Train one design, or a race over one of its knobs, on one territory, and keep what came of it.

    territory   name of a shipped territory, or a folder of pictures with captions
    knobs       fields of RunConfig that can be moved; each must have a ladder, and the first is raced at the beginning
    presets     designs to begin with: 'verdicts', 'rank and alpha', 'epochs and batches', 'variations' of the design,
                or {name: Preset} of one's own
    design      RunConfig, share string, file or mapping to start from
    base        'embedded', a folder, a file or a hub name
    store       folder of the run store; None takes the usual one
    lab         a Lab whose base, territory and store are used instead of the three above, with its dtype, max_rows and
                gradient_checkpointing
    voice       'both', 'field' or 'chapter': whose terms are shown
    pictures    number of prompts drawn
    hide        parts that a teacher takes away: presets, knobs, prediction, steering, drawing, shelf, share

    A notebook that ends a cell with the panel shows it. Where nobody can press a button the same cell trains the
    design and shows a static figure and a sentence. `train`, `pause`, `step`, `stop`, `change_rate` and `choose` do
    what the buttons do; `run` trains in the calling thread and returns the Run of the design. One panel trains at a
    time in a kernel: a panel that is shown meanwhile shows that, and others wait for their turn. `result` is the Run
    of the design, None before the first, `verdict` is what is said of it, and `results` are all runs of the race.
    """

    def __init__(self, territory="liminal", *, knobs=KNOBS, presets="verdicts", design=None, base="embedded",
                 store=None, lab=None, voice="both", pictures=2, hide=()):
        """Check knobs, design and parts; base and pictures are opened at first use."""
        self.voice, self.pictures, self.hide = voice, pictures, parts(hide)
        self._lab = lab
        self._base, self._data, self._store = base, str(territory), store
        if lab is not None:
            self._base, self._data, self._store = lab.base_name, lab.data_name, lab.store.root
        super().__init__(load_design(design, base=self._base, data=self._data), knobs, presets)
        self.result = self.verdict = self.error = None
        self.results: list = []
        self.predictions: dict[tuple, str] = {}               # what was said of a scenario before it trained, or ""
        self.is_from_store, self.pictures_known = False, None
        self._run, self._starting, self._answered = None, threading.Lock(), None
        self._view, self.pace = Silent(), Pace()

    # -- what a person does before a run

    def restore(self, run_id: str) -> None:
        """Take over the design of a run on the shelf, and show it."""
        self._refuse_while_training()
        run = self.shelf.run(run_id)
        self.preset, self.design = None, run.config
        self.values = (getattr(self.design, self.raced),)
        self._answer()

    def pin(self, run_id: str | None = None) -> None:
        """Keep a run of the shelf, by default the one that is shown, beside what is shown; again lets it go."""
        if run_id is None and self.result is None:
            return
        run = self.shelf.run(run_id or self.result.run_id)
        self.shelf.pin(run)
        if not self.is_training:
            self._answer(also=[other for other in self.results if other.run_id != run.run_id])

    def _refuse_while_training(self):
        if self.is_training:
            raise LabError("This panel is training, and its design is that run's: stop it or wait for it, "
                           "then change the design.")

    # -- what a person does meanwhile

    def train(self, *, new_seed=False) -> None:
        """Train the designs, or show those that are known: in a thread where a browser watches, else here."""
        if frontend() != "browser":
            self.run(new_seed=new_seed)
            return
        with self._starting:
            if not self.is_training:
                self._begin(new_seed).start()

    def run(self, *, new_seed=False):
        """Train the designs in the calling thread and return the Run of `design`; raise what went wrong."""
        self._begin(new_seed).work()
        return self.wait()

    def stop(self, run_id: str | None = None) -> None:
        """End training after the update that is under way, or of one run alone while the others go on."""
        if self._run is not None and run_id is not None:
            self._run.stop_one(run_id)
        elif self._run is not None:
            self._run.stop()
            self._view.show_stage("stopping after this update")

    def pause(self) -> None:
        """Rest after the update that is under way, with everything on the disk; again goes on."""
        if self.is_training and self._run.is_paused:
            self._run.go_on()
        elif self.is_training:
            self._run.pause()
            self._view.show_stage("pausing after this update")

    def step(self) -> None:
        """Go on to the next measurement and rest there."""
        if self.is_training:
            self._run.step()

    def change_rate(self, run_id: str, rate: float) -> None:
        """Have a copy of a run that trains go on at another rate from where it is: a fork, which trains first."""
        if self.is_training:
            self._run.fork(run_id, rate)

    def wait(self, timeout=None):
        """Wait for training to end and return the run of the design; raise what went wrong."""
        if self._run is not None:
            self._run.wait(timeout)
        if self.error is not None:
            raise self.error
        return self.result

    @property
    def is_training(self) -> bool:
        """Tell whether a training that this panel started or shows is running or paused."""
        return self._run is not None and not self._run.is_over

    # -- what is known

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
    def is_warm(self) -> bool:
        """Tell whether base and pictures are open, so that a design has a name."""
        return self._lab is not None and {"base", "cache", "territory"} <= set(vars(self._lab))

    @property
    def shelf(self) -> RunShelf:
        """Return the shelf of past runs, read at first use."""
        if not hasattr(self, "_shelf"):
            self._shelf = RunShelf(Store(self._store), base=self._base, data=self._data)
        return self._shelf

    def named(self, designs) -> dict:
        """Return {run id: resolved configuration} of designs; nothing before base and pictures are open."""
        try:
            return self.lab.plan(designs) if self.is_warm else {}
        except Exception:                                     # an impossible design: whoever trains it is told
            return {}

    def is_known(self, run_id: str) -> bool:
        """Tell whether a run is complete in the store, or ships with the kit where somebody watches."""
        folder = Store(self._store).run(run_id)
        is_there = folder.events_path.exists() and folder.status in COMPLETE
        return is_there or (frontend() != "headless" and run_id in sets_by_run())

    def known(self, run_id: str):
        """Return a run that is known, from the store or else as recorded; None where there is none."""
        if not self.is_known(run_id):
            return None
        folder = Store(self._store).run(run_id)
        return folder.load() if folder.events_path.exists() and folder.status in COMPLETE else recorded_run(run_id)

    # -- how it is shown

    @property
    def widget(self):
        """Return the panel as a widget, built at first use, with a race over its first knob chosen."""
        if isinstance(self._view, Silent):
            from labkit.lessons.panel_view import PanelView  # nobody needs widgets where no panel is shown

            if len(self.values) == 1 and self.preset is None and self.knobs:
                self.values = self.usual_race(self.raced)
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
        _ = self.widget
        if audience == "colab":
            self.run()
            self._view.show()
            return
        self._view.show()
        if not self.is_training and not self._adopt():
            self._start_warming()

    def figures(self) -> list:
        """Return the curve and the pictures of the design's run as figures."""
        figures = [plot_validation(self.result, verdict=self.verdict, pinned=self.beside).figure]
        if self.result.samples:
            figures.append(plot_beside(self.result, self.verdict, self.beside))
        return figures

    @property
    def beside(self):
        """Return the run that was pinned last, if it is another than the shown one."""
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
                self._answer()
        except Exception as error:
            self.error = error
            self._view.show_error(error)

    # -- what the runs tell

    def _answer(self, also=()):
        """Show at once what is known of the designs, without training; `also` keeps these runs shown as well."""
        if isinstance(self._view, Silent) or self.is_training:
            return
        is_other, self._answered = self.preset not in (None, self._answered), self.preset
        found = [run for name in self.named(self.designs) if (run := self.known(name)) is not None]
        if found or also:
            runs = {run.run_id: run for run in [*found, *also, *self.shelf.pins]}
            self._show_known(dict(list(runs.items())[:MOST]))
        elif is_other:                                        # what is shown is not the preset's
            self._view.clear()
        if self.is_warm:
            self._view.show_stage("already trained: shown at once" if found else "ready")
        self._view.show_design()

    def _show_known(self, runs):
        self.results = list(runs.values())
        self.result = next((run for run in self.results if run.run_id in self.named([self.design])),
                           self.results[0])
        self.verdict, self.is_from_store = verdict_of(self.result, self.results), True
        self._view.show_race(race_of({name: kept(run) for name, run in runs.items()}, self.label))

    def _begin(self, new_seed):
        """Clear the view, show that a training begins, and return a new PanelRun that has not started."""
        self.error, self.is_from_store = None, False
        self._run = PanelRun(self, new_seed=new_seed)
        self._view.begin()
        return self._run

    def _adopt(self) -> bool:
        """Show another panel's running training here too; return False where there is none."""
        run = panel_run.current_run()
        if run is None or not run.watch(self):
            return False
        self._run, self.error, self.is_from_store = run, None, False
        if run.place == self.place:
            self.design, self.raced, self.values = run.design, run.owner.raced, run.owner.values
            self.predictions = run.owner.predictions
        self._view.begin()
        self._view.show_stage(run.stage)
        if run.race is not None:
            self._view.show_race(run.race)
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

    def show_end(self, run) -> None:
        """Show how a run ended, then the next one that goes on; one of another territory leaves this panel as it was.
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
        self.error, self.is_from_store = run.error, run.is_from_store
        if run.new_seed:
            self.design = run.design
        self._lab = run.owner.lab
        self.pictures_known = run.owner.pictures_known
        if run.results and run.error is None:
            self.results, self.result = run.results, run.result
            siblings = [*self.shelf.runs, *self.results]
            self.verdict = verdict_of(self.result, siblings) or self.verdict
            for each in [*self.results, self.result]:
                if each.origin != "recorded":
                    self.shelf.add(each)


LOADING = threading.Lock()                                            # two panels must not load the same base twice


class Silent:
    """Stand in for the view where there is none: every call does nothing."""

    def __getattr__(self, name):
        """Return a function that takes anything and does nothing."""
        return lambda *args, **options: None
