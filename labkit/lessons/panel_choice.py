"""What is chosen in a panel: a design, and the values of one of its knobs that are raced."""

import math

from labkit import settings
from labkit.design.config import RunConfig, load_design
from labkit.design.ladders import LADDERS, check_knobs, rung_text, rungs
from labkit.design.naming import differing, setting_text
from labkit.design.presets import preset, preset_set
from labkit.errors import LabError
from labkit.text import counted, rate_text
from labkit.view.race_data import MOST

PARTS = ("presets", "knobs", "prediction", "steering", "drawing", "shelf", "share")
FAST_STEPS = 6
OWN = ("base", "revision", "data", "resolution", "crop", "captions", "seed")  # of the panel, whatever a preset says
RUNGS_APART = 2  # between the values of the race that a panel begins with: for rates a factor of ten


class Choice:
    """Hold a design and the values of one knob of it, each of which is one run of a race.

    A panel says whether they may be changed now (`_refuse_while_training`), and answers each change (`_answer`).
    """

    def __init__(self, design, knobs, presets):
        """Check knobs and presets; nothing is raced yet."""
        self.knobs = check_knobs(knobs)
        self.design = short(load_design(design))
        self.presets, self.preset = preset_set(presets, self.design), None
        self.raced = self.knobs[0] if self.knobs else "learning_rate"
        self.values = (getattr(self.design, self.raced),)

    def _refuse_while_training(self):
        """Raise LabError where the design is that of a run which goes on."""

    def _answer(self, also=()):
        """Show what follows from a change, and these runs too."""

    def choose(self, name: str) -> None:
        """Take over a preset's design, on this panel's base, pictures as they are read, and seed."""
        chosen = preset(self.presets, name)
        self._refuse_while_training()
        self.preset = chosen
        kept = {field: getattr(self.design, field) for field in OWN}
        self.change(**RunConfig().replace(**chosen.changes).to_dict() | kept)

    def change(self, **fields) -> None:
        """Change fields of the design; LabError names one that is not possible, or says that the design trains now.

        A field that is raced is raced no longer. What is known of the new design is shown at once.
        """
        self._refuse_while_training()
        self.design = short(self.design.replace(**fields))
        if self.raced in fields or len(self.values) == 1:
            self.values = (getattr(self.design, self.raced),)
        self._answer()

    def race(self, name: str, values) -> None:
        """Choose the values of one knob that are trained in one pass; LabError: no such knob, or too many values."""
        [name] = check_knobs(name)
        values = list(dict.fromkeys(values))
        if not 1 <= len(values) <= MOST:
            raise LabError(f"A race has 1 to {MOST} values of a knob, not {len(values)}: more are not told apart.")
        self._refuse_while_training()
        values = [getattr(self.design.replace(**{name: value}), name) for value in values]
        if getattr(self.design, name) not in values:
            self.design = short(self.design.replace(**{name: values[0]}))
        self.raced, self.values = name, tuple(sorted(values, key=order_of(name)))
        self._answer()

    def usual_race(self, name: str) -> tuple:
        """Return the values of a knob that are raced where nobody chose any: the design's, and some on both sides."""
        values = [value for _, value in rungs(name, getattr(self.design, name))]
        at = values.index(getattr(self.design, name))
        places = range(at % RUNGS_APART, len(values), RUNGS_APART)
        return tuple(values[place] for place in places if abs(place - at) <= RUNGS_APART)

    @property
    def designs(self) -> list[RunConfig]:
        """Return the designs that are trained together: one for each value of the raced knob."""
        if len(self.values) == 1:
            return [self.design]
        return list(dict.fromkeys(short(self.design.replace(**{self.raced: value})) for value in self.values))

    def label(self, run) -> str:
        """Name a run in a race: by the raced knob, by what else it differs in, and by where its rate was changed."""
        config, design = run.config, self.design
        if self.raced == "num_train_epochs":
            epochs = round(config.max_train_steps * config.effective_batch_size / config.n_train)
            name = counted(epochs, "epoch")
        else:
            name = rung_text(self.raced, getattr(config, self.raced))
        if config.lr_edits:
            step, rate = config.lr_edits[-1]
            return f"{name} → {rate_text(rate)} after {step}"
        others = [each for each in differing([run, _Configured(design)])
                  if each != self.raced and getattr(design, each) not in (None, getattr(config, each))]
        return ", ".join([name, *(setting_text(each, getattr(config, each)) for each in others[:2])])


def short(design: RunConfig) -> RunConfig:
    """Return a design as it is, or cut to a few updates where tests ask for the short form."""
    if settings.fast and (design.max_train_steps or math.inf) > FAST_STEPS:               # None: stated in epochs
        return design.replace(max_train_steps=FAST_STEPS)
    return design


class _Configured:
    """Hold a configuration where a run is compared with a design."""

    def __init__(self, config):
        self.config = config


def order_of(name):
    """Return what values of a knob are sorted by: the order of its ladder, between them by size."""
    ladder = list(LADDERS[name])

    def place(value):
        if value in ladder or value is None:
            return ladder.index(value) if value in ladder else -1
        return sum(rung is not None and rung < value for rung in ladder) - 0.5 + (ladder[0] is None)

    return place


def parts(hide) -> tuple[str, ...]:
    """Return the parts of a panel that a teacher hides; LabError names one that there is not."""
    names = (hide,) if isinstance(hide, str) else tuple(hide)
    for name in names:
        if name not in PARTS:
            raise LabError(f"hide: {name!r} is no part of the panel: the parts are {', '.join(PARTS)}.")
    return names
