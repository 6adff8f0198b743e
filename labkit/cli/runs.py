"""The verbs that train: each drains the same iterators as a notebook."""

import os
import traceback
from contextlib import closing, suppress
from types import SimpleNamespace

from labkit.cli.parser import pairs
from labkit.cli.progress_line import ProgressLine
from labkit.datasets.folders import filtered, territory, whole_path
from labkit.design.config import load_design
from labkit.design.naming import knobs, setting_text
from labkit.design.schedules import check_warmup, rates
from labkit.errors import LabError
from labkit.files.atomic import cannot_write
from labkit.interrupts import stop_on_interrupt
from labkit.judge.ranking import loss_words
from labkit.lessons import session
from labkit.settings import given_path
from labkit.store.runs import COMPLETE, RunFolder, Store
from labkit.store.tracking import TensorBoard, Trackio, recorded, tracked
from labkit.text import printable

CHECKPOINTS = 10  # kept over a run, so that a kill costs at most a tenth of it


def train(options):
    """Train one run, or find it in the store; say the verdict and where the adapter is."""
    return train_all([load_design(options.config, **fields(options))], options)


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
    store = Store(options.store)
    group = [name for name in run.meta.get("group", [folder.run_id]) if store.run(name).path.exists()]
    company = store.load_runs(names=group)                    # of which some may have been deleted
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
    check(configs, options)
    boards = watching(options)
    with ProgressLine() as line:
        with line.doing("loading torch"):
            from labkit.lab import Lab  # here, as bad input is to be answered before it

        lab, plan = named(Lab, configs, options, line, expected)
        there = [lab.store.run(name) for name in plan if (lab.store.root / name).is_dir()]
        before = {folder.run_id for folder in there if folder.status in COMPLETE}
        for board in boards:
            for name, config in plan.items():
                board.begin(name, config, recorded(lab.store.run(name)))
        with stop_on_interrupt(say_stopping) as stop:
            error = drain(lab, plan, stop, line, boards)
        with line.doing("judging"):
            from labkit.cli import results  # loads matplotlib, and bad input is to be answered before that

            outcome = results.of_training([lab.store.run(name) for name in plan], before, error, stop, options)
            for board in boards:
                for account in outcome.data:
                    board.end(account["id"], account)
    return outcome


def check(configs, options):
    """Refuse what runs of one command cannot have, before anything is opened."""
    if options.rows < 1:
        raise LabError(f"--rows {options.rows}: give a whole number from 1 up, such as 16.")
    first = configs[0]
    for name in ("base", "revision", "data", "crop", "captions", "resolution"):
        if any(getattr(config, name) != getattr(first, name) for config in configs):
            raise LabError(f"{name} must be the same for all runs of one command: run it once for each.")


def watching(options):
    """Return the boards that are to show the training, each asked for by an option."""
    wanted = {"tensorboard": TensorBoard, "trackio": Trackio}
    places = {name: getattr(options, name, None) for name in wanted}
    return [wanted[name](place) for name, place in places.items() if place is not None]


def named(Lab, configs, options, line, expected):  # noqa: N803 - the class, which is loaded late
    """Return the lab of some configurations and its plan; says what is being loaded meanwhile."""
    lab, resolved = opened(Lab, configs, options, line)
    for config in resolved if not expected else ():
        check_warmup(config)
    load(lab, line)
    plan = lab.plan(resolved)
    if expected and expected not in plan:
        raise LabError(f"The run {expected} cannot go on: base {configs[0].base!r} or the pictures of "
                       f"{configs[0].data!r} are not those that it was trained on.")
    return lab, plan


def opened(Lab, configs, options, line):  # noqa: N803
    """Return the lab of some configurations and these resolved, its pictures read and no model loaded yet."""
    first = configs[0]
    precisions = {config.mixed_precision for config in configs}
    one_precision = precisions.pop() if len(precisions) == 1 and precisions != {"no"} else None
    with line.doing("reading the pictures"):
        pictures = territory(first.data, crop=first.crop, captions=first.captions)
        summary, *notes = pictures.told                       # bad pictures are found before a model loads
        for words in (summary, *(f"data: {note}" for note in notes)):
            line.tell(words)
    lab = Lab(first.base, pictures, store=options.store, revision=first.revision, resolution=first.resolution,
              dtype=options.dtype or one_precision,           # None: as the device is best at
              max_rows=options.rows, gradient_checkpointing=options.gradient_checkpointing,
              monitor=session.monitor())
    return lab, [lab.config(config) for config in configs]


def load(lab, line):
    """Make the store's folder, load the base and encode the pictures; says so meanwhile."""
    try:
        lab.store.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(lab.store.root, error) from None
    prepare(lab, line)


def prepare(lab, line):
    """Load the base and encode the pictures; says so meanwhile."""
    with line.doing(f"loading the base {printable(lab.base_name)}"):
        _ = lab.base
    with line.doing("encoding the pictures"):
        lab.encoded = line.count
        _ = lab.cache


def say_stopping():
    """Say what a first Ctrl-C does; past Python's own streams, in which the signal may have come."""
    with suppress(OSError):
        os.write(2, b"\nlabkit: stopping after this update; a second time interrupts at once\n")


def drain(lab, plan, stop, line, boards=()):
    """Train with a line of progress until `stop()` says so, and keep a checkpoint; return what failed, or None."""
    last = max(config.max_train_steps for config in plan.values())
    every = max(1, last // CHECKPOINTS)
    todo = {name: config for name, config in plan.items() if lab.store.run(name).status not in COMPLETE}
    if not todo:
        return None
    try:
        begun = {name: lab.store.begin(name, config).last_step for name, config in todo.items()}
        monitor = lab.monitor()
        line.follow(todo, names(todo), begun, monitor.steps, loss_words(lab.territory.is_held_out))
        events = lab.sweep(plan, monitor=monitor, tell=line.tell, stop=stop,
                           checkpoint_at=range(every, last, every))
        with closing(tracked(events, boards)) as told:
            for event in told:
                line.show(event)
    except LabError:
        raise
    except Exception as error:  # recorded with the run, which ends in "error"; here it decides the exit code
        line.tell(traceback.format_exc().rstrip())
        return f"{type(error).__name__}: {error}"
    finally:
        line.end()
    return None


def names(plan):
    """Return what each planned run is called in a line, by its id: the settings in which it differs."""
    runs = [SimpleNamespace(config=config) for config in plan.values()]
    fields = knobs(runs)
    return {name: ", ".join(setting_text(field, getattr(config, field)) for field in fields)
            for name, config in plan.items()}


def find(name, store=None):
    """Return the folder of a run, by its path, its name, its id or the beginning of its id, or raise LabError."""
    if (given_path(name) / "config.json").exists():
        return RunFolder(given_path(name).resolve())
    return Store(store).named(name)
