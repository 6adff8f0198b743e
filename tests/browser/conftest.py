"""Browser tests run where a Chromium and playwright are; elsewhere they are left out, and `test --all` says so."""

import importlib.util

from jupyter_page import CHROMIUM

NEED_A_BROWSER = ["test_lesson.py", "test_panel.py", "test_race.py", "test_report.py"]
collect_ignore = [] if CHROMIUM and importlib.util.find_spec("playwright") else NEED_A_BROWSER
