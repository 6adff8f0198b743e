"""The options of every verb, by argparse. Standard library only: no verb has run yet."""

import argparse

from labkit.cli.practice_options import add_practice
from labkit.cli.verbs import STORED, VERBS
from labkit.text import one_sentence


class Parser(argparse.ArgumentParser):
    """Parse strictly: no abbreviations, and a mistyped word is answered with the nearest right one."""

    def __init__(self, **options):
        """Take argparse's own options."""
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message):
        """End with exit code 2 and one sentence."""
        self.exit(2, f"{self.prog}: {one_sentence(message)}\n`{self.prog} --help` says more.\n")


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
    add_practice(add)
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
    add["publish"].add_argument("--trainable", action="store_true",
                                help="with --site: add a page that trains in the browser, which needs npm and onnx")
    add["bench"].add_argument("--out", default=None, metavar="FILE",
                              help="where to write the figures (default: out/bench.json)")
