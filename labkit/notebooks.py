"""The lessons as files: which there are, their parameters, what a run of one left behind. Standard library only."""
import ast
import difflib
import json
from pathlib import Path

from labkit.errors import LabError
from labkit.paths import REPO


def folder():
    """Return the folder of the lessons."""
    return REPO / "notebooks"


def lessons():
    """Return the paths of all lessons, in their order."""
    return sorted(folder().glob("[0-9][0-9]_*.ipynb"))


def choose(names):
    """Return the lessons that these names mean (`01`, `learning_rate`, `01_learning_rate` or a path); all for none."""
    there = lessons()
    if not there:
        raise LabError(f"There are no notebooks in {folder()}: the checkout is incomplete; fetch it again.")
    return list(dict.fromkeys(_choose_one(name, there) for name in names)) or there


def _choose_one(name, there):
    stem = Path(name).name.removesuffix(".ipynb")
    for path in there:
        if stem in (path.stem, path.stem[:2], path.stem[3:]):
            return path
    close = difflib.get_close_matches(stem, [form for path in there for form in (path.stem, path.stem[3:])], 1)
    hint = f"Did you mean {close[0]}?" if close else "There are: " + ", ".join(path.stem for path in there) + "."
    raise LabError(f"There is no lesson {name!r}. {hint}")


def read(path):
    """Return a notebook as a dict."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def source(cell):
    """Return the source of a cell as one string."""
    return "".join(cell["source"])


def tagged(notebook, tag):
    """Return the cells that bear a tag."""
    return [cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", ())]


def assigned(code):
    """Return {name: value} of plain top-level assignments, in order; a value that is no literal becomes ...."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return {}
    found = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except ValueError:
                    found[target.id] = ...
    return found


def parameters(path):
    """Return {name: default} of a lesson's parameters."""
    return {name: value for cell in tagged(read(path), "parameters") for name, value in assigned(source(cell)).items()}


def value(text):
    """Read a parameter from the command line: None, True, False, a whole number, a number, else the text itself."""
    for read_as in ({"None": None, "True": True, "False": False}.__getitem__, int, float):
        try:
            return read_as(text)
        except (KeyError, ValueError):
            continue
    return text


def given(paths, texts):
    """Return {path: parameters to inject}; LabError for a name that no chosen lesson has or a value of another type."""
    from labkit.cli import pairs, suggest

    values = {name: value(text) for name, text in pairs(texts, "-p").items()}
    defaults = {path: parameters(path) for path in paths}
    known = list(dict.fromkeys(name for names in defaults.values() for name in names))
    for name in values:
        if name not in known:
            raise LabError(f"{name} is not a parameter of {', '.join(path.stem for path in paths)}.{suggest(name, known)}")
    for path, names in defaults.items():
        for name in names.keys() & values.keys():
            _check_type(path, name, names[name], values[name])
    return {path: {name: values[name] for name in values if name in defaults[path]} for path in paths}


def _check_type(path, name, default, new):
    kinds = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    fits = default is None or type(new) is type(default) or (isinstance(default, float) and type(new) is int)
    if not fits and type(default) in kinds:
        raise LabError(f"{name} = {new!r} does not fit {path.stem}: it must be {kinds[type(default)]}, such as {default!r}.")


def failure(notebook):
    """Return (cell number, what it says) of the first failed cell of an executed notebook, or None; numbers as in In[]."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return cell.get("execution_count"), f"{output['ename']}: {output['evalue']}"
    return None
