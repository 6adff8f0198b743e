"""Write constraints.txt: the versions of everything that the tested environment installs, on every system and Python.

    python tools/lock_versions.py      # in an environment with the `test` extra in which the tests have passed

The front door passes the file to pip, so that an installation next year brings what was tested. torch is not in it:
its version is tested-torch in pyproject.toml, its build depends on the machine, and it states the versions of its CUDA
libraries itself. What only another system or Python needs is not installed here: such packages get the newest versions
that the package index has, and a line names them.
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from labkit.cli.requirements import requirements  # noqa: E402
from labkit.settings import REPO  # noqa: E402

PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {  # what markers of requirements ask about, by sys.platform
    "linux": {"os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64"},
    "darwin": {"os_name": "posix", "platform_system": "Darwin", "platform_machine": "arm64"},
    "win32": {"os_name": "nt", "platform_system": "Windows", "platform_machine": "AMD64"},
}
HEAD = """\
# The tested versions, which the front door installs. Written by `python tools/lock_versions.py`; torch is tested-torch
# in pyproject.toml. Names and versions alone, so that they hold on Linux, macOS and Windows, for Python 3.11 to 3.13.
"""


def environments():
    """Yield what markers see on each supported system and Python, as dicts."""
    for (system, marks), python in product(SYSTEMS.items(), PYTHONS):
        yield {**default_environment(), **marks, "sys_platform": system, "python_version": python,
               "python_full_version": python + ".0"}


def needed_by(requirement):
    """Return the Requirements of an installed distribution with these extras, on any supported system and Python."""
    needs = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    extras = requirement.extras or {""}
    return [need for need in needs if need.marker is None or any(
        need.marker.evaluate({**environment, "extra": extra}) for environment in environments() for extra in extras)]


def reachable(texts):
    """Return the canonical names of all that requirement strings bring, on any system and Python."""
    todo, seen = list(map(Requirement, texts)), set()
    while todo:
        requirement = todo.pop()
        mark = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if mark not in seen:
            seen.add(mark)
            todo += needed_by(requirement) if installed(mark[0]) else []
    return {name for name, _ in seen}


def installed(name):
    """Return the version of an installed distribution without a local build tag such as +cpu, or None."""
    try:
        return Version(importlib.metadata.version(name)).public
    except importlib.metadata.PackageNotFoundError:
        return None


def newest(names, versions):
    """Return the newest versions that fit to these ones, by name: of absent packages and of all that they bring.

    pip chooses wheels for Windows, the one system for which a package such as pywinpty has any, and the oldest Python.
    """
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(text(versions), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
                   "--platform", "win_amd64", "--python-version", PYTHONS[0] + ".0", "--only-binary", ":all:",
                   "--target", folder, "--constraint", str(known), "--report", "-", *names]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    found = [part["metadata"] for part in report["install"]]
    return {canonicalize_name(part["name"]): part["version"] for part in found}


def text(versions):
    """Return the lines of a constraints file."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def main():
    """Write the file; the environment has to satisfy pyproject.toml."""
    names = reachable(requirements(("test",))) - {"torch"}
    versions = {name: version for name in names if (version := installed(name))}
    added = newest(sorted(names - set(versions)), versions)
    print(f"Not installed here, so the newest: {', '.join(sorted(set(added) - set(versions)))}", file=sys.stderr)
    (REPO / "constraints.txt").write_text(HEAD + text(added | versions), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
