"""Every run of a store with its verdict: the findings of each are made once, and held against its best sibling each time.

Of a run's siblings the best alone can bear on its verdict: the work grows with the runs and not with their pairs.
"""

import warnings

import numpy as np

from labkit.errors import LabError, LabWarning
from labkit.judge.diagnose import gain_at, verdict
from labkit.judge.kept import known


def entries(store) -> list[dict]:
    """Return the `entry` of every run that can be read, oldest first, beside its best sibling; warn of the others."""
    found, statuses = {}, {}
    for folder in store.runs():
        try:
            statuses[folder.run_id], found[folder.run_id] = folder.status, known(folder)
        except LabError as error:
            warnings.warn(str(error), LabWarning, stacklevel=2)
    best = best_siblings({name: of.findings for name, of in found.items()})
    return [entry(name, statuses[name], verdict(of.findings, best.get(name)), of.config) for name, of in found.items()]


def entry(run_id, status, verdict, config, lesson="") -> dict:
    """Return what is said of one run in a form that strict JSON keeps. config: its settings with the scaling."""
    return {"id": run_id, "lesson": lesson, "status": status, **verdict.to_dict(), "config": config}


def best_siblings(findings: dict) -> dict[str, np.ndarray]:
    """Return, by run id, what the best sibling had gained on each picture (images,) at the run's last evaluation.

    findings: `labkit.judge.findings.Findings` by run id. A run that is not judged beside any is left out.
    """
    families = {}
    for name, found in findings.items():
        if found.family:
            families.setdefault(found.family, []).append(name)
    best = {}
    for names in families.values():
        best |= _best_of_family({name: findings[name] for name in names})
    return best


def _best_of_family(findings):
    judged = {name: found.evidence["last_step"] for name, found in findings.items() if found.gains is not None}
    able = [(name, found) for name, found in findings.items() if found.losses is not None]
    ends = np.array(sorted(set(judged.values())))
    gains = np.full((len(able), len(ends)), -np.inf)
    for row, (_, found) in enumerate(able):
        means = found.losses.mean(axis=1)
        gains[row] = np.where(ends <= found.steps[-1], means[0] - np.interp(ends, found.steps, means), -np.inf)
    leaders = np.argsort(-gains, axis=0, kind="stable")[:2]   # for the best run itself, the second
    best, known = {}, {}
    for name, end in judged.items():
        column = int(np.searchsorted(ends, end))
        for row in leaders[:, column].tolist():
            if able[row][0] != name and gains[row, column] > -np.inf:
                if (row, end) not in known:
                    known[row, end] = gain_at(end, able[row][1].steps, able[row][1].losses)
                best[name] = known[row, end]
                break
    return best
