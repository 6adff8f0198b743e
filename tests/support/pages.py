"""Pages of docs/ as what a reader would run: their blocks in order, and the words of each command."""

import re
import shlex

from labkit.settings import REPO

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = "python3 -m labkit "


def page(name):
    """Return the text of a page of docs/."""
    return (REPO / "docs" / name).read_text(encoding="utf-8")


def blocks(text):
    """Return (language, source) of each block, in order; the language of commands is ""."""
    return BLOCK.findall(text)


def commands(source):
    """Return the words of each command of the kit in a block, behind `python3 -m labkit`."""
    lines = source.splitlines()
    assert all(line.startswith(COMMAND) for line in lines), lines
    return [shlex.split(line.removeprefix(COMMAND)) for line in lines]
