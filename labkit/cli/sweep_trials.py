"""Train the trials of a sampler in passes, and tell them as every sweep is told."""

import hashlib
import traceback

from labkit.cli.progress_line import ProgressLine
from labkit.cli.runs import CHECKPOINTS, load, names, opened, say_stopping, watching
from labkit.design.ladders import rung_text
from labkit.design.schedules import check_warmup
from labkit.errors import LabError
from labkit.experiments.sampled_sweep import Study, looks, run_trials
from labkit.files.atomic import cannot_write
from labkit.interrupts import stop_on_interrupt
from labkit.store.names import short_ids
from labkit.store.runs import COMPLETE
from labkit.store.tracking import recorded
from labkit.text import counted


def train_trials(design, designs, space, count, options):
    """Train trials until `count` are over; return the outcome.

    designs    of which all ends and choices of the space are among the first to be checked
    """
    boards = watching(options)
    with ProgressLine() as line:
        with line.doing("loading torch"):
            from labkit.experiments.race_track import PlanTrack  # here, as bad input is to be answered before it
            from labkit.lab import Lab

        lab, resolved = opened(Lab, designs, options, line)
        if not lab.territory.is_held_out:
            raise LabError(f"data: nothing of {lab.data_name} is held out, so that a sampler would look for the run "
                           "that copies best: give at least 8 pictures.")
        for config in resolved:
            check_warmup(config)
        load(lab, line)
        monitor = lab.monitor()
        may_leave = looks(monitor.steps(resolved[0].steps)) if options.pruner != "none" else ()
        path = study_path(lab, resolved[0], space, options)
        study = Study(path, space, sampler=options.sampler, pruner=options.pruner, seed=design.seed,
                      first_look=may_leave[0] if may_leave else 1)
        with stop_on_interrupt(say_stopping) as stop:
            track = WatchedTrials(lab, design, monitor, line, boards)
            track.passes = PlanTrack(lab, monitor, stop=stop, tell=line.tell, watch=track.watch)
            track.found |= {name for name, _ in map(track.named, study.trials) if track.is_complete(name)}
            error = drained(study, track, count, options.side_by_side, may_leave, line, stop)
        with line.doing("judging"):
            outcome = told(study, track, error, stop, options)
            for board in boards:
                for account in outcome.data:
                    board.end(account["id"], account)
    return outcome


def study_path(lab, first, space, options):
    """Return where the study of these settings lies, in the store; LabError where that cannot be written."""
    from labkit.cli.results import FOLDER  # loads matplotlib

    [name] = lab.plan([first])                                # which speaks of base and pictures, and of all settings
    mark = hashlib.sha256(repr((name, space, options.sampler, options.pruner)).encode()).hexdigest()[:6]
    folder = lab.store.root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder / f"{options.sampler}-{'-'.join(list(space)[:3])}-{mark}.jsonl"


def drained(study, track, count, beside, may_leave, line, stop):
    """Train all trials; return what failed, or None, also where a signal ended it."""
    try:
        run_trials(study, track, count, beside, may_leave, line.tell)
    except LabError:
        if stop.number is None:
            raise
    except Exception as error:  # recorded with the run, which ends in "error"; here it decides the exit code
        line.tell(traceback.format_exc().rstrip())
        return f"{type(error).__name__}: {error}"
    finally:
        track.end()
    return None


