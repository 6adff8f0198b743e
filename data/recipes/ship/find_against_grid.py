"""Hold `labkit find` against a full grid of rates: `python -m recipes.ship.find_against_grid --repetitions 20`.

Start it in the folder data. For each seed and territory it trains the grid, every rung of the ladder in as few passes
as memory allows, then a race in a store of its own, which finds nothing there, then one run alone. It uses one
thread. What was measured is kept after each repetition, so that it goes on where it was stopped; the table is written
at the end, and by `--table` alone.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

from labkit.design.proposal import EMBEDDED, START_RATE
from labkit.experiments.find_rate import LADDER, Race, find_rate, found
from labkit.experiments.race_track import LabTrack
from labkit.judge.findings import picture_losses
from labkit.judge.stats import LEVEL, interval_of, t_interval, wilson
from recipes.ship.markdown import percent, table

DATA = Path(__file__).resolve().parents[2]
TERRITORIES = ("liminal", "near")
UPDATES = 100


def measured(lab, seed, updates, work):
    """Train a grid, a race and one run alone with a seed; return what each took and where it ended."""
    config = lab.config({"max_train_steps": updates, "seed": seed})
    race = Race(None, updates)
    monitor = lab.monitor(pictures=0, scored=0, sets=("validation", "probe"), validate_at=race.measured_at())
    grid, grid_s = _timed(lambda: _advanced(lab, config, monitor, work / "grid", LADDER, updates))
    race.track = LabTrack(_in_store(lab, work / "race"), config, monitor)
    _, race_s = _timed(lambda: find_rate(race, START_RATE[EMBEDDED]))
    alone = min(LADDER, key=lambda rate: abs(rate - START_RATE[EMBEDDED]))
    _, alone_s = _timed(lambda: _advanced(lab, config, monitor, work / "alone", [alone], updates))
    ended, ends = found(race), {rate: _end(grid.run(rate, updates)) for rate in LADDER}
    best = min(ends, key=lambda rate: ends[rate].mean())
    above = {rate: interval_of(losses - ends[best], 1 - (1 - LEVEL) / (len(ends) - 1)) for rate, losses in ends.items()
             if rate != best and np.isfinite(losses).all()}
    gain = float((picture_losses(grid.run(best, updates).validations["validation"])[0] - ends[best]).mean())
    made = sum(_made(grid.run(rate, updates), updates) for rate in LADDER)
    return {"seed": seed, "updates": updates, "grid_best": best,
            "grid_alike": [best, *(rate for rate, interval in above.items() if interval.low <= 0)],
            "rate": ended.rate, "low": ended.low, "high": ended.high, "is_bracketed": ended.is_bracketed,
            "lost": float((ends[ended.rate] - ends[best]).mean()) / gain, "race_updates": race.spent,
            "grid_updates": made, "race_s": race_s, "grid_s": grid_s, "alone_s": alone_s}


def _in_store(lab, place):
    """Return the lab with an empty store."""
    from labkit.lab import Lab  # loads torch

    shutil.rmtree(place, ignore_errors=True)
    return Lab(lab.base, lab.territory, cache=lab.cache, store=place, max_rows=lab.max_rows, monitor=lab.usual)


def _advanced(lab, config, monitor, place, rates, updates):
    """Train runs of these rates to their end in a store of their own, and return the track that knows them."""
    track = LabTrack(_in_store(lab, place), config, monitor)
    track.advance(rates, updates)
    return track


def _timed(do):
    begun = time.perf_counter()
    return do(), time.perf_counter() - begun


def _end(run):
    """Return the held-out losses (images,) at the end; infinite where the run broke."""
    losses = picture_losses(run.validations["validation"])[-1]
    return np.full_like(losses, np.inf) if run.status == "diverged" else losses


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
        one_by_one = [line["alone_s"] * line["grid_updates"] / line["updates"] for line in lines]
        faster = np.array([line["grid_s"] for line in lines]), np.array(one_by_one)
        race_s = np.array([line["race_s"] for line in lines])
        rows.append([name, len(lines), *(percent((share, *wilson(share, len(lines)))) for share in (right, inside)),
                     percent(t_interval([line["lost"] for line in lines])), percent(saved),
                     *(_times(other / race_s) for other in faster), f"{race_s.mean():.0f} s"])
    return table(["territory", "repetitions", "rate as good as the grid's best", "grid's best within the interval",
                  "gain lost", "updates saved", "faster than the grid in one pass", "than the grid one by one",
                  "a race"], rows)


def _times(ratios):
    middle, low, high = t_interval(ratios)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main():
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20, help="seeds (default 20)")
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"of a run (default {UPDATES})")
    parser.add_argument("--work", type=Path, default=DATA.parent / "out" / "find_against_grid",
                        help="where runs are trained (default out/find_against_grid in the checkout)")
    parser.add_argument("--out", type=Path, default=DATA / "studies" / "find_against_grid.json",
                        help="where what was measured is kept (default studies/find_against_grid.json)")
    parser.add_argument("--table", action="store_true", help="print the table of what is kept, and train nothing")
    options = parser.parse_args()
    results = kept(options.out)
    if not options.table:
        os.environ["LABKIT_THREADS"] = "1"
        measure(results, options)
    print(summary(results))


def kept(path):
    """Return what was measured so far, by territory."""
    return json.loads(path.read_text()) if path.exists() else {}


def measure(results, options):
    """Measure each seed on each territory that is missing, and keep it at once."""
    from labkit.lab import Lab  # loads torch, for which LABKIT_THREADS comes first

    labs = {}
    for seed in range(options.repetitions):
        for name in TERRITORIES:
            lines = results.setdefault(name, [])
            if any((line["seed"], line["updates"]) == (seed, options.updates) for line in lines):
                continue
            lab = labs.setdefault(name, Lab(data=name))
            lines.append(measured(lab, seed, options.updates, options.work / name))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{name}, seed {seed}: {lines[-1]}", flush=True)


if __name__ == "__main__":
    main()
