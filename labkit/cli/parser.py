"""The command line: parse, run one verb, print its outcome. Standard library only until a verb runs."""

import argparse
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

from labkit.cli.tools import load
from labkit.errors import LabError, LabWarning
from labkit.text import one_sentence, printable

VERBS = {  # verb: (function, in the package or in tools/ of a checkout; what it does)
    "lab": ("cli.jupyterlab:lab", "open your own copy of a lesson in JupyterLab"),
    "chapter": ("cli.chapter:verb", "run the lessons headless; write executed notebooks, a report and results"),
    "test": ("tools/run_tests:verb", "run the tests; --all adds browser, Colab-like environment and faults"),
    "train": ("cli.runs:train", "train one run, record it, give the verdict and the adapter"),
    "resume": ("cli.runs:resume", "go on with a run that was stopped or interrupted"),
    "sweep": ("cli.runs:sweep", "train a grid of runs side by side"),
    "runs": ("cli.runs:runs", "list the recorded runs"),
    "diagnose": ("cli.runs:diagnose", "give verdicts on recorded runs, with their evidence"),
    "export": ("cli.runs:export", "write a run's adapter to a file other programs load"),
    "checkup": ("cli.checkup:verb", "say what this machine has and lacks, or what is wrong with a design, a base or a "
                                    "folder of pictures, with the remedy"),
    "inspect": ("cli.inspect:verb", "say what a folder of pictures, an adapter of any trainer, a base or a run is, "
                                    "and what is odd about it"),
    "student": ("cli.student:verb", "write copies of the lessons without their solutions, for a class or one student"),
    "submit": ("cli.submit:verb", "pack your notebooks and the records of your runs into one file to hand in"),
    "collect": ("cli.collect:verb", "read what a class handed in: a table, a page and a figure; nothing is executed"),
    "publish": ("tools/publish:verb", "execute the notebooks and write them back clean, badges and set-up cells "
                                      "included"),
    "bench": ("tools/bench:verb", "measure speed against a plain diffusers + PEFT loop"),
}
# What sets where a verb writes, if not --store does, and the verbs that read or write runs.
PLACES = {"chapter": "--out DIR", "bench": "--out FILE", "export": "--to FILE", "student": "--to FOLDER",
          "submit": "--to FILE", "collect": "--to FOLDER"}
STORED = ("lab", "chapter", "train", "resume", "sweep", "runs", "diagnose", "export", "submit")
CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Outcome(NamedTuple):
    """What a verb hands back: its exit code, what it prints, and the same for machines."""

    code: int = 0
    text: str = ""
    data: object = None


class Parser(argparse.ArgumentParser):
    """Parse strictly: no abbreviations, and a mistyped word is answered with the nearest right one."""

    def __init__(self, **options):
        """Take argparse's own options."""
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message):
        """End with exit code 2 and one sentence."""
        self.exit(2, f"{self.prog}: {one_sentence(message)}\n`{self.prog} --help` says more.\n")


