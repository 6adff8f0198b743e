"""What judged adapter files come to: which to keep, in a sentence, as a table and as plain values."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from labkit.experiments.judged_files import JudgedFile
from labkit.judge.arms import losses
from labkit.judge.choice import Choice, choose
from labkit.judge.score_text import short
from labkit.judge.stats import Interval
from labkit.text import counted, loss_text, with_interval
from labkit.view.tables import Table

NAMED = 3                                                     # files that a sentence names
FEW = 8                                                       # held-out pictures: below, intervals are wide
HEADS = ("file", "strength", "held-out loss", "since the untouched base", "above the lowest", "training loss",
         "accepted", "ordinary", "copies")
NOTE = "95 % intervals over held-out pictures, each of which holds together with the others of its column."


@dataclass(frozen=True, eq=False)
class ChosenFile:
    """Hold judged files and which of them to keep."""

    judged: list[JudgedFile]

    @cached_property
    def choice(self) -> Choice:
        """Return the comparison of the files' held-out losses."""
        return choose([one.deciding for one in self.judged])

    @property
    def kept(self) -> JudgedFile | None:
        """Return the file to keep; None where none is better than the untouched base beyond chance."""
        return self._of(self.choice.kept)

    def _of(self, run) -> JudgedFile | None:
        return next((one for one in self.judged if run is not None and one.run.run_id == run.run_id), None)

    @cached_property
    def names(self) -> dict[str, str]:
        """Return what each judged file is called, by its run's id: its file's name where no other has it."""
        times = Counter(path.stem for path in {one.path for one in self.judged})
        return {one.run.run_id: one.path.stem if times[one.path.stem] == 1 else str(one.path) for one in self.judged}

    def name(self, one: JudgedFile) -> str:
        """Return a file's name, with its strength where several were judged."""
        several = len({other.strength for other in self.judged}) > 1
        return self.names[one.run.run_id] + (f" at strength {one.strength:g}" if several else "")

    def loss(self, one: JudgedFile) -> float:
        """Return the held-out loss that decides."""
        return float(losses(one.deciding).mean())

    @property
    def base_loss(self) -> float:
        """Return the untouched base's."""
        return float(losses(self.judged[0].deciding, 0).mean())

    @property
    def pictures(self) -> int:
        """Return how many held-out pictures decide."""
        return losses(self.judged[0].deciding, 0).shape[1]

    # -- in words

    @property
    def sentence(self) -> str:
        """Say which file to keep, what it is better than, and what these pictures cannot tell."""
        lowest = self._of(self.choice.lowest)
        if lowest is None:
            return "Keep none: with every file the loss is no longer a number. Take files of a run at a lower rate."
        if self.kept is None:
            change = with_interval(self.choice.change[lowest.run.run_id])
            return (f"Keep none: no file is lower than the untouched base beyond chance; {self.name(lowest)} comes "
                    f"nearest, {change}. {self._few()}".rstrip())
        kept, change = self.kept, self.choice.change[self.kept.run.run_id]
        said = [f"Keep {self.name(kept)}: on {counted(self.pictures, 'held-out picture')} its loss is the lowest, "
                f"{loss_text(self.loss(kept))} where the untouched base has {loss_text(self.base_loss)}: "
                f"{with_interval(change)}."]
        more = self._overfitted(), self._alike(), self._copies(), self._few()
        return " ".join(part for part in (*said, *more) if part)

    def _overfitted(self) -> str:
        """Say where the last file of the same strength has only learned its training pictures better."""
        last = [one for one in self.judged if one.strength == self.kept.strength][-1]
        above = self.choice.above[last.run.run_id]
        trained = [_trained(one) for one in (last, self.kept)]
        if last is self.kept or not above.low > 0 or not trained[0] < trained[1]:
            return ""
        return (f"{self.name(last)} lies {with_interval(above)} above it, though its loss on training pictures is "
                f"lower ({loss_text(trained[0])} against {loss_text(trained[1])}): it overfits.")

    def _alike(self) -> str:
        alike = [self.name(self._of(run)) for run in self.choice.as_good]
        if not alike:
            return ""
        more = f" and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
        return (f"These pictures cannot tell {', '.join(alike[:NAMED])}{more} from it: "
                "choose between them by what they draw.")

    def _copies(self) -> str:
        copies = sum(near.is_copy for near in self.kept.nearest)
        if not copies:
            return ""
        return (f"{copies} of {counted(len(self.kept.nearest), 'picture')} drawn with it come so near to one training "
                "picture that it is a copy.")

    def _few(self) -> str:
        if self.pictures >= FEW:
            return ""
        return f"{counted(self.pictures, 'held-out picture')} can tell large differences alone: give more."

    def table(self) -> Table:
        """Return one row a file and strength below the untouched base, in the order given."""
        first = self.judged[0]
        rows = [["untouched base", "", loss_text(self.base_loss), "", "", loss_text(_trained(first, 0)),
                 short(first.score, when="before"), short(first.score, "ordinary", "before"), ""]]
        for one in self.judged:
            key, copies = one.run.run_id, sum(near.is_copy for near in one.nearest)
            above = self.choice.above[key]
            mark = "lowest" if one.run.run_id == getattr(self.choice.lowest, "run_id", None) else with_interval(above)
            rows.append([self.names[key], f"{one.strength:g}", loss_text(self.loss(one)),
                         with_interval(self.choice.change[key]), mark, loss_text(_trained(one)), short(one.score),
                         short(one.score, "ordinary"), f"{copies} of {len(one.nearest)}" if one.nearest else ""])
        shown = [i for i, head in enumerate(HEADS) if any(row[i] for row in rows)]
        return Table([HEADS[i] for i in shown], [[row[i] for i in shown] for row in rows], NOTE)

    # -- for machines

    def to_dict(self) -> dict:
        """Return everything in a form that strict JSON keeps; the names of its fields stay."""
        kept = self.kept
        return {"keep": None if kept is None else {"path": str(kept.path), "strength": kept.strength},
                "sentence": self.sentence, "held_out_pictures": self.pictures, "base_loss": _finite(self.base_loss),
                "files": [self._entry(one) for one in self.judged]}

    def _entry(self, one: JudgedFile) -> dict:
        key, as_good = one.run.run_id, {run.run_id for run in self.choice.as_good}
        return {"path": str(one.path), "strength": one.strength, "way": one.way, "loss": _finite(self.loss(one)),
                "loss_as_in_training": _finite(float(one.run.validations["validation"].means[-1])),
                "since_base": _ends(self.choice.change[key]), "above_lowest": _ends(self.choice.above[key]),
                "as_good": key in as_good, "training_loss": _finite(_trained(one)), "score": one.score,
                "drawn": [{"prompt": near.prompt, "seed": near.seed, "nearest": str(near.picture),
                           "distance": _finite(near.distance), "second_distance": _finite(near.second),
                           "is_copy": near.is_copy} for near in one.nearest]}


def _trained(one: JudgedFile, at: int = -1) -> float:
    """Return the loss on training pictures; not a number where it was not measured."""
    probe = one.run.validations.get("probe")
    return math.nan if probe is None else float(probe.means[at])


def _ends(interval: Interval) -> list[float | None]:
    return [_finite(value) for value in interval]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
