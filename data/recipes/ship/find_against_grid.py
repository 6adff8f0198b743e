"""Hold `labkit find` against a full grid of rates: `python -m recipes.ship.find_against_grid`.

Start it in the folder data. For each seed and territory it trains the grid, every rung of the ladder in as few passes
as memory allows, into a store. Then `find` is played on these runs: it is shown each of them as far as it would have
trained it, leaves and calls rungs in by its own rules, and its cost is the updates that it asked for. That is what a
race trains by itself, as tests/recipes/test_find_against_grid.py shows, so nothing is trained twice.

A run has half the updates of `find`'s own default: the looks are shares of a run, and after fewer updates rates are
harder to tell apart, so that more of them come in and less is saved. It uses one thread; start it once. What was
measured is kept after each repetition, so that it goes on where it was stopped; `--table` prints the table of what is
kept, and `--again` plays the runs in the store anew, after a change of the rules, and trains nothing.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from labkit.design.proposal import EMBEDDED, START_RATE
from labkit.engine.base_files import find_base
from labkit.experiments.find_rate import LADDER, Race, find_rate, found
from labkit.experiments.race_track import LabTrack
from labkit.judge.compare import final_losses
from labkit.judge.findings import picture_losses
from labkit.judge.stats import LEVEL, interval_of, t_interval, wilson
from recipes.ship.float32 import compute_in_float32
from recipes.ship.markdown import percent, table

DATA = Path(__file__).resolve().parents[2]
TERRITORIES = ("liminal/kind=pool", "near")
REPETITIONS, UPDATES = 20, 50


def measured(lab, seed, updates, trains=True):
    """Train the grid of a seed, or find it in the lab's store, and play a race on it; return where both ended.

    trains    LabError where a run is missing and this is false
    """
    config = lab.config({"max_train_steps": updates, "seed": seed})
    monitor = monitor_of(lab, updates)
    grid = LabTrack(lab, config, monitor, stop=lambda: not trains)
    grid.advance(LADDER, updates)
    race = played(lab, config, monitor)
    ended, ends = found(race), {rate: final_losses(grid.run(rate, updates)) for rate in LADDER}
    best = min(ends, key=lambda rate: ends[rate].mean())
    above = {rate: interval_of(losses - ends[best], 1 - (1 - LEVEL) / (len(ends) - 1)) for rate, losses in ends.items()
             if rate != best and np.isfinite(losses).all()}
    gain = float((picture_losses(grid.run(best, updates).validations["validation"])[0] - ends[best]).mean())
    made = sum(_made(grid.run(rate, updates), updates) for rate in LADDER)
    return {"base": lab.base.fingerprint, "seed": seed, "updates": updates, "grid_best": best,
            "grid_alike": [best, *(rate for rate, interval in above.items() if interval.low <= 0)],
            "rate": ended.rate, "low": ended.low, "high": ended.high, "is_bracketed": ended.is_bracketed,
            "lost": float((ends[ended.rate] - ends[best]).mean()) / gain, "race_rungs": len(race.racers),
            "race_updates": race.spent, "grid_updates": made}


def monitor_of(lab, updates):
    """Return what the verb `find` measures, and when."""
    return lab.monitor(pictures=0, scored=0, sets=("validation", "probe"),
                       validate_at=Race(None, updates).measured_at())


def played(lab, config, monitor):
    """Return a race over runs that are all in the lab's store; LabError, and nothing is trained, where one is not."""
    track = LabTrack(lab, config, monitor, stop=lambda: True)
    return find_rate(Race(track, config.steps), START_RATE[EMBEDDED])


def _made(run, updates):
    return run.stopped.global_step if run.status == "diverged" else updates


# -- the table


