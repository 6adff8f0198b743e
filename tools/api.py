"""Write docs/api.md: every name of `import labkit as lk`, by rooms, with its signature and its docstring.

    python tools/api.py

The page is read from the sources, so that it is the same on every Python and needs neither torch nor matplotlib.
"""

import ast
import dataclasses
import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import labkit  # noqa: E402  the path above comes first

PAGE = REPO / "docs" / "api.md"
HEAD = """# The public face

`import labkit as lk` gives these names; each loads what it needs at first use. What a lesson shows beyond them is
imported from the module that is named by its subject: `from labkit.experiments import rank`.
Written by `python tools/api.py` from the docstrings: change those, then run it.
"""


def page() -> str:
    """Return the text of docs/api.md."""
    rooms = {}
    for name, module in labkit._HOMES.items():
        rooms.setdefault(module.rpartition(".")[0] or "labkit", []).append(name)
    parts = [HEAD]
    for room, names in rooms.items():
        if room == "labkit":
            parts.append("## labkit itself\n")
        else:
            parts.append(f"## Room {room}\n\n{room_sentence(room)}\n")
        parts += [entry(name) for name in names]
    return "\n".join(parts)


def room_sentence(room: str) -> str:
    """Return the first line of what a room says of itself."""
    source = (REPO / "labkit" / room / "__init__.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)).splitlines()[0]


def entry(name: str) -> str:
    """Return the part of the page on one name."""
    module = f"labkit.{labkit._HOMES[name]}"
    source = source_of(module)
    node = next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)
    is_class = isinstance(node, ast.ClassDef)
    classes = lineage(node, module) if is_class else []
    code = class_signature(classes, source.splitlines()) if is_class else signature(node)
    members = [line for member in inherited(classes) for line in member_line(member)]
    lines = [f"### `{name}`", "", f"From `{module}`.", "", "```python", code, "```", "",
             "```text", ast.get_docstring(node), "```", ""]
    return "\n".join(lines + members + [""] * bool(members))


def source_of(module: str) -> str:
    """Return the source of a module of the kit."""
    return (REPO / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


def lineage(node: ast.ClassDef, module: str) -> list[ast.ClassDef]:
    """Return a class and what it is made of inside the kit, in the order in which Python looks for a name."""
    tree = ast.parse(source_of(module))
    homes = {alias.asname or alias.name: (statement.module, alias.name) for statement in tree.body
             if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("labkit")
             for alias in statement.names}
    homes |= {own.name: (module, own.name) for own in tree.body if isinstance(own, ast.ClassDef)}
    found = [node]
    for home, name in (homes[ast.unparse(base)] for base in node.bases if ast.unparse(base) in homes):
        base = next(each for each in ast.parse(source_of(home)).body if getattr(each, "name", None) == name)
        found += lineage(base, home)
    return found


def inherited(classes: list[ast.ClassDef]) -> list[ast.stmt]:
    """Return the members of a class and its bases; one that is defined again is not named twice."""
    members = {}
    for each in classes:
        for member in each.body:
            members.setdefault(getattr(member, "name", member), member)
    return list(members.values())


def signature(node: ast.FunctionDef, name: str = "", *, is_method: bool = False, width: int = 100) -> str:
    """Return `name(parameters) -> result`; where it is longer than `width`, a line for each parameter."""
    names = parameters(node.args)[is_method:]                              # without self or cls
    result = f" -> {annotation(node.returns)}" if node.returns and not name else ""
    line = f"{name or node.name}({', '.join(names)}){result}"
    if len(line) <= width:
        return line
    return "\n".join([f"{name or node.name}(", *(f"    {parameter}," for parameter in names), f"){result}"])


def parameters(arguments: ast.arguments) -> list[str]:
    """Return the parameters of a function one by one, with their types and defaults."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    texts = [declared(*pair) for pair in zip(positional, defaults, strict=True)]
    if arguments.vararg:
        texts.append(f"*{declared(arguments.vararg)}")
    elif arguments.kwonlyargs:
        texts.append("*")
    texts += [declared(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return texts + ([f"**{declared(arguments.kwarg)}"] if arguments.kwarg else [])


def declared(argument: ast.arg, default: ast.expr | None = None) -> str:
    """Return one parameter as it is written: `name: type = default`."""
    text = argument.arg + (f": {annotation(argument.annotation)}" if argument.annotation else "")
    equals = " = " if argument.annotation else "="
    return text if default is None else f"{text}{equals}{ast.unparse(default)}"


def annotation(node: ast.expr) -> str:
    """Return a type as it is read, without the quotes of one that is defined further down."""
    return ast.unparse(node).strip("'")


def class_signature(classes: list[ast.ClassDef], lines: list[str]) -> str:
    """Return how an object is made: by its fields where it is a dataclass, else by the parameters of `__init__`.

    classes    the class and its bases; lines: of the file that it stands in
    """
    node = classes[0]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = [field_line(node.name, field, lines) for field in node.body if isinstance(field, ast.AnnAssign)]
        return "\n".join([f"{node.name}(", "    *,", *fields, ")"])
    made = next((member for member in inherited(classes) if getattr(member, "name", "") == "__init__"), None)
    return signature(made, node.name, is_method=True) if made else f"{node.name}()"


def field_line(owner: str, field: ast.AnnAssign, lines: list[str]) -> str:
    """Return one field of a dataclass with its type, its default and what is said of it."""
    default, comment = field.value, re.search(r"\s#\s(.*)$", lines[field.lineno - 1])
    words = comment[1] if comment else ""
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "knob":
        declared = {known.name: known for known in dataclasses.fields(getattr(labkit, owner))}
        default, words = default.args[0], declared[field.target.id].metadata["help"]
    value = f" = {ast.unparse(default)}" if default is not None else ""
    text = f"    {field.target.id}: {annotation(field.annotation)}{value},"
    return f"{text}  # {words}" if words else text


def member_line(member: ast.stmt) -> list[str]:
    """Return one line on a public method or property of a class, none on anything else."""
    if not isinstance(member, ast.FunctionDef) or member.name.startswith("_"):
        return []
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in member.decorator_list}
    is_value = bool(decorators & {"property", "cached_property"})
    title = member.name if is_value else signature(member, is_method="staticmethod" not in decorators, width=1000)
    sentence = re.split(r"(?<=\.)\s", " ".join((ast.get_docstring(member) or "").split("\n\n")[0].split()))[0]
    return [f"- `.{title}`: {sentence.rstrip('.')}."]


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
