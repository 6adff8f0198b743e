"""Browser tests run where a Chromium and playwright are; elsewhere they are left out, and `test --all` says so."""

import importlib.util
from pathlib import Path

from jupyter_page import CHROMIUM

NEED_A_BROWSER = [path.name for path in Path(__file__).parent.glob("test_*.py")]
collect_ignore = [] if CHROMIUM and importlib.util.find_spec("playwright") else NEED_A_BROWSER
