"""The verbs of those who work on the kit itself: their code lies in tools/ of a checkout and is not installed."""

import functools
import importlib.util

from labkit.errors import LabError
from labkit.settings import REPO


def load(name):
    """Return the module tools/NAME.py, always the same one; LabError where the package lies in no checkout."""
    path = REPO / "tools" / f"{name}.py"
    if not path.is_file():
        raise LabError(f"{path} is not there: this verb is for work on the kit itself. "
                       "Fetch the whole repository and run it from that folder.")
    return _loaded(path)


@functools.cache
def _loaded(path):
    """Load a module by its path, which works under PYTHONSAFEPATH too: the command line sets it."""
    spec = importlib.util.spec_from_file_location(f"tools.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
