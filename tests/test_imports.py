"""What may depend on what: by running each import in a process of its own, and by reading the sources."""

import ast
import functools
import json
import subprocess
import sys
import tomllib

import pytest

import labkit
from labkit import settings

PACKAGE = settings.REPO / "labkit"
HEAVY = {"torch", "diffusers", "transformers", "peft", "matplotlib", "ipywidgets", "IPython", "tqdm"}

# Module -> what must not be loaded once it is imported. `torch` itself loads tqdm, so train's is looked for in its sources.
LOADS_NO = {
    "errors": HEAVY | {"numpy", "PIL", "yaml"}, "fields": HEAVY | {"numpy", "PIL", "yaml"}, "config": HEAVY | {"numpy", "PIL", "yaml"}, "design": HEAVY | {"numpy", "PIL", "yaml"}, "propose": HEAVY | {"numpy", "PIL", "yaml"},
    "schedules": HEAVY | {"numpy", "PIL", "yaml"}, "plan": HEAVY | {"numpy", "PIL", "yaml"}, "paths": HEAVY | {"numpy", "PIL"},
    "seeding": HEAVY, "events": HEAVY | {"PIL"}, "stats": HEAVY | {"PIL"}, "adapter_files": HEAVY | {"PIL"}, "history": HEAVY | {"PIL"},
    "journal": HEAVY | {"PIL"}, "runs": HEAVY | {"PIL"}, "diagnose": HEAVY | {"PIL"}, "data": HEAVY,
    "exercises": {"torch", "diffusers", "transformers", "IPython", "ipywidgets", "matplotlib.pyplot"}, "student": HEAVY | {"numpy"},
    "cli": HEAVY | {"numpy"}, "checkup": HEAVY | {"numpy", "yaml"},
    **{name: HEAVY - {"matplotlib"} | {"matplotlib.pyplot"} for name in ("memorize", "spectrum", "volume", "boundary", "epochs", "batch_sizes", "evidence", "volume_checks", "first_checks", "volume_claims", "capacity", "scalings", "twins", "valleys", "published", "precision")},
    "plots": {"torch", "diffusers", "transformers", "IPython", "ipywidgets", "labkit.widgets", "matplotlib.pyplot"},
    "train": {"diffusers", "transformers", "peft", "matplotlib", "ipywidgets", "labkit.plots", "labkit.widgets", "labkit.store.runs", "labkit.cli.parser"},
}


def loaded_by(module):
    """Return the names of all modules loaded by importing one, in a fresh process."""
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=settings.REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", LOADS_NO)
def test_importing_a_module_loads_nothing_it_must_not(module):
    assert not loaded_by(f"labkit.{module}") & LOADS_NO[module]


def test_importing_the_package_is_light():
    code = "import sys, time; before = set(sys.modules); start = time.process_time(); import labkit; print(time.process_time() - start, *set(sys.modules) - before)"
    spent, *loaded = subprocess.run([sys.executable, "-c", code], cwd=settings.REPO, capture_output=True, text=True, check=True).stdout.split()
    assert float(spent) < 0.3 and {name.split(".")[0] for name in loaded} <= {"labkit", *sys.stdlib_module_names}


def test_the_package_has_the_version_of_the_distribution():
    project = tomllib.loads((settings.REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labkit.__version__ == project["version"]


@functools.cache
def sources():
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.glob("*.py"))}


def imports(tree):
    """Return every module named in an import statement, functions included; `from labkit import runs` is labkit.store.runs."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"labkit.{alias.name}" for alias in node.names} if node.module == "labkit" else {node.module}
    return found


def reach(module, trees):
    """Return the labkit modules that a module imports, and those that they import, anywhere in their sources."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in trees and name not in found:
            found.add(name)
            todo += [other.removeprefix("labkit.") for other in imports(trees[name]) if other.startswith("labkit.")]
    return found


def users_of(library):
    """Return the modules that import a library anywhere."""
    return {name for name, tree in sources().items() if any(other.split(".")[0] == library for other in imports(tree))}


@pytest.mark.parametrize("library, allowed", [("diffusers", {"base"}), ("transformers", {"base"}), ("peft", set()), ("pickle", set()), ("tqdm", set())])
def test_a_library_is_used_in_its_one_place_only(library, allowed):
    assert users_of(library) <= allowed


@pytest.mark.parametrize("module", ["config", "design", "propose", "schedules", "plan", "events", "history", "runs", "diagnose", "stats", "journal", "spectrum", "capacity", "scalings"])
def test_torch_is_not_even_imported_later_by(module):
    assert not {name for name in reach(module, sources()) if "torch" in {other.split(".")[0] for other in imports(sources()[name])}}


@pytest.mark.parametrize("module, never", [
    ("train", {"plots", "widgets", "runs", "journal", "cli", "claims", "diagnose", "exercises"}),
    ("loss", {"base", "cache", "train", "runs"}), ("adapters", {"base", "cache", "train", "runs"}), ("validate", {"train", "runs", "base"}), ("memory", {"train", "runs", "base", "cache"}),
    ("base", {"cache", "train", "runs", "plots"}), ("cache", {"train", "runs", "plots"}), ("data", {"base", "cache", "runs"}),
    ("plots", {"widgets", "train", "base", "cli"}), ("runs", {"train", "base", "cache", "plots", "widgets", "sweep"}),
    ("exercises", {"train", "base", "cache", "lab", "plots", "widgets", "cli", "sweep"}),
    ("diagnose", {"train", "plots", "base", "widgets"}), ("design", {"config", "runs", "train"}), ("propose", {"runs", "train", "base"}),
    ("distance", {"train", "runs", "plots", "lab"}), ("sweep", {"plots", "widgets", "cli"}),
])
def test_dependencies_point_down(module, never):
    trees = sources()
    assert module in trees
    assert not reach(module, trees) & never


def calls(tree):
    """Return the dotted names of everything called in a source."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("module", ["train", "monitor", "batches", "adapters", "adapter_layers", "loss", "optim", "validate", "seeding"])
def test_the_engine_prints_nothing_writes_nothing_and_seeds_nothing_global(module):
    called = calls(sources()[module])
    assert not called & {"print", "open", "torch.manual_seed", "torch.seed", "random.seed", "np.random.seed", "torch.save", "warnings.warn"}
    assert not {name for name in called if name.endswith((".write_text", ".write_bytes", ".savefig"))}


def test_nothing_unpickles():
    called = {name: calls(tree) for name, tree in sources().items()}
    assert not {name for name, found in called.items() if found & {"torch.load", "torch.save", "pickle.load", "pickle.loads", "np.load", "yaml.load", "yaml.unsafe_load"}}


@pytest.mark.parametrize("module", ["plots", "curves", "pictures", "measured", "memorize", "spectrum", "boundary", "epochs", "batch_sizes", "capacity", "scalings", "strength", "mixing", "scenarios"])
def test_a_module_that_plots_neither_shows_nor_saves(module):
    trees = sources()
    assert "style" in reach(module, trees)
    assert not {called for called in calls(trees[module]) if called.endswith((".savefig", ".show"))}
