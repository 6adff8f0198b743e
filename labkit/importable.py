"""Whether what is installed can be imported and, if not, the true cause, from below what libraries wrap around it. Standard library only."""
import importlib


def first_cause(error: BaseException) -> str:
    """Return the error that began a chain of them, in one line: `ModuleNotFoundError: No module named 'regex'`."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def failures(modules) -> dict[str, str]:
    """Return {module: true cause} of the modules that do not import."""
    found = {}
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken library raises OSError, RuntimeError, AttributeError and more; all mean the same here
            found[name] = first_cause(error)
    return found
