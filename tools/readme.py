"""What is written from the project itself: parts of its pages, badges, links and the lessons' set-up cell.

Every address comes from the one in pyproject.toml. Standard library only.
"""

import ast
import re
import subprocess
from urllib.parse import quote, urlparse

from labkit.cli.requirements import pyproject
from labkit.cli.verbs import VERBS
from labkit.lessons import notebooks
from labkit.settings import REPO

BRANCH = "main"
# What the set-up cell says in Colab while the address is the placeholder.
UNKNOWN = """\
        if "SET_OWNER" in repository:
            raise RuntimeError("This notebook does not know its repository: write its address after 'repository =' "
                               "above, with your account in place of SET_OWNER, and run this cell again.")
"""
PAGES = ("README.md", "CONTRIBUTING.md")


def filled(page):
    """Return the text of a page with every part between `<!-- name -->` and `<!-- /name -->` written anew."""
    parts = {"site": site(), "lessons": lessons(), "verbs": verbs(), "map": project_map(), "rooms": rooms()}
    for name, text in parts.items():
        page = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
                      lambda match, text=text: match[1] + text + match[2], page, flags=re.DOTALL)
    return page


def lessons():
    """Return the table of lessons."""
    rows = ["| lesson | question | minutes on two CPU cores | on a GPU | |", "|---|---|---|---|---|"]
    for path in notebooks.lessons():
        seconds = notebooks.seconds(notebooks.read(path))
        cpu, gpu = (str(max(1, round(seconds[device] / 60))) if device in seconds else "not measured"
                    for device in ("cpu", "gpu"))
        rows.append(f"| [{path.stem}](notebooks/{path.name}) | {notebooks.QUESTIONS[path.stem]} | {cpu} | {gpu} "
                    f"| {badges(path.stem)} |")
    return "\n".join(rows) + "\n"


def verbs():
    """Return the commands with what they do."""
    lines = [f"python3 -m labkit {verb:<9} {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(["```", *lines, "```"]) + "\n"


def rooms():
    """Return the table of rooms from top to bottom: what belongs there, and which file to read first."""
    rows = ["| room | put code here if | read first |", "|---|---|---|"]
    for name, path in room_files().items():
        about = " ".join(docstring(path).partition("\n\n")[2].split())
        what, _, first = about.removeprefix("Put code here if ").partition("Read first: ")
        rows.append(f"| `{name}` | {what.strip()} | {first.rstrip('.')} |")
    return "\n".join(rows) + "\n"


def project_map():
    """Return the map: the rooms of the package from top to bottom, then what lies beside it."""
    rows = [f"- `{name}`: {first_sentence(path)}" for name, path in room_files().items()]
    tools = ", ".join(path.stem for path in sorted((REPO / "tools").glob("*.py")))
    pages = ", ".join(f"[{path.stem}](docs/{path.name})" for path in sorted((REPO / "docs").glob("*.md")))
    rows += [f"- `tools/`: work on the kit itself, not installed: {tools}",
             f"- `data/recipes/`: {first_sentence(REPO / 'data/recipes/__init__.py')}",
             f"- `docs/`: {pages}"]
    return "\n".join(rows) + "\n"


def room_files():
    """Return {room: the file that says what lives there} from top to bottom."""
    files = {f"labkit/{name}/": REPO / "labkit" / name / "__init__.py" for name in layers()}
    return {name: path for name, path in files.items() if path.is_file()}


def layers():
    """Return the names of the package's rooms and modules from top to bottom, as pyproject.toml orders them."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    [order] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [name.strip() for layer in order for name in layer.split("|")]


def docstring(path):
    """Return a module's docstring without importing it."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def first_sentence(path):
    """Return the first sentence of a module's docstring, without its stop."""
    words = " ".join(docstring(path).split("\n\n")[0].split())
    return re.split(r"(?<!et al)\.\s(?=[A-Z`])", words)[0].rstrip(".")


def address():
    """Return the repository's address as pyproject.toml states it."""
    return pyproject()["project"]["urls"]["Repository"].rstrip("/")


def remote():
    """Return the web address that this checkout was fetched from or is pushed to, None where git knows none."""
    try:
        told = subprocess.run(["git", "remote", "get-url", "origin"], cwd=REPO, capture_output=True, text=True,
                              timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.fullmatch(r"(?:https://(?:[^@/]+@)?|git@|ssh://git@)(github\.com)[:/](.+?)(?:\.git)?/?", told)
    return f"https://{found[1]}/{found[2]}" if found else None


def is_set(url=None):
    """Say whether the address is a real one rather than the placeholder."""
    return "SET_OWNER" not in (url or address())


def site(url=None):
    """Return the line that leads to the web pages of the lessons, or says how they are built."""
    owner, name = urlparse(url or address()).path.strip("/").split("/")
    build = ("`python3 -m labkit publish --site` builds them from a checkout, and with `--trainable` a page that "
             "trains in the reader's browser")
    if not is_set(url):
        return f"**To read without installing**: the executed lessons as web pages; {build}.\n"
    pages = f"https://{owner.lower()}.github.io/{name}/"
    return f"**To read without installing**: [the executed lessons as web pages]({pages}); {build}.\n"


def badges(name, url=None):
    """Return the Markdown line of badges of one notebook: they open it in Colab, and in JupyterLab on Binder."""
    repository = urlparse(url or address()).path.strip("/")
    notebook = quote(f"lab/tree/my_lessons/{name}.ipynb", safe="")  # which binder/postBuild makes
    colab = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/{BRANCH}?urlpath={notebook}"
    return (f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
            f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder})")


def top_cell(name, url=None):
    """Return the source of a lesson's first cell: its badges, and what its reader looks at."""
    return (f"{badges(name, url)}\n\n"
            f"*Solved and executed, to read. To do it yourself: `python3 -m labkit lab {name[:2]}` and Binder open a "
            "copy whose solutions are folded and not run; in Colab, first delete what stands between "
            "`### BEGIN SOLUTION` and `### END SOLUTION`.*")


def setup_cell(url=None):
    """Return the source of a lesson's set-up cell.

    It finds the kit. In Colab it fetches and installs the kit first, again where that failed before.
    """
    unknown = "" if is_set(url) else UNKNOWN
    return f'''# @title Set-up: run this first (it finds the lab; in Colab it installs it)
import importlib.metadata, importlib.util, os, subprocess, sys
repository = "{url or address()}"
kit = "/content/parameter-design-lab" if "google.colab" in sys.modules else os.path.abspath("..")
if "google.colab" in sys.modules:
    if not os.path.isdir(os.path.join(kit, "labkit")):
{unknown}        subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository, kit], check=True)
    if not any(importlib.metadata.distributions(name="parameter-design-lab")):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", kit], check=True)
if os.path.isdir(os.path.join(kit, "labkit")) and kit not in sys.path:
    sys.path.insert(0, kit)
if importlib.util.find_spec("labkit") is None:
    raise ModuleNotFoundError("The lab is not found from here. In the folder of its checkout, \
open this notebook with: "
                              "python3 -m labkit lab PATH-OF-THIS-NOTEBOOK")'''
