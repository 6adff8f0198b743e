"""The kit itself as one of the trainers: a design, whose names are the common vocabulary."""

import dataclasses

from labkit.design.config import RunConfig
from labkit.design.trainers.reading import near_optimizer
from labkit.design.trainers.table import Choice, Curve, Length, Row, Trainer

BY_OTHERS = ("optimizer", "lr_scheduler", "lr_warmup_steps", "lr_end", "max_train_steps", "num_train_epochs",
             "target_modules")
END = ("lr_end", "rate", 0.0)

TRAINER = Trainer(
    name="labkit", title="this kit, a design in YAML", form="design", source="labkit/design/config.py",
    rows=tuple(Row(field.name, field.name, field.default, spare=True) for field in dataclasses.fields(RunConfig)
               if field.name not in BY_OTHERS),
    choices=(
        Choice("optimizer", "optimizer", {"adamw": {"optimizer": "adamw"}, "sgd": {"optimizer": "sgd"}}, "adamw",
               near_optimizer),
        Choice("target_modules", "target_modules", {}, None),
    ),
    scheduler="lr_scheduler",
    curves=(
        Curve("constant", "constant"), Curve("linear", "linear", end=END), Curve("cosine", "cosine", end=END),
        Curve("exponential", "exponential", end=END), Curve("three_phase", "three_phase", end=END),
    ),
    default_curve="constant", warmup=("lr_warmup_steps", "updates", 0),
    length=Length("max_train_steps", "num_train_epochs", "steps", ("steps", 200)),
    marks=("target_modules", "adapter", "n_train", "expected"), quiet=frozenset({"reasons.*", "expected.*"}),
)
