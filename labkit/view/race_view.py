"""An interactive view of several runs: pictures and curves under one slider, live or recorded.

`RaceView` plays with a kernel and without one: a race that is over is a piece of HTML with all that it needs, and
where nothing may run it is the figure of `plot_race`, a sentence and a table. While runs train it is a widget.
"""

import base64
import functools
import html
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from labkit.errors import LabError
from labkit.store.events import Event, Stopped, Validation
from labkit.store.history import Run, RunBuilder
from labkit.store.recorded import recorded
from labkit.view import instead, race_data, tables
from labkit.view.curves import plot_curves
from labkit.view.pictures import plot_race
from labkit.view.race_data import RaceData

HERE = Path(__file__).parent
MODULES = ("race_data", "race_labels", "race_curves", "race_theme", "race_view")  # each knows those before it
SENT_S = 0.2  # between two messages: the front end draws each


class RaceView:
    """Show several runs as one race: a film strip of pictures, all curves, and a slider that moves both.

    A notebook shows it as it is. `.widget` is the same as an ipywidget, for a box of widgets or for runs that train;
    `.figure()` is the same in matplotlib.
    """

    def __init__(self, runs: Iterable[Run], label=None, seeds: int = race_data.SEEDS):
        """Show runs as they are: of several seeds those of the first, of more than 8 the first 8.

        label   names a run by its Run; by default the value of the one field in which the runs differ
        seeds   pictures of a run side by side: 1 makes a saved notebook smaller
        LabError: there are no runs.
        """
        runs = list(runs)
        shown = race_data.chosen(runs)
        self._open(shown, label, seeds=seeds)
        if len(shown) < len(runs):
            self.data.note(f"{len(shown)} of {len(runs)} runs, {race_data.which(shown, runs)}.")
        if shown[0].origin == "recorded":
            self.data.note(shown[0].provenance)
        self.data.judge(shown)

    def _open(self, runs, label, builders=None, seeds=race_data.SEEDS):
        self._runs, self.builders = runs, builders or {}
        self.data = RaceData(runs, label, seeds)
        self.name = uuid.uuid4().hex                          # under which a front end keeps what it was told
        self._sent, self._sent_s, self._is_judged = 0, 0.0, False

    @classmethod
    def replay(cls, name: str, label=None, seeds: int = race_data.SEEDS, only=None) -> "RaceView":
        """Show a recorded set, without torch.

        label, seeds   as of a view of its runs
        only           tells of a Run whether it is shown; by default all are
        LabError: there is no such set, its file is damaged, or none of its runs is to be shown.
        """
        return cls(filter(only, recorded(name)) if only else recorded(name), label, seeds)

    @classmethod
    def live(cls, builders: Mapping[str, RunBuilder], label=None, origin="live") -> "RaceView":
        """Show runs that train, all of them in their order, at most 8.

        builders    the RunBuilder of each run, by run id: whoever calls `append` adds each event there first
        origin      says where the runs come from, until `end`
        """
        view = cls.__new__(cls)
        view._open([builder.build() for builder in builders.values()], label, builders)
        view.data.origin(origin)
        return view

    @property
    def runs(self) -> list[Run]:
        """Return the runs with all that is known of them by now."""
        return [builder.build() for builder in self.builders.values()] or self._runs

    def append(self, events: Iterable[Event]) -> None:
        """Take events that the builders have already, and send what is new to the front end a few times a second."""
        for event in events:
            self.data.add(event)
            self._is_judged &= not isinstance(event, Validation | Stopped)
        if time.monotonic() - self._sent_s > SENT_S:
            self._send()

    def fork(self, run: Run, parent: str, step: int) -> None:
        """Add a run that was forked from `parent` after `step` updates, and that the builders have already."""
        self.data.fork(run, parent, step)
        self.flush()

    def flush(self) -> None:
        """Send the front end all that is left, before a while without events."""
        self._is_judged = False
        self._send()

    def end(self, origin: str = race_data.ORIGINS["live"]) -> None:
        """Send the front end all that is left, since no more events will come; origin: where the runs come from."""
        self.data.origin(origin)
        self.flush()

    def show_in(self, widget) -> None:
        """Show the race in a widget of the front end's, with its traits `name` and `pieces`, instead of in its own.

        What comes later is sent there, by the widget's messages; for those that were missed it asks `tell_again`.
        """
        with widget.hold_sync():
            widget.name, widget.pieces = self.name, self.data.pieces
        vars(self)["widget"] = widget
        self._sent = len(self.data.pieces)

    def tell_again(self, message: Mapping) -> None:
        """Answer a front end that missed pieces while its page was loading."""
        self._tell(int(message.get("missed", 0)))

    def _send(self):
        if not self._is_judged:
            self.data.judge(self.runs)
            self._is_judged = True
        self.data.progress()
        if "widget" in vars(self):
            self._tell(self._sent)
        self._sent, self._sent_s = len(self.data.pieces), time.monotonic()

    def _tell(self, first):
        """Send the pieces from a number on, their pictures as buffers."""
        pieces, buffers = [], []
        for piece in self.data.pieces[first:]:
            images = piece.get("images", ())
            buffers += images
            pieces.append(piece | {"images": len(images)} if images else piece)
        if pieces:
            self.widget.send({"first": first, "pieces": pieces}, buffers)

    @functools.cached_property
    def widget(self):
        """Return the race as a widget; LabError where anywidget is not installed."""
        made = _widget_class()(name=self.name, pieces=self.data.pieces)
        made.on_msg(lambda _, message, __: self.tell_again(message))
        self._sent = len(self.data.pieces)
        return made

    def figure(self):
        """Return the race as a matplotlib figure: curves, and below them a row of pictures a run."""
        runs = [run for run in self.runs if "validation" in run.validations]
        if any(run.samples for run in runs):
            seeds = range(min(self.data.seeds, *(len(run.samples[0].prompts) for run in runs if run.samples)))
            return plot_race(runs, self.data.field, label=self.data.label, prompts=seeds)
        return plot_curves(runs, label=self.data.label).figure

    def page(self) -> str:
        """Return the race as HTML that plays without a kernel and offline.

        Where scripts may not run it is the figure, a sentence and a table.
        """
        return self._page(self.figure())

    def told(self) -> list[dict]:
        """Return all pieces so far in a form that JSON keeps, pictures as base64."""
        return [piece | {"images": [_text(image) for image in piece["images"]]} if "images" in piece else piece
                for piece in self.data.pieces]

    def _page(self, figure):
        name, still = f"race-{uuid.uuid4().hex}", f"data:image/webp;base64,{_text(figure.encoded('webp', scale=1))}"
        image = f'<img src="{still}" alt="{html.escape(figure.summary)}" style="max-width:100%">'
        pieces = json.dumps(self.told(), separators=(",", ":")).replace("</", "<\\/")
        play = (f'const holder = document.getElementById("{name}"), still = holder.firstElementChild;\n'
                f"mount(holder, {pieces});\nstill.remove();")
        words = f"<p>{html.escape(self.sentence)}</p>{self.table()._repr_html_()}"
        shown = f"{instead.notice(instead.RACE)}{image}{words}"
        return (f'<div id="{name}"><div>{shown}</div></div><style>{_read("race_view.css")}</style>'
                f"<script>(() => {{\n{script()}\n{play}\n}})()</script>")

    @property
    def sentence(self) -> str:
        """Return title and origin of the race, its summary and its note as one text."""
        heads = [piece for piece in self.data.pieces if piece["kind"] == "race"]
        race = {name: value for piece in heads for name, value in piece.items()}
        return " ".join(filter(None, (f"{race['title']}, {race['origin']}.", race.get("summary"), race.get("note"))))

    def table(self):
        """Return the settings that differ, losses and verdict of each run; its name first where several differ."""
        runs = [run for run in self.runs if "validation" in run.validations]
        table = tables.table(runs, *filter(None, [self.data.field]))
        if self.data.field or len(runs) < 2:
            return table
        names = [self.data.label(run) for run in runs]
        rows = [[name, *row] for name, row in zip(names, table.rows, strict=True)]
        return tables.Table(["run", *table.heads], rows, table.note)

    def __repr__(self):
        """Return the sentence and the table as text."""
        return f"{self.sentence}\n\n{self.table()}"

    def _repr_mimebundle_(self, **_):
        figure = self.figure()
        kind = "jpeg" if figure.photographic else "png"
        data, look = figure._display(kind, scale=1)           # a notebook keeps it twice, and seldom shows it
        image = f"image/{kind}"
        return {"text/html": self._page(figure), image: _text(data), "text/plain": repr(self)}, {image: look}


