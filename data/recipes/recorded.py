"""Train the recorded runs that ship with the kit: `python data/recipes/recorded.py [NAME ...]`.

Each set goes to data/runs/NAME/<run id>/ with configuration and events; adapters and checkpoints stay in the working folder.
A set that was interrupted goes on where it stopped. A set made for another base, or other pictures, is made anew.
"""

import argparse
import json
import shutil
import sys
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from labkit import threads  # noqa: E402

RANKS = {"rank": [1, 2, 4, 8, 16, 32, 64], "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "seed": [0, 1], "max_train_steps": 120}
FULL = {"adapter": "full", "learning_rate": [3e-5, 1e-4, 3e-4, 1e-3, 3e-3], "seed": [0, 1], "max_train_steps": 120}
SETS = {
    "u_curve": {"learning_rate": [1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 1e-1], "seed": [0, 1, 2], "max_train_steps": 100},
    # 02: every rank, and the matrices whole as the ceiling, at rates around each one's own best; and a rank at other training scalings.
    **{f"ranks_{data}": RANKS | {"data": data} for data in ("liminal", "near")},
    **{f"full_{data}": FULL | {"data": data} for data in ("liminal", "near")},
    "training_alpha": {"alpha": [0.8, 80], "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "seed": [0, 1], "max_train_steps": 120},
}
ENDS_ONLY = {"ranks_liminal", "ranks_near", "full_liminal", "full_near", "training_alpha"}  # sets of which only the first and the last loss is told


def make(name, work, out):
    """Train one set into the folder `work`, then copy what ships to `out`."""
    from tqdm import tqdm

    from labkit.lab import Lab
    from labkit.monitor import Monitor
    from labkit.sweep import grid, sweep

    lab = Lab(data=SETS[name].get("data", "liminal"), store=work / name)
    configs = grid(**SETS[name])
    monitor = Monitor(validate_at=()) if name in ENDS_ONLY else Monitor()
    meta = {"made_by": f"python data/recipes/recorded.py {name}"}
    events = sweep(lab.base, lab.cache, configs, lab.store, monitor=monitor, checkpoint_at=(100,), meta=meta)
    total = sum(config.resolved(len(lab.cache.train)).max_train_steps for config in configs)
    with closing(events), tqdm(total=total, unit="run-step", desc=name) as bar:
        for event in events:
            bar.update(type(event).__name__ == "Step")
    target = out / name
    if target.exists():
        shutil.rmtree(target)
    for config in configs:
        history = lab.store.find(config.resolved(len(lab.cache.train)), lab.base.fingerprint, lab.cache.fingerprint)
        folder = lab.store.run(history.run_id)
        (target / history.run_id).mkdir(parents=True)
        for file in (folder.path / "config.json", folder.events_path):
            shutil.copy(file, target / history.run_id)
        thin(target / history.run_id / "events.jsonl", steps=name not in ENDS_ONLY)
    print(f"{name}: {len(configs)} runs, {sum(f.stat().st_size for f in target.rglob('*')) / 1e6:.1f} MB in {target}")


def thin(path, steps=True):
    """Round what ships: losses to 5 digits, and of single steps, where they are kept, every number to 4; no checkpoint is there to be named."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["event"] in ("Checkpoint", "Sample") or line["event"] == "Step" and not steps:
            continue
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
