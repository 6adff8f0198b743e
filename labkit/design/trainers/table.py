"""The form in which a trainer's settings are told: rows of names, curves, and what a name alone cannot say.

Both directions go through one vocabulary: the fields of a run (labkit/design/config.py) and, for what the kit itself
has not, the words of labkit/design/trainers/words.py. A trainer's table says what it calls each of these, with the
value that it takes where nothing is said. Names, defaults and formulas are facts read in the trainers' public
sources; each table names the files and the commit.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Tell = Callable[[str], None]
Settings = dict[str, Any]             # a trainer's own: names with dots for what is nested, and values
Run = dict[str, Any]                  # in the common vocabulary


def same(value: Any, tell: Tell) -> Any:
    """Return a value as it is. tell: other readers and writers pass it a sentence where a value's meaning differs."""
    return value


class Row(NamedTuple):
    """Hold how a trainer calls a field or word, what its default is, and how its values are read and written."""

    ours: str
    theirs: str
    default: Any = None                           # what the trainer takes where nothing is said
    read: Callable[[Any, Tell], Any] = same
    write: Callable[[Any, Tell], Any] | None = same   # None: it is made of other settings, and only read
    note: str = ""                                # another meaning, told where the value is not the neutral one
    spare: bool = False                           # written only where it is not the trainer's default


class Choice(NamedTuple):
    """Hold which settings of a trainer stand for each value of a field or word; the first that fits is read.

    A value that is not listed is read as the text itself, and written as the nearest one that is listed.
    """

    ours: str
    theirs: str                                   # the setting whose text an unlisted value is read from
    values: Mapping[Any, Settings]
    default: Any
    nearest: Callable[[Any], Any] = lambda value: None
    meanings: Mapping[Any, str] = {}              # told where a value is met that stands for something a little else


class Curve(NamedTuple):
    """Hold which curve a trainer's name of a schedule means, and which settings shape it."""

    theirs: str
    curve: str                                    # a name of labkit/design/trainers/curves.py
    warmup: bool = True                           # False: a warm-up that is given has no effect
    end: tuple[str, str, float] | None = None     # its setting, "rate" or "share" of the peak, and what it is unsaid
    options: tuple[tuple[str, str, float], ...] = ()        # the curve's own, their setting, what it is unsaid
    note: str = ""                                # told where the curve is met


class Length(NamedTuple):
    """Hold the settings by which a trainer is told how long to train."""

    steps: str | None                             # setting of the updates
    epochs: str | None                            # setting of the passes over the pictures
    first: str = "steps"                          # which one counts where both are given
    default: tuple[str, int] = ("steps", 1000)
    ends_pass: bool = False                       # a pass ends with a batch and an update of its own


class Trainer(NamedTuple):
    """Hold all that is known of one trainer's settings."""

    name: str
    title: str
    form: str                                     # toml, json, yaml, design or command
    source: str                                   # where names and defaults were read
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]
    scheduler: str                                # the setting that names the schedule
    curves: tuple[Curve, ...]
    default_curve: str
    warmup: tuple[str, str, float]                # its setting, its unit (labkit/design/trainers/warmup.py), unsaid
    length: Length
    fixed: Run = {}                               # what cannot be set there, and is always so
    quiet: frozenset[str] = frozenset()           # settings that change nothing of what is learned; x* all that begin
    before: Callable[[Settings, "Notes"], Settings] = lambda settings, notes: settings
    after: Callable[[Settings, Run, "Notes"], Settings] = lambda settings, run, notes: settings
    script: str = ""                              # what a command line begins with
    marks: tuple[str, ...] = ()                   # settings that no other trainer has
    names_repeat: bool = False                    # a folder `10_room` is shown ten times in a pass

    def knows(self, name: str) -> bool:
        """Tell whether a setting of that name is in the table, the quiet ones included."""
        return name in self.names() or self.is_quiet(name)

    def is_quiet(self, name: str) -> bool:
        """Tell whether a setting changes nothing of what is learned."""
        return name in self.quiet or any(name.startswith(start[:-1]) for start in self.quiet if start.endswith("*"))

    def names(self) -> set[str]:
        """Return the settings that say something of what is learned."""
        names = {row.theirs for row in self.rows} | {self.scheduler, self.warmup[0]}
        names |= {name for choice in self.choices for value in choice.values.values() for name in value}
        names |= {choice.theirs for choice in self.choices}
        names |= {curve.end[0] for curve in self.curves if curve.end}
        names |= {theirs for curve in self.curves for _, theirs, _ in curve.options}
        return (names | {self.length.steps or "", self.length.epochs or ""}) - {""}


def forms(name: str) -> tuple[str, ...]:
    """Return the forms of a name that a table may have: itself, without dashes, and without ai-toolkit's prefix."""
    return name, name.lstrip("-").replace("-", "_"), name.removeprefix("config.process.0.")


class Note(NamedTuple):
    """Hold a remark on a translation: its kind, the setting that it is about, and a sentence."""

    kind: str                                     # one of labkit/design/trainers/translate.py:KINDS
    name: str
    text: str


class Notes(list[Note]):
    """Collect the notes on a translation, each one once."""

    def tell(self, kind: str, name: str, text: str) -> None:
        """Add a note, unless it is there already."""
        note = Note(kind, name, text)
        if note not in self:
            self.append(note)

    def tell_default(self, trainer: Trainer, name: str, value: Any, usual: Any) -> None:
        """Note which value a trainer takes where nothing is said, unless it is the usual one."""
        if trainer.form != "design" and value != usual:
            self.tell("default", name, f"not given, so {trainer.name} takes {value}")
