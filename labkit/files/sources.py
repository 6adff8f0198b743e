"""The code that something depends on: modules and whatever of the kit they import, as one checksum."""

import ast
import hashlib
import sys
from pathlib import Path
from types import ModuleType


def checksum(*modules: ModuleType) -> str:
    """Return the checksum of `sources` of modules."""
    digest = hashlib.sha256()
    for name, source in sorted(sources(*modules).items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def sources(*modules: ModuleType) -> dict[str, bytes]:
    """Return, by name, the sources of modules and of all modules of this package that they import, directly or not.

    What a function imports only when it is called is left out: which of that is loaded differs between processes.
    """
    package = __name__.partition(".")[0]
    by_name: dict[str, bytes] = {}
    remaining = list(modules)
    while remaining:
        module = remaining.pop()
        if module.__name__ not in by_name:
            by_name[module.__name__] = Path(str(module.__file__)).read_bytes()
            names = _imported(by_name[module.__name__])
            ours = [name for name in names if name.partition(".")[0] == package]
            remaining += [sys.modules[name] for name in ours if name in sys.modules]
    return by_name


def _imported(source: bytes) -> list[str]:
    """Return the names that a source imports at its top, those of modules among them."""
    names: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom):
            module = str(statement.module)
            names += [module, *(f"{module}.{alias.name}" for alias in statement.names)]
        elif isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
    return names
