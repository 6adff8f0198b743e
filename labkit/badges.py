"""Badges, links and the Colab set-up cell, all made from the one address in pyproject.toml. Standard library only."""
from urllib.parse import quote, urlparse

from labkit.cli.requirements import pyproject

BRANCH = "main"


def address():
    """Return the repository's address as pyproject.toml states it."""
    return pyproject()["project"]["urls"]["Repository"].rstrip("/")


def is_set(url=None):
    """Say whether the address is a real one rather than the placeholder."""
    return "SET_OWNER" not in (url or address())


def colab_link(name, url=None):
    """Return the address that opens a notebook in Colab."""
    owner_and_repo = urlparse(url or address()).path.strip("/")
    return f"https://colab.research.google.com/github/{owner_and_repo}/blob/{BRANCH}/notebooks/{name}.ipynb"


def binder_link(name, url=None):
    """Return the address that opens a notebook on Binder, in JupyterLab."""
    owner_and_repo = urlparse(url or address()).path.strip("/")
    return f"https://mybinder.org/v2/gh/{owner_and_repo}/{BRANCH}?urlpath={quote(f'lab/tree/notebooks/{name}.ipynb', safe='')}"


def badges(name, url=None):
    """Return the Markdown line of badges of one notebook."""
    return (f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab_link(name, url)}) "
            f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder_link(name, url)})")


def setup_cell(url=None):
    """Return the source of the set-up cell: it finds the kit, and in Colab fetches and installs it first, again where that failed."""
    return f'''# Set-up: fetches and installs the lab in Colab; anywhere else it only finds it.
import importlib.metadata, importlib.util, os, subprocess, sys
kit = "/content/parameter-design-lab" if "google.colab" in sys.modules else os.path.abspath("..")
if "google.colab" in sys.modules:
    if not os.path.isdir(os.path.join(kit, "labkit")):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "{url or address()}", kit], check=True)
    if not any(importlib.metadata.distributions(name="parameter-design-lab")):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", kit], check=True)
if os.path.isdir(os.path.join(kit, "labkit")) and kit not in sys.path:
    sys.path.insert(0, kit)
if importlib.util.find_spec("labkit") is None:
    raise ModuleNotFoundError("The lab is not found from here. In the folder of its checkout, open this notebook with: "
                              "python3 -m labkit lab PATH-OF-THIS-NOTEBOOK")'''
