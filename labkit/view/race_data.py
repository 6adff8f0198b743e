"""What a race shows, as small pieces in the order in which they came: numbers for JSON, pictures as WebP bytes.

`race_data.js` reads them. A piece is told once, and the same pieces describe recorded runs and runs that train.
"""

import io
import math
from dataclasses import replace
from itertools import combinations

import numpy
from matplotlib.colors import to_hex

from labkit.design.adapter_start import beginning
from labkit.design.glossary import glossary
from labkit.design.ladders import rung_text
from labkit.design.naming import differing, order_of, setting_text
from labkit.errors import LabError
from labkit.files.regular import read_regular
from labkit.judge.diagnose import diagnose
from labkit.judge.score_text import short
from labkit.judge.stats import by_picture, paired_difference
from labkit.store.events import Event, Sample, Step, Validation
from labkit.store.history import Run, Samples
from labkit.view.cards import evidence_text
from labkit.view.pictures import prompts_of
from labkit.view.style import VERDICTS, ordered_colors
from labkit.view.tables import lowest

MOST = 8              # runs: more are not told apart by eye
SEEDS = 2             # pictures of a run side by side, unless fewer are asked for
SIDE, QUALITY = 256, 70  # pixels of a picture at most, and of WebP from 0 to 100: what a page shows of it
ORIGINS = {"recorded": "recorded", "store": "from the store", "live": "trained here"}


