"""Measure what a session with the panel holds in memory, and write it into docs/frontends.md.

    python tools/session_memory.py

A session is what Binder or a hub keeps for one person: JupyterLab's server and a kernel in which the panel trains six
runs side by side on the embedded base and then draws a prompt at every strength. A browser presses the buttons, as a
person would; it runs on the person's machine and is not counted. It needs Chromium and playwright.
"""

import platform
import re
import statistics
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import nbformat  # noqa: E402  the path above comes first
import psutil  # noqa: E402  PEFT brings it

from labkit.cli.tools import load  # noqa: E402
from labkit.files.atomic import write_file  # noqa: E402

jupyter_page = load("jupyter_page")

PAGE = REPO / "docs" / "frontends.md"
SESSIONS, EVERY_S = 3, 0.2
RUNS = 6
PACKAGES = ("torch", "diffusers", "jupyterlab", "ipykernel")
CELL = f"""import labkit as lk
panel = lk.LabPanel(territory="liminal", design={{"max_train_steps": 10}}, hide=["prediction"])
panel.race("learning_rate", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2][:{RUNS}])
panel"""


class Held:
    """Follow what some processes and their children hold, until told to stop: `most` MB, by kind of process."""

    def __init__(self, server: psutil.Process):
        """Begin to look."""
        self.server, self.most, self._done = server, {"all": 0.0}, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        while not self._done.wait(EVERY_S):
            held = {"server": resident(self.server), "kernel": sum(map(resident, children(self.server)))}
            held["all"] = sum(held.values())
            self.most = {name: max(value, self.most.get(name, 0.0)) for name, value in held.items()}

    def stop(self) -> dict[str, float]:
        """Return the most that was held, in MB."""
        self._done.set()
        self._thread.join()
        return self.most


def resident(process) -> float:
    """Return what a process holds, in MB; nothing once it is gone."""
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


def children(process) -> list:
    """Return what a process started, and what that did."""
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def session() -> dict[str, float]:
    """Return the most that one session held, in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "panel.ipynb")
        environment = {"LABKIT_STORE": str(folder / "runs"), "PYTHONPATH": str(REPO), "LABKIT_FRONTEND": "browser",
                       "LABKIT_FAST": "0"}
        with jupyter_page.jupyterlab(folder, **environment) as (address, token):
            [server] = [child for child in psutil.Process().children() if "jupyterlab" in child.cmdline()]
            held = Held(server)
            with jupyter_page.notebook_page(address, token, "panel.ipynb") as page:
                use(page)
            return held.stop()


def use(page) -> None:
    """Train the runs in the panel and draw with one of them."""
    jupyter_page.run_all(page)
    train, stage = page.locator(".lab-train"), page.locator(".lab-stage")
    jupyter_page.wait_until(lambda: "ready" in stage.inner_text(), 300)
    assert train.inner_text() == f"Race {RUNS} runs", train.inner_text()
    train.click()
    jupyter_page.wait_until(lambda: "finished" in stage.inner_text(), 1800)
    page.locator(".lab-prompt").press("Enter")
    page.locator(".lab-drawing .result img").last.wait_for(state="visible")


def words(held) -> str:
    """Return what was measured as a paragraph of the page."""
    def over(name):
        values = [each[name] for each in held]
        spread = f" ({min(values):,.0f} to {max(values):,.0f})" if len(values) > 1 else ""
        return f"{statistics.median(values):,.0f} MB{spread}"

    sessions = f"median and range of {len(held)} sessions" if len(held) > 1 else "in the one session that was measured"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (f"A session of the panel that trains {RUNS} runs side by side on the embedded base and draws with one of "
            f"them holds at most {over('all')} of resident memory, {sessions}: "
            f"the server {over('server')}, the kernel {over('kernel')}. Measured "
            f"on {platform.system()} with Python {platform.python_version()}, {versions} by "
            "`python tools/session_memory.py`.\n")


def main() -> None:
    """Measure some sessions, and write the page's part after each."""
    if jupyter_page.CHROMIUM is None:
        sys.exit("session_memory: there is no Chromium: install it, or set LABKIT_CHROMIUM to the program.")
    held = []
    for number in range(SESSIONS):
        held.append(session())
        print(f"session {number + 1}: " + ", ".join(f"{name} {value:,.0f} MB" for name, value in held[-1].items()),
              flush=True)
        page = re.sub(r"(<!-- memory -->\n).*?(<!-- /memory -->)", lambda found: found[1] + words(held) + found[2],
                      PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
        write_file(PAGE, page.encode(), choose="the checkout")


if __name__ == "__main__":
    main()
