"""Every run of a store with its verdict: a journal is read and judged once, and not again as long as it stays as it is.

Of a run's siblings the best alone can bear on its verdict, so each run is judged beside that one: the work grows with the
number of runs and not with their pairs. What was found is kept in the cache folder, a file for each store.
"""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np

from labkit.atomic import write_file
from labkit.content import identity, sha256_of_texts
from labkit.errors import LabError, LabWarning
from labkit.history import History
from labkit.paths import cache_dir
from labkit.report import entry

FAMILY = ("base_fingerprint", "data_fingerprint", "measured_fingerprint")  # siblings are on the same base and pictures


def entries(store) -> list[dict]:
    """Return `report.entry` of every run that can be read, oldest first, each judged beside its best sibling; warn of the others."""
    file = cache_dir() / "verdicts" / f"{sha256_of_texts([store.root.resolve()])[:16]}.json"
    before, now, statuses, read = _kept(file), {}, {}, _Read(store)
    for folder in store.runs():
        name = folder.run_id
        try:
            statuses[name] = folder.status
            is_as = [identity(path) if path.exists() else None for path in (folder.path / "config.json", folder.events_path)]
            known = before.get(name)
            now[name] = dict(known) if known and known["is"] == is_as else {"is": is_as, "curve": _curve(read(name))}
        except LabError as error:
            warnings.warn(str(error), LabWarning, stacklevel=2)
    best = best_siblings({name: known["curve"] for name, known in now.items()})
    for name, known in now.items():
        beside = best.get(name)
        if "entry" not in known or known["beside"] != beside:
            known |= {"beside": beside, "entry": entry(read(name), siblings=[read(beside[0])] if beside else [])}
    if now != before:
        _keep(file, now)
    return [known["entry"] | {"status": statuses[name]} for name, known in now.items()]


class _Read:
    """Read the history of each run once at most."""

    def __init__(self, store):
        self.store, self.histories = store, {}

    def __call__(self, name) -> History:
        if name not in self.histories:
            self.histories[name] = self.store.run(name).history()
        return self.histories[name]


def best_siblings(curves: dict[str, dict]) -> dict[str, list]:
    """Return, by run id, the sibling that had gained most at the run's last evaluation, and how much; a run without one is left out."""
    families, best = {}, {}
    for name, curve in curves.items():
        if curve["family"]:
            families.setdefault(curve["family"], []).append(name)
    for names in families.values():
        able = [name for name in names if curves[name]["means"]]
        ends = np.array(sorted({curves[name]["last"] for name in names}), dtype=np.float64)
        gains = np.full((len(able), len(ends)), -np.inf)
        for row, name in enumerate(able):
            steps, means = curves[name]["steps"], curves[name]["means"]
            gains[row] = np.where(ends <= steps[-1], means[0] - np.interp(ends, steps, means), -np.inf)
        leaders = np.argsort(-gains, axis=0, kind="stable")[:2] if able else gains      # for the best run itself, the second
        for name in names:
            column = int(np.searchsorted(ends, curves[name]["last"]))
            for row in leaders[:, column]:
                if able[row] != name and gains[row, column] > -np.inf:
                    best[name] = [able[row], float(gains[row, column])]
                    break
    return best


def _curve(history) -> dict:
    """Return the mean held-out loss of a run, and what makes runs comparable; `means` only where others may be held against it."""
    curve = history.validations.get("validation")
    if curve is None:
        return {"family": None}
    family = sha256_of_texts([*(history.meta.get(name) for name in FAMILY), history.timesteps["validation"].tolist()])
    is_able = curve.steps[0] == 0 and bool(np.isfinite(curve.losses).all())
    return {"family": family, "last": int(curve.steps[-1]), "steps": curve.steps.tolist(), "means": curve.means.tolist() if is_able else None}


# -- what was found, kept in a file whose first line is the checksum of the rest

def _kept(file) -> dict:
    """Return what was kept by this very code; {} where there is nothing or it is damaged."""
    try:
        checksum, _, data = file.read_bytes().partition(b"\n")
        if checksum.decode() != _checksum(data):
            return {}
        return json.loads(data)
    except (OSError, ValueError):
        return {}


def _keep(file, found):
    data = json.dumps(found).encode()
    try:
        write_file(file, _checksum(data).encode() + b"\n" + data)
    except LabError:                                          # a full disk costs only the time to judge again
        pass


def _checksum(data: bytes) -> str:
    """Return the checksum of what is kept, together with all code of the kit, which may judge otherwise when it changes."""
    digest = hashlib.sha256(data)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
