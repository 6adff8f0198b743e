"""Browser tests run where a Chromium and playwright are; elsewhere they are left out, and `test --all` says so."""

import importlib.util

from jupyter_page import CHROMIUM

collect_ignore = [] if CHROMIUM and importlib.util.find_spec("playwright") else ["test_lesson.py", "test_panel.py"]
