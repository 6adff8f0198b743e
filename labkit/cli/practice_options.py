"""The options of the verbs that train, judge and export runs, or look at what would be trained."""

import argparse

from labkit.cli.run_options import add_runs

OTHERS = "kohya, kohya_ss, onetrainer, ai-toolkit, simpletuner, diffusers, dreambooth or dreambooth-xl"


def add_practice(add):
    """Give them their options; add: {verb: its parser}."""
    settings = {"train": ("KEY=VALUE", "set a field of the run; may be repeated"),
                "sweep": ("KEY=A,B,C", "values to try for a field of the run; may be repeated, all combinations are "
                                       "trained"),
                "find": ("KEY=VALUE", "set a field of the run; may be repeated")}
    for verb, (form, what) in settings.items():
        add[verb].add_argument("--config", metavar="FILE", help="a design: YAML or JSON file, or a share string")
        add[verb].add_argument("--set", action="append", default=[], metavar=form, help=what)
    _find(add["find"])
    _judge(add["judge"])
    for verb in ("train", "sweep", "resume", "find", "judge"):
        add[verb].add_argument("--rows", type=int, default=64, metavar="N",
                               help="pictures that a pass may hold, all its runs together (default: 64, fewer where "
                                    "memory is short)")
        add[verb].add_argument("--dtype", metavar="NAME",
                               help="float32, bf16 or fp16, in which the base computes (default: LABKIT_DTYPE, or "
                                    "what the device is best at)")
    for verb in ("train", "sweep", "resume", "find"):
        add[verb].add_argument("--gradient-checkpointing", action=argparse.BooleanOptionalAction,
                               help="compute activations again instead of keeping them (default: where memory is "
                                    "short)")
    for verb in ("train", "sweep", "find", "checkup"):
        add[verb].add_argument("--base", metavar="NAME", help="embedded, a folder, a .safetensors file or a hub name")
        add[verb].add_argument("--data", metavar="FOLDER",
                               help="a territory that ships, or a folder of pictures with captions")
    add["inspect"].add_argument("--base", metavar="NAME",
                                help="the base whose tokenizer counts the captions of a folder (default: embedded)")
    for verb in ("inspect", "checkup", "judge"):
        add[verb].add_argument("--crop", metavar="WHERE",
                               help="square that is used of a picture: center (default), top, bottom, left or right; "
                                    "or buckets, which keep its shape")
        add[verb].add_argument("--captions", metavar="SOURCE",
                               help="names, lines, column:NAME or text:CAPTION (default: as the folder has them)")
    add_runs(add)
    _resume(add["resume"])
    _export(add["export"])
    _merge(add["merge"])
    _diagnose(add["diagnose"])
    _translate(add["translate"])
    add["inspect"].add_argument("path", metavar="PATH",
                                help="a folder of pictures, an adapter file, a base, a log, or a run's id, name, "
                                     "folder or checkpoint")
    add["checkup"].add_argument("design", nargs="?", metavar="DESIGN",
                                help="a design file to look over before training (default: this machine)")


def _find(parser):
    parser.add_argument("--updates", type=int, default=100, metavar="N",
                        help="updates of a run of the race that goes to its end (default: 100)")
    parser.add_argument("--to", metavar="FILE",
                        help="the design to write, ready to train (default: out/find.yaml)")
    parser.add_argument("--for", dest="for_", metavar="TRAINER",
                        help=f"write it as the settings of another trainer, too, beside the design: {OTHERS}")


def _judge(parser):
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="adapter files of any trainer, such as lora/*.safetensors, or checkpoints of a run")
    parser.add_argument("--base", required=True, metavar="NAME",
                        help="what they were trained on: embedded, a folder, a .safetensors file or a hub name")
    parser.add_argument("--data", required=True, metavar="FOLDER",
                        help="the pictures that they were trained on, with captions")
    parser.add_argument("--held-out", metavar="FOLDER",
                        help="pictures with captions that they were not trained on (default: those that training with "
                             "labkit holds out of --data)")
    parser.add_argument("--strength", default="1", metavar="X,Y",
                        help="how strongly each file acts (default: 1); several are judged one by one")
    parser.add_argument("--to", metavar="FILE", help="the page to write (default: out/judge.html)")


