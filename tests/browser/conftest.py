"""Browser tests run where Debian's Chromium and playwright are; elsewhere they are not collected."""

import importlib.util
from pathlib import Path

from jupyter_page import CHROMIUM

collect_ignore = [] if Path(CHROMIUM).exists() and importlib.util.find_spec("playwright") else ["test_panel.py"]
