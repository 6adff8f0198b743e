"""Checks of a newcomer's first answers: what a run forgot, where its curve was, and how to break it."""

import numpy as np

from labkit.errors import LabError
from labkit.judge.stats import by_picture, interval_of, paired_difference
from labkit.lessons.exercises import Checks, Result, check, given_differently, with_interval
from labkit.text import counted

RISES, FALLS, STAYS = "rises", "falls", "stays"


class FirstChecks(Checks):
    """Check answers about one short run beside what `Checks` does."""

    @check
    def forgetting(self, answer, run) -> Result:
        """Check whether the loss on ordinary pictures 'rises', 'falls' or 'stays' (its change's 95 % interval holds nought)."""
        run = self._own(run)
        if answer is None:
            raise LabError(f"There is no prediction yet: '{RISES}', '{FALLS}' or '{STAYS}'?")
        if answer not in (RISES, FALLS, STAYS):
            raise LabError(f"{answer!r} is none of '{RISES}', '{FALLS}' and '{STAYS}'.")
        if "ordinary" not in run.validations:
            raise LabError(f"Run {run.run_id} was trained without measuring ordinary pictures: train it again with the usual measurements.")
        change = _change(run, "ordinary")
        seen = f"the loss on ordinary pictures changed by {with_interval(change)}"
        right = RISES if change.low > 0 else FALLS if change.high < 0 else STAYS
        if answer != right:
            raise LabError(f"Not so: {seen}. Why? Then put down what it did.")
        return f"As you say, it {right}: {seen}, in {counted(len(run.steps['global_step']), 'update')} on other places."

    @check
    def half_way(self, answer, run) -> Result:
        """Check that `answer` is the update at which half of the final fall of the held-out loss was made, as nearly as the record tells."""
        run = self._own(run)
        if answer is None:
            raise LabError("There is no answer yet: a number of updates, read off the curve.")
        measured = run.validations["validation"]
        if not _change(run).high < 0:
            raise LabError("The held-out loss of this run has not fallen beyond noise, so there is no half of it: train a run that learns.")
        half = (by_picture(measured.losses[0]) + by_picture(measured.losses[-1])) / 2
        above = [interval_of(by_picture(losses) - half) for losses in measured.losses]
        before = max(step for step, left in zip(measured.steps, above) if left.low > 0)
        after = min(step for step, left in zip(measured.steps, above) if left.high < 0 and step > before)
        try:
            right = before < float(answer) <= after
        except (TypeError, ValueError):
            raise LabError(f"{answer!r} is not a number of updates.") from None
        if not right:
            raise LabError(f"At {answer} the curve of held-out pictures was not half of the way down: where is the height midway between its two ends?")
        return (f"The loss fell from {measured.means[0]:.3f} to {measured.means[-1]:.3f}; half of that was made after update {before} and by update {after}, "
                f"of {measured.steps[-1]}.")

    @check
    def too_hard(self, run, learned) -> Result:
        """Check that `run` ends worse than the untouched model, and that but for its rate (and length) it is the run that `learned`."""
        learned, run = self._own(learned), self._own(run)
        other = [name for name in given_differently(learned, run) if name not in ("learning_rate", "max_train_steps")]
        if other or run.config.learning_rate == learned.config.learning_rate:
            raise LabError(f"Change the learning rate and nothing else (fewer updates are fine); here differ: {', '.join(given_differently(learned, run)) or 'none'}.")
        if not _change(learned).high < 0:
            raise LabError("The first run should have learned beyond noise, or breaking the second says nothing.")
        worse = _change(run)
        if np.isfinite(worse.mean) and not worse.low > 0:
            raise LabError(f"This run does not end above the untouched model beyond noise ({with_interval(worse)}): push harder.")
        start, end = run.validations["validation"].means[[0, -1]]
        after = f"{end:.3f}" if np.isfinite(end) else "no number any more"
        return (f"Held-out loss {start:.3f} before and {after} after: at {run.config.learning_rate:g} training made the model worse than leaving it alone, "
                f"at {learned.config.learning_rate:g} it made it better ({learned.validations['validation'].means[-1]:.3f}).")


def _change(run, name="validation"):
    """Return by how much a loss changed over a run."""
    losses = run.validations[name].losses
    return paired_difference(losses[-1], losses[0])