class WatchedTrials:
    """Train the runs of trials in the store of a lab, with a line of progress and boards that watch."""

    def __init__(self, lab, design, monitor, line, boards):
        """Take what the runs have in common; `passes` trains them."""
        self.lab, self.design, self.monitor, self.line, self.boards = lab, design, monitor, line, boards
        self.passes = None
        self.found, self.seen = set(), set()                  # ids that were complete before; ids that came up here

    def named(self, trial):
        """Return run id and resolved configuration of a trial."""
        [run] = self.lab.plan([self.design.replace(**trial.values)]).items()
        return run

    def advance(self, trials, step):
        """Train up to `step` updates, or to the ends, with checkpoints that a kill leaves."""
        plan = dict(map(self.named, trials))
        last = max(config.steps for config in plan.values())
        every = max(1, last // CHECKPOINTS)
        self._begin(plan)
        self.passes.train(plan, last if step is None else step, range(every, last, every))

    def losses(self, trial, step):
        """Return the held-out losses of a trial by its updates, infinite where it broke."""
        name, config = self.named(trial)
        run = self.passes.told(name, config.steps if step is None else step)
        curve = run.validations.get("validation")
        steps, means = (curve.steps, curve.means) if curve is not None else ((), ())
        losses = {int(at): float(mean) if mean < float("inf") else float("inf")
                  for at, mean in zip(steps, means, strict=True) if at > 0}
        return losses | {run.stopped.global_step: float("inf")} if run.status == "diverged" else losses

    def watch(self, event):
        """Show an event."""
        for board in self.boards:
            board.take(event)
        self.line.show(event)

    def end(self):
        """End the line of the last pass."""
        if self.line.course is not None:
            self.line.end()

    def is_complete(self, name):
        """Tell whether a run is in the store and complete."""
        folder = self.lab.store.run(name)
        return folder.path.exists() and folder.status in COMPLETE

    def _begin(self, plan):
        self.end()
        todo = {name: config for name, config in plan.items() if not self.is_complete(name)}
        fresh = plan.keys() - self.seen
        self.found |= fresh - todo.keys()
        self.seen |= fresh
        for name in fresh:
            for board in self.boards:
                board.begin(name, plan[name], recorded(self.lab.store.run(name)))
        if todo:
            begun = {name: self.lab.store.begin(name, config).last_step for name, config in todo.items()}
            self.line.follow(todo, names(todo), begun, self.monitor.steps)


def told(study, track, error, stop, options):
    """Return the outcome: the table of the runs that went to their ends, and below it those that left."""
    from labkit.cli import results  # loads matplotlib
    from labkit.cli.report import entry

    runs = [(track.named(trial)[0], trial) for trial in study.trials]
    store = track.lab.store
    went = dict.fromkeys(name for name, trial in runs if trial.left is None or track.is_complete(name))
    outcome = results.of_training([store.run(name) for name in went], track.found, error, stop, options)
    left = {name: trial for name, trial in runs if name not in went and (store.root / name).is_dir()}
    loaded = {name: store.run(name).load() for name in left}
    data = [entry(run, siblings=list(loaded.values())) | {
        "path": str(store.run(name).path), "adapter": str(store.run(name).adapter_path), "left_after": left[name].left}
        for name, run in loaded.items()]
    lines = [outcome.text] if outcome.text else []
    if left:
        lines += ["", *left_early(study, [(trial, loaded[name]) for name, trial in left.items()], len(went))]
    lines.append(f"study: {study.path}; the same command goes on with it, and a larger --trials draws more.")
    code = stop.code if stop.number is not None else outcome.code
    return outcome._replace(code=code, text="\n".join(lines),
                            data=[account | {"left_after": None} for account in outcome.data] + data)


def left_early(study, left, went):
    """Return the lines about runs that left, those that came furthest first.

    left    (trial, run) of each
    went    how many did not leave
    """
    from labkit.view.tables import Table  # loads matplotlib

    ids = short_ids(run.run_id for _, run in left)
    heads = ["run", *(name.replace("_", " ") for name in study.space), "left after", "held-out loss then"]
    rows = [[ids[run.run_id], *(rung_text(name, getattr(run.config, name)) for name in study.space),
             f"{trial.left:,} updates", f"{run.validations['validation'].means[-1]:.4f}"]
            for trial, run in sorted(left, key=lambda pair: -pair[0].left)]
    return [f"{counted(len(left), 'run')} of {went + len(left)} left early; `labkit resume {rows[0][0]}` trains "
            "those of its pass to their ends.", *repr(Table(heads, rows)).split("\n")]
