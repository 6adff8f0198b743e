"""What the kit needs, read from pyproject.toml, and what an interpreter lacks.

Standard library only: it imports nothing that it checks.
"""

import functools
import re
import tomllib

from labkit.errors import LabError
from labkit.machine import installed_version
from labkit.settings import REPO


@functools.cache
def pyproject():
    """Return pyproject.toml as a dict; LabError where the package is installed without its checkout."""
    path = REPO / "pyproject.toml"
    if not path.is_file():
        raise LabError(f"{path} is not there: labkit is installed without its checkout. "
                       "Fetch the whole repository and run the command in its folder.")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def requirements(extras=()):
    """Return the requirement strings of the package and of these extras, in order, each once."""
    project = pyproject()["project"]
    own, texts = project["name"] + "[", list(project["dependencies"])
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            texts += requirements(text[len(own):-1].split(",")) if text.startswith(own) else [text]
    return list(dict.fromkeys(texts))


def split(text):
    """Return name and version range of a requirement string."""
    return re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", text).groups()


def satisfies(version, ranges):
    """Say whether a version lies in ranges such as `>=2.6,<3`, the only form pyproject.toml uses."""
    def release(text):
        numbers = [int(part) for part in re.match(r"\d+(\.\d+)*", text)[0].split(".")]
        return numbers + [0] * (4 - len(numbers))
    bounds = [re.fullmatch(r"(>=|<)([\d.]+)", bound.strip()).groups() for bound in ranges.split(",") if bound]
    return all((release(version) >= release(bound)) == (op == ">=") for op, bound in bounds)


def missing(extras=()):
    """Return what the running interpreter lacks for these extras, each as `name` or `name >=1,<2 (found 0.9)`."""
    lacks = []
    for name, ranges in map(split, requirements(extras)):
        version = installed_version(name)
        if version is None:
            lacks.append(name)
        elif not satisfies(version, ranges):
            lacks.append(f"{name} {ranges} (found {version})")
    return lacks
