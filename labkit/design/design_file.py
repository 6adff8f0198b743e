"""The design file: every field of a run, the reason for each, and what the design must come to.

A design is YAML or JSON with the fields of a run at its top, and two sections that training ignores: `reasons`, a text
for a field, and `expected`, numbers that `labkit checkup design.yaml` compares with what would really be trained.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from labkit.design import fields
from labkit.errors import LabError
from labkit.files import json_text
from labkit.files.atomic import write_file
from labkit.settings import given_path
from labkit.text import shown

ALSO_REASONED = ("stop", "strength")                          # decisions that are no field of a run
EXPECTED = {
    "short_test_rate": "the learning rate that the short test found",
    "scaling": "the factor on B @ A during training",
    "n_train": "training pictures",
    "num_train_epochs": "passes over them that max_train_steps stands for",
    "parameters": "trained numbers",
    "base_loss": "loss of the untouched base on held-out pictures, fixed noise",
    "base": "fingerprint of the base",
    "data": "fingerprint of the training pictures and captions",
}
MOST_BYTES = 100_000
POSITIVE = fields.number(float, 0, 1e30, above=True)
CHECKS = {"base": fields.text(), "data": fields.text()}       # of what is expected; all else is a number above 0


class Settings(Protocol):
    """Interface of a RunConfig, whose own module imports this one and so cannot be imported here."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and their values."""
        ...

    def check_name(self, name: object, where: str = "") -> None:
        """Raise LabError for a name that is no field."""
        ...


class Design(NamedTuple):
    """Hold what a design file says: fields of a run, reasons, expectations."""

    fields: dict[str, Any]
    reasons: dict[str, str]
    expected: dict[str, Any]                                  # numbers, and fingerprints as texts


def split(values: Mapping[str, Any], where: str = "The design") -> Design:
    """Split a mapping into fields, reasons and expectations; LabError where a section is not what it must be.

    where: the start of the message.
    """
    settings = dict(values)
    reasons, expected = settings.pop("reasons", None) or {}, settings.pop("expected", None) or {}
    _require_section(reasons, f"{where}: reasons must hold a text for each field")
    _require_section(expected, f"{where}: expected must hold a value for each name")
    for name, reason in reasons.items():
        if not isinstance(reason, str):
            raise LabError(f"{where}: the reason for {name} must be a text, not {shown(reason)}.")
    for name in expected:
        if name not in EXPECTED:
            raise LabError(f"{where}: expected has no {name}. It knows " + ", ".join(EXPECTED) + ".")
    checked = {name: CHECKS.get(name, POSITIVE)(f"expected {name}", value) for name, value in expected.items()}
    return Design(settings, reasons, checked)


def _require_section(section: object, requirement: str) -> None:
    if not isinstance(section, dict):
        raise LabError(f"{requirement}, in lines of their own, not {type(section).__name__}.")


def read_design(path: Path | str) -> Design:
    """Read a design file; LabError when it cannot be read, says a thing twice, or a section is not what it must be."""
    path = given_path(path)
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(
            f"The design {path} cannot be read ({getattr(error, 'strerror', None) or error}): "
            "give a YAML or JSON file, or a share string, which starts with lab2~.") from None
    if len(text) > MOST_BYTES:
        raise LabError(f"The design {path} has more than {MOST_BYTES // 1000} kB: "
                       "give the file of fields and reasons, which has about three.")
    values = _json(text, path) if path.suffix == ".json" else _yaml(text, path)
    if not isinstance(values or {}, dict):
        raise LabError(f"The design {path} must hold lines such as 'rank: 8', not {type(values).__name__}.")
    return split(values or {}, f"The design {path}")


def _json(text: str, path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Refuse a name given twice: JSON would silently take the last."""
        values = {}
        for name, value in pairs:
            if name in values:
                raise LabError(f"The design {path} gives {name} twice: keep one of them.")
            values[name] = value
        return values

    try:
        return json_text.parse(text, object, pairs=once)
    except LabError:
        raise
    except ValueError as error:
        raise LabError(
            f"The design {path} is not valid JSON: {error}. "
            "Put names and texts in double quotation marks, a comma between fields and none after the last.") from None


def _yaml(text: str, path: Path) -> Any:
    import yaml  # deferred: a share string and JSON need none

    from labkit.files import yaml_text  # imports yaml, too

    try:
        return yaml_text.parse(text)
    except (yaml.YAMLError, ValueError) as error:             # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        remedy = getattr(error, "note", None) or (
            "Write one field a line, such as 'rank: 8', indented by spaces where it belongs to a section")
        raise LabError(f"The design {path}{where} is not valid YAML: {problem}. {remedy}.") from None


def design_text(config: Settings, reasons: Mapping[str, str] | None = None,
                expected: Mapping[str, Any] | None = None) -> str:
    """Write a configuration as a design: decided fields first, then those left at the kit's own values."""
    reasons, expected = reasons or {}, expected or {}
    values = config.to_dict()
    decided = {name: value for name, value in values.items() if name in reasons}
    left = {name: value for name, value in values.items() if name not in reasons}
    parts = [
        "# What is trained, and why. `labkit checkup` looks it over, `labkit train --config` trains it.",
        _lines(decided),
        "# Left at the kit's own values.", _lines(left),
        "reasons:" if reasons else "", *(_reason(name, reason) for name, reason in reasons.items()), "",
        "expected:" if expected else "",
        *(f"  {name}: {_value(value)}  # {EXPECTED[name]}" for name, value in expected.items()),
    ]
    return "\n".join(parts) + "\n"


def _reason(name: str, reason: str) -> str:
    """Write a reason as one YAML text in several lines."""
    text = f"{name}: {json.dumps(' '.join(reason.split()), ensure_ascii=False)}"
    return textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="    ",
                         break_long_words=False, break_on_hyphens=False)


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{name}: {_value(value)}\n" for name, value in values.items())


def _value(value: Any) -> str:
    """Write a value so that YAML and JSON read the same: YAML takes 1e-05 for a text and 1.0e-05 for a number."""
    written = json.dumps(value, ensure_ascii=False)
    lacks_point = isinstance(value, float) and "e" in written and "." not in written
    return written.replace("e", ".0e") if lacks_point else written


def write_design(path: Path | str, config: Settings, reasons: Mapping[str, str] | None = None,
                 expected: Mapping[str, Any] | None = None) -> Path:
    """Write a design file and give its path; LabError where a reason or an expectation has no such name."""
    split({"reasons": reasons or {}, "expected": expected or {}})
    for name in set(reasons or {}) - set(ALSO_REASONED):
        config.check_name(name, "reasons: ")
    write_file(path, design_text(config, reasons, expected).encode())
    return Path(path)