def _diagnose(parser):
    """Give the options of the verb that judges runs and other trainers' logs."""
    parser.add_argument("paths", nargs="*", metavar="PATH",
                        help="run ids or folders, a store, or another trainer's log or folder of logs (default: all "
                             "runs of the store)")
    parser.add_argument("--verbose", action="store_true", help="show all of the evidence")
    parser.add_argument("--train-tag", metavar="TAG", help="of a log: the training loss's tag or column")
    parser.add_argument("--val-tag", metavar="TAG", help="of a log: the held-out loss's tag or column")
    parser.add_argument("--plot", metavar="FILE", help="of a log: draw it with the measured band, as PNG")
    parser.epilog = ("Exit code: 0 judged, 1 a log is of a run that broke, 2 bad input. What is read, what is judged "
                     "and what --json says of a log: docs/logs.md.")


def _resume(parser):
    """Let a run go on with pictures that moved, or past its end."""
    parser.add_argument("--data", metavar="FOLDER", help="where the run's pictures are now; they must be the same")
    parser.add_argument("--steps", type=int, metavar="N",
                        help="for a finished run: train it on to N updates in all, as a new run")


def _export(parser):
    """Say in which form an adapter is written, and what else."""
    parser.add_argument("--format", default="diffusers", choices=["diffusers", "kohya"],
                        help="form of the file: diffusers and PEFT (default), or kohya for ComfyUI and the web UIs")
    parser.add_argument("--fold", action="store_true",
                        help="fold the scaling into the weights, so that alpha equals rank, for loaders that ignore "
                             "alpha")
    _stored(parser, "the adapter's weights")
    parser.add_argument("--no-card", action="store_true", help="write no card and no figure beside the file")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace files that are there and hold something else")
    parser.add_argument("--to", required=True, metavar="FILE",
                        help="the file to write, for example place.safetensors")
    _step(parser)


def _merge(parser):
    """Say what is merged into which base, how strongly and where to."""
    parser.add_argument("adapter", metavar="RUN_OR_FILE",
                        help="id or folder of a run, or an adapter file as diffusers, PEFT or kohya write it")
    parser.add_argument("--base", metavar="NAME",
                        help="embedded, a folder, a .safetensors file or a hub name (default: the run's own)")
    parser.add_argument("--strength", type=float, default=1.0, metavar="X",
                        help="factor on the adapter's change (default: 1)")
    parser.add_argument("--to", required=True, metavar="FOLDER",
                        help="the folder to write, in diffusers' layout; it must not be there yet")
    _stored(parser, "all weights of the base")
    _step(parser)


def _stored(parser, what):
    """Let weights be stored in 16 bits."""
    short = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"],
                        type=lambda name: short.get(name, name), metavar="NAME",
                        help=f"in which {what} are stored: float32 (default), or float16 or bfloat16 for half the "
                             "size, rounded")


def _step(parser):
    """Let an earlier checkpoint of a run be taken."""
    parser.add_argument("--step", type=int, metavar="N",
                        help="the adapter as it was after N updates, where a checkpoint was kept (default: the last)")


def _translate(parser):
    parser.add_argument("settings", metavar="SETTINGS",
                        help="a file of settings (TOML, JSON, YAML, a shell script), a command line in quotation "
                             "marks, a design or a share string")
    parser.add_argument("--from", dest="from_", metavar="TRAINER", help=f"whose settings they are: labkit, {OTHERS} "
                                                                        "(default: found out)")
    parser.add_argument("--to", metavar="TRAINER", help="whose settings to write (default: labkit, a design)")
    parser.add_argument("--out", metavar="FILE", help="where to write them (default: they are printed)")
    parser.add_argument("--pictures", metavar="N_OR_FOLDER",
                        help="pictures of one pass, or the folder to count them and kohya's repeats in, with which "
                             "passes and updates are turned into each other (default: counted where the settings "
                             "say)")
