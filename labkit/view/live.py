"""Curves that grow below a running cell while events pass through."""

import time
from collections.abc import Generator, Iterable

from labkit.store.events import Event, Step, Validation
from labkit.view.curves import plot_curves
from labkit.view.frontend import frontend, show

REDRAW_S = 0.22                                               # a drawing takes about 40 ms of one core


def live(events: Iterable[Event], builders, *, label=None) -> Generator[Event, None, None]:
    """Pass events through, each added to its run's builder; where somebody watches, draw all held-out curves anew.

    builders    what was known of each run before, by run id: a resumed run begins with what it had told
    label       names a run by its Run; its learning rate by default
    """
    if frontend() == "headless":
        for event in events:
            builders[event.run_id].add(event)
            yield event
        return
    import ipywidgets as W  # not needed where nobody watches

    picture = W.Image(format="png", layout=W.Layout(width="900px", display="none"))
    words = W.Label("measuring the untouched base")
    show(W.VBox([words, picture]))
    last = max(builder.config.max_train_steps for builder in builders.values())
    drawn, started, news = 0.0, time.monotonic(), False
    try:
        for event in events:
            builders[event.run_id].add(event)
            news |= isinstance(event, Validation)
            if isinstance(event, Step) and time.monotonic() - drawn > REDRAW_S:
                words.value = f"update {event.global_step:,} of {last:,}, {time.monotonic() - started:.0f} s"
                if news:
                    _draw(picture, builders, label)
                drawn, news = time.monotonic(), False
            yield event
    finally:
        time.sleep(0.05)                                      # a last frame sent right after others may be dropped
        _draw(picture, builders, label)
        words.value = f"{len(builders)} {'run' if len(builders) == 1 else 'runs'}, {time.monotonic() - started:.0f} s"


def _draw(picture, builders, label):
    runs = [run for run in (builder.build() for builder in builders.values()) if "validation" in run.validations]
    if runs:
        picture.value = plot_curves(runs, label=label).figure.encoded()
        picture.layout.display = ""
