"""List every run of a store with its verdict, from its cached findings and those of its best sibling.

Of a run's siblings only the best one affects its verdict, so the work grows with the runs and not with their pairs.
"""

import warnings
from collections.abc import Mapping

import numpy as np

from labkit.errors import LabError, LabWarning
from labkit.judge.diagnose import Verdict, gain_at, verdict
from labkit.judge.findings import Findings
from labkit.judge.kept import Known, cached_findings
from labkit.store.runs import Store


def entries(store: Store) -> list[dict]:
    """Return the `entry` of every readable run, oldest first, judged beside its best sibling; warn of the others."""
    runs: dict[str, Known] = {}
    statuses = {}
    for folder in store.runs():
        try:
            statuses[folder.run_id], runs[folder.run_id] = folder.status, cached_findings(folder)
        except LabError as error:
            warnings.warn(str(error), LabWarning, stacklevel=2)
    best = best_siblings({name: run.findings for name, run in runs.items()})
    return [entry(name, statuses[name], verdict(run.findings, best.get(name)), run.config)
            for name, run in runs.items()]


def entry(run_id: str, status: str, verdict: Verdict, config: Mapping, lesson: str = "") -> dict:
    """Return the row of one run, in a form that strict JSON keeps. config: its settings with the scaling."""
    return {"id": run_id, "lesson": lesson, "status": status, **verdict.to_dict(), "config": config}


def best_siblings(findings: Mapping[str, Findings]) -> dict[str, np.ndarray]:
    """Return, by run id, what the best sibling had gained on each picture (images,) at the run's last evaluation.

    findings: by run id. A run without such a sibling is left out.
    """
    families: dict[str, list[str]] = {}
    for name, results in findings.items():
        if results.family:
            families.setdefault(results.family, []).append(name)
    best: dict[str, np.ndarray] = {}
    for names in families.values():
        best |= _best_of_family({name: findings[name] for name in names})
    return best


def _best_of_family(findings: Mapping[str, Findings]) -> dict[str, np.ndarray]:
    last_steps = {name: results.evidence["last_step"] for name, results in findings.items() if results.is_drawn}
    names, steps, losses = _comparable(findings)
    ends = np.array(sorted(set(last_steps.values())))
    gains = np.full((len(names), len(ends)), -np.inf)
    for row, curve in enumerate(losses):
        means = curve.mean(axis=1)
        gains[row] = np.where(ends <= steps[row][-1], means[0] - np.interp(ends, steps[row], means), -np.inf)
    leaders = np.argsort(-gains, axis=0, kind="stable")[:2]   # for the best run itself, the second
    best: dict[str, np.ndarray] = {}
    by_picture: dict[tuple[int, int], np.ndarray] = {}
    for name, end in last_steps.items():
        column = int(np.searchsorted(ends, end))
        for row in leaders[:, column].tolist():
            if names[row] != name and gains[row, column] > -np.inf:
                if (row, end) not in by_picture:
                    by_picture[row, end] = gain_at(end, steps[row], losses[row])
                best[name] = by_picture[row, end]
                break
    return best


def _comparable(findings: Mapping[str, Findings]) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Return names, steps and losses of the runs that others may be compared with."""
    names, steps, losses = [], [], []
    for name, results in findings.items():
        if results.steps is not None and results.losses is not None:
            names.append(name)
            steps.append(results.steps)
            losses.append(results.losses)
    return names, steps, losses
