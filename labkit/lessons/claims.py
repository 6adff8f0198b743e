"""A sentence of the chapter and its verdict, which runs decide and nobody writes by hand.

The identifiers are those of the project's ledger of claims.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.store.recorded import missing
from labkit.view.evidence import Note
from labkit.view.tables import Table

HOLDS, IF, OTHERWISE, OPEN, IMAGE = "holds", "holds if", "measured otherwise", "not decided here", "an image"
ORDER = (HOLDS, IF, OTHERWISE, OPEN, IMAGE)


@dataclass(frozen=True)
class Claim:
    """Hold one sentence of the chapter in our words, and how it is judged: evidence -> (verdict, what was seen)."""

    ids: tuple[str, ...]
    sentence: str
    judge: Callable[..., tuple[str, str]]
    needs: str  # a recorded set, or what the lesson measured

    def row(self, evidence: Mapping) -> list[str]:
        """Return verdict, sentence and what was seen; evidence that is missing is named with what makes it."""
        needed = evidence.get(self.needs)
        if needed is None:
            return [OPEN, self.sentence, missing(self.needs)]
        if isinstance(needed, Note):
            return [OPEN, self.sentence, needed.sentence]
        try:
            verdict, observation = self.judge(needed)
        except LabError as error:
            return [OPEN, self.sentence, str(error)]
        return [verdict, self.sentence, observation]


def together(**parts) -> tuple | Note:
    """Return several pieces of evidence as one, or a Note why one of them is not there.

    parts    as in the evidence of `table`; None is a recorded set that does not ship, under its name
    """
    for name, part in parts.items():
        if part is None or isinstance(part, Note):
            return part or Note(missing(name))
    return tuple(parts.values())


def table(claims: Iterable[Claim], images: Iterable[str], evidence: Mapping, *, section: str) -> Table:
    """Return the verdicts in the order holds, holds if, measured otherwise, not decided, an image.

    images      sentences that claim nothing about training, listed last
    evidence    {name: recorded runs, a measurement, a Note why there is none, or None}
    section     of the chapter, for the head of the table
    """
    rows = sorted((claim.row(evidence) for claim in claims), key=lambda row: ORDER.index(row[0]))
    rows += [[IMAGE, sentence, "Not a claim about training; not judged."] for sentence in images]
    return Table(["", f"the chapter ({section})", "here"], rows)
