"""The verbs of those who work on the kit itself: their code lies in tools/ of a checkout and is not installed."""

import functools
import importlib.util

from labkit.errors import LabError
from labkit.settings import REPO


def load(name):
    """Return the module tools/NAME.py, once loaded the same one; LabError where the package has no checkout around it."""
    path = REPO / "tools" / f"{name}.py"
    if not path.is_file():
        raise LabError(f"{path} is not there: this verb is for work on the kit itself. "
                       "Fetch the whole repository and run it from that folder.")
    return _loaded(path)


@functools.cache
def _loaded(path):
    """Load a module by its path: PYTHONSAFEPATH, which the command line sets, leaves a script's folder out of sys.path."""
    spec = importlib.util.spec_from_file_location(f"tools.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