def summary(results):
    """Return a table: a row a territory, shares and means over repetitions with their 95 % intervals."""
    rows = []
    for name, lines in results.items():
        right = np.mean([line["rate"] in line["grid_alike"] for line in lines])
        inside = np.mean([line["low"] <= line["grid_best"] <= line["high"] for line in lines])
        saved = t_interval([1 - line["race_updates"] / line["grid_updates"] for line in lines])
        times = t_interval([line["grid_updates"] / line["race_updates"] for line in lines])
        rungs = t_interval([line["race_rungs"] for line in lines])
        rows.append([name, len(lines), *(percent((share, *wilson(share, len(lines)))) for share in (right, inside)),
                     percent(t_interval([line["lost"] for line in lines])), percent(saved), _plain(times),
                     _plain(rungs)])
    return table(["territory", "repetitions", "rate as good as the grid's best", "grid's best within the interval",
                  "gain lost", "updates saved", "times fewer updates", f"rungs tried, of {len(LADDER)}"], rows)


def _plain(interval):
    middle, low, high = interval
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main():
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"seeds (default {REPETITIONS})")
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"of a run (default {UPDATES})")
    parser.add_argument("--work", type=Path, default=DATA.parent / "out" / "find_against_grid",
                        help="where runs are trained (default out/find_against_grid in the checkout)")
    parser.add_argument("--out", type=Path, default=DATA / "studies" / "find_against_grid.json",
                        help="where what was measured is kept (default studies/find_against_grid.json)")
    parser.add_argument("--table", action="store_true", help="print the table of what is kept, and train nothing")
    parser.add_argument("--again", action="store_true", help="play the runs in the store anew, and train nothing")
    options = parser.parse_args()
    results = {} if options.again else of_this_base(kept(options.out))
    if not options.table:
        os.environ["LABKIT_THREADS"] = "1"
        compute_in_float32()
        print(needs(results, options), flush=True)
        measure(results, options)
    print(summary(of(results, options.updates)))


def kept(path):
    """Return what was measured so far, by territory."""
    return json.loads(path.read_text()) if path.exists() else {}


def of_this_base(results):
    """Return what was measured with the base that ships."""
    ours = find_base().fingerprint()
    return {name: [line for line in lines if line.get("base") == ours] for name, lines in results.items()}


def of(results, updates):
    """Return what was measured of runs of one length, where there is any."""
    chosen = {name: [line for line in lines if line["updates"] == updates] for name, lines in results.items()}
    return {name: lines for name, lines in chosen.items() if lines}


def missing(results, options):
    """Return (seed, territory) of each repetition that is not among the results."""
    done = {(line["seed"], name) for name, lines in results.items() for line in lines
            if line["updates"] == options.updates}
    pairs = [(seed, name) for seed in range(options.repetitions) for name in TERRITORIES]
    return [pair for pair in pairs if pair not in done]


def needs(results, options):
    """Say how many updates of single runs are still to be made, at most: a run that diverges makes fewer.

    With them how often these are measured, as `find` does it: on a CPU that is a large part of the time.
    """
    runs, left = len(LADDER), len(missing(results, options))
    times = len(Race(None, options.updates).measured_at())
    return (f"{left} of {options.repetitions * len(TERRITORIES)} repetitions are missing; each is a grid of {runs} "
            f"rungs x {options.updates} updates, so that they need at most {left * runs * options.updates:,} "
            f"run-steps, and {left * runs * times:,} measurements of held-out and training pictures.")


def measure(results, options):
    """Measure each seed on each territory that is missing, and keep it at once."""
    from labkit.lab import Lab  # loads torch, for which LABKIT_THREADS comes first

    labs = {}
    for seed, name in missing(results, options):
        lab = labs.setdefault(name, Lab(data=name, store=options.work / name.replace("/", "-")))
        lines = results.setdefault(name, [])
        lines.append(measured(lab, seed, options.updates, trains=not options.again))
        if not options.again:                                 # what is there stays until all of it was played anew
            keep(results, options.out)
        print(f"{name}, seed {seed}: {lines[-1]}", flush=True)
    keep(results, options.out)


def keep(results, path):
    """Write what was measured so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
