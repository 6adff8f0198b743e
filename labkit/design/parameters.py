"""The parameters of a lesson, checked as the fields of a run are, from wherever they come. Standard library only.

Papermill's -p and -y give numbers and texts, its -r and `labkit chapter -p` always texts, a person what was typed into
the cell.
"""
from dataclasses import fields as dataclass_fields
from typing import Any

from labkit.design.config import RunConfig
from labkit.design.fields import NOTHING, Check, refuse, text
from labkit.errors import LabError

PAPERMILL = ("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH")  # what --inject-paths and its siblings add
PLACES = ("base", "data", "near", "design")                    # may be named by a number, as a folder of a year is


def student(name: str, value: Any) -> str:
    """Check a student's name or number; the number is returned as text."""
    if value is None or isinstance(value, str):
        return value or ""
    if type(value) is not int or value < 0:
        raise LabError(f"{name} = {value!r} is neither a name nor a student number: write it in quotation marks.")
    return str(value)


def unchecked(_name: str, value: Any) -> Any:
    """Return the value as it is: a design is checked by `load_design`."""
    return value


CHECKS: dict[str, Check] = {
    **{knob.name: knob.metadata["check"] for knob in dataclass_fields(RunConfig)},
    "near": text(), "design": unchecked, "student": student,
}


def checked(name: str, value: Any, default: Any) -> Any:
    """Return the value of a parameter, as a number where text stands for one; LabError names the parameter.

    Where the lesson's own value is None, which leaves the choice to the design, an empty text, "none" and "null" mean
    that, too. Parameters that are no field of a run are returned as they are.
    """
    if name not in CHECKS:
        return value
    if default is None and (value is None or isinstance(value, str) and value.strip().lower() in NOTHING):
        return None
    result = CHECKS[name](name, str(value) if name in PLACES and type(value) is int else value)
    if result is None and default is not None:
        refuse(name, value, f"a value, such as {default!r}")
    return result