def suggest(word, known):
    """Return ` Did you mean X?`, or the list of what there is."""
    close = difflib.get_close_matches(word, known, 1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" There are: {', '.join(known)}."


def parser():
    """Return the parser of the whole command line."""
    stored, common = argparse.ArgumentParser(add_help=False), argparse.ArgumentParser(add_help=False)
    stored.add_argument("--store", metavar="DIR",
                        help="folder of recorded runs (default: runs/ of the checkout, or LABKIT_STORE)")
    common.add_argument("--json", action="store_true",
                        help="print the result as JSON on stdout; messages go to stderr")
    top = Parser(prog="labkit", description="Learn what the parameters of LoRA training do by training.",
                 epilog="Exit code: 0 done, 1 a run or a cell failed, 2 bad input, 130 interrupted. "
                        "`labkit VERB --help` says more.")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    add = {}
    for verb, (_, what) in VERBS.items():
        shared = [stored, common] if verb in STORED else [common]
        description = what[0].upper() + what[1:] + "."
        add[verb] = verbs.add_parser(verb, parents=shared, help=what, description=description)
    _add_notebooks(add)
    _add_runs(add)
    _add_maintenance(add)
    return top


def _add_notebooks(add):
    """Give the verbs that open, run or copy notebooks their options."""
    add["lab"].add_argument("name", nargs="?", default="00_start", metavar="NAME",
                            help="the lesson whose copy of your own, in my_lessons/, is opened, or the path of any "
                                 "notebook (default: 00_start)")
    for verb in ("lab", "submit"):
        add[verb].add_argument("--notebooks", metavar="FOLDER",
                               help="where your own copies are (default: my_lessons/)")
    add["lab"].add_argument("--no-browser", action="store_true", help="only start the server and print its address")
    add["lab"].add_argument("--port", type=int, default=8888, help="port to try first (default: 8888)")
    add["chapter"].add_argument("names", nargs="*", metavar="NAME",
                                help="a lesson: 01, learning_rate or 01_learning_rate; or the path of any notebook "
                                     "(default: all lessons)")
    add["chapter"].add_argument("-p", "--parameter", action="append", default=[], metavar="KEY=VALUE",
                                help="set a notebook parameter; may be repeated")
    add["chapter"].add_argument("--out", default=None, metavar="DIR",
                                help="folder for the results (default: out/chapter)")
    add["student"].add_argument("names", nargs="+", metavar="NOTEBOOK",
                                help="a lesson: 01, learning_rate or 01_learning_rate; or all")
    add["student"].add_argument("--to", required=True, metavar="FOLDER",
                                help="where the copies go; nothing there is written over")
    add["student"].add_argument("--student", metavar="NAME",
                                help="a student's name: it sets the seed, so that runs differ from everybody else's")
    add["student"].add_argument("--form", default="plain", choices=["plain", "nbgrader", "otter"],
                                help="plain copies to hand out (default), or what nbgrader or otter begins with, "
                                     "solutions included")
    add["submit"].add_argument("--student", metavar="NAME",
                               help="your name (default: the one among the parameters of your notebooks)")
    add["submit"].add_argument("--to", metavar="FILE", help="the zip file to write (default: NAME.zip, here)")
    add["collect"].add_argument("folder", metavar="FOLDER", help="where the zip files are, in folders of it too")
    add["collect"].add_argument("--to", metavar="FOLDER", help="where table, page and figure go "
                                                               "(default: out/class)")
    add["collect"].add_argument("--nbgrader", metavar="COURSE",
                                help="put notebooks and runs into the submitted/ of an nbgrader course as well")


def _add_runs(add):
    """Give the verbs that train, judge and export runs, or look at what would be trained, their options."""
    settings = {"train": ("KEY=VALUE", "set a field of the run; may be repeated"),
                "sweep": ("KEY=A,B,C", "values to try for a field of the run; may be repeated, all combinations are "
                                       "trained")}
    for verb, (form, what) in settings.items():
        add[verb].add_argument("--config", metavar="FILE", help="a design: YAML or JSON file, or a share string")
        add[verb].add_argument("--set", action="append", default=[], metavar=form, help=what)
    for verb in ("train", "sweep", "resume"):
        add[verb].add_argument("--rows", type=int, default=64, metavar="N",
                               help="pictures that a pass may hold, all its runs together (default: 64, fewer where "
                                    "memory is short)")
        add[verb].add_argument("--dtype", metavar="NAME",
                               help="float32, bf16 or fp16, in which the base computes (default: LABKIT_DTYPE, or "
                                    "what the device is best at)")
        add[verb].add_argument("--gradient-checkpointing", action=argparse.BooleanOptionalAction,
                               help="compute activations again instead of keeping them (default: where memory is "
                                    "short)")
    for verb in ("train", "sweep", "checkup"):
        add[verb].add_argument("--base", metavar="NAME", help="embedded, a folder, a .safetensors file or a hub name")
        add[verb].add_argument("--data", metavar="FOLDER",
                               help="a territory that ships, or a folder of pictures with captions")
    for verb in ("resume", "export"):
        add[verb].add_argument("run", metavar="RUN", help="id of a run (its first characters suffice), or its folder")
    add["export"].add_argument("--format", default="diffusers", choices=["diffusers"],
                               help="form of the file (default: diffusers)")
    add["export"].add_argument("--step", type=int, metavar="N",
                               help="the adapter as it was after N updates, where a checkpoint was kept (default: the "
                                    "last)")
    add["export"].add_argument("--to", required=True, metavar="FILE",
                               help="the file to write, for example place.safetensors")
    add["diagnose"].add_argument("paths", nargs="*", metavar="PATH",
                                 help="run ids or folders (default: all runs of the store)")
    add["inspect"].add_argument("path", metavar="PATH",
                                help="a folder of pictures, an adapter file, a base or a run's folder")
    add["checkup"].add_argument("design", nargs="?", metavar="DESIGN",
                                help="a design file to look over before training (default: this machine)")


def _add_maintenance(add):
    """Give the verbs for work on the kit itself their options."""
    add["test"].add_argument("--all", action="store_true", help="everything that continuous integration runs")
    add["test"].add_argument("pytest", nargs="*", metavar="-- ARG", help="arguments for pytest, after --")
    add["publish"].add_argument("names", nargs="*", metavar="NAME",
                                help="a lesson: 01, learning_rate or 01_learning_rate (default: all)")
    add["publish"].add_argument("--badges", action="store_true",
                                help="write badges and set-up cells only; execute nothing")
    add["publish"].add_argument("--site", nargs="?", const="", default=None, metavar="FOLDER",
                                help="build the lessons, as executed last, as web pages (default: out/site)")
    add["bench"].add_argument("--out", default=None, metavar="FILE",
                              help="where to write the figures (default: out/bench.json)")


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
        place = PLACES.get(options.verb, "--store DIR")
        remedy = "Free some space" if error.errno in FULL else f"Choose a place you may write to ({place})"
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
