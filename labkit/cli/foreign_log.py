"""What `labkit diagnose` says of other trainers' logs: verdicts, what they were read from, and a figure."""

import sys

from labkit.cli.parser import Outcome, tell
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.settings import given_path
from labkit.text import counted, printable

FEW = 3                                                       # logs that are told of at length; more in one line each
FIELDS = ("label", "confidence", "since_step", "evidence", "advice", "sentence", "cautions")
ROLES = {"validation": "validation loss", "probe": "loss on training pictures, on fixed noise",
         "train": "training loss", "rate": "learning rate"}


def is_foreign(name):
    """Tell whether a path that `diagnose` is given is a log, or a folder that holds neither a run nor runs."""
    path = given_path(name)
    if path.is_file():
        return not (path.parent / "config.json").is_file() or path.name != "events.jsonl"
    return path.is_dir() and not is_run(path) and not is_store(path)


def is_run(path):
    """Tell whether a folder is that of a run of this kit."""
    return (path / "config.json").is_file() and (path / "events.jsonl").is_file()


def is_store(path):
    """Tell whether a folder holds runs of this kit; one that may not be read holds none."""
    try:
        return path.is_dir() and not is_run(path) and any(map(is_run, path.iterdir()))
    except OSError:
        return False


def diagnose(options):
    """Judge logs and show the evidence. Exit code 1 where one of the runs broke, as docs/logs.md says."""
    from labkit.judge.foreign import judge_log  # loads numpy, and bad options are to be answered before that
    from labkit.store.foreign_logs import read_logs  # loads numpy, too

    logs = []
    for name in options.paths:
        read, left_out = read_logs(given_path(name), options.train_tag, options.val_tag)
        logs += read
        for sentence in left_out:
            tell(f"labkit: left out: {sentence}", sys.stderr)
    if options.plot and len(logs) > 1:
        raise LabError(f"--plot draws one log, and there are {len(logs)}: give the path of one of them.")
    judged = [(log, judge_log(log)) for log in logs]
    if options.plot:
        _plot(*judged[0], options.plot)
    lines = []
    for log, verdict in judged:
        lines += _at_length(log, verdict) if len(judged) <= FEW else [_in_one_line(log, verdict)]
    if len(judged) > FEW:
        lines.append("Give one of these paths for what was seen and what to do.")
    code = 1 if any(verdict.label == "diverged" for _, verdict in judged) else 0
    return Outcome(code, "\n".join(map(printable, lines)), [_account(log, verdict) for log, verdict in judged])


def _account(log, verdict):
    """Return what JSON says of a log: these names stay."""
    told = verdict.to_dict()
    series = {role: getattr(log, role) for role in ROLES}
    return {"path": str(log.path), "kind": "log", "run": log.run, "form": log.form, "trainer": log.trainer,
            "tags": {role: one.tag if one else None for role, one in series.items()},
            "points": {role: len(one) if one else 0 for role, one in series.items()},
            **{name: told[name] for name in FIELDS}, "notes": list(log.notes)}


def _at_length(log, verdict):
    lines = [f"{log.name}: {verdict.label}", f"  {verdict.advice}", f"  {verdict.seen}"]
    if verdict.confidence and verdict.confidence < 1:
        sure = "Leaning" if verdict.label == "not enough evidence" else "Confidence"
        lines.append(f"  {sure}: {verdict.confidence:.0%} of the courses that agree with the points.")
    read = [f"{ROLES[role]} from {one.tag} ({counted(len(one), 'point')})"
            for role in ROLES if (one := getattr(log, role)) is not None]
    lines.append(f"  Read: {log.form}{f' of {log.trainer}' if log.trainer else ''}; {', '.join(read)}.")
    return lines + [f"  {sentence}" for sentence in (*verdict.cautions, *log.notes)]


def _in_one_line(log, verdict):
    evidence = verdict.evidence
    best = f"best at step {evidence['best_step']:,}" if "best_step" in evidence else ""
    return f"{verdict.label:19}  {verdict.confidence:4.0%}  {best:24}  {log.name}"


def _plot(log, verdict, name):
    from labkit.view.log_plot import plot_log  # loads matplotlib, where a figure is asked for

    target = given_path(name)
    if target.suffix.lower() != ".png":
        raise LabError(f"--plot {name}: the file's name must end in .png, which is what it will be.")
    write_file(target, plot_log(log, verdict).figure.encoded(), choose="--plot")
    tell(f"labkit: the figure is {target}", sys.stderr)