def script(*more: str) -> str:
    """Return the modules of the front end, and `more` of them, as one script without imports and exports.

    Comments that have a line to themselves stay behind, since every saved race holds the script.
    """
    lines = [line for name in (*MODULES, *more) for line in _read(f"{name}.js").splitlines()]
    return "\n".join(line.removeprefix("export ") if not line.startswith("export default") else line
                     for line in lines if not line.lstrip().startswith(("import ", "//")))


def styles(*names: str) -> str:
    """Return some style sheets as one."""
    return "\n".join(_read(f"{name}.css") for name in names)


@functools.cache
def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@functools.cache
def _widget_class():
    """Return the class of the widget, made where one is first asked for: anywidget loads IPython and ipywidgets."""
    try:
        import anywidget  # here: figures do without, and it loads IPython and ipywidgets
        import traitlets
    except ImportError:
        raise LabError("A race that grows needs the package anywidget: install it with `pip install anywidget`, "
                       "or use figure().") from None

    class RaceWidget(anywidget.AnyWidget):
        """The state of a race for its front end: all pieces told so far. They are appended by messages."""

        _esm, _css = script("race_told", "race_widget"), styles("race_view")
        name = traitlets.Unicode().tag(sync=True)
        pieces = traitlets.Any().tag(sync=True)

        def __repr__(self):
            return ""                                         # a sentence beside it says what is needed

    return RaceWidget


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
