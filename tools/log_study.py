"""How often are verdicts on other trainers' logs right? Made logs with the statistics of real ones, of known kind.

    python tools/log_study.py               the table, about four minutes of one core
    python tools/log_study.py --logs DIR    the verdict on each log in a folder instead
    python tools/log_study.py --recorded    beside the verdicts on recorded runs of the kit, instead
    python tools/log_study.py ... --write   the same, into docs/logs.md

A made log has ten to forty validation points, a useful drop of about 1.6 % of the loss and noise of about 0.05 % of
it, as measured on Stable Diffusion 1.5 (spacepxl/demystifying-sd-finetuning). In half of them the noise grows along
the run, in half of them neighbouring points share a part of it, and in half of them the first point is not that of
the untouched base. All draws are seeded.
"""

import argparse
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit.judge.diagnose import diagnose  # noqa: E402
from labkit.judge.foreign import judge_log  # noqa: E402
from labkit.judge.stats import wilson  # noqa: E402
from labkit.judge.verdict_text import DIVERGED, HEALTHY, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE  # noqa: E402
from labkit.settings import REPO  # noqa: E402
from labkit.store.foreign_logs import ForeignLog, read_logs  # noqa: E402
from labkit.store.log_series import series  # noqa: E402
from labkit.store.recorded import recorded  # noqa: E402

DROP, NOISE = 0.016, 0.0005                                   # of the loss
RIGHT = {                                                     # kind: labels that are right
    "healthy": {HEALTHY}, "flat": {STAGNATING}, "slow": {STAGNATING}, "overfitting": {OVERFITTING},
    "overfitting, with a probe": {OVERFITTING}, "too fast": {OVERSHOOTING, DIVERGED},
    "too fast, with a probe": {OVERSHOOTING, DIVERGED}, "broken": {DIVERGED},
    "training loss alone, healthy": {UNSURE}, "training loss alone, broken": {DIVERGED},
}
ALARMS = {STAGNATING, OVERFITTING, OVERSHOOTING, DIVERGED}
SETS = ("presets", "u_curve", "long_runs")
PAGE = REPO / "docs" / "logs.md"


def made_log(kind, seed):
    """Return a ForeignLog of a kind (a key of RIGHT)."""
    rng = np.random.default_rng([seed, list(RIGHT).index(kind)])
    last, level = int(rng.choice([500, 1000, 2000, 5000])), 0.06 * math.exp(rng.uniform(-0.7, 2.0))
    if kind.startswith("training loss alone"):
        return _log(train=_training(rng, last, level, kind.endswith("broken")))
    count = int(rng.integers(10, 41))
    time = np.linspace(0, 1, count) if rng.random() < 0.5 else np.linspace(1 / count, 1, count)
    drop, noise = DROP * level * math.exp(0.3 * rng.normal()), NOISE * level * math.exp(0.5 * rng.normal())
    course, probe = _courses(kind.partition(",")[0], rng, time, drop, level)
    grown = rng.uniform(1, 5) ** (time - 0.5) if rng.random() < 0.5 else 1.0
    values = level + course + noise * grown * _noise(rng, count)
    if kind == "broken" and rng.random() < 0.5:
        values[int(count * rng.uniform(0.3, 0.9)) :] = math.nan
    steps = np.round(time * last)
    beside = 0.8 * level + probe + noise * grown * _noise(rng, count)
    return _log(train=_training(rng, last, level, False), validation=("test/val", steps, values),
                probe=("test/test", steps, beside) if kind.endswith("probe") else None)


def _noise(rng, count):
    """Return noise of deviation 1; in half of the logs a point takes part of it over from the one before."""
    carried, fresh = 0.5 * (rng.random() < 0.5), rng.normal(size=count)
    for at in range(1, count):
        fresh[at] = carried * fresh[at - 1] + math.sqrt(1 - carried**2) * fresh[at]
    return fresh


def _courses(kind, rng, time, drop, level):
    """Return the course of the validation loss and of that on training pictures, both as changes."""
    def fall(pace):
        return -drop * (1 - np.exp(-time / pace))

    if kind == "healthy":
        course = fall(rng.uniform(0.06, 0.3))
        late = rng.uniform(0, 0.15) * drop * np.clip(time - 0.6, 0, None) / 0.4 * (rng.random() < 0.5)
        return course + late, 1.2 * course
    if kind == "flat":
        return np.zeros(len(time)), np.zeros(len(time))
    if kind == "slow":
        course = fall(rng.uniform(0.8, 4.0))
        return course, course
    turn, power = rng.uniform(0.2, 0.6), rng.uniform(1.0, 1.6)
    rise = (np.clip(time - turn, 0, None) / (1 - turn)) ** power
    if kind == "overfitting":
        course = fall(rng.uniform(0.2, 0.5) * turn)
        return course + drop * rng.uniform(0.6, 4.0) * rise, 1.2 * course - 2 * drop * time
    pace = time ** rng.uniform(0.7, 1.5)
    if kind == "too fast":
        up = level * rng.uniform(0.03, 0.4) * pace
        return up, rng.uniform(0.7, 1.0) * up
    return fall(0.1) + level * rng.uniform(1.5, 20) * rise, level * 2 * rise


