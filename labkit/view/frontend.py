"""Who looks at this kernel: a browser that can press buttons, Colab, or nobody."""

import os
import re
import sys
from pathlib import Path

from labkit.settings import switch
from labkit.text import in_lines


def frontend() -> str:
    """Return who looks at this kernel, as LABKIT_FRONTEND says or as it looks from here.

    "browser": widgets work, training may run in a thread. "colab": widgets work, but no thread can update them.
    "headless": nobody can press a button.
    """
    stated = switch("LABKIT_FRONTEND")
    if stated in ("browser", "colab", "headless"):
        return stated
    if "google.colab" in sys.modules:
        return "colab"
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return "headless"
    return "browser" if _started_for_a_person() or "__vsc_ipynb_file__" in shell.user_ns else "headless"


def _started_for_a_person() -> bool:
    """Tell whether a server of notebooks started this kernel, rather than papermill, nbclient or nbval.

    A server says so in the environment, which all that is started from its kernels inherits. But a server keeps many
    kernels and names each one's connection file by the kernel's id, while the others let jupyter_client take a
    temporary name.
    """
    from ipykernel.connect import get_connection_file  # here: only a kernel has it

    from_server = "JPY_SESSION_NAME" in os.environ or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return from_server and re.fullmatch(r"kernel-[0-9a-f-]{36}\.json", Path(get_connection_file()).name) is not None


def say(*words) -> None:
    """Print words as sentences, in lines that a page shows whole."""
    print(in_lines(" ".join(map(str, words))))


def show(*things) -> None:
    """Display things below the running cell; outside IPython do nothing."""
    if "IPython" in sys.modules:
        from IPython.display import display  # here: plain Python need not have it

        display(*things)


def show_anew(thing):
    """Display a thing below the running cell, and return a function that puts another in its place.

    Outside IPython both do nothing.
    """
    if "IPython" not in sys.modules:
        return lambda other: None
    from IPython.display import display  # here: plain Python need not have it

    shown = display(thing, display_id=True)
    return shown.update if shown else lambda other: None
