"""The verbs that train: each drains the same iterators as a notebook."""

import os
import sys
import traceback
from contextlib import closing, suppress

from labkit.cli.parser import Outcome, pairs, tell
from labkit.datasets.folders import filtered, territory, whole_path
from labkit.design.config import load_design
from labkit.design.schedules import check_warmup, rates
from labkit.errors import LabError
from labkit.files.atomic import cannot_write
from labkit.interrupts import stop_on_interrupt
from labkit.judge.score_text import told
from labkit.lessons import session
from labkit.settings import given_path
from labkit.store.events import Stopped, Validation
from labkit.store.runs import RunFolder, Store
from labkit.text import printable

LIST_FIELDS = ("target_modules", "lr_edits", "base", "data", "captions")  # commas in their values are their own
CHECKPOINTS = 10  # kept over a run, so that a kill costs at most a tenth of it


def train(options):
    """Train one run, or find it in the store; say the verdict and where the adapter is."""
    return train_all([load_design(options.config, **fields(options))], options)


def sweep(options):
    """Train every combination of the values given, commas between them."""
    from labkit.engine.sweep import grid  # loads torch, and bad input is to be answered before that

    if not options.set:
        raise LabError("sweep has nothing to vary: give values to try with --set, such as "
                       "--set learning_rate=1e-4,1e-3,1e-2. `labkit train` trains one run.")
    values = {name: text if name in LIST_FIELDS else text.split(",") for name, text in fields(options).items()}
    return train_all(grid(load_design(options.config), **values), options)


def fields(options):
    """Return the fields of a run that the command line sets; paths are whole, for `resume` from another folder."""
    places = {"base": options.base, "data": options.data}
    texts = [f"{name}={value}" for name, value in places.items() if value is not None]
    values = pairs(texts + options.set)
    return values | {name: whole_path(values[name]) for name in places if name in values}


def resume(options):
    """Go on with a run from its last checkpoint, in the company it had, or with a finished one past its end."""
    folder = find(options.run, options.store)
    run = folder.load()
    options.store = folder.path.parent
    if options.steps is not None:
        return train_all([moved(longer(folder, run, options.steps), options.data)], options)
    if run.status in ("finished", "diverged", "running"):
        more = "" if run.status != "finished" else " `--steps N` trains it on to N updates in all."
        raise LabError(f"The run {folder.run_id} is {run.status}: only a stopped or interrupted run can be resumed."
                       f"{more}")
    company = Store(options.store).load_runs(names=run.meta.get("group", [folder.run_id]))
    return train_all([moved(member.config, options.data) for member in company], options, expected=folder.run_id)


def longer(folder, run, steps):
    """Return the configuration of a finished run with more updates, of which the finished one is the beginning.

    LabError: the run is not finished, or a longer one would have had other rates.
    """
    config = run.config
    if run.status != "finished":
        raise LabError(f"--steps gives a finished run more updates, and the run {run.run_id} is {run.status}"
                       + (": resume it first." if run.status in ("stopped", "interrupted") else "."))
    if steps <= config.steps:
        raise LabError(f"--steps {steps}: the run {run.run_id} has {config.steps:,} updates already; give more.")
    more = config.replace(max_train_steps=steps, parent=run.run_id)
    if rates(more)[:config.steps] != rates(config):
        raise LabError(f"The rate of the run {run.run_id} ({config.lr_scheduler}) falls over its {config.steps:,} "
                       "updates, so that a longer run would be another from its first update on: begin a new one from "
                       f"its adapter with labkit train --set init_lora_weights={folder.adapter_path}.")
    return more


def moved(config, data):
    """Return a configuration whose pictures lie where `data` says, if it does; LabError where they are gone."""
    if data is not None:
        return config.replace(data=whole_path(data))
    place, _ = filtered(config.data)
    if os.path.isabs(place) and not os.path.exists(place):
        raise LabError(f"The pictures of this run were in {place}, which is not there: say with --data where they "
                       "are now.")
    return config


def train_all(configs, options, expected=None):
    """Train configurations of one base and territory and return their verdicts.

    expected    the id of a run that must be among them
    """
    from labkit.lab import Lab  # loads torch, and bad input is to be answered before that

    if options.rows < 1:
        raise LabError(f"--rows {options.rows}: give a whole number from 1 up, such as 16.")
    first = configs[0]
    for name in ("base", "revision", "data", "crop", "captions", "resolution"):
        if any(getattr(config, name) != getattr(first, name) for config in configs):
            raise LabError(f"{name} must be the same for all runs of one command: run it once for each.")
    precisions = {config.mixed_precision for config in configs}
    one_precision = precisions.pop() if len(precisions) == 1 and precisions != {"no"} else None
    dtype = options.dtype or one_precision                    # None: as the device is best at
    pictures = territory(first.data, crop=first.crop, captions=first.captions)
    summary, *notes = pictures.told                           # bad pictures are found before a model loads
    tell("\n".join([f"labkit: {summary}", *(f"labkit: data: {note}" for note in notes)]), sys.stderr)
    lab = Lab(first.base, pictures, store=options.store, revision=first.revision, resolution=first.resolution,
              dtype=dtype, max_rows=options.rows, gradient_checkpointing=options.gradient_checkpointing,
              monitor=session.monitor())
    resolved = [lab.config(config) for config in configs]
    for config in resolved if not expected else ():
        check_warmup(config)
    try:
        lab.store.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(lab.store.root, error) from None
    plan = lab.plan(resolved)                                 # loads the base, of which an id speaks
    if expected and expected not in plan:
        raise LabError(f"The run {expected} cannot go on: base {first.base!r} or the pictures of {first.data!r} "
                       "are not those that it was trained on.")
    recorded = [lab.store.run(name) for name in plan if (lab.store.root / name).is_dir()]
    before = {folder.run_id for folder in recorded if folder.status in ("finished", "diverged")}
    with stop_on_interrupt(say_stopping) as stop:
        error = drain(lab, plan, stop)
    return judged([lab.store.run(name) for name in plan], before, error, stop)


