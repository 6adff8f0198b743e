"""The options of the verbs that list, name, show, draw with and delete recorded runs, and where a sweep is saved."""

import argparse

RUN = "name or id of a run (the id's first characters suffice), or its folder"


def add_runs(add):
    """Give them their options; add: {verb: its parser}."""
    for verb in ("train", "sweep", "resume"):
        add[verb].add_argument("--tensorboard", metavar="DIR",
                               help="also write event files for TensorBoard into a folder of each run below DIR")
        add[verb].add_argument("--trackio", metavar="PROJECT",
                               help="also give each complete run to Trackio, its verdict as an alert, where that is "
                                    "installed")
    for verb in ("resume", "export", "generate", "name"):
        add[verb].add_argument("run", metavar="RUN", help=RUN)
    for verb, options in (("sweep", _sweep), ("runs", _runs), ("report", _report), ("generate", _generate),
                          ("name", _name), ("delete", _delete)):
        options(add[verb])


def _sweep(parser):
    parser.add_argument("--sampler", metavar="NAME", help="draw the runs with Optuna: tpe, random or grid; --set then "
                                                          "takes KEY=LOW..HIGH too (docs/sweep.md)")
    parser.add_argument("--trials", type=int, metavar="N", help="how many runs the sampler draws in all")
    parser.add_argument("--side-by-side", type=int, metavar="K",
                        help="how many of them are drawn at once and share a pass (default: 4)")
    parser.add_argument("--pruner", metavar="NAME", help="who tells losing runs to leave: median (default), "
                                                         "successive-halving or none")
    parser.add_argument("--to", metavar="FOLDER", help="where table, curves and pictures of the sweep go (default: "
                                                       "sweeps/ in the store)")


def _runs(parser):
    parser.add_argument("where", nargs="*", metavar="FIELD=VALUE",
                        help="list only runs with this setting, such as rank=8, or verdict=healthy")
    parser.add_argument("--status", choices=["finished", "diverged", "stopped", "interrupted", "running", "error",
                                             "resumable"], help="list only runs with this status")
    parser.add_argument("--last", type=_count, metavar="N", help="list only the N newest of them")


def _report(parser):
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN} (default: all runs of the store)")
    parser.add_argument("--to", default="report.html", metavar="FILE",
                        help="the page to write (default: report.html, here)")


def _generate(parser):
    parser.add_argument("--prompt", action="append", required=True, metavar="TEXT",
                        help="what to draw; may be repeated, a row each")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the first picture (default: 0)")
    parser.add_argument("--count", type=_count, default=1, metavar="N",
                        help="pictures of each prompt, with seeds from --seed upwards (default: 1)")
    parser.add_argument("--strength", type=float, default=1.0, metavar="X",
                        help="strength of the adapter: 1 as trained, 0 the bare base (default: 1)")
    parser.add_argument("--step", type=int, metavar="N", help="the adapter after N updates, where a checkpoint was "
                                                              "kept (default: the last)")
    parser.add_argument("--steps", type=_count, metavar="N", help="steps of the sampler (default: the base's own)")
    parser.add_argument("--guidance", type=float, metavar="X", help="guidance scale (default: 3)")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--to", required=True, metavar="FILE.png", help="the picture to write, all of them in one")


def _name(parser):
    parser.add_argument("name", metavar="NAME", help='what to call it; "" takes its name away')


def _delete(parser):
    parser.add_argument("runs", nargs="+", metavar="RUN", help=RUN)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _count(text):
    """Return a whole number from 1 up."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)
