"""Train the recorded runs that ship with the kit: `python -m recipes.ship.recorded [NAME ...]`.

Each set goes to data/runs/NAME.zip, configuration and events of every run, some also with pictures; adapters and
checkpoints stay in the working folder. A set that was interrupted goes on where it stopped. A set made for another
base, or other pictures, is made anew.

Start it in the folder data; in any other folder Python answers "No module named 'recipes'".
"""

import argparse
import json
import math
import shutil
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from labkit.design.presets import EPOCHS_AND_BATCHES, PRESETS, RANK_AND_ALPHA
from labkit.store.recorded import pack
from labkit.store.removal import delete
from recipes.ship.float32 import compute_in_float32

DATA = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RecordedSet:
    """Grids of runs of one territory and resolution, and what of them is kept."""

    grids: tuple              # of dicts, as `labkit.engine.sweep.grid` takes them
    ends_only: bool = False   # tell only the first and the last loss
    drawn: tuple = ()         # updates after which pictures of seed 0 are drawn
    measured: tuple | None = None  # updates after which losses are measured; None: as a run does by itself
    scored: int | None = None  # prompts drawn first and last for the score; None: as many as a run does by itself
    first_prompts: int = 0    # of the territory, drawn for each run; 0: those that overfitting is seen by
    rounded: bool = False     # adapters are kept in bfloat16 between updates

    @property
    def data(self):
        """Return the name of the territory."""
        return self.grids[0].get("data", "liminal")

    @property
    def resolution(self):
        """Return the resolution in pixels; None: the base's own."""
        return self.grids[0].get("resolution")


PAIR, TRIPLE = [0, 1], [0, 1, 2]  # seeds
RATES = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
LONG = {"n_train": [12, 24, 48, 96], "rank": 32, "learning_rate": 2e-3, "max_train_steps": 1000}
SMALL = {"train_batch_size": 4, "n_train": 48, "seed": PAIR}
RANKS = {"rank": [1, 4, 8, 16, 64], "learning_rate": RATES, "seed": PAIR, "max_train_steps": 100}
FULL = {"adapter": "full", "learning_rate": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3], "seed": PAIR, "max_train_steps": 100}

# As the runs of u_curve, which these are read against.
SHORT = {"learning_rate": RATES, "seed": PAIR, "max_train_steps": 100}
PLACES = "liminal/kind=pool,maze"
KINDS = {1: "pool", 3: "pool,maze,garage", 6: "pool,maze,garage,corridor,mall,platform"}

