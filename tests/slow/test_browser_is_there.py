"""Without a browser its tests are not collected, and `test --all` would pass without them: this test says so."""

from labkit.cli.tools import load


def test_a_browser_is_there():
    remedy = "on Debian and Ubuntu `apt-get install chromium fonts-dejavu-core`, else set LABKIT_CHROMIUM"
    assert load("run_tests").browser(), f"no Chromium: {remedy}"
