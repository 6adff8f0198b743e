"""An exercise about alpha: two runs of different scaling that learn the same, found by the rate alone."""

import numpy as np

from labkit.errors import LabError
from labkit.judge.stats import by_picture, interval_of
from labkit.lessons.exercises import Checks, Result, check
from labkit.view.cards import differing

ALIKE = 0.1  # of the gain: ends no farther apart count as the same
APART = 4  # times: scalings nearer than this are no test


class TwinChecks(Checks):
    """Check what `Checks` does, and twins."""

    @check
    def twins(self, run, other) -> Result:
        """Check that two runs differ in alpha and rate alone, their scalings by APART at least, and that they end alike."""
        run, other = self._own(run), self._own(other)
        if differing([run, other]) != ["alpha", "learning_rate"] or run.config.learning_rate == other.config.learning_rate:
            raise LabError(f"The two runs must differ in alpha and in the rate, and in nothing else; here differ: {', '.join(differing([run, other]))}.")
        scalings = sorted(each.config.scaling for each in (run, other))
        if scalings[1] < APART * scalings[0] * (1 - 1e-9):
            raise LabError(f"The scalings {scalings[0]:g} and {scalings[1]:g} are too near to each other: take alphas at least {APART} times apart.")
        first, second = (each.validations["validation"].losses for each in (run, other))
        gain = float(np.mean(by_picture(first[0]) - by_picture(first[-1])))
        if not gain > 0 or not np.isfinite(second[-1]).all():
            raise LabError("Both runs must learn something and stay finite: lower the rate of the one that broke.")
        apart = interval_of(by_picture(second[-1]) - by_picture(first[-1]))
        seen = f"the second ends {apart.mean:+.3f} ({apart.low:+.3f} to {apart.high:+.3f}) from the first, {abs(apart.mean) / gain:.0%} of its gain (over pictures, one seed)"
        if abs(apart.mean) > ALIKE * gain:
            way = "raise" if apart.mean > 0 and second[-1].mean() < first[0].mean() else "change"
            raise LabError(f"Not alike yet: {seen}; at most {ALIKE:.0%} is asked. {way.capitalize()} the second run's rate and train it again.")
        return f"Scaling {run.config.scaling:g} and {other.config.scaling:g} learned alike at rates {run.config.learning_rate:g} and {other.config.learning_rate:g}: {seen}."