SETS = {
    "u_curve": RecordedSet(({"learning_rate": [1e-5, 1e-4, *RATES, 1e-1], "seed": TRIPLE, "max_train_steps": 100},)),
    "presets": RecordedSet(tuple(
        preset.changes | {"data": "liminal/kind=pool", "seed": TRIPLE} for preset in PRESETS.values())),
    # 04: what it opens with, the panel's six designs with pictures.
    "six_designs": RecordedSet(tuple(
        preset.changes | {"data": "liminal/kind=pool", "seed": 0} for preset in PRESETS.values()),
        drawn=(0, 4, 12, 30, 60, 80, 100, 120), scored=8, first_prompts=2),
    "rank_presets": RecordedSet(tuple(
        preset.changes | {"data": PLACES, "seed": PAIR} for preset in RANK_AND_ALPHA.values())),
    "volume_presets": RecordedSet(tuple(
        preset.changes | {"data": PLACES, "seed": PAIR} for preset in EPOCHS_AND_BATCHES.values())),
    # 00: what it opens with, around the rate that it trains at.
    "pools": RecordedSet((
        {"data": "liminal/kind=pool", "learning_rate": [1e-4, 1e-2, 3e-2], "lr_scheduler": "linear",
         "max_train_steps": 100, "seed": 0},),
        drawn=(0, 2, 6, 12, 25, 50, 100), measured=(1, 2, 4, 6, 9, 12, 18, 25, 35, 50, 70), first_prompts=2),
    # 01: its race, as it opens: measured and drawn more often than one that a reader waits for.
    "race": RecordedSet((
        {"data": "near", "learning_rate": [1e-5, 1e-4, 1e-3, 5e-3, 2e-2, 4e-2], "lr_scheduler": "linear",
         "max_train_steps": 150, "seed": 0},),
        drawn=(0, 4, 10, 22, 45, 75, 110, 150), measured=(2, 4, 7, 10, 15, 22, 32, 45, 60, 75, 92, 110, 130),
        first_prompts=2),
    # 01: every schedule at its own best peak, SGD, as many pictures of more and more kinds, smaller pictures.
    "schedules": RecordedSet((SHORT | {"lr_scheduler": ["linear", "cosine", "exponential", "three_phase"],
                                       "learning_rate": RATES[1:]},), ends_only=True),
    "sgd": RecordedSet((SHORT | {"optimizer": "sgd", "weight_decay": 0.0,
                                 "learning_rate": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0]},), ends_only=True),
    "bf16_weights": RecordedSet((SHORT | {"learning_rate": [1e-5, 1e-4, *RATES]},), ends_only=True, rounded=True),
    **{f"kinds_{count}": RecordedSet((SHORT | {"data": f"liminal/kind={kinds}", "n_train": 12},), ends_only=True)
       for count, kinds in KINDS.items()},
    "resolution_64": RecordedSet((SHORT | {"resolution": 64},), ends_only=True),
    # 02: every rank, and the matrices whole as the ceiling, at rates around each one's own best; and a rank at other
    # training scalings.
    **{f"ranks_{data}": RecordedSet((RANKS | {"data": data},), ends_only=True) for data in ("liminal", "near")},
    **{f"full_{data}": RecordedSet((FULL | {"data": data},), ends_only=True) for data in ("liminal", "near")},
    "training_alpha": RecordedSet((
        {"alpha": [0.8, 80], "learning_rate": RATES, "seed": PAIR, "max_train_steps": 100},), ends_only=True),
    # 02: what it opens with, each rank at a rate of its own: four times the rank, half the rate.
    "ranks": RecordedSet(tuple(
        {"data": PLACES, "rank": rank, "learning_rate": rate, "lr_scheduler": "linear", "max_train_steps": 100,
         "seed": 0} for rank, rate in ((1, 1.7e-2), (64, 2.1e-3))),
        drawn=(0, 4, 12, 33, 66, 100), first_prompts=2),
    # 02: which layers, at the same rank; each set at rates around its own best.
    "layers": RecordedSet(tuple(
        {"data": PLACES, "target_modules": layers, "learning_rate": [3e-3, 6e-3, 1.2e-2, 2.4e-2],
         "lr_scheduler": "linear", "max_train_steps": 100, "seed": 0}
        for layers in ("attention", "linear", "all")), drawn=(0, 33, 100), first_prompts=2),
    # 03: what it opens with, and pictures until they overfit.
    "repetition": RecordedSet((
        {"data": PLACES, "n_train": [4, 24], "rank": 32, "learning_rate": 3e-3, "max_train_steps": 240, "seed": 0},),
        drawn=(0, 8, 24, 60, 120, 240), first_prompts=2),
    "long_runs": RecordedSet((LONG | {"seed": 0}, LONG | {"seed": 1}), drawn=(25, 75, 200, 450, 700, 1000)),
    # 03: the best rate of each batch, as many pictures shown to all, or as many updates made by all.
    "batch_equal_epochs": RecordedSet((
        {"train_batch_size": 1, "learning_rate": [1e-4, *RATES[:-1]], "num_train_epochs": 5, "seed": PAIR},
        {"train_batch_size": 4, "learning_rate": RATES, "num_train_epochs": 5, "seed": PAIR},
        {"train_batch_size": 16, "learning_rate": RATES, "num_train_epochs": 5, "seed": PAIR})),
    "batch_equal_updates": RecordedSet((
        {"train_batch_size": [1, 4, 16], "learning_rate": RATES, "max_train_steps": 120, "seed": PAIR},)),
    # 03: batch 4 instead of 32, by the rules for the rate (the same, square root, linear) and with 8 times the epochs.
    "eightfold": RecordedSet((
        {"train_batch_size": 32, "n_train": 48, "learning_rate": [3e-3, 6e-3, 1.2e-2], "num_train_epochs": 10,
         "seed": PAIR},
        SMALL | {"learning_rate": [3e-3, 1.06e-3, 3.75e-4], "num_train_epochs": 10},
        SMALL | {"learning_rate": [3e-3, 3.75e-4], "num_train_epochs": 80})),
    # 04: a whole grid, of which the variance is divided among the knobs.
    "knobs": RecordedSet((
        {"learning_rate": [3e-4, 1e-3, 3e-3], "rank": [4, 16], "alpha": [4, 16], "train_batch_size": [2, 8],
         "max_train_steps": [25, 75], "lr_scheduler": ["constant", "cosine"], "seed": 0},), ends_only=True),
}
KEPT_STEPS = 25       # of a run's single steps, evenly; nothing judges them
PICTURE_QUALITY = 60  # of WebP, 0 to 100


def make(name, work, out):
    """Train one set into the folder `work`, then copy what ships to `out`."""
    from tqdm import tqdm

    from labkit.engine.sweep import grid
    from labkit.lab import Lab

    recorded = SETS[name]
    lab = Lab(data=recorded.data, resolution=recorded.resolution, store=work / name)
    configs = [config for part in recorded.grids for config in grid(**part)]
    forget_other_readers(lab, configs)
    total = sum(lab.config(config).steps for config in configs)
    kept = rounded_adapters() if recorded.rounded else nullcontext()
    with tqdm(total=total, unit="run-step", desc=name) as bar, kept:
        for part in recorded.grids:
            train(lab, name, grid(**part), bar)
    target = work / "thinned" / name
    shutil.rmtree(target, ignore_errors=True)
    for config in configs:
        history = lab.store.find(lab.config(config), lab.base.fingerprint, lab.cache.fingerprint)
        folder = lab.store.run(history.run_id)
        if (target / history.run_id).exists():  # of two grids
            continue
        (target / history.run_id).mkdir(parents=True)
        for file in (folder.path / "config.json", folder.events_path):
            shutil.copy(file, target / history.run_id)
        keep_pictures(folder.path, target / history.run_id)
        thin(target / history.run_id / "events.jsonl", steps=not recorded.ends_only)
    file = out / f"{name}.zip"
    pack(target, file)
    print(f"{name}: {len(configs)} runs, {file.stat().st_size / 1e6:.1f} MB in {file}")


