"""Figures of pictures: in rows with captions, over the steps of one run, and side by side of several runs."""

import textwrap

import numpy
from matplotlib.transforms import blended_transform_factory

from labkit.design.adapter_start import is_file
from labkit.design.ladders import rung_text
from labkit.design.naming import knobs
from labkit.judge.diagnose import diagnose
from labkit.judge.ranking import loss_name
from labkit.judge.score_text import short
from labkit.text import rate_text
from labkit.view.curves import plot_curves
from labkit.view.style import MARKERS, PINNED, STYLE, VERDICTS, LabFigure, ordered_colors

GAP = 4  # pixels of white between pictures
COLUMNS = 6  # pictures in a row
BRIEF = 3  # steps of a race: the start, one between, the end
SHORT_NAME = 11  # letters of a run's name that fit beside its pictures in large type


def sample_pictures(run) -> dict[int, numpy.ndarray]:
    """Return the sample pictures of a run by step: uint8 (N, H, W, 3), in the order of prompts and seeds."""
    return {samples.global_step: samples.load() for samples in run.samples if samples.strength == 1}


def prompts_of(run) -> list[str]:
    """Return the prompt of every sample picture; empty texts where there are no pictures."""
    return list(run.samples[0].prompts) if run.samples else []


def mosaic(rows, columns_apart=(), row_gap=GAP) -> tuple[numpy.ndarray, list[float], list[float]]:
    """Lay rows of equal pictures (None: left white) out on white.

    Returns the pixels, the x of every column's centre and the y of every row's centre. `columns_apart` are numbers of
    columns that get a wider gap before them; `row_gap` is the gap between rows, in pixels.
    """
    height, width = next(picture.shape[:2] for row in rows for picture in row if picture is not None)
    lefts = [i * (width + GAP) + sum(3 * GAP for c in columns_apart if c <= i) for i in range(max(map(len, rows)))]
    tops = [i * (height + row_gap) for i in range(len(rows))]
    pixels = numpy.full((tops[-1] + height, lefts[-1] + width, 3), 255, numpy.uint8)
    for top, row in zip(tops, rows, strict=True):
        for left, picture in zip(lefts, row, strict=False):
            if picture is not None:
                pixels[top:top + height, left:left + width] = picture
    return pixels, [left + width / 2 for left in lefts], [top + height / 2 for top in tops]


def show_mosaic(ax, rows, columns_apart=(), row_gap=GAP):
    """Draw a mosaic on bare axes; returns the centres of columns and rows in its data coordinates."""
    pixels, xs, ys = mosaic(rows, columns_apart, row_gap)
    ax.imshow(pixels, interpolation="antialiased", extent=(0, pixels.shape[1], pixels.shape[0], 0))
    ax.set_axis_off()
    return xs, ys


