"""The code that something depends on: modules and whatever of the kit they import, as one checksum."""

import ast
import hashlib
import sys
from pathlib import Path


def checksum(*modules) -> str:
    """Return the checksum of `sources` of modules."""
    digest = hashlib.sha256()
    for name, source in sorted(sources(*modules).items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def sources(*modules) -> dict[str, bytes]:
    """Return, by name, the sources of modules and of all modules of this package that they import, directly or not.

    What a function imports only when it is called is left out: which of that is loaded differs between processes.
    """
    package, found, open_ = __name__.partition(".")[0], {}, list(modules)
    while open_:
        module = open_.pop()
        if module.__name__ not in found:
            found[module.__name__] = Path(module.__file__).read_bytes()
            names = _imported(found[module.__name__])
            open_ += [sys.modules[name] for name in names if name.partition(".")[0] == package and name in sys.modules]
    return found


def _imported(source: bytes) -> list[str]:
    """Return the names that a source imports at its top, those of modules among them."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom):
            names += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
        elif isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
    return names
