"""The parts of README.md that are written from the project itself: links, lessons, commands, file map. Standard library only."""
import ast
import re

from labkit import badges
from labkit.cli.parser import VERBS
from labkit.lessons import notebooks
from labkit.settings import REPO

OTHER_FILES = {  # what has no docstring of its own
    "notebooks/": "the lessons",
    "data/base/": "the embedded model, in diffusers' layout",
    "data/territories/": "pictures and captions",
    "data/reader/": "the attribute reader",
    "data/encoded/": "latents of what ships, so that nothing is encoded at the first click",
    "data/runs/": "recorded runs, a zip file a set, opened by `labkit.store.recorded`",
    "data/thorough.yaml": "a design for the longest run the kit recommends on its own pictures",
    "data/glossary.yaml": "the chapter's terms beside the field's",
    "data/README.md": "data card and model card",
    "tests/": "the tests; `tests/support/reference_loop.py` is the plain diffusers + PEFT loop that the engine is held to",
    "docs/performance.md": "how speed is measured, on a CPU and on a GPU",
    "constraints.txt": "the tested versions, which the first command installs",
    "binder/": "the environment for Binder",
    "LOG.md": "experiments and decisions, negative results too",
}
QUESTIONS = {"00_start": "What happens when a model learns a place it has never seen?",
             "01_learning_rate": "How hard should each update push, and how do I find out?",
             "02_rank_and_alpha": "How much room does an adapter need, and how strongly should it act?",
             "03_epochs_and_batches": "How often and how many at a time should pictures be shown, and when is it enough?",
             "04_parameter_design": "How do I go from my pictures to the right parameters and a file that works elsewhere?"}


def filled(text):
    """Return a README with every part between `<!-- name -->` and `<!-- /name -->` written anew."""
    parts = {"lessons": lessons, "verbs": verbs, "files": files}
    for name, write in parts.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda found: found[1] + write() + found[2], text, flags=re.DOTALL)
    return text


def lessons():
    """Return the table of lessons."""
    rows = ["| lesson | question | minutes on two CPU cores | on a GPU | |", "|---|---|---|---|---|"]
    for path in notebooks.lessons():
        seconds = notebooks.seconds(notebooks.read(path))
        minutes = [str(max(1, round(seconds[device] / 60))) if device in seconds else "not measured" for device in ("cpu", "gpu")]
        rows.append(f"| [{path.stem}](notebooks/{path.name}) | {QUESTIONS[path.stem]} | {' | '.join(minutes)} | {badges.badges(path.stem)} |")
    return "\n".join(rows) + "\n"


def verbs():
    """Return the commands with what they do."""
    return "\n".join(["```"] + [f"python3 -m labkit {verb:<9} {what}" for verb, (_, what) in VERBS.items()] + ["```"]) + "\n"


def files():
    """Return the file map: every module, also of sub-folders, with the first sentence of its docstring."""
    paths = [path for folder in ("labkit", "data/recipes", "tools") for path in sorted((REPO / folder).rglob("*.py"))]
    rows = [f"- `{path.relative_to(REPO).as_posix()}`: {first_sentence(path)}" for path in paths]
    return "\n".join(rows + [f"- `{name}`: {what}" for name, what in OTHER_FILES.items()]) + "\n"


def first_sentence(path):
    """Return the first sentence of a module's docstring."""
    words = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<!et al)\.\s(?=[A-Z`])", words)[0].rstrip(".")