def say_stopping():
    """Say what a first Ctrl-C does; past Python's own streams, in which the signal may have come."""
    with suppress(OSError):
        os.write(2, b"\nlabkit: stopping after this update; a second time interrupts at once\n")


def drain(lab, plan, stop):
    """Train with a line of progress until `stop()` says so, and keep a checkpoint; return what failed, or None."""
    last = max(config.max_train_steps for config in plan.values())
    every = max(1, last // CHECKPOINTS)
    with Progress(plan) as progress:
        try:
            events = lab.sweep(plan, monitor=lab.monitor(), tell=progress.tell, stop=stop,
                               checkpoint_at=range(every, last, every))
            with closing(events):
                for event in events:
                    progress.show(event)
        except LabError:
            raise
        except Exception as error:  # recorded with the run, which ends in "error"; here it decides the exit code
            tell(traceback.format_exc(), sys.stderr, end="")
            return f"{type(error).__name__}: {error}"
    return None


class Progress:
    """Show on stderr how far training is: one line that moves on a terminal, one line per evaluation in a log."""

    def __init__(self, plan):
        """Take {run id: configuration} of all that is to be trained."""
        self.last = {name: config.max_train_steps for name, config in plan.items()}
        self.moves, self.loss = sys.stderr.isatty(), {}

    def tell(self, text):
        """Say a sentence between the lines."""
        tell(f"labkit: {text}", sys.stderr)

    def show(self, event):
        """Take one event."""
        step = f"update {event.global_step:,} of {self.last[event.run_id]:,}"
        if isinstance(event, Validation) and event.name == "validation" and event.grade == "monitor":
            self.loss[event.run_id] = f"held-out loss {event.losses.mean():.4f}"
            if not self.moves:
                tell(f"{event.run_id[:8]}  {step}  {self.loss[event.run_id]}", sys.stderr)
        if self.moves:
            tell(f"{event.run_id[:8]}  {step}  {self.loss.get(event.run_id, '')}", sys.stderr, end="\033[K\r")
        if isinstance(event, Stopped) and event.reason != "finished":
            tell(f"\n{event.run_id[:8]}  {event.reason} at update {event.global_step:,} {printable(event.message)}",
                 sys.stderr)

    def __enter__(self):
        """Begin."""
        return self

    def __exit__(self, *error):
        """Leave the line that moved."""
        if self.moves:
            tell("", sys.stderr)


def judged(folders, before, error, stop):
    """Return the outcome of training: verdict, adapter and, for runs that were recorded before, when that was."""
    from labkit.cli.report import entry  # loads matplotlib, and bad input is to be answered before that

    requested = len(folders)
    folders = [folder for folder in folders if folder.path.exists()]  # a sweep may have been stopped before their turn
    runs = [folder.load() for folder in folders]
    data, lines = [], []
    for folder, run in zip(folders, runs, strict=True):
        account = entry(run, siblings=runs) | {"path": str(folder.path), "adapter": str(folder.adapter_path)}
        data.append(account)
        lines += [f"run {folder.run_id}: {account['label']}", *indented(account), f"  adapter: {folder.adapter_path}"]
        lines += [f"  {run.provenance}"] if folder.run_id in before else []
        if run.status in ("stopped", "interrupted"):
            lines.append(f"  It is {run.status}; `labkit resume {folder.run_id}` goes on with it.")
    failed = error or any(run.status == "error" for run in runs)
    cut_short = stop() and (len(folders) < requested or any(run.status == "stopped" for run in runs))
    return Outcome(1 if failed else stop.code if cut_short else 0, "\n".join(map(printable, lines)), data)


def indented(account):
    """Return the lines that say of a run what to do, what was seen and, where it has a score, what it is."""
    pictures = told(account["label"], account["score"])
    return [f"  {line}" for line in (account["advice"], account["seen"], pictures) if line]


def find(name, store=None):
    """Return the folder of a run, named by its path, its id or the first characters of its id, or raise LabError."""
    if (given_path(name) / "config.json").exists():
        return RunFolder(given_path(name).resolve())
    return Store(store).named(name)
