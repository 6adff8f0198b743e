"""What a browser shows of a lab panel: one widget that is told the panel's state, and tells what a person does."""

import functools
import threading
import time
import uuid

from labkit.design.config import OLD_PREFIX, SHARE_PREFIX, is_share_string, load_design
from labkit.design.ladders import LADDERS
from labkit.errors import LabError
from labkit.lessons import panel_state
from labkit.lessons.panel_drawing import drawn
from labkit.text import duration, rate_text
from labkit.view import instead
from labkit.view.frontend import show, show_anew
from labkit.view.race_view import RaceView, script, styles

PARTS = ("panel_parts", "panel_shelf", "panel_drawing", "panel_controls")  # in an order as the modules of race_view
TEXT_S = 0.2  # between two words of progress


class PanelView:
    """Keep a panel's widget up to date, from any thread, and do what a person asks of it.

    `state` is all that the widget shows but the race, the shelf and the words of progress.
    """

    def __init__(self, panel):
        """Build the widget and show the panel's design in it."""
        self.panel, self.error, self.race = panel, None, None
        self._lock, self._replace = threading.RLock(), lambda other: None
        self._paced_from = None                               # (update, seconds) when these runs were first seen
        self._next_text = 0.0
        self._reveal = (None, "")                             # a scenario, and what its prediction came to
        self._pictures: dict = {}                             # of the shelf, by run
        self.widget = _widget_class()(panel=uuid.uuid4().hex, progress=_progress("not loaded yet"))
        self.widget.on_msg(lambda _, message, __: self.hear(message))
        self.show_design()

    @property
    def state(self) -> dict:
        """Return what the widget was last told."""
        return self.widget.state

    @property
    def stage(self) -> str:
        """Return the words that say what is being done."""
        return self.widget.progress["stage"]

    def show(self):
        """Display the widget, and below it what a saved notebook keeps of it: hidden for as long as the widget lives.
        """
        show(self.widget)
        self._replace = show_anew(Saved(self.widget.panel))
        if self.race is not None:
            self._replace(Saved(self.widget.panel, self.race))

    # -- what a person does

    def hear(self, message) -> None:
        """Do what a message of the widget asks; what goes wrong is shown, since Jupyter would swallow it."""
        if "missed" in message:
            if self.race is not None:
                self.race.tell_again(message)
            return
        action = getattr(self, f"_do_{message.get('do')}", None)
        if action is not None:
            try:
                action(**{name: value for name, value in message.items() if name != "do"})
            except BaseException as error:
                self.show_error(error)

    def _do_choose(self, name):
        self.panel.choose(name)

    def _do_value(self, knob, text):
        """Set a knob; of the raced one add a value to the race, or take it out."""
        panel, value = self.panel, panel_state.value_of(self.panel, knob, text)
        if knob != panel.raced:
            panel.change(**{knob: value})
        elif value not in panel.values:
            panel.race(knob, [*panel.values, value])
        elif len(panel.values) > 1:
            panel.race(knob, [other for other in panel.values if other != value])
        else:
            self.show_design()

    def _do_race(self, knob):
        self.panel.race(knob, self.panel.usual_race(knob))

    def _do_train(self, predicted=None, again=False):
        if predicted is not None:
            self.panel.predictions[panel_state.scenario(self.panel)] = str(predicted)
        self.panel.train(new_seed=bool(again))

    def _do_pause(self):
        self.panel.pause()

    def _do_step(self):
        self.panel.step()

    def _do_stop(self, run=None):
        self.panel.stop(run)

    def _do_rate(self, run, text):
        self.panel.change_rate(run, float(text))

    def _do_restore(self, run):
        self.panel.restore(run)

    def _do_pin(self, run):
        self.panel.pin(run)

    def _do_design(self, text):
        """Take over a share string, on this panel's base and territory."""
        text = str(text).strip()
        if not is_share_string(text):
            newer = text.startswith("lab") and "~" in text[:8]
            raise LabError("This share string comes from a newer version of the kit: install that one to read it."
                           if newer else f"This is no share string: one starts with {SHARE_PREFIX} or {OLD_PREFIX}.")
        fields = load_design(text).to_dict()
        self.panel.preset = None
        self.panel.change(**fields | {name: getattr(self.panel.design, name) for name in ("base", "data")})

    def _do_draw(self, run, prompt):
        """Draw a prompt at every strength of a run's adapter, in a thread: a few seconds."""
        run = next((each for each in [*self.panel.results, *self.panel.shelf.runs] if each.run_id == run), None)
        if run is not None:
            threading.Thread(target=self._draw, args=(run, str(prompt).strip()), daemon=True).start()

    def _draw(self, run, prompt):
        try:
            self.widget.drawn = {"words": "drawing"}
            self.widget.drawn = drawn(self.panel.lab, run, prompt) | {"name": self.panel.label(run)}
        except BaseException as error:
            self.widget.drawn = {"words": panel_state.fault(error)["words"]}

    # -- following the panel

    def show_design(self):
        """Show the panel's design, what is known of it, what it costs, and what goes on."""
        with self._lock:
            self.widget.state = self._state()
            self.widget.shelf = [] if "shelf" in self.panel.hide else panel_state.shelf(self.panel, self._pictures)

    def _state(self):
        panel, run = self.panel, self.panel._run if self.panel.is_training else None
        told = {"mode": "idle" if run is None else "paused" if run.is_paused else "training",
                "hide": list(panel.hide), "knobs": panel_state.knobs(panel), "share": panel.design.share(),
                "presets": [{"name": name, "look": preset.look, "chosen": preset is panel.preset}
                            for name, preset in panel.presets.items()],
                "look": panel.preset.look if panel.preset else "", "moved": self._moved(),
                "running": self._running(run), "rates": [rate_text(rate) for rate in LADDERS["learning_rate"]],
                "drawable": self._drawable(), "reveal": self._told_of_prediction(run),
                "error": panel_state.fault(self.error) if self.error else None}
        try:
            return told | self._costs()
        except LabError as error:                             # an impossible design
            return told | {"error": panel_state.fault(self.error or error), "schedule": None, "scaling": "",
                           "cost": "", "train": "Train", "again": False, "question": None}

    def _costs(self):
        panel = self.panel
        configs = [panel_state.resolved(panel, design) for design in panel.designs]
        names = panel.named(panel.designs)
        new = [config for name, config in names.items() if not panel.is_known(name)] if names else configs
        known = len(names) - len(new) if names else 0
        what = "Show it" if known == 1 else f"Show {known} runs"
        if new:
            what = f"Train {len(new)} more" if known else "Train" if len(new) == 1 else f"Race {len(new)} runs"
        [own] = [panel_state.resolved(panel, panel.design)]
        return {"schedule": panel_state.schedules(panel), "scaling": panel_state.scaling(own),
                "cost": panel_state.cost(new, known, panel.pace), "train": what, "again": bool(known and not new),
                "question": panel_state.question(panel, bool(new))}

    def _told_of_prediction(self, run):
        about, words = self._reveal
        return words if run is None and about == panel_state.scenario(self.panel) else ""

    def _moved(self):
        """Name the knobs that moved since a preset was chosen: what it says to look at may not be seen then."""
        preset, panel = self.panel.preset, self.panel
        if preset is None:
            return ""
        meant = load_design(None).replace(**preset.changes)
        moved = [name.replace("_", " ") for name in panel.knobs if getattr(panel.design, name) != getattr(meant, name)]
        return f"in the preset, before {' and '.join(moved)} moved" if moved else ""

    def _running(self, run):
        if run is None or run.race is None:
            return []
        return [{"id": name, "name": run.label(run.builders[name].build())} for name in list(run.going)]

    def _drawable(self):
        """Return the runs whose adapters lie in the store, the best first: where they may be drawn with."""
        if "drawing" in self.panel.hide or self.panel.is_training and not self.panel._run.is_paused:
            return []
        runs = [run for run in self.panel.results if run.origin != "recorded" and run.status == "finished"]
        runs = sorted(runs, key=lambda run: float(run.validations["validation"].means[-1])
                      if "validation" in run.validations else 1e9)
        return [{"id": run.run_id, "name": self.panel.label(run),
                 "prompt": run.samples[-1].prompts[0] if run.samples else ""} for run in runs]

    def begin(self):
        """Say that runs were asked for."""
        with self._lock:
            self.error, self._paced_from = None, None
            self.widget.progress = _progress("starting")
            self.show_design()

    def end(self, run):
        """Say how runs ended, let the next ones start, and keep them in the saved notebook."""
        with self._lock:
            if self.panel.error is not None:
                self.error = self.panel.error
            words = "stopped by an error" if self.panel.error else panel_state.ending(run)
            self.widget.progress = {**self.widget.progress, "stage": words}
            words = "" if run.error else panel_state.reveal(self.panel)
            self._reveal = (panel_state.scenario(self.panel), words)
            self.show_design()
            if run.race is not None and run.results and run.place == self.panel.place:
                self.show_race(run.race)
                self._replace(Saved(self.widget.panel, run.race))

    def clear(self):
        """Take the race away that is shown."""
        with self._lock:
            self.race, self._reveal = None, (None, "")
            with self.widget.hold_sync():
                self.widget.name, self.widget.pieces = "", []

    def show_race(self, race):
        """Show a race; what comes in it later goes there too."""
        with self._lock:
            self.race = race
            race.show_in(self.widget)

    def show_steering(self, run):
        """Show which runs go on, and whether they rest."""
        self._paced_from = None
        self.show_design()

    def show_stage(self, words):
        """Say what is being done."""
        self.widget.progress = {**self.widget.progress, "stage": words}

    def show_progress(self, done, total, seconds, aside=""):
        """Show how far runs are, five times a second at most; their pace is that of the updates seen here."""
        now = time.monotonic()
        if self._paced_from is None or done < self._paced_from[0] or seconds < self._paced_from[1]:
            self._paced_from = (done, seconds)
        if now < self._next_text and done < total:
            return
        self._next_text = now + TEXT_S
        seen, took = done - self._paced_from[0], seconds - self._paced_from[1]
        left = f", about {duration(took / seen * (total - done))} left" if seen >= 3 and done < total else ""
        self.widget.progress = _progress(f"update {done:,} of {total:,}{left}{aside}", done, total)

    def show_error(self, error):
        """Show what went wrong, where it can't be missed."""
        self.error = error
        if not self.panel.is_training or self.panel.error is error:   # else it goes on, whatever else was refused
            self.show_stage("stopped by an error")
        self.show_design()


