"""Without a browser its tests are not collected, and `test --all` would pass without them: this test says so."""

from labkit.cli.tools import load


def test_a_browser_is_there():
    assert load("run_tests").browser(), ("no Chromium: on Debian and Ubuntu `apt-get install chromium fonts-dejavu-core`, "
                                         "else set LABKIT_CHROMIUM to the program")
