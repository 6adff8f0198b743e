"""Who looks at this kernel: a browser that can press buttons, Colab, or nobody."""

import os
import sys


def frontend() -> str:
    """Return "browser" (widgets work, training may run in a thread), "colab" (widgets work, threads cannot update them) or "headless".

    Jupyter's server names the notebook in the environment of kernels it starts for people; papermill, nbclient and nbval
    start theirs without. LABKIT_FRONTEND overrides the guess.
    """
    asked = os.environ.get("LABKIT_FRONTEND")
    if asked in ("browser", "colab", "headless"):
        return asked
    if "google.colab" in sys.modules:
        return "colab"
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return "headless"
    watched = "JPY_SESSION_NAME" in os.environ or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return "browser" if watched or "__vsc_ipynb_file__" in shell.user_ns else "headless"


def show(*things) -> None:
    """Display things below the running cell; outside IPython do nothing."""
    if "IPython" in sys.modules:
        from IPython.display import display

        display(*things)