class Saved:
    """Show in a saved notebook what a panel showed last: a race that plays without a kernel.

    Above it a sentence says what the panel itself needs. While the panel's widget lives in the same page, the widget
    hides this.
    """

    def __init__(self, panel: str, race: RaceView | None = None):
        """Take the panel's name in its page, and the race; None holds the place until there is one."""
        self.panel, self.race = panel, race

    def _repr_mimebundle_(self, **_):
        name = instead.place(self.panel)
        words = instead.for_widget(self.panel, instead.PANEL, is_late=self.race is None)
        if self.race is None:
            return {"text/html": f'<div id="{name}">{words}</div>', "text/plain": instead.PANEL}, {}
        data, looks = self.race._repr_mimebundle_()
        page = f'<div id="{name}">{words}{data["text/html"]}</div>'
        return data | {"text/html": page, "text/plain": f"{instead.PANEL}\n\n{data['text/plain']}"}, looks


def _progress(stage, done=0, total=1):
    return {"stage": stage, "done": done, "total": total}


@functools.cache
def _widget_class():
    """Return the class of the widget, made where one is first asked for: anywidget loads IPython and ipywidgets."""
    try:
        import anywidget  # here: a panel that nobody sees does without
        import traitlets
    except ImportError:
        raise LabError("The panel needs the package anywidget: install it with `pip install anywidget`, or call its "
                       "run() and figures().") from None

    class PanelWidget(anywidget.AnyWidget):
        """The state of a panel for its front end; a race's pieces are appended by messages."""

        _esm, _css = script("race_told", *PARTS, "panel_widget"), styles("race_view", "panel")
        panel = traitlets.Unicode().tag(sync=True)
        name = traitlets.Unicode().tag(sync=True)
        pieces = traitlets.Any([]).tag(sync=True)
        state = traitlets.Dict().tag(sync=True)
        progress = traitlets.Dict().tag(sync=True)
        shelf = traitlets.List().tag(sync=True)
        drawn = traitlets.Dict().tag(sync=True)

        def __repr__(self):
            return "The lab panel"

    return PanelWidget