def forget_other_readers(lab, configs):
    """Delete runs whose pictures another reader scored: a run's id does not tell who did."""
    ours = {scored.scored_by for scored in lab.scored_prompts}
    for folder in map(lab.store.run, lab.plan(configs)):
        if folder.path.exists() and any(score.scored_by not in ours for score in folder.load().scores.values()):
            delete(folder)


@contextmanager
def rounded_adapters():
    """Round every adapter to bfloat16 after each update, as trainers do that store it so.

    Moments and gradients stay float32.
    """
    from labkit.engine.optim import OPTIMIZERS, StackedAdamW

    class Rounded(StackedAdamW):
        def step(self, grad, lr, alive):
            change = super().step(grad, lr, alive)
            self.theta.copy_(self.theta.bfloat16())
            return change

    OPTIMIZERS["adamw"] = Rounded
    try:
        yield
    finally:
        OPTIMIZERS["adamw"] = StackedAdamW


def train(lab, name, configs, bar):
    """Train the runs of one grid that are not there yet."""
    from labkit.engine.monitor import Monitor
    from labkit.engine.sweep import sweep
    from labkit.experiments.overfitting import asked

    recorded = SETS[name]
    scored = {"scored_prompts": lambda: lab.scored_prompts, "scored": recorded.scored}
    monitor = Monitor(**scored)
    if recorded.ends_only:                                    # their losses are compared, and no score is shown
        monitor = Monitor(validate_at=(), scored=0)
    elif recorded.drawn and all(config.seed == 0 for config in configs):
        prompts, seeds = asked(lab.territory)
        if recorded.first_prompts:
            prompts, seeds = tuple(lab.territory.prompts[:recorded.first_prompts]), ()
        monitor = Monitor(validate_at=recorded.measured, prompts=prompts, sample_seeds=seeds,
                          sample_at=recorded.drawn, **scored)
    checkpoint_at = (100, 200, 300, 400, 1000)
    events = sweep(lab.base, lab.cache, lab.plan(configs), lab.store, monitor=monitor, checkpoint_at=checkpoint_at,
                   meta={"made_by": f"python -m recipes.ship.recorded {name}"})
    with closing(events):
        for event in events:
            bar.update(type(event).__name__ == "Step")


def keep_pictures(source, target):
    """Copy the pictures of a run as WebP, a tenth of the bytes."""
    from PIL import Image

    for file in sorted((source / "samples").glob("*.png")):
        (target / "samples").mkdir(exist_ok=True)
        Image.open(file).save(target / "samples" / f"{file.stem}.webp", quality=PICTURE_QUALITY, method=6)


def thin(path, steps=True):
    """Round what ships: losses to 5 digits, and of single steps, where they are kept, every number to 4.

    Most single steps go, and checkpoints, which are not there to be named.
    """
    lines = []
    texts = path.read_text(encoding="utf-8").splitlines()
    every = -(-sum('"Step"' in text for text in texts) // KEPT_STEPS)
    for text in texts:
        line = json.loads(text)
        line.pop("crc32", None)                               # of the whole record; a set's zip file has its own
        single = line["event"] == "Step"
        spare = single and line["global_step"] % every and math.isfinite(float(line["loss"]))
        if line["event"] == "Checkpoint" or spare or single and not steps:
            continue
        if line["event"] == "Sample":
            line["files"] = [str(Path(name).with_suffix(".webp").as_posix()) for name in line["files"]]
        short = {key: rounded(value, 4 if single else 5) for key, value in line.items()
                 if not (key == "time" and single)}
        lines.append(json.dumps(short | {"time": int(line["time"])}, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rounded(value, digits):
    """Round floats to significant digits, also inside lists."""
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def main():
    """Make the sets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"sets to make: {', '.join(SETS)}; all by default")
    parser.add_argument("--work", type=Path, default=DATA.parent / "out" / "recorded",
                        help="where runs are trained (default out/recorded in the checkout)")
    parser.add_argument("--out", type=Path, default=DATA / "runs", help="where the sets go (default data/runs)")
    options = parser.parse_args()
    for name in options.names:
        if name not in SETS:
            parser.error(f"{name} is not a set: there are {', '.join(SETS)}")
    compute_in_float32()
    for name in options.names or SETS:
        make(name, options.work, options.out)


if __name__ == "__main__":
    main()
