"""The shelf: past runs side by side, what differs from the baseline marked, some of them pinned."""

import threading

from labkit.judge.diagnose import diagnose
from labkit.view.cards import shelf_table

SHOWN = 12                                                            # runs; more would not be read


class RunShelf:
    """Keep the runs of one base and one territory as a table.

    Shows itself in a notebook; `.widget` is the same table, kept up to date. Runs come from a store (the latest ones)
    and from `add`.
    """

    def __init__(self, store=None, *, base="embedded", data="liminal", shown=SHOWN):
        """Read the latest runs of a store that have ended, if one is given; show at most `shown` of them."""
        self._runs, self.pinned, self.current, self.shown = {}, None, None, shown
        self._html, self._lock = None, threading.RLock()
        for run in store.load_runs(last=3 * shown) if store else ():
            has_ended = run.status in ("finished", "diverged", "stopped")
            if has_ended and (run.config.base, run.config.data) == (base, data):
                self._runs[run.run_id] = run

    @property
    def runs(self) -> list:
        """Return the runs on the shelf, oldest first."""
        runs = list(self._runs.values())[-self.shown:]
        is_shown = self.pinned is None or self.pinned.run_id in {run.run_id for run in runs}
        return runs if is_shown else [self.pinned, *runs]

    def add(self, run) -> None:
        """Put a run on the shelf, or back on top."""
        with self._lock:
            self._runs.pop(run.run_id, None)
            self._runs[run.run_id] = self.current = run
        self.refresh()

    def pin(self, run) -> None:
        """Make a run the baseline; pinning it again takes the pin off."""
        with self._lock:
            self.pinned = None if self.pinned and self.pinned.run_id == run.run_id else run
        self.refresh()

    def table(self) -> str:
        """Return the table as HTML."""
        with self._lock:
            runs = [run for run in self.runs if run.validations]
            verdicts = [diagnose(run, runs) for run in runs]
            pinned = self.pinned.run_id if self.pinned else None
            current = self.current.run_id if self.current else None
            return shelf_table(runs, verdicts, baseline=pinned, pinned=(pinned,), current=current)

    def refresh(self) -> None:
        """Redraw the table where it is shown."""
        if self._html is not None:
            self._html.value = self.table()

    @property
    def widget(self):
        """Return the table as a widget."""
        if self._html is None:
            import ipywidgets  # the table as HTML does without

            self._html = ipywidgets.HTML(self.table())
            self._html.add_class("lab-shelf")
        return self._html

    def _repr_html_(self):
        return self.table()
