"""Train the recorded runs that ship with the kit: `python data/recipes/recorded.py [NAME ...]`.

Each set goes to data/runs/NAME/<run id>/ with configuration and events, some also with pictures; adapters and checkpoints stay
in the working folder.
A set that was interrupted goes on where it stopped. A set made for another base, or other pictures, is made anew.
"""

import argparse
import json
import math
import shutil
import sys
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from labkit import threads  # noqa: E402


LONG = {"n_train": [12, 24, 48, 96], "rank": 32, "learning_rate": 2e-3, "max_train_steps": 1500}
SMALL = {"train_batch_size": 4, "n_train": 48, "seed": [0, 1]}

# Each set is a list of grids.
SETS = {
    "u_curve": [{"learning_rate": [1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 1e-1], "seed": [0, 1, 2], "max_train_steps": 100}],
    # 03: pictures until they overfit. Seed 0 is drawn as well.
    "long_runs": [LONG | {"seed": 0}, LONG | {"seed": 1}],
    # 03: the best rate of each batch, as many pictures shown to all, or as many updates made by all.
    "batch_equal_epochs": [{"train_batch_size": 1, "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "num_train_epochs": 10, "seed": [0, 1]},
                           {"train_batch_size": 4, "learning_rate": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "num_train_epochs": 10, "seed": [0, 1]},
                           {"train_batch_size": 16, "learning_rate": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "num_train_epochs": 10, "seed": [0, 1]}],
    "batch_equal_updates": [{"train_batch_size": [1, 4, 16], "learning_rate": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "max_train_steps": 120, "seed": [0, 1]}],
    # 03: batch 4 instead of 32, by the rules for the rate (the same, square root, linear) and with 8 times the epochs.
    "eightfold": [{"train_batch_size": 32, "n_train": 48, "learning_rate": 3e-3, "num_train_epochs": 20, "seed": [0, 1]},
                  SMALL | {"learning_rate": [3e-3, 1.06e-3, 3.75e-4], "num_train_epochs": 20},
                  SMALL | {"learning_rate": [3e-3, 3.75e-4], "num_train_epochs": 160}],
}
DRAWN = {"long_runs": (25, 75, 200, 450, 900, 1500)}          # updates after which pictures of seed 0 are drawn
KEPT_STEPS = 25                                               # of a run's single steps, evenly; nothing judges them
PICTURE_QUALITY = 60                                          # of WebP, 0 to 100


def make(name, work, out):
    """Train one set into the folder `work`, then copy what ships to `out`."""
    from tqdm import tqdm

    from labkit.lab import Lab
    from labkit.sweep import grid

    lab = Lab(store=work / name)
    configs = [config for part in SETS[name] for config in grid(**part)]
    total = sum(config.resolved(len(lab.cache.train)).max_train_steps for config in configs)
    with tqdm(total=total, unit="run-step", desc=name) as bar:
        for part in SETS[name]:
            train(lab, name, grid(**part), bar)
    target = out / name
    if target.exists():
        shutil.rmtree(target)
    for config in configs:
        history = lab.store.find(config.resolved(len(lab.cache.train)), lab.base.fingerprint, lab.cache.fingerprint)
        folder = lab.store.run(history.run_id)
        if (target / history.run_id).exists():                # of two grids
            continue
        (target / history.run_id).mkdir(parents=True)
        for file in (folder.path / "config.json", folder.events_path):
            shutil.copy(file, target / history.run_id)
        keep_pictures(folder.path, target / history.run_id)
        thin(target / history.run_id / "events.jsonl")
    print(f"{name}: {len(configs)} runs, {sum(f.stat().st_size for f in target.rglob('*')) / 1e6:.1f} MB in {target}")


def train(lab, name, configs, bar):
    """Train the runs of one grid that are not there yet."""
    from labkit.epochs import asked
    from labkit.monitor import Monitor
    from labkit.sweep import sweep

    monitor = Monitor()
    if name in DRAWN and all(config.seed == 0 for config in configs):
        prompts, seeds = asked(lab.territory)
        monitor = Monitor(prompts=prompts, sample_seeds=seeds, sample_at=DRAWN[name])
    events = sweep(lab.base, lab.cache, configs, lab.store, monitor=monitor, checkpoint_at=(100, 500, 1000, 1500),
                   meta={"made_by": f"python data/recipes/recorded.py {name}"})
    with closing(events):
        for event in events:
            bar.update(type(event).__name__ == "Step")


def keep_pictures(source, target):
    """Copy the pictures of a run as WebP, a tenth of the bytes."""
    from PIL import Image

    for file in sorted((source / "samples").glob("*.png")):
        (target / "samples").mkdir(exist_ok=True)
        Image.open(file).save(target / "samples" / f"{file.stem}.webp", quality=PICTURE_QUALITY, method=6)


def thin(path):
    """Round what ships: losses to 5 digits, and of single steps every number to 4; most of these go, no checkpoint is there to be named."""
    lines = []
    texts = path.read_text(encoding="utf-8").splitlines()
    every = -(-sum('"Step"' in text for text in texts) // KEPT_STEPS)
    for text in texts:
        line = json.loads(text)
        if line["event"] == "Checkpoint" or line["event"] == "Step" and line["global_step"] % every and math.isfinite(float(line["loss"])):
            continue
        if line["event"] == "Sample":
            line["files"] = [str(Path(name).with_suffix(".webp").as_posix()) for name in line["files"]]
        digits = 4 if line["event"] == "Step" else 5
        lines.append(json.dumps({key: rounded(value, digits) for key, value in line.items() if not (key == "time" and line["event"] == "Step")}
                                | ({"time": int(line["time"])}), separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rounded(value, digits):
    """Round floats to significant digits, also inside lists."""
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"sets to make: {', '.join(SETS)}; all by default")
    parser.add_argument("--work", type=Path, default=Path("out/recorded"), help="where runs are trained (default out/recorded)")
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs", help="where the sets go (default data/runs)")
    options = parser.parse_args()
    for name in options.names:
        if name not in SETS:
            parser.error(f"{name} is not a set: there are {', '.join(SETS)}")
    threads.limit_torch()
    for name in options.names or SETS:
        make(name, options.work, options.out)


if __name__ == "__main__":
    main()
