"""What a browser shows of a lab panel: widgets that follow its state. Called from several threads."""

import html
import threading
import time

import ipywidgets as W

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.design.glossary import glossary, term
from labkit.design.ladders import rungs
from labkit.errors import LabError
from labkit.text import counted, rounded
from labkit.view.cards import QUIET, error_card, trained_at, verdict_card
from labkit.view.curves import plot_schedules, plot_validation
from labkit.view.pictures import plot_beside
from labkit.view.style import STYLE, VERDICTS, LabFigure

FRAME_S, SLOWEST_S = 0.25, 1.5                                        # seconds between frames, at least and at most
DRAWING_SHARE = 4                                                     # drawing takes at most a fourth of the time
TEXT_S = 0.2
WIDTH = 900                                                           # pixels, as the figures
TIGHT = "line-height:1.4"                                             # else a line of text is as high as a button


class PanelView:
    """Build a panel's widgets and keep them up to date; each bears a css class that tests and teachers can rely on."""

    def __init__(self, panel):
        """Build all widgets and show the panel's design in them."""
        self.panel, self._lock, self._following = panel, threading.RLock(), False
        self._drawn, self._impossible = None, ""
        self._paced_from = None                                       # (update, seconds) when this run was first seen
        self._next_frame = self._next_text = 0.0
        self.presets = [self._preset_button(name) for name in panel.presets]
        self.look = marked(W.HTML(), "lab-look")
        self.knobs = {name: self._knob(name) for name in panel.knobs}
        self.scaling = marked(W.HTML(), "lab-scaling")
        self.schedule = marked(W.Image(format="png", layout=W.Layout(width="400px")), "lab-schedule")
        self.cost = marked(W.HTML(), "lab-cost")
        self.train = self._button("Train", "lab-train", lambda: panel.train(), button_style="primary", icon="play")
        self.stop = self._button("Stop", "lab-stop", panel.stop, icon="stop", disabled=True)
        self.pin = self._button("Pin", "lab-pin", panel.pin, icon="thumb-tack", disabled=True,
                                tooltip="keep this run beside the next ones")
        self.again = self._button("Train again with a new seed", "lab-again", lambda: panel.train(new_seed=True),
                                  icon="refresh")
        self.again.layout.width, self.again.layout.display = "240px", "none"
        bar = W.IntProgress(value=0, min=0, max=1, layout=W.Layout(width="220px"))
        self.progress_bar = marked(bar, "lab-progress")
        self.stage_text = marked(W.Label("not loaded yet", layout=W.Layout(flex="1 1 auto")), "lab-stage")
        self.errors = marked(W.HTML(), "lab-error")
        self.curve = marked(W.Image(format="png", layout=wide(display="none")), "lab-curve")
        self.samples = marked(W.Image(format="jpeg", layout=wide(display="none")), "lab-pictures")
        self.verdict = marked(W.HTML(), "lab-verdict")
        self.widget = self._arranged()
        self.show_design()

    # -- building

    def _arranged(self):
        knobs = [box for box, _ in self.knobs.values()]
        left = W.VBox([*knobs, self.scaling], layout=W.Layout(width="410px", margin="0 16px 0 0"))
        right = W.VBox([self.schedule, self.cost], layout=W.Layout(width="400px"))
        wrapping = W.Layout(flex_flow="row wrap")
        start = [W.HBox([W.HTML("<b>Start from</b>&nbsp;"), *self.presets], layout=wrapping), self.look]
        return marked(W.VBox([
            *(start if self.presets else []),
            W.HBox([left, right], layout=wrapping),
            W.HBox([self.train, self.stop, self.pin, self.again], layout=wrapping),
            W.HBox([self.progress_bar, self.stage_text]),
            self.errors, self.verdict, self.curve, self.samples, self.panel.shelf.widget,
        ], layout=wide()), "lab-panel")

    def _button(self, words, css, action, **options):
        button = marked(W.Button(description=words, **options), css)
        button.on_click(lambda _: self._safely(action))
        return button

    def _preset_button(self, name):
        words = f"{VERDICTS[name][0]} {name}" if name in VERDICTS else name
        css, look = "lab-preset-" + name.replace(" ", "-"), self.panel.presets[name].look
        button = self._button(words, css, lambda: self.panel.choose(name), tooltip=look)
        button.layout.width = "auto"
        return button

    def _knob(self, name):
        """Return (box, control) of a knob: both voices' names above a slider along its ladder."""
        voice, chapter = self.panel.voice, glossary().get(name, {}).get("chapter")
        words = term(name, "chapter" if voice == "chapter" else "field") if name in glossary() else name
        aside = f" <span style='{QUIET}'>{html.escape(chapter)}</span>" if voice == "both" and chapter else ""
        kind, more = (W.Dropdown, {}) if name == "lr_scheduler" else (W.SelectionSlider, {"continuous_update": False})
        labels = [label for label, _ in rungs(name, getattr(self.panel.design, name))]
        control = marked(kind(options=labels, index=0, layout=W.Layout(width="390px"), **more), f"lab-knob-{name}")
        control.observe(lambda change: self._moved(name, change["new"]), names="index")
        return W.VBox([W.HTML(f"<div style='{TIGHT}'><b>{html.escape(words)}</b>{aside}</div>"), control]), control

    # -- reacting; a callback may run in any thread, and what it raises would only reach a log

    def _safely(self, action):
        try:
            action()
        except BaseException as error:
            self.show_error(error)

    def _moved(self, name, index):
        if not self._following and index is not None:
            _, value = rungs(name, getattr(self.panel.design, name))[index]
            self._safely(lambda: self.panel.change(**{name: value}))

    # -- following the panel's state

    def show_design(self):
        """Show the panel's design: knobs, scaling, the schedule as it will be applied, the cost."""
        with self._lock:
            self._following = True
            try:
                for name, (_, control) in self.knobs.items():
                    follow(control, rungs(name, value := getattr(self.panel.design, name)), value)
            finally:
                self._following = False
            preset = self.panel.preset
            self.look.value = look_text(preset, self.panel.design, self.panel.knobs) if preset else ""
            config = self._resolved()
            if config is not None:
                self._preview(config)

    def _resolved(self):
        """Return the design with everything derived, for the pictures there are, or for 96 before they are read."""
        design = self.panel.design
        assumed = max(96, design.n_train or 0, design.train_batch_size)
        try:
            config = design.resolved(self.panel.pictures_known or assumed)
        except LabError as error:
            self.errors.value = self._impossible = error_card(error)
            return None
        if self.errors.value == self._impossible:                     # what a run died of stays until the next one
            self.errors.value = ""
        return config

    def _preview(self, config):
        figure = LabFigure(4.0, 1.9)
        ax = plot_schedules(config, figure.place_axes(0.8, 0.48, 2.3, 1.32))
        ax.set_xlabel("update", fontsize=STYLE["small"])
        ax.set_ylabel("rate applied", fontsize=STYLE["small"])
        self.schedule.value = figure.encoded()
        self.scaling.value = scaling_text(config)
        self.cost.value = cost_text(config, self.panel.pace)

    def begin(self):
        """Say that a run was asked for."""
        with self._lock:
            self._lock_design(True)
            self.train.disabled = True
            self.stop.disabled, self.pin.disabled = False, True
            self.again.layout.display, self.errors.value = "none", ""
            self.progress_bar.value, self.progress_bar.bar_style = 0, ""
            self.stage_text.value, self._paced_from = "starting", None

    def end(self, run):
        """Say how a run ended, and let the next one start."""
        with self._lock:
            panel = self.panel
            self._lock_design(False)
            self.train.disabled, self.stop.disabled, self.pin.disabled = False, True, panel.result is None
            self.progress_bar.bar_style = "danger" if panel.error else "success"
            self.stage_text.value = ending_text(run)
            if panel.error is not None:
                self.show_error(panel.error)
            self.again.layout.display = "" if panel.is_from_store and panel.error is None else "none"
            self.show_design()

    def clear(self):
        """Take the last run's curve, pictures and verdict away: what is chosen next has not been trained."""
        with self._lock:
            self.verdict.value, self._drawn = "", None
            self.curve.layout.display = self.samples.layout.display = "none"

    def _lock_design(self, locked):
        """Let nobody move what a run that goes on was begun with."""
        for control in [*self.presets, *(control for _, control in self.knobs.values())]:
            control.disabled = locked

    def show_stage(self, words):
        """Say what is being done."""
        self.stage_text.value = words

    def show_progress(self, done, total, seconds):
        """Show how far a run is, five times a second at most; its pace is that of the updates which this panel saw."""
        now = time.monotonic()
        self._paced_from = self._paced_from or (done, seconds)
        if now < self._next_text and done < total:
            return
        self._next_text = now + TEXT_S
        self.progress_bar.max, self.progress_bar.value = total, done
        seen, took = done - self._paced_from[0], seconds - self._paced_from[1]
        left = f", about {volume.duration(took / seen * (total - done))} left" if seen >= 3 and done < total else ""
        self.stage_text.value = f"update {done:,} of {total:,}{left}"

    def is_due(self) -> bool:
        """Tell whether it is time for another frame."""
        return time.monotonic() >= self._next_frame

    def show_run(self, run, verdict):
        """Draw a run: curve, pictures, verdict."""
        with self._lock:
            started, beside = time.monotonic(), self.panel.beside
            scale = 1.0 if run.status == "running" else STYLE["retina"]
            title = f"So far {verdict.label}" if run.status == "running" else None
            ax = plot_validation(run, verdict=verdict, title=title, pinned=beside, raw=True)
            self.curve.value = ax.figure.encoded(scale=scale)
            self.curve.layout.display = ""
            state = (run.run_id, len(run.samples), verdict.label, beside and beside.run_id)
            if run.samples and state != self._drawn:                  # pictures are drawn again where some are new
                self.samples.value, self._drawn = plot_beside(run, verdict, beside).encoded(), state
                self.samples.layout.display = ""
            self.verdict.value = "" if title else verdict_card(verdict, run, self.panel.voice)
            took = time.monotonic() - started
            self._next_frame = started + max(FRAME_S, min(DRAWING_SHARE * took, SLOWEST_S))

    def show_pinned(self):
        """Draw what is shown again, beside the pinned run; where a preset was chosen since, nothing is shown."""
        if self.curve.layout.display != "none":
            self.show_run(self.panel.result, self.panel.verdict)

    def show_error(self, error):
        """Show what went wrong, where it can't be missed."""
        self.errors.value = error_card(error)
        if not self.panel.is_training or self.panel.error is error:   # else the run goes on, whatever else was refused
            self.stage_text.value = "stopped by an error"


