"""Measure what the lessons' runs and the panel's designs are held to: `python -m recipes.ship.bars`.

The runs are those that the lessons train (`lesson_runs.py`), so that no number of a lesson is written here. 64 prompts
of each run's territory are drawn, and as many ordinary ones after the best healthy run of each; the reader says which
pictures it accepts. The panel's six designs are trained with ten seeds. Each run gets a line in log/bars.jsonl, from
which the table of data/README.md is written; what is not in it stands there as not measured yet. Started again it goes
on where it stopped: runs are found in the working folder, and pictures that were scored are not drawn again.

In the folder data:

    python -m recipes.ship.bars                         everything
    python -m recipes.ship.bars presets "00, pools"     these parts alone
    python -m recipes.ship.bars presets --trained       the verdicts of designs that were trained already
"""

import argparse
import json
import os
from pathlib import Path

from labkit.design.presets import PRESETS
from labkit.judge.diagnose import HEALTHY, diagnose
from labkit.judge.stats import share_interval
from labkit.store.runs import COMPLETE
from labkit.text import rate_text
from recipes.ship.bars_table import PRESETS_PART, PROMPTS, SEEDS, read_lines, write_lines
from recipes.ship.float32 import compute_in_float32
from recipes.ship.lesson_runs import LESSONS, POOLS, trained
from recipes.ship.measure import MEASURED
from recipes.ship.tables import write_tables

DATA = Path(__file__).resolve().parents[2]


def design(config):
    """A run's settings in a few words, as far as they differ between the runs of the table."""
    layers = "" if config.target_modules == ("all",) else f", {' and '.join(config.target_modules)} layers"
    alpha = "" if config.scaling == 1 else f", scaling {config.scaling:g}"
    return f"{rate_text(config.learning_rate)} {config.lr_scheduler}, {config.max_train_steps} updates{layers}{alpha}"


def best(runs, verdicts):
    """The run that a lesson holds up: the healthy one whose held-out loss ends lowest; None without a healthy one."""
    healthy = [run for run, verdict in zip(runs, verdicts, strict=True) if verdict.label == HEALTHY]
    return min(healthy, key=lambda run: run.validations["validation"].means[-1], default=None)


def accepted(lab, scored, run=None):
    """Share of prompts whose pictures are accepted, with its interval: of a run, or of the untouched base."""
    from labkit.engine.adapters import LoRAStack
    scored = scored.take(PROMPTS)
    if run is None:
        return share_interval(scored.untouched(lab.base))
    stack = LoRAStack(lab.base.unet, [run.config])
    stack.load(0, lab.store.named(run.run_id).checkpoint().adapter)
    with lab.base.lock, stack.attached():
        return share_interval(scored.accepted(lab.base, stack)[0])


def drawn(lab, run, with_ordinary):
    """Shares accepted of a run's pictures and of the untouched base's."""
    sets = {"validation": "territory", "ordinary": "ordinary"}
    scored = {sets[each.name]: each for each in lab.scored_prompts}
    return {name: {"untouched": accepted(lab, scored[name]), "after": accepted(lab, scored[name], run)}
            for name in ("territory", "ordinary")[:1 + with_ordinary]}


def measure_lesson(name):
    """Measure a lesson's runs, and write each line as it comes, beside those of before until all are measured."""
    lab, runs = trained(name)
    verdicts = [diagnose(run, [other for other in runs if other is not run]) for run in runs]
    best_run = best(runs, verdicts)
    reader = next((scored.scored_by for scored in lab.scored_prompts), "")
    before = [line for line in read_lines() if line["of"] == name and line["base"] == lab.base.fingerprint
              and line.get("scored_by", reader) == reader]
    known = {line["run"]: line["accepted"] for line in before}
    asked = {words for scored in lab.scored_prompts if scored.name == "validation" for words in scored.words}
    found = []
    for run, verdict in zip(runs, verdicts, strict=True):
        is_best, shares = run is best_run, known.get(run.run_id, {})
        if len(shares) < 1 + is_best:
            shares = drawn(lab, run, is_best)
        found.append({"of": name, "run": run.run_id, "base": lab.base.fingerprint, "design": design(run.config),
                      "verdict": verdict.label, "is_best": is_best, "asked": len(asked), "accepted": shares,
                      "scored_by": reader})
        done = {line["run"] for line in found}
        write_lines(name, [*found, *(line for line in before if line["run"] not in done)])
    write_lines(name, found)


def measure_presets(store, train=True):
    """Train each design of the panel with all seeds, or take the runs that are there, and keep its verdicts."""
    from labkit.lab import Lab
    lab, found = Lab(data=POOLS, store=store), []
    for name, preset in PRESETS.items():
        plan = lab.plan([lab.config(preset.changes, seed=seed) for seed in SEEDS])
        for _ in lab.sweep(plan if train else {}, monitor=lab.monitor(pictures=0)):
            pass
        for run_id, config in plan.items():
            if lab.store.run(run_id).status not in COMPLETE:
                continue
            verdict = diagnose(lab.store.run(run_id).load())
            found.append({"of": PRESETS_PART, "run": run_id, "base": lab.base.fingerprint, "preset": name,
                          "seed": config.seed, "verdict": verdict.label, "confidence": round(verdict.confidence, 2)})
        if found:
            write_lines(PRESETS_PART, found)


def main():
    """Measure the parts that the command line names, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = (*LESSONS, PRESETS_PART)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {'; '.join(parts)}: all by default")
    parser.add_argument("--work", type=Path, default=DATA.parent / "out" / "recorded",
                        help="where runs are trained (default out/recorded in the checkout)")
    parser.add_argument("--trained", action="store_true", help="of the panel's designs, tell only of trained runs")
    options = parser.parse_args()
    for part in options.parts:
        if part not in parts:
            parser.error(f"{part!r} is not one of {'; '.join(parts)}")
    os.environ["LABKIT_STORE"] = str(options.work / "lessons")
    compute_in_float32()
    for part in options.parts or parts:
        if part == PRESETS_PART:
            # Where `recipes.ship.recorded presets` finds its runs.
            measure_presets(options.work / "presets", train=not options.trained)
        else:
            measure_lesson(part)
        write_tables(json.loads(MEASURED.read_text()))


if __name__ == "__main__":
    main()