def _training(rng, last, level, is_broken):
    """Return a training loss of single steps: each has its own timestep, which moves it by far the most."""
    steps = np.arange(1, last + 1)
    values = level * np.exp(0.9 * rng.normal(size=last) - 0.4) * (1 - DROP * (1 - np.exp(-steps / (0.2 * last))))
    if is_broken:
        since = int(last * rng.uniform(0.3, 0.85))
        values[since:] *= math.nan if rng.random() < 0.5 else rng.uniform(5, 50)
    return ("loss/train", steps, values)


def _log(**columns):
    told = {role: series(tag, list(steps), list(values)) for role, (tag, steps, values) in
            ((role, column) for role, column in columns.items() if column is not None)}
    return ForeignLog(Path("made"), "made", "", tuple(one.tag for one in told.values()), **told)


def study(count, seed=1, kinds=RIGHT):
    """Return {kind: Counter of labels} over `count` made logs of each kind."""
    return {kind: Counter(judge_log(made_log(kind, seed * 1_000_000 + i)).label for i in range(count))
            for kind in kinds}


def table(counts):
    """Return the shares as lines of a table in Markdown."""
    lines = ["| made log | logs | right | wrong | not enough evidence | wrong, 95 % interval |",
             "|---|---|---|---|---|---|"]
    for kind, labels in counts.items():
        total = sum(labels.values())
        right = sum(labels[label] for label in RIGHT[kind])
        unsure = labels[UNSURE] if UNSURE not in RIGHT[kind] else 0
        wrong = total - right - unsure
        low, high = wilson(wrong / total, total)
        lines.append(f"| {kind} | {total} | {right / total:.1%} | {wrong / total:.1%} | {unsure / total:.1%} | "
                     f"{low:.1%} to {high:.1%} |")
    return lines


def on_folder(folder):
    """Return a line of a table for each log in a folder."""
    lines = ["| log | points | noise over gain | best at step | verdict | confidence |", "|---|---|---|---|---|---|"]
    for log in read_logs(Path(folder))[0]:
        verdict = judge_log(log)
        evidence = {"evaluations": 0, "noise_to_gain": math.nan, "best_step": ""} | verdict.evidence
        lines.append(f"| {log.path.name.removesuffix('.csv')} | {evidence['evaluations']} | "
                     f"{evidence['noise_to_gain']:.2g} | {evidence['best_step']} | {verdict.label} | "
                     f"{verdict.confidence:.0%} |")
    return lines


def as_log(run):
    """Return what another trainer would have logged of a run of this kit: one number a point."""
    columns = {}
    for role, name in (("validation", "validation"), ("probe", "probe")):
        if name in run.validations:
            curve = run.validations[name]
            columns[role] = (name, curve.steps, curve.losses.astype(float).mean(axis=(1, 2)))
    if len(run.steps.get("loss", ())):
        columns["train"] = ("loss", run.steps["global_step"], run.steps["loss"])
        columns["rate"] = ("lr", run.steps["global_step"], run.steps["learning_rate"])
    return _log(**columns)


def on_recorded():
    """Return lines of a table: verdicts on recorded runs as logs, beside those from all their pictures."""
    lines = ["| recorded set | runs | the same verdict | another verdict | not enough evidence in the log |",
             "|---|---|---|---|---|"]
    for name in SETS:
        runs = recorded(name)
        pairs = [(diagnose(run, runs).label, judge_log(as_log(run)).label) for run in runs]
        unsure = sum(log == UNSURE != full for full, log in pairs)
        same = sum(log == full for full, log in pairs)
        lines.append(f"| {name} | {len(pairs)} | {same} | {len(pairs) - same - unsure} | {unsure} |")
    return lines


def written(mark, lines):
    """Write lines into the page, between the comments of a name."""
    before, opening, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, closing, after = rest.partition(f"<!-- /{mark} -->")
    PAGE.write_text(before + opening + "\n".join(lines) + "\n" + closing + after, encoding="utf-8")


def main():
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=250, help="made logs of each kind (default: 250)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table into docs/logs.md")
    parser.add_argument("--logs", metavar="DIR", help="judge the logs in a folder instead")
    parser.add_argument("--recorded", action="store_true", help="judge recorded runs of the kit as logs instead")
    options = parser.parse_args()
    if options.recorded:
        mark, lines = "recorded runs", on_recorded()
    elif options.logs:
        mark, lines = "real logs", on_folder(options.logs)
    else:
        counts = study(options.count, options.seed)
        mark, lines = "made logs", table(counts)
        for kind, labels in counts.items():
            print(f"{kind}: {dict(labels)}", file=sys.stderr)
    print("\n".join(lines))
    if options.write:
        written(mark, lines)


if __name__ == "__main__":
    main()