def follow(control, ladder, value):
    """Move a control to a value; its index is its state, since a selection of None means nothing to ipywidgets."""
    labels, values = zip(*ladder, strict=True)
    if tuple(control.options) != labels:
        control.options = labels
    control.index = values.index(value)


def wide(**options):
    """Return a layout as wide as the page, up to the width of the figures."""
    return W.Layout(width="100%", max_width=f"{WIDTH}px", **options)


def marked(widget, css):
    """Give a widget a css class of ours; return it."""
    widget.add_class(css)
    return widget


def look_text(preset, design, knobs) -> str:
    """Say what to look at in a preset; and that it speaks of the preset, where a knob was moved since."""
    meant = RunConfig().replace(**preset.changes)
    moved = [name.replace("_", " ") for name in knobs if getattr(design, name) != getattr(meant, name)]
    aside = f" <span style='{QUIET}'>in the preset, before {' and '.join(moved)} moved</span>" if moved else ""
    return f"<div style='{TIGHT}'><b>What to look at{aside}.</b> {html.escape(preset.look)}</div>"


def scaling_text(config) -> str:
    """Say rank, alpha and the scaling they give, always together: the chapter's Alpha is the scaling."""
    root = "√rank" if config.use_rslora else "rank"
    scaling = f"<b>scaling = alpha / {root} = {config.scaling:g}</b> (the chapter's Alpha)"
    return (f"<div style='{TIGHT};{QUIET}'>rank {config.rank} · alpha {config.alpha:g} · {scaling}"
            f" · batch {config.effective_batch_size} · seed {config.seed}</div>")


def cost_text(config, pace) -> str:
    """Say what a run costs before it starts."""
    steps, batch = config.max_train_steps, config.effective_batch_size
    shown = f"{counted(volume.exposures(steps, batch), 'picture')} in {counted(steps, 'update')}"
    each = f"each of {config.n_train} about {rounded(volume.views(steps, batch, config.n_train))} times"
    known = "as measured here" if pace.is_measured else "a guess until the first run"
    return (f"<div style='{TIGHT}'>{shown}: {each}.<br>"
            f"<b>About {volume.duration(pace.guess(config))}</b> <span style='{QUIET}'>({known})</span></div>")


def ending_text(run) -> str:
    """Say how a run ended."""
    if run.is_from_store:
        return f"found, from {trained_at(run.result)}: this design was already trained"
    if run.result is None:
        return "stopped before it began"
    words = {"finished": "finished", "stopped": "stopped", "diverged": "diverged: the loss is no longer a number"}
    done = run.result.stopped.global_step if run.result.stopped else 0
    return f"{words.get(run.result.status, run.result.status)} after {counted(done, 'update')}"
