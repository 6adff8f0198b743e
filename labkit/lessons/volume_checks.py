"""Checks of answers about epochs and batches, against the records of a learner's own runs."""

import math

from labkit.design import volume as plan
from labkit.errors import LabError
from labkit.experiments.turning_points import boundary
from labkit.lessons.exercises import Checks, Result, check
from labkit.text import counted


class VolumeChecks(Checks):
    """Check plans and turning points beside what `Checks` does."""

    @check
    def volume(self, updates, run, *, n_train: int, views: int, batch: int) -> Result:
        """Check that `run` used so many pictures, `batch` an update, showed each so often, and made the updates that were predicted for it."""
        if updates is None:
            raise LabError("There is no prediction yet: how many updates will the run make?")
        run = self._own(run)
        config, made = run.config, int(run.steps["global_step"][-1])
        shown = int(run.steps["samples_seen"][-1])
        if config.n_train != n_train:
            raise LabError(f"The run used {config.n_train} pictures, not {n_train}: set n_train.")
        if config.effective_batch_size != batch:
            raise LabError(f"The run took {config.effective_batch_size} pictures at a time, not {batch}: set train_batch_size.")
        if shown != n_train * views:
            raise LabError(f"The run showed {shown:,} pictures, each {shown / n_train:.3g} times, not {views}: {views} epochs do it.")
        if _number(updates) != made:
            raise LabError(f"You said {updates}; the run made {counted(made, 'update')}. How many pictures did each of them take?")
        return f"{counted(made, 'update')} of {config.effective_batch_size} showed {shown:,} pictures, each of {n_train} exactly {views} times, as predicted."

    @check
    def turning(self, answer, run) -> Result:
        """Check that `answer` is the update of the lowest held-out loss of `run`, within the interval of its record."""
        run = self._own(run)
        time = boundary(run)["validation"]
        if not math.isfinite(time.step):
            raise LabError(f"The held-out loss of this run is lowest at its end, so it has not turned: {time.text()}. Use fewer pictures or more updates.")
        passes = plan.views(time.step, run.config.effective_batch_size, run.config.n_train)
        if answer is None:
            raise LabError("There is no answer yet: at which update is the held-out loss lowest?")
        if not time.low <= _number(answer) <= time.high:
            raise LabError(f"{answer} is not where this run turned: look for the lowest point of the line of held-out pictures, not of the training pictures.")
        return f"The held-out loss was lowest at update {time.text()}, after {passes:.3g} epochs: that is the checkpoint to keep."


def _number(answer) -> float:
    """Return an answer as a number; not a number where it is none."""
    try:
        return float(answer)
    except (TypeError, ValueError):
        return math.nan
