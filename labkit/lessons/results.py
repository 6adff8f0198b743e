"""What a check says: 'passed' or 'not yet', with a sentence why.

A check never raises for what a learner does. What is missing is raised inside as LabError and becomes the sentence.
"""

import functools
import html
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.view.cards import CARD

PASSED, NOT_YET = "passed", "not yet"
MARKS = {PASSED: ("✔", "#00785A"), NOT_YET: ("○", "#A86200")}


@dataclass(frozen=True)
class Result:
    """Hold what a check found; a notebook shows it as a card, anything else as one line."""

    outcome: str
    sentence: str

    @property
    def passed(self) -> bool:
        """Tell whether the exercise is done, for plain asserts."""
        return self.outcome == PASSED

    def __repr__(self):
        """Return outcome and sentence in one line."""
        return f"{self.outcome}: {self.sentence}"

    def _repr_html_(self):
        mark, color = MARKS[self.outcome]
        return (f"<div role='status' style='{CARD.format(color=color)}'>"
                f"<b style='color:{color}'>{mark} {self.outcome}</b> {html.escape(self.sentence)}</div>")


def check(method):
    """Make a Result of what a method returns, or of the LabError that says what is missing."""

    @functools.wraps(method)
    def checked(*arguments, **options) -> Result:
        try:
            return Result(PASSED, method(*arguments, **options))
        except LabError as error:
            return Result(NOT_YET, str(error))
        except (TypeError, ValueError, OverflowError) as error:  # an answer of a kind that nobody thought of
            return Result(NOT_YET, f"What was handed in cannot be checked ({error}): "
                                   "see what the exercise asks for, a number, a word or a run.")

    return checked
