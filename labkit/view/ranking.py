"""The result of a sweep or a search: one table, best first, the curves of all, and the pictures of the best."""

import textwrap
from collections.abc import Sequence

from labkit.design.adapter_start import beginning
from labkit.design.ladders import rung_text
from labkit.design.naming import knobs, setting_text
from labkit.judge.compare import has_failed
from labkit.judge.ranking import Ranked, are_held_out, loss_name
from labkit.judge.score_text import short
from labkit.judge.seed_spread import caution
from labkit.store.history import Run
from labkit.store.names import short_ids
from labkit.text import loss_text
from labkit.view.curves import plot_curves
from labkit.view.pictures import prompts_of, sample_pictures, show_mosaic
from labkit.view.style import STYLE, VERDICTS, LabFigure, name_axes, new_axes
from labkit.view.tables import Table

CURVES = 10  # more would hide each other: the best ones are drawn
SHEET = 11  # runs whose pictures are shown
ROW = 6  # pictures beside each other
LINE = 0.19  # inches of a line of a curve's label
NAMED = 4  # of those that noise cannot tell from the best


def ranking_table(places: Sequence[Ranked]) -> Table:
    """Return one row a run, best first: its id, what differs, how it ended with its interval, score and verdict."""
    runs = [place.run for place in places]
    names, ids = knobs(runs), short_ids(run.run_id for run in runs)
    is_scored = any(short(place.verdict.score) for place in places)
    rows = []
    for place in places:
        symbol, _ = VERDICTS[place.verdict.label]
        accepted = [short(place.verdict.score)] if is_scored else []
        rows.append([ids[place.run.run_id], *(rung_text(name, getattr(place.run.config, name)) for name in names),
                     _loss(place), *accepted, f"{symbol} {place.verdict.label}"])
    heads = ["run", *(name.replace("_", " ") for name in names), f"{loss_name(runs)} (95 % interval)",
             *(["accepted"] if is_scored else []), "verdict"]
    return Table(heads, rows, conclusion(places))


def conclusion(places: Sequence[Ranked]) -> str:
    """Say in a few lines which run is best, what cannot be told from it, and what to do."""
    runs = [place.run for place in places]
    if not places or places[0].loss is None or has_failed(runs[0]):
        return "None of these runs ended better than it can be judged: lower the rates, or train longer."
    best, names = places[0], knobs(runs)
    alike = [place for place in places[1:] if place.is_as_good]
    words = [_words(place.run, names) for place in alike[:NAMED]]
    words += [f"{len(alike) - NAMED} more"] if len(alike) > NAMED else []
    lines = [f"Best: {_words(best.run, names)}. {best.verdict.advice}"]
    if not are_held_out(runs):
        lines = [f"Lowest loss on the training pictures: {_words(best.run, names)}. None was held out: learning and "
                 "copying look alike, so choose by the pictures."]
    lines += [f"Noise cannot tell it from {'; '.join(words)}."] if alike else []
    lines += [caution(best.run)] if len(places) > 1 and "seed" not in names else []
    return "\n".join(lines)


def plot_ranking(places: Sequence[Ranked]):
    """Draw the held-out curves of the best runs, each named by what differs. Returns the Axes."""
    shown = [place for place in places if "validation" in place.run.validations][:CURVES]
    names = knobs([place.run for place in places])
    lines = 2 if len(names) < 2 else 3                        # of a label, its verdict in the last
    ax = new_axes(height=max(STYLE["height"], 1.1 + LINE * lines * len(shown)))
    plot_curves([place.run for place in shown], ax, verdicts=[place.verdict for place in shown],
                label=lambda run: _words(run, names))
    left_out = f", the best {len(shown)} of {len(places)}" if len(shown) < len(places) else ""
    title = loss_name([place.run for place in places]).capitalize()
    name_axes(ax, ax.get_xlabel(), ax.get_ylabel(), f"{title}{left_out}")
    return ax


def ranking_sheet(places: Sequence[Ranked]) -> LabFigure | None:
    """Draw the last pictures of the best runs beside those of where they begin, the same prompts and seeds in all.

    Returns the Figure, None where no run has pictures.
    """
    names, tiles = knobs([place.run for place in places]), []
    for number, place in enumerate(places, 1):
        by_step = sample_pictures(place.run) if len(tiles) <= SHEET and place.run.samples else {}
        if by_step and not tiles and 0 in by_step:
            tiles.append((beginning(place.run.config.init_lora_weights), "", STYLE["text"], by_step[0][:ROW]))
        if by_step:
            symbol, color = VERDICTS[place.verdict.label]
            words = f"{symbol} {place.verdict.label}, loss {_loss(place).split(' (')[0]}"
            tiles.append((f"{number}. {_words(place.run, names)}", words, color, by_step[max(by_step)][:ROW]))
    prompts = prompts_of(places[0].run)[:ROW] if places else []
    return _tiled(tiles, [textwrap.shorten(prompt, 60, placeholder=" …") for prompt in prompts])


def _tiled(tiles, prompts) -> LabFigure | None:
    """Draw tiles of (title, words, colour of the words, pictures (N, H, W, 3)) in as many columns as have room."""
    if not tiles:
        return None
    most = max(1, ROW // max(len(pictures) for *_, pictures in tiles))
    columns = -(-len(tiles) // -(-len(tiles) // most))        # as few rows as can be, about equally long
    width, gap, head, foot = STYLE["width"], 0.25, 0.55, 0.3
    across = (width - gap * (columns - 1)) / columns
    side = across / max(len(pictures) for *_, pictures in tiles)
    rows = -(-len(tiles) // columns)
    figure = LabFigure(width, rows * (side + head) + foot, photographic=True,
                       summary="; ".join(f"{title}: {words}" if words else title for title, words, *_ in tiles))
    for number, (title, words, color, pictures) in enumerate(tiles):
        row, column = divmod(number, columns)
        left, bottom = column * (across + gap), foot + (rows - 1 - row) * (side + head)
        show_mosaic(figure.place_axes(left, bottom, side * len(pictures), side), [list(pictures)])
        height = figure.get_figheight()
        for text, above, tint, weight in ((title, 0.24, STYLE["text"], "bold"), (words, 0.06, color, "normal")):
            text = textwrap.shorten(text, round(across * 13), placeholder=" …")
            figure.text(left / width, (bottom + side + above) / height, text, fontsize=STYLE["small"], color=tint,
                        fontweight=weight, va="bottom")
    figure.text(0, 0.06 / figure.get_figheight(), " | ".join(prompts), fontsize=STYLE["small"], fontstyle="italic",
                color=STYLE["text"], va="bottom")
    return figure


def _loss(place: Ranked) -> str:
    if place.loss is None:
        return "not measured"
    mean, low, high = place.loss
    return f"{mean:.4f} ({low:.4f} to {high:.4f})" if mean == mean and abs(mean) < 1e6 else loss_text(mean)


def _words(run: Run, names: Sequence[str]) -> str:
    return ", ".join(setting_text(name, getattr(run.config, name)) for name in names)
