"""The design file: every field of a run, the reason for each, and what the design must come to.

A design is YAML or JSON with the fields of a run at its top, and two sections that training ignores: `reasons`, a text for a
field, and `expected`, numbers that `labkit checkup design.yaml` compares with what would really be trained.
"""

import json
import textwrap
from pathlib import Path
from typing import NamedTuple

from labkit.errors import LabError
from labkit.fields import number, text

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


POSITIVE = number(float, 0, 1e30, above=True)
CHECKS = {"base": text(), "data": text()}


class Design(NamedTuple):
    """Hold what a design file says: fields of a run, reasons, expectations."""

    fields: dict
    reasons: dict
    expected: dict


def split(values, where="The design") -> Design:
    """Cut a mapping into fields, reasons and expectations; LabError where the two sections are not what they must be."""
    fields = dict(values)
    reasons, expected = fields.pop("reasons", None) or {}, fields.pop("expected", None) or {}
    for name, section, kind in (("reasons", reasons, "a text for each field"), ("expected", expected, "a value for each name")):
        if not isinstance(section, dict):
            raise LabError(f"{where}: {name} must hold {kind}, in lines of their own, not {type(section).__name__}.")
    for name, reason in reasons.items():
        if not isinstance(reason, str):
            raise LabError(f"{where}: the reason for {name} must be a text, not {reason!r}.")
    for name in expected:
        if name not in EXPECTED:
            raise LabError(f"{where}: expected has no {name}. It knows " + ", ".join(EXPECTED) + ".")
    return Design(fields, reasons, {name: CHECKS.get(name, POSITIVE)(f"expected {name}", value) for name, value in expected.items()})


def read_design(path) -> Design:
    """Read a design file; LabError when it cannot be read, says a thing twice, or a section is not what it must be."""
    path = Path(str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"The design {path} cannot be read ({error}): give a YAML or JSON file, or a share string, which starts with lab1~.") from None
    values = _json(text, path) if path.suffix == ".json" else _yaml(text, path)
    if not isinstance(values or {}, dict):
        raise LabError(f"The design {path} must hold lines such as 'rank: 8', not {type(values).__name__}.")
    return split(values or {}, f"The design {path}")


def _json(text, path):
    def once(pairs):
        _refuse_twice([name for name, _ in pairs], path)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except LabError:
        raise
    except ValueError as error:
        raise LabError(f"The design {path} is not valid JSON: {error}. Put names and texts in double quotation marks, a comma between fields and none after the last.") from None


def _yaml(text, path):
    import yaml

    try:
        top = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:             # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise LabError(f"The design {path}{where} is not valid YAML: {getattr(error, 'problem', None) or error}. Write one field a line, such as 'rank: 8', "
                       "indented by spaces where it belongs to a section.") from None
    if isinstance(top, yaml.MappingNode):
        for node in (top, *(value for _, value in top.value if isinstance(value, yaml.MappingNode))):
            _refuse_twice([key.value for key, _ in node.value], path)
    return values


def _refuse_twice(names, path):
    """Refuse a name given twice: YAML and JSON would silently take the last."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise LabError(f"The design {path} gives {twice[0]} twice: keep one of them.")


def design_text(config, reasons=None, expected=None) -> str:
    """Write a configuration as a design: decided fields first, then those left at the kit's own values."""
    reasons, expected = reasons or {}, expected or {}
    values = config.to_dict()
    decided = {name: value for name, value in values.items() if name in reasons}
    left = {name: value for name, value in values.items() if name not in reasons}
    parts = ["# What is trained, and why. `labkit checkup` looks it over, `labkit train --config` trains it.", _lines(decided),
             "# Left at the kit's own values.", _lines(left), "reasons:" if reasons else ""]
    parts += [textwrap.fill(f"{name}: {json.dumps(' '.join(reason.split()), ensure_ascii=False)}", 110, initial_indent="  ", subsequent_indent="    ",
                            break_long_words=False, break_on_hyphens=False) for name, reason in reasons.items()]
    parts += ["", "expected:" if expected else "", *(f"  {name}: {_value(value)}  # {EXPECTED[name]}" for name, value in expected.items())]
    return "\n".join(parts) + "\n"


def _lines(values) -> str:
    return "".join(f"{name}: {_value(value)}\n" for name, value in values.items())


def _value(value) -> str:
    """Write a value so that YAML and JSON read the same: YAML takes 1e-05 for a text and 1.0e-05 for a number."""
    written = json.dumps(value, ensure_ascii=False)
    return written.replace("e", ".0e") if isinstance(value, float) and "e" in written and "." not in written else written


def write_design(path, config, reasons=None, expected=None) -> Path:
    """Write a design file and give its path; LabError where a reason or an expectation has no such name."""
    from labkit.atomic import write_file

    split({"reasons": reasons or {}, "expected": expected or {}})
    for name in set(reasons or {}) - set(ALSO_REASONED):
        config.check_name(name, "reasons: ")
    write_file(path, design_text(config, reasons, expected).encode())
    return Path(path)
