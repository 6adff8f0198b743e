"""What may depend on what: the contracts in pyproject.toml, what an import loads, and what the engine never does."""

import ast
import functools
import io
import json
import subprocess
import sys
import tokenize
import tomllib

import pytest
from importlinter.cli import lint_imports

import labkit
from labkit import settings

PACKAGE = settings.REPO / "labkit"
HEAVY = {"torch", "diffusers", "transformers", "peft", "matplotlib", "ipywidgets", "IPython", "tqdm"}
BARE = HEAVY | {"numpy", "PIL", "yaml"}
PYPLOT = {"torch", "diffusers", "transformers", "IPython", "ipywidgets", "matplotlib.pyplot"}

# Room or module -> what must not be loaded once all of it is imported. Torch itself loads tqdm.
LOADS_NO = {
    "labkit": BARE, "labkit.design": BARE,
    "labkit.cli.parser": BARE, "labkit.cli.options": BARE, "labkit.cli.checkup": BARE, "labkit.cli.bootstrap": BARE,
    "labkit.datasets": HEAVY, "labkit.store": HEAVY | {"PIL"}, "labkit.judge": HEAVY | {"PIL"},
    "labkit.engine": HEAVY - {"torch", "tqdm"}, "labkit.view": PYPLOT, "labkit.lessons.exercises": PYPLOT,
    "labkit.lessons.session": PYPLOT | {"matplotlib"}, "labkit.cli.student": HEAVY,
}


def loaded_by(room):
    """Return the names of all modules loaded by importing a room and what lies in it, in a fresh process."""
    code = f"""if True:
        import importlib, json, pkgutil, sys
        room = importlib.import_module({room!r})
        for module in pkgutil.iter_modules(getattr(room, "__path__", []) if {room!r} != "labkit" else []):
            importlib.import_module({room!r} + "." + module.name)
        print(json.dumps(sorted(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=settings.REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_rooms_import_downwards_only_and_keep_their_contracts(monkeypatch, capfd):
    monkeypatch.chdir(settings.REPO)
    assert lint_imports(no_cache=True) == 0, capfd.readouterr().out


@pytest.mark.parametrize("room", LOADS_NO)
def test_importing_a_room_loads_nothing_it_must_not(room):
    assert not loaded_by(room) & LOADS_NO[room]


def test_every_room_says_what_lives_there():
    for room in PACKAGE.iterdir():
        if room.is_dir() and room.name != "__pycache__":
            statements = ast.parse((room / "__init__.py").read_text(encoding="utf-8")).body
            assert len(statements) == 1 and isinstance(statements[0].value, ast.Constant), room


def test_importing_the_package_is_light():
    code = """if True:
        import sys, time
        before, start = set(sys.modules), time.process_time()
        import labkit
        print(time.process_time() - start, *set(sys.modules) - before)"""
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=settings.REPO, capture_output=True, text=True, check=True).stdout
    spent, *loaded = printed.split()
    assert float(spent) < 0.3 and {name.split(".")[0] for name in loaded} <= {"labkit", *sys.stdlib_module_names}


def test_the_package_has_the_version_of_the_distribution():
    project = tomllib.loads((settings.REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labkit.__version__ == project["version"]


@functools.cache
def sources():
    """Return {name in the package: parsed source} of every module."""
    names = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for path, name in names.items()}


def imported(tree):
    """Return the first names of all modules that a source imports, functions included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def without_reason(source):
    """Return the lines of imports inside functions that no comment explains, on their line or on the one above.

    Imports that follow each other share the comment of the first.
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    explained = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    imports = {node.lineno: node.end_lineno for function in functions for node in ast.walk(function)
               if isinstance(node, ast.Import | ast.ImportFrom)}
    lacking = []
    for first, last in sorted(imports.items()):
        if explained.isdisjoint(range(first - 1, last + 1)):
            lacking.append(first)
        else:
            explained |= {last, last + 1}
    return lacking


def test_every_import_inside_a_function_has_its_reason_in_a_comment():
    lacking = {path.relative_to(PACKAGE).as_posix(): without_reason(path.read_text(encoding="utf-8"))
               for path in PACKAGE.rglob("*.py")}
    assert not {path: lines for path, lines in lacking.items() if lines}


def test_an_import_inside_a_function_without_a_reason_is_found():
    source = """def f():
    import torch  # heavy
    from torch import nn

    import numpy

    x = numpy.ones(3)
    import json
    # only here
    import re
"""
    assert without_reason(source) == [8]


@pytest.mark.parametrize("library, allowed", [
    ("diffusers", {"engine.base", "engine.loading", "engine.merging"}), ("transformers", {"engine.loading"}),
    ("peft", set()), ("pickle", set()), ("tqdm", set()),
])
def test_a_library_is_used_in_its_one_place_only(library, allowed):
    assert {name for name, tree in sources().items() if library in imported(tree)} <= allowed


def calls(tree):
    """Return the dotted names of everything called in a source."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("module", [
    "train", "monitor", "batches", "adapters", "layers", "loss", "optim", "validation", "seeding",
])
def test_the_engine_prints_nothing_writes_nothing_and_seeds_nothing_global(module):
    called = calls(sources()[f"engine.{module}"])
    assert not called & {"print", "open", "torch.save", "warnings.warn",
                         "torch.manual_seed", "torch.seed", "random.seed", "np.random.seed"}
    assert not {name for name in called if name.endswith((".write_text", ".write_bytes", ".savefig"))}


def test_nothing_unpickles():
    never = {"torch.load", "torch.save", "pickle.load", "pickle.loads", "np.load", "yaml.load", "yaml.unsafe_load"}
    assert not {name for name, tree in sources().items() if calls(tree) & never}


def test_what_plots_neither_shows_nor_saves():
    plots = {name: tree for name, tree in sources().items() if name.startswith(("view.", "experiments."))}
    assert len(plots) > 25
    saves = {name for name, tree in plots.items() if any(call.endswith((".savefig", ".show")) for call in calls(tree))}
    assert saves == {"view.style"}                            # into memory, for the notebook that shows it
