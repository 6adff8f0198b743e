"""Without a browser, or npm, tests are not collected, and `test --all` would pass without them: these say so."""

import shutil

from labkit.cli.tools import load


def test_a_browser_is_there():
    remedy = "on Debian and Ubuntu `apt-get install chromium fonts-dejavu-core`, else set LABKIT_CHROMIUM"
    assert load("run_tests").browser(), f"no Chromium: {remedy}"


def test_npm_is_there():
    assert shutil.which("npm"), "no npm: install Node.js, or the page that trains is not tested"
