"""The command line: parse, run one verb, print its outcome. Standard library only until a verb runs."""

import contextlib
import difflib
import errno
import importlib
import json
import os
import shutil
import sys
import textwrap
import warnings
from typing import NamedTuple

from labkit.cli.options import parser
from labkit.cli.tools import load
from labkit.cli.verbs import PLACES, VERBS
from labkit.errors import LabError, LabWarning
from labkit.text import one_sentence, printable

CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Outcome(NamedTuple):
    """What a verb hands back: its exit code, what it prints, and the same for machines."""

    code: int = 0
    text: str = ""
    data: object = None


def suggest(word, known):
    """Return ` Did you mean X?`, or the list of what there is."""
    close = difflib.get_close_matches(word, known, 1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" There are: {', '.join(known)}."


def parse(arguments):
    """Return the options of a command line; exit 2 with a suggestion when it is mistyped."""
    top = parser()
    if not arguments:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    if arguments[0] not in VERBS and not arguments[0].startswith("-"):
        top.error(f"there is no verb {arguments[0]!r}.{suggest(arguments[0], list(VERBS))}")
    options, unknown = top.parse_known_args(arguments)
    if unknown:
        actions = top._subparsers._group_actions[0].choices[options.verb]._actions
        known = [name for action in actions for name in action.option_strings if name.startswith("--")]
        top.error(f"{options.verb} does not know {unknown[0]!r}.{suggest(unknown[0].split('=')[0], known)}")
    return options


def pairs(texts, option="--set"):
    """Turn KEY=VALUE texts into a dict; LabError names the one that is not of that form or comes twice."""
    for text in texts:
        if "=" not in text or text.startswith("="):
            raise LabError(f"{option} {text!r} is not of the form key=value, "
                           f"for example {option} learning_rate=1e-3.")
        if [other.split("=")[0] for other in texts].count(text.split("=")[0]) > 1:
            raise LabError(f"{text.split('=')[0]} is given twice: keep one of them.")
    return dict(text.split("=", 1) for text in texts)


def function(verb):
    """Return the function of a verb, its module loaded only now; LabError where it needs a checkout and has none."""
    place, name = VERBS[verb][0].split(":")
    if place.startswith("tools/"):
        return getattr(load(place.removeprefix("tools/")), name)
    return getattr(importlib.import_module("labkit." + place), name)


def run(options):
    """Run the verb of parsed options, print its outcome and return the exit code."""
    stdout = contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext()
    try:
        with stdout, warnings.catch_warnings():
            warnings.simplefilter("always", LabWarning)
            warnings.showwarning = say
            outcome = function(options.verb)(options)
    except LabError as error:
        outcome = Outcome(2, "", {"error": str(error)})
        tell(fitted(f"labkit: {error}", sys.stderr), sys.stderr)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        place = PLACES.get(options.verb, "--store DIR" if hasattr(options, "store") else "")
        other = f", or choose a place you may write to ({place})," if place else ""
        remedy = "Free some space" if error.errno in FULL else f"Change its permissions{other}"
        tell(f"labkit: {error.strerror}: {error.filename or 'while writing'}. {remedy} and repeat.", sys.stderr)
        outcome = Outcome(2, "", {"error": str(error)})
    if options.json and outcome.data is not None:
        tell(json.dumps(outcome.data, indent=1))
    elif outcome.text and not options.json:
        tell(fitted(outcome.text, sys.stdout))
    return outcome.code


def say(message, category, filename, lineno, file=None, line=None):
    """Show a warning: the kit's as the sentence that it is, others as Python shows them."""
    if issubclass(category, LabWarning):
        tell(f"labkit: {one_sentence(message)}", sys.stderr)
    else:
        tell(warnings.formatwarning(message, category, filename, lineno, line), sys.stderr, "")


def fitted(text, stream):
    """Return a text with its lines broken between words for a terminal, which would break them inside.

    Files and pipes get lines whole. What goes on in a next line is indented two columns further.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns - 1
    return "\n".join(line if len(line) <= width else _filled(line, width) for line in text.split("\n"))


def _filled(line, width):
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def tell(text, stream=None, end="\n"):
    """Print at once, with what a terminal would obey written out: names and metadata of files may hold it.

    Where nobody reads any more (`labkit runs | head`, a terminal that was closed) nothing is printed or raised.
    Letters that the stream's encoding lacks are written out too.
    """
    stream = stream or sys.stdout
    text = printable(text, keep="\n")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # or Python complains when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
