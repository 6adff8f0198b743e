"""Measure what loss and pictures say of each other: at four checkpoints of many short runs, both, side by side.

In the folder data:

    python -m recipes.ship.loss_pictures            train what is missing, then write studies/loss_pictures.json
    python -m recipes.ship.loss_pictures --table    only write it, of the runs that are complete

Runs go into a store of their own, eight to a pass, with held-out loss and pictures after each quarter. A command that
was stopped goes on with the pass it was in. Of each checkpoint the table tells the loss on held-out and on training
pictures on fixed noise, the loss that the trainer itself showed, whose pictures the reader accepts, how far they lie
from held-out renders, and how often they come nearer to a training picture than renders do. Then the table of
data/README.md is written anew.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.engine.attribute_reader import Reader, load_reader
from labkit.engine.monitor import FIRST_SCORED
from labkit.engine.scores import INFERENCE_STEPS
from labkit.engine.sweep import grid
from labkit.experiments.distance import nearest
from labkit.experiments.loss_and_pictures import FILE
from labkit.experiments.memorization import distances, thumbnails
from labkit.experiments.overfitting import redrawn
from labkit.judge.diagnose import diagnose
from labkit.lab import Lab
from labkit.store.runs import COMPLETE
from recipes.ship.float32 import compute_in_float32
from recipes.ship.measure import DATA, MEASURED
from recipes.ship.tables import write_tables

TERRITORIES = ("near", "liminal/kind=pool", "liminal/kind=pool,maze")
RANKS = [8, 32]
GRIDS = (                                                     # each is one pass on each territory
    {"max_train_steps": 60, "lr_scheduler": "constant", "learning_rate": [1e-4, 1e-3, 5e-3, 1.5e-2], "rank": RANKS},
    {"max_train_steps": 100, "lr_scheduler": "constant", "learning_rate": [3e-4, 1e-3, 3e-3, 8e-3], "rank": RANKS,
     "n_train": 4},                                           # so few that they are learned by heart
    {"max_train_steps": 100, "lr_scheduler": "linear", "learning_rate": [3e-4, 2e-3, 8e-3, 2e-2], "rank": RANKS},
)
CHECKPOINTS = 4                                               # of a run, after equal parts of its updates
PROMPTS = 16                                                  # held-out captions that are drawn at each
MAX_ROWS = 32                                                 # pictures of a pass: eight runs at batch 4
LOSSES = {"held_out": "validation", "probe": "probe"}         # column: whose fixed-noise loss
SETTINGS = ("learning_rate", "lr_scheduler", "rank", "n_train", "max_train_steps", "seed")


def steps_of(last):
    """Return the updates after which a run is measured."""
    return [round(last * part / CHECKPOINTS) for part in range(1, CHECKPOINTS + 1)]


def train(lab, configs):
    """Train the runs of one grid on one territory that the store does not have."""
    scored, at = asked(lab), tuple(steps_of(configs[0].max_train_steps))
    monitor = lab.monitor(validate_at=at, sets=("validation", "probe"), scored=0, prompts=scored.prompts,
                          sample_seeds=scored.seeds, sample_at=at, num_inference_steps=INFERENCE_STEPS)
    events = lab.sweep(lab.plan(configs), monitor=monitor, checkpoint_at=at,
                       meta={"made_by": "python -m recipes.ship.loss_pictures"})
    with closing(events):
        for _ in events:
            pass


def asked(lab):
    """Return the captions that are drawn, and what the reader is asked of each: those of a run's score."""
    return lab.scored_prompts[0].take(PROMPTS)


@dataclass(frozen=True)
class Renders:
    """Hold what drawings of one territory are held against, and who reads them."""

    reader: Reader
    asked: Sequence[Mapping[str, str]]                        # of each drawing
    train: np.ndarray                                         # thumbnails of the training pictures
    held: np.ndarray                                          # thumbnails of held-out renders
    held_features: np.ndarray                                 # the reader's features of those

    def measures(self, pictures, n_train):
        """Measure drawings: which are accepted, how far they are from renders, how near to what was trained on.

        copying: of all couples of a drawing and a held-out render, the share in which the drawing lies nearer to its
        nearest training picture, ties halved; a half where drawings are as new as renders are.
        """
        drawn, held = (distances(eye, self.train[:n_train]).min(1) for eye in (thumbnails(pictures), self.held))
        nearer = (drawn[:, None] < held) + 0.5 * (drawn[:, None] == held)
        return {"accepted": "".join(str(int(one)) for one in self.reader.accepted(pictures, self.asked)),
                "distance": short(nearest(self.reader.read(pictures).features, self.held_features).mean()),
                "copying": short(nearer.mean())}


