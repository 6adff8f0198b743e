"""Cases of environment variables and of what is given on the command line."""

import os
from unittest import mock

from labkit import machine
from labkit.cli import execute, parser
from labkit.datasets.folders import territory
from labkit.design.config import load_design
from labkit.engine.base_files import find_base
from labkit.files.content import Memo, sha256
from labkit.view.frontend import frontend

ODD = ("", " ", "0", "-1", "nan", "inf", "1e999", "9" * 400, "9" * 5000, "²", "٣", "~nouser/x", "x" * 5000,
       "/dev/null", "/dev/null/x", "\x1b[31m", "a\nb", os.fsdecode(b"\xff"), "1;2")


def settings(folder):
    odd = [*ODD, str(folder)]
    variables = {
        "LABKIT_THREADS": machine.quota, "LABKIT_TIMEOUT": execute.timeout, "LABKIT_STORE": lambda: quietly("runs"),
        "LABKIT_DATA": lambda: territory("liminal"), "LABKIT_CACHE": lambda: remembered(folder),
        "LABKIT_FRONTEND": frontend, "XDG_CACHE_HOME": lambda: remembered(folder),
    }
    arguments = (
        lambda text: quietly("runs", "--store", text),
        lambda text: quietly("export", text, "--to", "x.safetensors"),
        lambda text: quietly("export", "a", "--to", text),
        lambda text: quietly("diagnose", text),
        load_design,
        territory,
        lambda text: find_base(text) if "/" in text and len(text) > 3 else None,
        lambda text: load_design(None, rank=text),
        lambda text: quietly("checkup", text),
    )

    def case(draw):
        text = draw.choice(odd)
        if draw.random() < 0.5:
            name = draw.choice(list(variables))
            with mock.patch.dict(os.environ, {name: text}):
                return variables[name]()
        return draw.choice(arguments)(text.replace("\0", ""))

    return case


def remembered(folder):
    """Return the hash of a file through the memo of files, which lies in the cache."""
    (folder / "file").write_text("x")
    with Memo("sha256", sha256) as of:
        return of(folder / "file")


def quietly(*arguments):
    """Run a verb in this process, its output thrown away as a terminal would take it: as UTF-8."""
    with (open(os.devnull, "w", encoding="utf-8") as nowhere, mock.patch("sys.stdout", nowhere),
          mock.patch("sys.stderr", nowhere)):
        code = parser.run(parser.parse(list(arguments)))
    assert code in (0, 1, 2)
