"""Curves and pictures that grow below a running cell while events pass through."""

import importlib.util
import time
from collections.abc import Generator, Iterable

from labkit.design.adapter_start import beginning
from labkit.store.events import Event, Sample, Step, Validation
from labkit.text import rate_text
from labkit.view import instead
from labkit.view.curves import plot_curves
from labkit.view.frontend import frontend, show, show_anew
from labkit.view.pictures import plot_comparison, prompts_of
from labkit.view.race_data import MOST
from labkit.view.race_view import RaceView

REDRAW_S = 0.22                                               # a drawing takes about 40 ms of one core
ROWS = 8                                                      # more runs have no pictures below their curves


def live(events: Iterable[Event], builders, *, label=None) -> Generator[Event, None, None]:
    """Pass events through, each added to its run's builder; where somebody watches, draw what is new in them.

    builders    the RunBuilder of each run, by run id; that of a resumed run has its earlier events
    label       names a run by its Run; its learning rate by default

    Where a browser has anywidget it is a race to scrub in, which stays. Elsewhere held-out curves stay when all is
    over and the pictures go: the cell's own figure shows them again.
    """
    if frontend() == "headless":
        for event in events:
            builders[event.run_id].add(event)
            yield event
        return
    growing = _Race(builders, label) if _can_race(builders) else _Growing(builders, label)
    try:
        for event in events:
            builders[event.run_id].add(event)
            growing.take(event)
            yield event
    finally:
        growing.end()


def _can_race(builders) -> bool:
    """Tell whether a race can be shown: not in Colab, where a widget's code comes from elsewhere while a cell runs."""
    is_there = importlib.util.find_spec("anywidget") is not None
    return is_there and frontend() == "browser" and len(builders) <= MOST


class _Race:
    """Show the builders' runs as a race that grows; when all is over, as one that plays without a kernel."""

    def __init__(self, builders, label):
        self.view = RaceView.live(builders, label)
        self.grows, self.stays = show_anew(self.view.widget), show_anew(_Sentence(self.view.name))

    def take(self, event):
        """Pass an event on to the view."""
        self.view.append([event])

    def end(self):
        """Put the race that plays by itself in the sentence's place, and an empty output in the widget's."""
        self.view.end()
        self.stays(self.view)
        self.grows(_Nothing())


class _Sentence:
    """Stand below the widget of a race that grows, and say what is needed where that cannot be shown."""

    def __init__(self, name):
        self.name = name

    def _repr_mimebundle_(self, **_):
        words = instead.for_widget(self.name, instead.GROWING, is_late=True)
        return {"text/html": f'<div id="{instead.place(self.name)}">{words}</div>', "text/plain": instead.GROWING}


class _Nothing:
    """An empty output in a widget's place: Jupyter can update an output, not remove it."""

    def _repr_mimebundle_(self, **_):
        return {"text/html": "", "text/plain": ""}


class _Growing:
    """Show words, curves and pictures of the builders' runs below the cell, and draw them anew as events come."""

    def __init__(self, builders, label):
        import ipywidgets as W  # not needed where nobody watches

        self.builders, self.label = builders, label
        first = beginning(*(builder.config.init_lora_weights for builder in builders.values()))
        self.words = W.Label(f"measuring {first}")
        self.curves, self.pictures = (W.Image(format=kind, layout=W.Layout(width="900px", display="none"))
                                      for kind in ("png", "jpeg"))
        self.curves.add_class("lab-live-curves")
        self.pictures.add_class("lab-live-pictures")
        show(W.VBox([self.words, self.curves, self.pictures]))
        self.last = max(builder.config.max_train_steps for builder in builders.values())
        self.started, self.drawn, self.news = time.monotonic(), 0.0, set()

    def take(self, event):
        """Note what an event brings; draw at an update, when the last drawing is long enough ago."""
        self.news.add(type(event))
        if isinstance(event, Step) and time.monotonic() - self.drawn > REDRAW_S:
            self.words.value = f"update {event.global_step:,} of {self.last:,}, {self._seconds()}"
            self._draw()
            self.drawn = time.monotonic()

    def end(self):
        """Draw all curves whole, take the pictures away and say how long it took."""
        time.sleep(0.05)                                      # a last frame sent right after others may be dropped
        self.news = {Validation}
        self._draw()
        self.pictures.layout.display = "none"
        counted = f"{len(self.builders)} {'run' if len(self.builders) == 1 else 'runs'}"
        self.words.value = f"{counted}, {self._seconds()}"

    def _seconds(self):
        return f"{time.monotonic() - self.started:.0f} s"

    def _draw(self):
        drawings = {Validation: (self.curves, self._curves), Sample: (self.pictures, self._samples)}
        runs = [builder.build() for builder in self.builders.values()] if self.news & set(drawings) else []
        for kind, (image, draw) in drawings.items():
            if kind in self.news and (figure := draw(runs)) is not None:
                image.value, image.layout.display = figure.encoded(), ""
        self.news.clear()

    def _curves(self, runs):
        runs = [run for run in runs if "validation" in run.validations]
        return plot_curves(runs, label=self.label).figure if runs else None

    def _samples(self, runs):
        """Draw a row of pictures a run, the same seeds up to the newest."""
        runs = [run for run in runs if prompts_of(run)]
        if not 0 < len(runs) <= ROWS:
            return None
        label = self.label or (lambda run: rate_text(run.config.learning_rate))
        return plot_comparison(runs, names=[label(run) for run in runs])