def plot_pictures(pictures, captions=None, *, columns: int = COLUMNS, width=STYLE["width"]) -> LabFigure:
    """Draw uint8 pictures (N, H, W, 3) in rows, their captions below. Returns the Figure."""
    columns = min(columns, len(pictures))
    side = width / max(columns, 4)  # inches
    wrapped = [textwrap.wrap(caption, round(side * 14), max_lines=3, placeholder=" …") for caption in captions or ()]
    lines = max(map(len, wrapped), default=0)
    room = lines * STYLE["small"] * 1.3 / 72 + (0.12 if lines else 0.0)  # inches for the captions of a row
    rows = -(-len(pictures) // columns)
    summary = "; ".join(captions) if captions is not None else f"{len(pictures)} pictures"
    figure = LabFigure(side * columns, rows * (side + room), photographic=True, summary=summary)
    for row in range(rows):
        in_row = slice(row * columns, (row + 1) * columns)
        bottom = (rows - 1 - row) * (side + room) + room
        ax = figure.place_axes(0, bottom, side * len(pictures[in_row]), side)
        xs, ys = show_mosaic(ax, [list(pictures[in_row])])
        for x, words in zip(xs, wrapped[in_row], strict=False):
            caption_below(ax, x, 2 * ys[0], "\n".join(words), STYLE["small"] - 1)
    return figure


def caption_below(ax, x, bottom, words, size) -> None:
    """Write words of a font size below a picture of a mosaic: x of its centre, y of its bottom edge."""
    ax.annotate(words, (x, bottom), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=size,
                color=STYLE["text"], annotation_clip=False)


def plot_samples(run, *, width=STYLE["width"]):
    """Draw the same seeds over the steps of one run: a column a step, a row a seed under its prompt.

    Returns the Figure.
    """
    pictures, prompts = sample_pictures(run), prompts_of(run)
    steps = sorted(pictures)
    side = min(width / max(len(steps), 4), 1.7)  # inches
    prompts = [textwrap.fill(prompt, round(side * max(len(steps), 4) * 14.5)) for prompt in prompts]
    head = 0.11 + 0.16 * max((prompt.count("\n") + 1 for prompt in prompts), default=1)  # inches for words above a row
    summary = f"pictures of the same {len(prompts)} seeds at steps {', '.join(map(str, steps))}"
    height = (side + head) * len(prompts) + 0.22
    figure = LabFigure(side * max(len(steps), 4), height, photographic=True, summary=summary)
    for row, prompt in enumerate(prompts):
        bottom = (len(prompts) - 1 - row) * (side + head)
        ax = figure.place_axes(0, bottom, side * len(steps), side)
        xs, _ = show_mosaic(ax, [[pictures[step][row] for step in steps]])
        figure.text(0.004, (bottom + side + 0.05) / figure.get_figheight(), prompt, fontsize=STYLE["small"],
                    color=STYLE["text"], va="bottom", fontstyle="italic")
        if not row:
            name_columns(ax, xs, steps, 72 * head + 1, "start" if is_file(run.config.init_lora_weights) else "base")
    return figure


def name_columns(ax, xs, steps, lift=3, first="base", heads=()) -> None:
    """Write the steps, or `heads`, over the columns of a mosaic, `lift` points above it; first: name of step 0."""
    names = heads or [f"step {step:,}" if step else first for step in steps]
    for x, name in zip(xs, names, strict=False):  # there may be columns without a picture
        ax.annotate(name, (x, 0), (0, lift), textcoords="offset points", ha="center",
                    va="bottom", fontsize=STYLE["small"], color=STYLE["text"])


def _brief(steps) -> list:
    """Return the first of some steps, the last and the one nearest to the middle between; all where they are few."""
    if len(steps) <= BRIEF:
        return list(steps)
    first, *between, last = sorted(steps)
    return [first, min(between, key=lambda step: abs(step - last / 2)), last]


def _own_columns(by_step) -> dict:
    """Return a run's first, middle and last pictures by the column they stand in; of two the middle is left free."""
    steps = _brief(sorted(by_step))
    places = {1: [0], 2: [0, BRIEF - 1]}.get(len(steps), range(BRIEF))
    return {place: by_step[step] for place, step in zip(places, steps, strict=False)}


class Comparison:
    """Lay out a row of pictures per run: columns are the steps, once for every prompt.

    Seeds and steps are the same in every row, so the pictures of a column differ by the runs alone.
    """

    NAMES, HEADS = 1.5, 0.55  # inches for the names at left, for the words above
    APART = 3 * GAP  # pixels between two rows: they must not run into one picture

    def __init__(self, runs, prompts=None, width=STYLE["width"], *, is_brief=False):
        """Measure what pictures `runs` have; `prompts` chooses them by number, the first two by default.

        is_brief    three steps alone, the first, the last and one between, so that pictures are larger; of runs of
                    several lengths each one's own
        """
        self.first = "start" if any(is_file(run.config.init_lora_weights) for run in runs) else "base"
        self.heads: list[str] = []                            # of the columns, where they are not steps
        self.width, self.pictures = width, [sample_pictures(run) for run in runs]
        self.steps = sorted(set().union(*self.pictures))
        if is_brief and len({run.config.max_train_steps for run in runs}) > 1:
            self.pictures = [_own_columns(by_step) for by_step in self.pictures]
            self.steps, self.heads = list(range(BRIEF)) if self.steps else [], [self.first, "midway", "end"]
        elif is_brief:
            self.steps = _brief(self.steps)
        written = max(map(prompts_of, runs), key=len, default=[])
        self.shown = list(prompts if prompts is not None else range(min(2, len(written))))
        self.prompts = [written[i] for i in self.shown]
        # Of a prompt; those of a run just begun are still empty.
        self.columns = max(len(self.steps), BRIEF if is_brief else 4)
        pixels = next((len(by_step[step][0]) for by_step in self.pictures for step in by_step), 1)
        count = max(self.columns * len(self.shown), 1)
        across = count * pixels + (count - 1 + 3 * max(len(self.shown) - 1, 0)) * GAP  # as `mosaic` lays them out
        self.side = min((width - self.NAMES - 0.03) * pixels / across, 1.25)
        self.rows = self.side * (len(runs) + (len(runs) - 1) * self.APART / pixels)  # inches
        self.height = (self.rows + self.HEADS) if self.steps else 0.0

    def draw(self, figure, names, verdicts, colors, markers=MARKERS) -> None:
        """Draw at the bottom of a figure; `names` are the runs' names."""
        if not self.steps:
            return
        rows = [[picture for number in self.shown for picture in self._over_steps(by_step, number)]
                for by_step in self.pictures]
        ax = figure.place_axes(self.NAMES, 0.03, self.width - self.NAMES - 0.03, self.rows)
        xs, ys = show_mosaic(ax, rows, [self.columns * i for i in range(1, len(self.shown))], self.APART)
        ax.set_anchor("NW")
        for first, prompt in zip(range(0, len(xs), self.columns), self.prompts, strict=True):
            name_columns(ax, xs[first:], self.steps, first=self.first, heads=self.heads)
            words = textwrap.shorten(prompt, round(self.side * self.columns * 14.5), placeholder=" …")
            ax.annotate(words, (xs[first] - ys[0], 0), (0, 18), textcoords="offset points", va="bottom",
                        fontsize=STYLE["small"], fontstyle="italic", color=STYLE["text"])
        for i, (y, name, verdict, color) in enumerate(zip(ys, names, verdicts, colors, strict=True)):
            name_row(ax, y, ys[0], name, verdict, color, markers[i % len(markers)])

    def _over_steps(self, by_step, number) -> list:
        """Return one prompt's picture at every step of the columns, None where a run drew none.

        A run of another time may have drawn fewer prompts, or no pictures at all.
        """
        pictures = [by_step[step][number] if number < len(by_step.get(step, ())) else None for step in self.steps]
        return pictures + [None] * (self.columns - len(self.steps))


def name_row(ax, y, half, name, verdict, color, marker) -> None:
    """Write a run's marker, name, verdict and score at the left of its row of pictures."""
    symbol, tint = VERDICTS[verdict.label]
    accepted = short(verdict.score).replace(" of ", "/")      # there is room for so much
    words = f"{symbol} {verdict.label}".replace("enough ", "enough\n    ")
    words += f"\n{accepted} accepted" if accepted else ""
    where = {"xycoords": ("figure fraction", "data"), "textcoords": "offset points", "ha": "left",
             "annotation_clip": False}
    size = STYLE["title" if len(name) <= SHORT_NAME else "small"]
    ax.annotate(textwrap.fill(name, 15), (0, y), (30, 1), va="bottom", fontsize=size, fontweight="bold", color=color,
                **where)
    ax.annotate(words, (0, y), (30, -3), va="top", fontsize=STYLE["small"], color=tint, **where)
    ax.plot(0.022, y - 0.26 * half, marker, color=color, markersize=7, clip_on=False,
            transform=blended_transform_factory(ax.figure.transFigure, ax.transData))


def plot_comparison(runs, *, verdicts=None, names=None, colors=None, markers=MARKERS, prompts=None,
                    width=STYLE["width"]):
    """Draw a row of pictures per run with its verdict, without curves. Returns the Figure."""
    verdicts = verdicts or [diagnose(run, runs) for run in runs]
    names = names or [rate_text(run.config.learning_rate) for run in runs]
    layout = Comparison(runs, prompts, width)
    figure = LabFigure(width, max(layout.height, 0.5), photographic=True, summary=summary_of(names, verdicts))
    layout.draw(figure, names, verdicts, colors or ordered_colors(len(runs)), markers)
    return figure


def plot_beside(run, verdict, pinned=None):
    """Draw a run's pictures, and under them the pinned run's, in `plot_validation`'s colours and markers.

    Returns the Figure.
    """
    marker, tint = PINNED
    others = [pinned] if pinned is not None else []
    return plot_comparison([run, *others], verdicts=[verdict, *map(diagnose, others)],
                           names=["this run", "pinned"][:1 + len(others)],
                           colors=[VERDICTS[verdict.label][1], tint][:1 + len(others)], markers=[MARKERS[0], marker])


SEVERAL = {"n_train": "numbers of pictures", "target_modules": "sets of layers", "train_batch_size": "batch sizes",
           "max_train_steps": "numbers of updates", "num_train_epochs": "numbers of epochs"}  # of a field's values


def plot_race(runs, name="learning_rate", *, label=None, verdicts=None, prompts=None, width=STYLE["width"]):
    """Draw a race over the field `name`: all curves above, below a row of pictures per run, its verdict and score.

    A row shows the same prompts and seeds before training, midway and at its end. `label(run)` names a run, by its
    value of the field where it is left out; without a field (`name=""`) runs keep their order. `prompts` chooses
    pictures by the number of their prompt (two fit a notebook's width). Returns the Figure.
    """
    def place(run):
        value = getattr(run.config, name)
        return value is not None, value                       # None has no order among numbers: it comes first

    runs = sorted(runs, key=place) if name else list(runs)
    label = label or (lambda run: rung_text(name, getattr(run.config, name)))
    verdicts = verdicts or [diagnose(run, runs) for run in runs]
    names = [label(run) for run in runs]
    layout, above = Comparison(runs, prompts, width, is_brief=True), 4.1
    figure = LabFigure(width, above + layout.height, photographic=True)
    left, right, bottom = STYLE["margins"]
    ax = figure.place_axes(left, layout.height + bottom, width - left - right, above - bottom - 0.4)
    plot_curves(runs, ax, verdicts=verdicts, label=label)
    is_one = name and knobs(runs) in ([], [name])
    values = f"{len(runs)} {SEVERAL.get(name, name.replace('_', ' ') + 's')}"
    designs = "One design" if len(runs) == 1 else f"One design at {values}" if is_one else f"{len(runs)} designs"
    ax.set_title(f"{designs}: {loss_name(runs)}",
                 loc="left", fontsize=STYLE["title"], fontweight="bold", color=STYLE["text"], pad=10)
    layout.draw(figure, names, verdicts, ordered_colors(len(runs)))
    figure.summary = summary_of(names, verdicts)              # the curves' own knows no score
    return figure


def summary_of(names, verdicts) -> str:
    """Say each run's verdict in one line, with its score where it has one."""
    accepted = [short(verdict.score) for verdict in verdicts]
    outcomes = [f"{verdict.label}, {score} accepted" if score else verdict.label
                for verdict, score in zip(verdicts, accepted, strict=True)]
    return "; ".join(f"{name}: {outcome}" for name, outcome in zip(names, outcomes, strict=True))
