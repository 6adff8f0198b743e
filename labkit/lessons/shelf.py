"""The shelf: past runs side by side, what differs from the baseline marked, some of them pinned."""

import threading

from labkit.errors import LabError
from labkit.judge.diagnose import diagnose
from labkit.view.cards import shelf_table
from labkit.view.race_data import MOST

SHOWN = 12                                                            # runs; more would not be read


class RunShelf:
    """Keep the runs of one base and one territory as a table.

    Shows itself in a notebook. Runs come from a store (the latest ones) and from `add`.
    """

    def __init__(self, store=None, *, base="embedded", data="liminal", shown=SHOWN):
        """Read the latest runs of a store that have ended, if one is given; show at most `shown` of them."""
        self._runs, self._pins, self.current, self.shown = {}, {}, None, shown
        self._lock, self._judged = threading.RLock(), None
        for run in store.load_runs(last=3 * shown) if store else ():
            has_ended = run.status in ("finished", "diverged", "stopped")
            if has_ended and (run.config.base, run.config.data) == (base, data):
                self._runs[run.run_id] = run

    @property
    def runs(self) -> list:
        """Return the runs on the shelf, oldest first."""
        runs = list(self._runs.values())[-self.shown:]
        shown = {run.run_id for run in runs}
        return [*(run for run in self.pins if run.run_id not in shown), *runs]

    @property
    def pins(self) -> list:
        """Return the pinned runs, in the order in which they were pinned."""
        return list(self._pins.values())

    @property
    def pinned(self):
        """Return the run that was pinned last, the baseline; None where none is."""
        return next(reversed(self._pins.values()), None)

    def run(self, run_id: str):
        """Return a run of the shelf; LabError: it is not there."""
        found = self._runs.get(run_id) or self._pins.get(run_id)
        if found is None:
            raise LabError(f"The run {run_id} is not on this shelf: open the panel anew to see what the store has.")
        return found

    def add(self, run) -> None:
        """Put a run on the shelf, or back on top."""
        with self._lock:
            self._runs.pop(run.run_id, None)
            self._runs[run.run_id] = self.current = run
            self._judged = None

    def pin(self, run) -> None:
        """Keep a run in sight, as the baseline; pinning it again takes the pin off.

        LabError: as many as are told apart are pinned.
        """
        with self._lock:
            if self._pins.pop(run.run_id, None) is None:
                if len(self._pins) == MOST:
                    raise LabError(f"{MOST} runs are pinned, and more are not told apart: take a pin off first.")
                self._pins[run.run_id] = run
            self._judged = None

    def judged(self) -> list:
        """Return (run, verdict) of the runs on the shelf that were measured, oldest first."""
        with self._lock:
            if self._judged is None:
                runs = [run for run in self.runs if "validation" in run.validations]
                self._judged = [(run, diagnose(run, runs)) for run in runs]
            return self._judged

    def table(self) -> str:
        """Return the table as HTML."""
        with self._lock:
            judged = self.judged()
            pinned = self.pinned.run_id if self.pinned else None
            current = self.current.run_id if self.current else None
            return shelf_table([run for run, _ in judged], [verdict for _, verdict in judged], baseline=pinned,
                               pinned=set(self._pins), current=current)

    def _repr_html_(self):
        return self.table()