class RaceData:
    """Turn runs and events into pieces; `pieces` holds all of them in their order.

    A piece is a dict with `kind`: "race" (title and what all runs share), "run" (name and colour), "loss" (one
    evaluation: step, mean and the ends of its interval), "pictures" (of one step), "verdict" or "progress".
    """

    def __init__(self, runs, label=None, seeds=SEEDS):
        """Begin with pieces of all that is known of some runs, at most MOST, in the order of the legend.

        label   names a run by its Run; by default the value of the one field in which the runs differ
        seeds   pictures of a run side by side
        """
        self.pieces: list[dict] = []
        self.field = field_of(runs)
        self.label = label or (lambda run: name_of(run, runs, self.field))
        self.notes: list[str] = []
        self.seeds = seeds
        self._first: dict[str, numpy.ndarray] = {}            # held-out losses (images, strata) where it begins
        self._progress, self._grows = 0, False
        self._begin(runs)

    def _begin(self, runs):
        race = f"A race over {self.field}" if self.field else f"A race of {len(runs)} runs"
        self._prompts = max(map(prompts_of, runs), key=len)[:self.seeds]
        self._tell("race", title=race if len(runs) > 1 else "One run", field=self.field, prompts=self._prompts,
                   last=max(run.config.max_train_steps for run in runs), origin=ORIGINS[runs[0].origin],
                   measured=runs[0].measured_on, start=beginning(*(run.config.init_lora_weights for run in runs)))
        for run, color in zip(runs, ordered_colors(len(runs)), strict=True):
            self._tell("run", run=run.run_id, name=self.label(run), color=to_hex(color))
        for run in runs:
            self._known(run)

    def _known(self, run):
        for step, losses in zip(*run.validations.get("validation", ((), ())), strict=True):
            self._loss(run.run_id, int(step), losses)
        for samples in run.samples:
            self._samples(run.run_id, samples)

    def fork(self, run: Run, parent: str, step: int) -> None:
        """Add a run that was forked from `parent` after `step` updates, in the parent's colour, with all its data."""
        color = next(piece["color"] for piece in self.pieces if piece["kind"] == "run" and piece["run"] == parent)
        self._tell("run", run=run.run_id, name=self.label(run), color=color, fork=step)
        self._known(run)

    def add(self, event: Event) -> None:
        """Add the piece of an event, if a race shows events of its kind."""
        if isinstance(event, Validation) and (event.name, event.grade) == ("validation", "monitor"):
            self._loss(event.run_id, event.global_step, event.losses)
        elif isinstance(event, Sample):
            how = (event.prompts, event.seeds, event.guidance_scale, event.strength)
            self._samples(event.run_id, Samples(event.global_step, *how, images=event.images))
        elif isinstance(event, Step):
            self._progress = max(self._progress, event.global_step)

    def judge(self, runs) -> None:
        """Add the verdicts of runs as they are now, where they have changed, and the race's summary.

        runs    all runs of the race, with what is known of them by now
        """
        known = {piece["run"]: piece for piece in self.pieces if piece["kind"] == "verdict"}
        measured = [run for run in runs if "validation" in run.validations]
        verdicts = [diagnose(run, measured) for run in measured]
        for run, verdict in zip(measured, verdicts, strict=True):
            symbol, color = VERDICTS[verdict.label]
            accepted = short(verdict.score).replace(" of ", "/")
            piece = {"kind": "verdict", "run": run.run_id, "label": verdict.label, "symbol": symbol, "color": color,
                     "chapter": glossary()[verdict.label]["chapter"] or "", "sentence": verdict.sentence,
                     "evidence": [[name.replace("_", " "), evidence_text(value)]
                                  for name, value in verdict.evidence.items()],
                     "confidence": f"{verdict.confidence:.2f}", "score": f"{accepted} accepted" if accepted else "",
                     "end": run.stopped.global_step if run.stopped else None}
            if piece != known.get(run.run_id):
                self.pieces.append(piece)
        self._tell_once("race", summary=self.summary(measured, verdicts), note=" ".join(self.notes))

    def progress(self) -> None:
        """Add the number of the newest update, where it has changed."""
        self._tell_once("progress", step=self._progress)

    def note(self, sentence: str) -> None:
        """Keep a sentence that stands below the view once the race is judged."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def origin(self, words: str) -> None:
        """Add where the runs come from by now, where that has changed: "live" while they train."""
        self._grows = words == "live"
        self._tell_once("race", origin=words)

    def summary(self, runs, verdicts) -> str:
        """Say which run ends lowest, which cannot be told from it, and which runs got which verdict."""
        # a run that broke was measured last before it did
        finite = [run for run in runs if run.status != "diverged"
                  and math.isfinite(run.validations["validation"].means[-1])]
        parts = [self._lowest(finite)] if len(finite) > 1 else []
        for label in dict.fromkeys(verdict.label for verdict in verdicts):
            names = [self.label(run) for run, verdict in zip(runs, verdicts, strict=True) if verdict.label == label]
            parts.append(f"{label[0].upper()}{label[1:]}: {', '.join(names)}.")
        return " ".join(parts)

    def _lowest(self, runs):
        if self._grows or not all(run.stopped for run in runs):  # a pause stops all of them
            best = min(runs, key=lambda run: run.validations["validation"].means[-1])
            return f"{self.label(best)} is lowest so far, at {best.validations['validation'].means[-1]:.3f}."
        best, *rivals = lowest(runs)
        beside = f" (within noise also {', '.join(map(self.label, rivals))})" if rivals else ""
        return f"{self.label(best)} ends lowest, at {best.validations['validation'].means[-1]:.3f}{beside}."

    def _loss(self, run_id, step, losses):
        first = self._first.setdefault(run_id, losses)
        start = by_picture(first).mean()
        _, low, high = paired_difference(losses, first)       # paired: each picture meets the same noise every time
        self._tell("loss", run=run_id, at=[step, *map(plain, (by_picture(losses).mean(), start + low, start + high))])

    def _samples(self, run_id, samples):
        if samples.strength != 1:
            return
        try:
            images = encoded(samples, self.seeds)
        except LabError as error:
            self.note(f"Some pictures are left out: {error}")
            return
        if not self._prompts:                                 # of runs that only begin they are not known before
            self._prompts = list(samples.prompts[:self.seeds])
            self._tell("race", prompts=self._prompts)
        self._tell("pictures", run=run_id, step=samples.global_step, images=images)

    def _tell(self, kind, **values):
        self.pieces.append({"kind": kind, **values})

    def _tell_once(self, kind, **values):
        """Add a piece, unless the newest of its kind with these keys has the same values."""
        alike = [piece for piece in self.pieces if piece["kind"] == kind and values.keys() <= piece.keys()]
        if not alike or any(alike[-1][name] != value for name, value in values.items()):
            self._tell(kind, **values)


def chosen(runs) -> list[Run]:
    """Return which of some runs a race shows: those of the lowest seed, at most MOST, in the order of their fields.

    LabError: there are none.
    """
    if not runs:
        raise LabError("There are no runs to race: train some, or name a recorded set.")
    names = [name for name in differing(runs) if name != "seed"]
    lowest = min(run.config.seed for run in runs)
    runs = [run for run in runs if run.config.seed == lowest] if names_differ(runs, names) else list(runs)
    return sorted(runs, key=lambda run: [order_of(getattr(run.config, name)) for name in [*names, "seed"]])[:MOST]


def which(shown, runs) -> str:
    """Say which of all runs are shown, as `chosen` selected them."""
    seeds, all_seeds = ({run.config.seed for run in part} for part in (shown, runs))
    if len(seeds) > 1 or seeds == all_seeds:
        return "the first"
    of_seed = sum(run.config.seed in seeds for run in runs)
    return f"{'those' if len(shown) == of_seed else 'the first'} of seed {min(seeds)}"


def names_differ(runs, names) -> bool:
    """Tell whether runs differ in any of some fields."""
    return any(len({str(getattr(run.config, name)) for run in runs}) > 1 for name in names)


def field_of(runs) -> str:
    """Return the one field in which runs differ; nothing where there is no such field, or more than one."""
    names = [name for name in differing(runs) if names_differ(runs, [name])]
    return names[0] if len(names) == 1 else ""


def name_of(run, runs, field) -> str:
    """Name a run by the field's value; where several differ, by the fewest that tell runs apart, the rate first."""
    if field:
        return rung_text(field, getattr(run.config, field))
    names = [name for name in differing(runs) if names_differ(runs, [name])] or ["learning_rate"]

    def words(each, fields):
        return ", ".join(setting_text(name, getattr(each.config, name)) for name in fields)

    choices = (fields for count in (1, 2, 3)
               for fields in sorted(combinations(names, count), key=lambda fields: "learning_rate" not in fields))
    fewest = (fields for fields in choices if len({words(each, fields) for each in runs}) == len(runs))
    return words(run, next(fewest, names))


def encoded(samples: Samples, count: int) -> list[bytes]:
    """Return the first pictures of one step as WebP, of at most SIDE pixels; LabError names a file that is damaged."""
    from PIL import Image  # only where pictures are shown

    samples = replace(samples, paths=samples.paths[:count])
    pictures = samples.load()[:count]
    is_webp = samples.images is None and {path.suffix for path in samples.paths} == {".webp"}
    if is_webp and max(pictures.shape[1:3]) <= SIDE:
        return [read_regular(path) for path in samples.paths]
    files = []
    for pixels in pictures:
        picture, buffer = Image.fromarray(pixels), io.BytesIO()
        picture.thumbnail((SIDE, SIDE))
        picture.save(buffer, "WEBP", quality=QUALITY, method=2)
        files.append(buffer.getvalue())
    return files


def plain(value) -> float | None:
    """Return a number with six digits, or None where it is not finite: JSON has no other."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
