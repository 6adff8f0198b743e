"""JupyterLab, or Notebook 7, in a real browser: a server of its own, a page, and a person's few gestures.

Tests in a browser and what takes pictures use it.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from labkit.cli.tools import load

CHROMIUM = load("run_tests").browser()
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync"]


@contextlib.contextmanager
def jupyterlab(folder: Path, program="jupyterlab", without=(), **environment):
    """Serve a folder with JupyterLab on a free port, away from the user's settings; give address and token.

    program     "notebook" serves it with Notebook 7
    without     extensions that are switched off, such as "anywidget"

    The page is light or dark as its browser asks for.
    """
    own, token = folder / ".jupyter", secrets.token_hex(8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = own / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    no_news = json.dumps({"fetchNews": "false"})                      # its toast covers a corner
    (settings / "notification.jupyterlab-settings").write_text(no_news)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"adaptive-theme": True}))
    (own / "config/labconfig").mkdir(parents=True)
    (own / "config/labconfig/page_config.json").write_text(
        json.dumps({"disabledExtensions": dict.fromkeys(without, True)}))
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
             "IPYTHONDIR": "ipython",
             "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    command = [sys.executable, "-m", program, "--no-browser", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0",
               f"--IdentityProvider.token={token}", "--allow-root", f"--ServerApp.root_dir={folder}",
               "--LabApp.extension_manager=readonly", "--LabApp.news_url=",
               "--JupyterNotebookApp.extension_manager=readonly", "--JupyterNotebookApp.news_url="]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={
            **os.environ, **{name: str(own / part) for name, part in names.items()}, **environment})
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{address}/api/status?token={token}"), 300)
        yield address, token
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def answers(url) -> bool:
    """Tell whether a server answers."""
    try:
        return urllib.request.urlopen(url, timeout=30).status == 200
    except OSError:
        return False


def wait_until(condition, seconds):
    """Wait for a condition; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.2)


@contextlib.contextmanager
def notebook_page(address, token, name, *, width=1280, height=1400):
    """Open a notebook and wait until its kernel is idle; gives the playwright page."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(300_000)                             # a machine that trains meanwhile is slow
        page.goto(f"{address}/lab/tree/{name}?token={token}&reset")
        expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").first).to_be_visible(timeout=300_000)
        wait_idle(page)
        yield page
        browser.close()


def wait_idle(page, seconds=300):
    """Wait until the status bar says that the kernel is idle."""
    from playwright.sync_api import expect

    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=seconds * 1000)


def start_all(page):
    """Run all cells through the menu."""
    page.locator(".lm-MenuBar-item", has_text=re.compile("^ *Run *$")).click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()


def run_all(page, seconds=300):
    """Run all cells through the menu and wait for the last one."""
    from playwright.sync_api import expect

    start_all(page)
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=seconds * 1000)
    wait_idle(page, seconds)
