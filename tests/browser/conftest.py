"""Browser tests run where a Chromium and playwright are; elsewhere they are left out, and `test --all` says so."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from jupyter_page import CHROMIUM, OPTIONS

NEED_A_BROWSER = [path.name for path in Path(__file__).parent.glob("test_*.py")]
collect_ignore = [] if CHROMIUM and importlib.util.find_spec("playwright") else NEED_A_BROWSER
if shutil.which("npm") is None:                               # which brings what the page computes with
    collect_ignore = [*collect_ignore, "test_training_page.py"]


@pytest.fixture(scope="module")
def chromium():
    """Start a browser, for pages that need no Jupyter."""
    from playwright.sync_api import sync_playwright  # where it is not installed nothing here is collected

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
