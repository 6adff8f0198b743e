"""Hold the verdicts' thresholds against recorded runs of several seeds: `python -m recipes.ship.thresholds`.

Start it in the folder data. It prints, for LOG.md, what each preset's runs were judged, and how many verdicts of all
recorded runs change when one threshold is halved or doubled: a threshold that few verdicts hang on is a safe one.
"""

from collections import Counter
from unittest import mock

from labkit.design.presets import PRESETS
from labkit.judge import diagnose, findings
from labkit.store.recorded import recorded
from recipes.ship.markdown import table

THRESHOLDS = ("DIVERGED_FACTOR", "RISE_OF_GAIN", "SHARED_RISE", "NEGLIGIBLE", "LITTLE", "PROPORTIONAL",
              "OF_BEST_SIBLING", "FAR_BELOW_SIBLING", "MIN_UPDATES", "MIN_CONFIDENCE")
SETS = ("u_curve", "presets")


def verdicts():
    """Return {(set, run id): verdict} of all recorded runs, each beside the others of its set."""
    sets = {name: recorded(name) for name in SETS}
    return {(name, run.run_id): diagnose.diagnose(run, runs) for name, runs in sets.items() for run in runs}


def presets():
    """Return a table: every preset with the verdict of each of its seeds, and the confidence."""
    runs, rows = recorded("presets"), []
    for name, preset in PRESETS.items():
        own = [run for run in runs
               if all(getattr(run.config, field) == value for field, value in preset.changes.items())]
        found = [diagnose.diagnose(run, runs) for run in sorted(own, key=lambda run: run.config.seed)]
        rows.append([name, *(f"{verdict.label} ({verdict.confidence:.2f})" for verdict in found)])
    return table(["preset", "seed 0", "seed 1", "seed 2"], rows)


def changed(as_they_are):
    """Return a table: how many verdicts change when a threshold is halved or doubled, and from what to what."""
    rows = []
    for name in THRESHOLDS:
        home = diagnose if hasattr(diagnose, name) else findings
        value = getattr(home, name)
        row = [f"`{name}`", f"{value:g}"]
        for other in (value / 2, min(2 * value, 0.99) if name == "MIN_CONFIDENCE" else 2 * value):
            with mock.patch.object(home, name, other):
                moved = [(verdict.label, as_they_are[key].label) for key, verdict in verdicts().items()
                         if verdict.label != as_they_are[key].label]
            kinds = Counter(moved).items()
            row.append(f"{len(moved)}" + "".join(f"; {count} {old} to {new}" for (new, old), count in kinds))
        rows.append(row)
    return table(["threshold", "value", "halved", "doubled"], rows)


if __name__ == "__main__":
    found = verdicts()
    print(presets())
    print(f"{len(found)} recorded runs: {dict(Counter(verdict.label for verdict in found.values()))}\n")
    print(changed(found))