def renders_of(lab, reader):
    """Decode a lab's training pictures, and the held-out ones that serve monitoring: drawings are decoded too."""
    train, held = redrawn(lab, lab.cache.train), redrawn(lab, lab.cache.validation.take(FIRST_SCORED))
    return Renders(reader, asked(lab).asked, thumbnails(train), thumbnails(held), reader.read(held).features)


def short(value):
    """Round to what is told of a number; None where it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def rows(run, verdict, renders):
    """Return one row for each checkpoint of a run; what a run that broke does not have is None."""
    drawn = {samples.global_step: samples for samples in run.samples}
    updates, losses = run.steps["global_step"], run.steps["loss"]
    nothing, before, found = {"accepted": None, "distance": None, "copying": None}, 0, []
    for step in steps_of(run.config.max_train_steps):
        shown = losses[(updates > before) & (updates <= step)]
        pictures = renders.measures(drawn[step].load(), run.config.n_train) if step in drawn else nothing
        losses_now = {name: short(loss_at(run.validations[of], step)) for name, of in LOSSES.items()}
        found.append({"step": step, **losses_now,
                      "training": short(shown.mean()) if len(shown) == step - before else None, **pictures,
                      "verdict": verdict})
        before = step
    return found


def loss_at(curve, step):
    """Return the mean loss after `step` updates; not a number where the run had ended."""
    return float(curve.means[curve.steps == step].mean()) if step in curve.steps else math.nan


def table(labs, reader):
    """Return what is measured of all complete runs, a row a checkpoint, and of the untouched base."""
    found, untouched = [], {}
    for name, lab in labs.items():
        complete = [runs for runs in (trained(lab, part) for part in GRIDS) if runs]
        print(f"{name}: {sum(map(len, complete))} runs", flush=True)
        if not complete:
            continue
        renders, scored = renders_of(lab, reader), asked(lab)
        pictures = lab.generate(scored.prompts, scored.seeds, num_inference_steps=INFERENCE_STEPS)
        untouched[name] = {"held_out": short(loss_at(complete[0][0].validations["validation"], 0)),
                           **renders.measures(pictures, len(lab.territory.train))}
        for runs in complete:
            for run in runs:
                settings = {"run": run.run_id, "data": name} | {key: getattr(run.config, key) for key in SETTINGS}
                found += [settings | row for row in rows(run, diagnose(run, runs).label, renders)]
    if not found:
        raise SystemExit("No run is complete yet.")
    base = next(iter(labs.values())).base.fingerprint
    return {"base": base, "prompts": PROMPTS, "inference_steps": INFERENCE_STEPS, "untouched": untouched,
            "columns": list(found[0]), "rows": [list(row.values()) for row in found]}


def trained(lab, part):
    """Return the complete runs of one grid on one territory."""
    folders = map(lab.store.run, lab.plan(grid(**part)))
    return [folder.load() for folder in folders if folder.status in COMPLETE]


def write(measured, file):
    """Write the table as JSON, a line a row, so that a change of one row is a change of one line."""
    head = json.dumps({key: value for key, value in measured.items() if key != "rows"}, indent=1)
    lines = ",\n  ".join(json.dumps(row) for row in measured["rows"])
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{head[:-2]},\n \"rows\": [\n  {lines}\n ]\n}}\n", encoding="utf-8")


def main():
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="train nothing: write the table of what is there")
    parser.add_argument("--work", type=Path, default=DATA.parent / "out" / "loss_pictures",
                        help="where runs are trained (default out/loss_pictures in the checkout)")
    options = parser.parse_args()
    compute_in_float32()
    first = Lab(data=TERRITORIES[0], store=options.work, max_rows=MAX_ROWS)
    labs = {name: first if name == first.data_name else first.with_data(name) for name in TERRITORIES}
    for part in () if options.table else GRIDS:
        for name, lab in labs.items():
            print(f"{name}, {part['max_train_steps']} updates", flush=True)
            train(lab, grid(**part))
    write(table(labs, load_reader()), DATA / "studies" / FILE)
    write_tables(json.loads(MEASURED.read_text()))


if __name__ == "__main__":
    main()
