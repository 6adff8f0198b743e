"""Find the learning rate of a design on a base and pictures, in as few updates as can be, and write the design."""

import math
from functools import partial

from labkit.cli.parser import Outcome
from labkit.cli.progress_line import ProgressLine
from labkit.cli.runs import fields, load, names, say_stopping
from labkit.cli.translate import noted, told, translated
from labkit.design.config import load_design, named_fields
from labkit.design.design_file import write_design
from labkit.design.proposal import EMBEDDED, STABLE_DIFFUSION, START_RATE, peak_rate
from labkit.design.trainers.known import trainer
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.interrupts import stop_on_interrupt
from labkit.judge.compare import final_losses
from labkit.judge.diagnose import diagnose
from labkit.judge.ranking import loss_name, loss_words
from labkit.lessons import session
from labkit.settings import REPO, given_path
from labkit.text import counted, printable, rate_text

FEWEST_UPDATES = 20                                           # a race is looked at after a quarter of them
HEIGHT = 0.34                                                 # inches that a curve's label takes


def verb(options):
    """Race short runs of the design at the rungs around its rate; say which to take and write the ready design."""
    with ProgressLine() as line:
        return _found(options, line)


def _found(options, line):
    given = fields(options)
    config, start = load_design(options.config, **given), start_of(options, given)
    target = given_path(options.to or REPO / "out" / "find.yaml")
    check(options, config, target)
    with line.doing("loading torch"):
        from labkit.experiments.find_rate import Race, find_rate, found  # here, as bad input is to be answered first
        from labkit.experiments.race_track import LabTrack
        from labkit.lab import Lab

    precision = {"dtype": options.dtype} if options.dtype else {}
    lab = Lab.from_config(config, store=options.store, max_rows=options.rows, **precision,
                          gradient_checkpointing=options.gradient_checkpointing, monitor=session.monitor())
    with line.doing("reading the pictures"):
        summary = lab.territory.summary                       # bad pictures are found before a model loads
    line.tell(summary)
    with line.doing("reading the settings"):                  # which takes the base where they give a resolution
        whole = lab.config(config)
        short = lab.config(config.replace(max_train_steps=options.updates, lr_scheduler="constant", lr_warmup_steps=0,
                                          lr_edits=(), parent=None))
    load(lab, line)
    race = Race(None, options.updates, line.tell)
    monitor = lab.monitor(pictures=0, scored=0, sets=("validation", "probe"), validate_at=race.measured_at())
    with stop_on_interrupt(say_stopping) as stop:
        race.track = LabTrack(lab, short, monitor, stop=stop, tell=race.tell, begin=partial(follow, line, lab, race),
                              watch=line.show)
        try:
            ended = found(find_rate(race, start))
        except LabError as error:
            if stop.number is None:
                raise
            return Outcome(stop.code, str(error), {"error": str(error)})
    peak = peak_rate(whole.replace(learning_rate=ended.rate), ended.rate)
    ready = config.replace(learning_rate=peak)
    why = ended.sentence if peak == ended.rate else (f"{ended.sentence} Its schedule falls, so it begins at "
                                                     f"{rate_text(peak)}, which spends no more than that.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_design(target, ready, {"learning_rate": why}, {"short_test_rate": ended.rate})
    account = {"rate": ended.rate, "low": ended.low, "high": ended.high, "is_bracketed": ended.is_bracketed,
               "sentence": why, "learning_rate": peak, "updates": race.spent, "design": str(target),
               "racers": [entry(racer) for _, racer in sorted(race.racers.items())]}
    account["curves"] = str(save_curves(race, target))
    text = (f"{table(race)!r}\n\ncurves: {account['curves']}\n{why}\n{race.spent:,} updates were made. "
            f"Ready to train: python3 -m labkit train --config {target}")
    if options.for_:
        said, more = write_for(options.for_, target)
        text, account = f"{text}\n\n{said}", account | more
    else:
        text += f"\nTo train it elsewhere: python3 -m labkit translate {target} --to TRAINER"
    return Outcome(0, "\n".join(map(printable, text.split("\n"))), account)


def place_for(name, design):
    """Return where the settings of a trainer go: beside the design, with its name."""
    ending = {"toml": ".toml", "json": ".json", "yaml": ".yaml", "command": ".sh"}[trainer(name).form]
    return design.with_name(f"{design.stem}.{name}{ending}")


def write_for(name, design):
    """Write a design as the settings of another trainer, as `labkit translate` does; return what is told of it."""
    _, target, translation, text = translated(str(design), "labkit", name)
    path = place_for(name, design)
    write_file(path, text.encode(), choose="--to")
    lines = [f"{path} has it for {target.title}.", *told(translation.notes)]
    return "\n".join(lines), {"settings": str(path), "notes": noted(translation.notes)}


def follow(line, lab, race, plan, step):
    """Begin to show a pass of a race: its runs up to a step."""
    begun = {name: lab.store.begin(name, config).last_step for name, config in plan.items()}
    line.follow({name: config.replace(max_train_steps=step) for name, config in plan.items()}, names(plan), begun,
                lambda last: [at for at in (0, *race.measured_at()) if at <= last],
                loss_words(lab.territory.is_held_out))


def start_of(options, given) -> float:
    """Return where the race begins: the rate that is given, else where the short test begins on such a base."""
    if "learning_rate" in given or "learning_rate" in named_fields(options.config):
        return load_design(options.config, **given).learning_rate
    base = load_design(options.config, **given).base
    return START_RATE[EMBEDDED if base == EMBEDDED else STABLE_DIFFUSION]


def check(options, config, target) -> None:
    """Refuse what cannot be raced, before pictures and base are opened."""
    if options.updates < FEWEST_UPDATES:
        raise LabError(f"--updates {options.updates}: give at least {FEWEST_UPDATES}, since nothing can be told of a "
                       "rate by fewer.")
    if options.rows < 1:
        raise LabError(f"--rows {options.rows}: give a whole number from 1 up, such as 16.")
    if config.optimizer != "adamw":
        raise LabError(f"optimizer = {config.optimizer!r}: the race tells slow rates by what Adam can move in its "
                       "updates; take adamw, or `labkit sweep` for others.")
    if target.suffix not in (".yaml", ".yml"):
        raise LabError(f"--to {options.to}: the file's name must end in .yaml, which is what it will be.")
    if options.for_ == "labkit":
        raise LabError("--for labkit: the design is written in any case; name another trainer, such as kohya.")
    places = [target, place_for(options.for_, target)] if options.for_ else [target]
    for place in places:
        if place.exists() and options.to:
            raise LabError(f"--to {options.to}: {place.name} is there already, and is not written over: give another "
                           "name.")


def table(race):
    """Return one row a rate of the race, best first: those that went to the end, then those that left."""
    from labkit.view.tables import Table  # loads matplotlib

    runs = trained(race)
    rows = [[rate_text(racer.rate), f"{racer.step:,}", shown(racer),
             diagnose(racer.run, runs).label if racer.run is not None else "", how(racer)]
            for racer in sorted(race.racers.values(), key=place)]
    return Table(["learning rate", "updates", loss_name(runs), "verdict", "how it went"], rows)


def trained(race):
    """Return the runs of a race, the lowest rate first."""
    return [racer.run for _, racer in sorted(race.racers.items()) if racer.run is not None]


def place(racer):
    """Return what racers are sorted by."""
    loss = final_losses(racer.run).mean() if racer.run is not None else math.inf
    return bool(racer.left), loss, racer.rate


def save_curves(race, design):
    """Draw the curves of a race into a picture beside the design, and return its path."""
    from labkit.view.curves import plot_curves  # loads matplotlib
    from labkit.view.style import STYLE, name_axes, new_axes

    runs, path = trained(race), design.with_name(f"{design.stem}.curves.png")
    ax = plot_curves(runs, new_axes(height=max(STYLE["height"], 1.1 + HEIGHT * len(runs))))
    name_axes(ax, ax.get_xlabel(), ax.get_ylabel(), f"A race of {counted(len(runs), 'learning rate')}")
    write_file(path, ax.figure.encoded("png"), choose="--to")
    return path


def how(racer) -> str:
    """Say how a rate fared."""
    return f"left, {racer.left}: {racer.why}" if racer.left else "went to the end"


def shown(racer) -> str:
    """Write the loss as last measured."""
    return f"{racer.run.validations['validation'].means[-1]:.3f}" if racer.run is not None else ""


def entry(racer) -> dict:
    """Return what is told of a rate in a form that strict JSON keeps."""
    means = racer.run.validations["validation"].means if racer.run is not None else [float("nan")]
    loss = float(means[-1])
    return {"learning_rate": racer.rate, "updates": racer.step, "loss": loss if math.isfinite(loss) else None,
            "left": racer.left, "why": racer.why, "run": racer.run.run_id if racer.run is not None else None}
