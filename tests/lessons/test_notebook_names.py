"""What the notebooks use of the kit exists, under names that say its subject, brought in by few lines."""

import ast
import builtins
import importlib
import types

import pytest

from labkit.lessons import notebooks

MOST_LINES = 8  # that import from the kit, besides `import labkit as lk`
MOST_MODULES = 8  # that they bring in
FROM_IPYTHON = {"display"}


@pytest.fixture(params=notebooks.lessons(), ids=lambda path: path.stem)
def lesson(request):
    return request.param


@pytest.fixture
def cells(lesson):
    """Return the parsed code cells of a lesson, without the one that finds the kit."""
    notebook = notebooks.read(lesson)
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [ast.parse(notebooks.source(cell)) for cell in codes if "setup" not in cell["metadata"].get("tags", ())]


def nodes(cells, *kinds):
    return [node for tree in cells for node in ast.walk(tree) if isinstance(node, kinds)]


def imports_of_the_kit(cells):
    """Return the statements that import from the kit by a name below it."""
    return [node for node in nodes(cells, ast.ImportFrom) if node.module.split(".")[0] == "labkit"]


def imported(cells):
    """Return {name in the notebook: object} of everything that a notebook imports."""
    bound = {}
    for node in nodes(cells, ast.Import, ast.ImportFrom):
        for alias in node.names:
            if isinstance(node, ast.Import):
                bound[alias.asname or alias.name] = importlib.import_module(alias.name)
                continue
            module = importlib.import_module(node.module)
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
            bound[alias.asname or alias.name] = getattr(module, alias.name)
    return bound


def assigned(cells):
    return {node.id for node in nodes(cells, ast.Name) if isinstance(node.ctx, ast.Store)}


def test_every_name_that_a_notebook_uses_of_the_kit_exists(cells):
    bound = imported(cells)
    used = [(node.value.id, node.attr) for node in nodes(cells, ast.Attribute)
            if isinstance(node.value, ast.Name) and isinstance(bound.get(node.value.id), types.ModuleType)]
    assert ("session", "begin") in used and ("session", "finish") in used
    assert not [f"{name}.{attribute}" for name, attribute in used if not hasattr(bound[name], attribute)]


def test_every_other_name_is_a_parameter_a_variable_or_pythons(cells):
    arguments = {node.arg for node in nodes(cells, ast.arg)}
    known = set(imported(cells)) | assigned(cells) | arguments | set(dir(builtins)) | FROM_IPYTHON
    assert not {node.id for node in nodes(cells, ast.Name)} - known


def test_no_variable_takes_the_name_of_what_was_imported(cells):
    inner = [node for comprehension in nodes(cells, ast.comprehension) for node in ast.walk(comprehension.target)]
    outer = {node.id for node in nodes(cells, ast.Name) if isinstance(node.ctx, ast.Store) and node not in inner}
    assert not outer & set(imported(cells))


def test_a_notebook_imports_the_face_and_modules_by_their_names(cells):
    faces = [alias for node in nodes(cells, ast.Import) for alias in node.names]
    assert [(alias.name, alias.asname) for alias in faces] == [("labkit", "lk")]
    aliases = [alias for node in imports_of_the_kit(cells) for alias in node.names]
    assert all(isinstance(imported(cells)[alias.name], types.ModuleType) for alias in aliases if not alias.asname)
    assert not [alias.asname for alias in aliases if alias.asname]


def test_a_notebook_imports_from_the_kit_in_few_lines(cells):
    assert 1 <= len(imports_of_the_kit(cells)) <= MOST_LINES


def test_a_notebook_brings_in_few_modules_of_the_kit(lesson, cells):
    count = sum(len(node.names) for node in imports_of_the_kit(cells))
    assert count <= MOST_MODULES


def test_whatever_is_imported_is_used(cells):
    used = {node.id for node in nodes(cells, ast.Name) if isinstance(node.ctx, ast.Load)}
    assert set(imported(cells)) <= used
