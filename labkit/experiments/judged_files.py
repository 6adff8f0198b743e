"""Which of these adapter files should be kept, and at what strength? Losses, scores, copies and pictures of each.

Every file at every strength becomes a `Run` of two evaluations, the untouched base and the base with the file, on the
noise that training runs are measured on. So all that compares runs compares files.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labkit.datasets.folders import PictureFolder, Territory, load_picture, territory
from labkit.design.config import RunConfig
from labkit.engine.adapters import weight_shapes
from labkit.engine.base_files import BaseFiles, unet_shapes
from labkit.engine.diffusers_loader import LoadedFile
from labkit.engine.foreign_stacks import Placed, foreign_stack, named_as_in_first_code, text_width
from labkit.engine.monitor import Measurements
from labkit.engine.out_of_memory import enough_memory
from labkit.engine.validation import ROWS_AT_ONCE
from labkit.errors import LabError
from labkit.experiments.adapter_inspection import FAMILIES, family
from labkit.experiments.memorization import GAP, distances, layout_and_colour
from labkit.judge.score_text import score
from labkit.settings import given_path
from labkit.store.adapter_starts import placed
from labkit.store.checkpoint_adapters import read_kept
from labkit.store.events import Event
from labkit.store.foreign_adapters import ForeignAdapter
from labkit.store.history import Run, RunBuilder
from labkit.text import counted, printable

SCORED = 16                                                   # held-out prompts, as after a run
PROMPTS = 2                                                   # captions held out and captions trained on, each
SIDE_BY_SIDE = 8                                              # files and strengths in one pass
ELSEWHERE = "Judge it with a LoRA of the same run, which most trainers also write."


@dataclass(frozen=True)
class Nearest:
    """Hold which training picture a drawn one is nearest to, by an eye for layout and colour."""

    prompt: str
    seed: int
    picture: Path
    distance: float
    second: float                                             # distance to the second nearest

    @property
    def is_copy(self) -> bool:
        """Tell whether one training picture stands out, as no picture of its own does (Bonnaire et al. 2025)."""
        return self.distance < GAP * self.second


@dataclass(frozen=True, eq=False)
class JudgedFile:
    """Hold a file at a strength and what was measured of it."""

    path: Path
    strength: float
    run: Run                                                  # its first evaluation is the untouched base's
    nearest: tuple[Nearest, ...]                              # of each drawn picture
    way: str                                                  # "one pass" or "diffusers"

    @property
    def deciding(self) -> Run:
        """Return the run with the finer measurement of its held-out pictures where it has one, which decides."""
        return replace(self.run, validations=self.run.validations | self.run.final_validations)

    @property
    def score(self) -> dict:
        """Return what was accepted of the prompts, as `score_text.score` gives it."""
        return score(self.run)


# -- before a base is loaded


def read_files(paths: Sequence[Path | str], files: BaseFiles) -> list[ForeignAdapter]:
    """Read adapter files and checkpoints of runs, and hold them against the files of a base; nothing is loaded.

    LabError: a file cannot be read, is a pickle, of another kind than a LoRA of the U-Net, broken or of another base.
    """
    shapes, adapters = unet_shapes(files), []
    for path in dict.fromkeys(given_path(path) for path in paths):
        if not path.exists():
            raise LabError(f"{path} is not there: give adapter files, such as lora/*.safetensors.")
        adapter = read_kept(path)
        _check_kind(adapter)
        made_for, base = family(adapter.layers), FAMILIES.get(text_width(files) or 0)
        if made_for and base and made_for != base:
            raise LabError(f"{path} is an adapter of another base: it was made for {made_for}, and {files.name} is "
                           f"{base}. Judge it on the base that it was trained on.")
        if shapes and not named_as_in_first_code(adapter):
            placed(adapter, shapes, files.name)
        adapters.append(adapter)
    return adapters


def _check_kind(adapter: ForeignAdapter) -> None:
    """Refuse what would be judged as something else than it is."""
    path, layers = adapter.path, adapter.layers
    if other := [layer for layer in layers if layer.kind != "LoRA" or "mid" in layer.arrays]:
        kind = "LoRA with a third matrix (Tucker)" if other[0].kind == "LoRA" else other[0].kind
        raise LabError(f"{path} is of another kind: {counted(len(other), 'layer')} of {kind}, and only LoRA is "
                       f"judged. {ELSEWHERE}")
    if text := [layer for layer in layers if layer.part.startswith("text_encoder")]:
        raise LabError(f"{path} changes the text encoder too ({counted(len(text), 'layer')}), and without that it "
                       "would be judged as another adapter: train the U-Net alone (kohya: --network_train_unet_only).")
    if any(layer.part == "transformer" for layer in layers):
        raise LabError(f"{path} is an adapter of a transformer such as Flux or SD 3, and bases here have a U-Net: "
                       "judge it on the base that it was trained on.")
    if halves := [layer for layer in layers if not {"A", "B"} <= set(layer.arrays)
                  or layer.arrays["A"].shape[0] != layer.arrays["B"].shape[1]]:
        raise LabError(f"{path} is cut or was merged wrongly: the two matrices of {printable(halves[0].name)} do not "
                       "fit together. Export it again.")
    if broken := [layer for layer in layers if not layer.is_finite]:
        raise LabError(f"{path} holds numbers that are not finite ({counted(len(broken), 'layer')}): its run "
                       "diverged. Leave it out, and take files from before that.")
    if adapter.unknown:
        raise LabError(f"{path} has keys of no known kind, {printable(adapter.unknown[0])} for one, and without them "
                       f"it would be judged as another adapter. {ELSEWHERE}")


def opened(data: str, held_out: str | None = None, **reading: str) -> Territory:
    """Open the pictures that files were trained on and those they are judged by; LabError as `territory` raises it.

    held_out    a folder of held-out pictures; None holds out those that training with this kit would
    reading     crop and captions of both, as `territory` takes them
    """
    whole = territory(data, held_out=held_out, **reading)
    if not whole.is_held_out:
        raise LabError(f"data: {whole.summary}: give other pictures of the same with --held-out.")
    return whole


# -- on the loaded base


def judge_files(lab, adapters: Sequence[ForeignAdapter], strengths: Sequence[float] = (1.0,),
                tell: Callable[[str], None] = lambda text: None,
                count: Callable[[int, int], None] = lambda done, total: None) -> list[JudgedFile]:
    """Measure each file at each strength: side by side where our layers fit, else one after the other by diffusers.

    lab       of the base and of the territory that `opened` gave; its `monitor` says what is measured otherwise
    tell      is given a line before each pass
    count     is given how many measurements are done, and of how many: the untouched base's, then each file's

    LabError: a file is of another base, cannot be loaded by diffusers either, or memory runs out.
    """
    base, cache = lab.base, lab.cache
    asked = _monitor(lab)
    training = Training(lab.territory.train, base.resolution)
    rows, before, judged = min(ROWS_AT_ONCE, lab.max_rows), None, []
    for group, way in _groups(base, adapters, strengths, lab.max_rows):
        candidates = [candidate for candidate, _ in group]
        how = "in one pass" if way == "one pass" else "by diffusers' loader"
        tell(f"measuring {len(judged) + 1} to {len(judged) + len(group)} of {len(adapters) * len(strengths)}, {how}")
        configs = [_config(lab, adapter) for adapter, _ in candidates]
        ids = [_id(*candidate) for candidate in candidates]
        measure = Measurements(base, cache, configs, asked, ids, rows)
        with base.lock, enough_memory("Judging files", "Let fewer rows be computed at once: --rows 8."):
            stack = (foreign_stack(base.unet, [where for _, where in group], [x for _, x in candidates])
                     if way == "one pass" else LoadedFile(base, *_file(candidates[0])))
            seen = [0] * len(ids)
            before = before or list(measure(0, stack, seen, [0]))
            total = len(before) * (1 + len(adapters) * len(strengths))
            events: list[Event] = []
            with stack.attached():
                for event in measure(1, stack, seen, range(len(ids))):
                    events.append(event)
                    count(len(before) * (1 + len(judged)) + len(events), total)
        for (adapter, strength), name, config in zip(candidates, ids, configs, strict=True):
            run = _run(name, config, before, events)
            judged.append(JudgedFile(adapter.path, strength, run, training.nearest_to(run), way))
    order = {_id(adapter, x): i for i, (adapter, x) in enumerate((a, x) for x in strengths for a in adapters)}
    return sorted(judged, key=lambda one: order[one.run.run_id])


def _monitor(lab):
    """Return what is measured of each file: what a run measures at its end, evidence and score included."""
    territory = lab.territory
    prompts = dict.fromkeys([*territory.prompts[:PROMPTS], *territory.train.captions[:PROMPTS]])
    usual = {"validate_at": (), "sample_at": (0, 1), "prompts": tuple(prompts), "verdict": True, "scored": SCORED}
    return lab.monitor(**usual | lab.usual)


Candidate = tuple[ForeignAdapter, float]


def _groups(base, adapters, strengths, max_rows) -> Iterator[tuple[list[tuple[Candidate, Placed | None]], str]]:
    """Yield the candidates of each pass with their layers on the U-Net, and the way they are put there."""
    shapes, ours = weight_shapes(base.unet), []
    candidates = [(adapter, strength) for strength in strengths for adapter in adapters]
    for adapter, strength in candidates:
        if not named_as_in_first_code(adapter):
            ours.append(((adapter, strength), placed(adapter, shapes, base.name)))
    at_once = min(SIDE_BY_SIDE, max(1, max_rows // 2))        # guidance needs two rows of each
    for start in range(0, len(ours), at_once):
        yield ours[start:start + at_once], "one pass"
    for candidate in candidates:
        if named_as_in_first_code(candidate[0]):
            yield [(candidate, None)], "diffusers"


def _config(lab, adapter: ForeignAdapter) -> RunConfig:
    """Return the configuration of a run of no more than what is known of a file."""
    rank = max(layer.rank or 1 for layer in adapter.layers)
    config = RunConfig(base=lab.base_name, data=lab.data_name, rank=rank, max_train_steps=1, train_batch_size=1)
    return config.resolved(len(lab.territory.train))


def _file(candidate: Candidate) -> tuple[Path, float]:
    return candidate[0].path, candidate[1]


def _id(adapter: ForeignAdapter, strength: float) -> str:
    return f"{adapter.path} at {strength:g}"


def _run(name: str, config: RunConfig, before: Sequence[Event], events: Sequence[Event]) -> Run:
    """Return a file's run: the untouched base's measurements, and its own."""
    builder = RunBuilder(name, config)
    for event in [replace(event, run_id=name) for event in before] + [e for e in events if e.run_id == name]:
        builder.add(event)
    return builder.build("finished")


# -- copies


class Training:
    """Hold what an eye for layout and colour sees in the training pictures, a picture in memory at a time."""

    def __init__(self, pictures: PictureFolder, resolution: int):
        """Look at every picture once."""
        self.paths = pictures.paths
        self.features = np.concatenate([layout_and_colour(load_picture(path, resolution, pictures.crop)[None])
                                        for path in pictures.paths])

    def nearest_to(self, run: Run) -> tuple[Nearest, ...]:
        """Return the nearest training picture of each that was drawn with a file."""
        drawn = next((samples for samples in run.samples if samples.global_step), None)
        if drawn is None:
            return ()
        found = []
        for row, prompt, seed in zip(distances(layout_and_colour(drawn.load()), self.features), drawn.prompts,
                                     drawn.seeds, strict=True):
            first, *others = np.argsort(row)
            second = float(row[others[0]]) if others else math.nan
            found.append(Nearest(prompt, seed, self.paths[first], float(row[first]), second))
        return tuple(found)
