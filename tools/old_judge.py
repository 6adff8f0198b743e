"""The judge as it was at a commit, run on the modules of today.

Only `diagnose.py` and `findings.py` are old. They import other modules by the names that these had before the package
was divided into rooms: MOVED says where such a module lies today.
"""

import importlib
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("labkit/judge", "labkit")  # of the judge: today's first
MOVED = {
    "labkit.content": "labkit.files.content",
    "labkit.course": "labkit.judge.course",
    "labkit.stats": "labkit.judge.stats",
    "labkit.verdict_text": "labkit.judge.verdict_text",
}


def judge_at(revision: str) -> types.ModuleType:
    """Return the module `diagnose` as it was at a commit; ValueError when there is none."""
    findings = diagnose = None
    if source := source_at(revision, "findings"):             # older commits have none
        findings = module_of("findings", source)
    if source := source_at(revision, "diagnose"):
        diagnose = module_of("diagnose", source, findings)
    if diagnose is None:
        raise ValueError(f"there is no judge at {revision}: name a commit of this repository that has diagnose.py")
    return diagnose


def source_at(revision: str, name: str) -> str | None:
    """Return the source of a module of the judge at a commit, None where it has none."""
    for place in PLACES:
        command = ["git", "show", f"{revision}:{place}/{name}.py"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
        if result.returncode == 0:
            return result.stdout
    return None


def module_of(name: str, source: str, findings: types.ModuleType | None = None) -> types.ModuleType:
    """Return a module of an old source, whose imports find what they name. findings: of the same commit, if any."""
    module = types.ModuleType(f"{name}_before")
    sys.modules[module.__name__] = module                     # where dataclasses look for their own module
    names = {old: importlib.import_module(new) for old, new in MOVED.items()}
    if findings is not None:
        names |= {"labkit.findings": findings, "labkit.judge.findings": findings}
    with mock.patch.dict(sys.modules, names):
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module
