"""Train many runs beside each other: all combinations of lists, or what a sampler draws from ranges and lists."""

from labkit.cli.parser import suggest
from labkit.cli.runs import check, fields, train_all
from labkit.cli.sweep_trials import train_trials
from labkit.design.config import load_design
from labkit.design.search_space import LISTS, Range, corners, is_range, search_space
from labkit.errors import LabError
from labkit.experiments.sampled_sweep import PRUNERS, SAMPLERS, load

SIDE_BY_SIDE = 4  # more at once, and less of what is known tells where to look next
OF_SAMPLER = ("trials", "side_by_side", "pruner")
LENGTHS = ("max_train_steps", "num_train_epochs")
EPOCH_LENGTHS = ("n_train", "train_batch_size", "gradient_accumulation_steps")  # of a run given in epochs


def verb(options):
    """Train every combination of the values given, commas between them, or what --sampler draws."""
    if not options.set:
        raise LabError("sweep has nothing to vary: give values to try with --set, such as "
                       "--set learning_rate=1e-4,1e-3,1e-2. `labkit train` trains one run.")
    return whole_grid(options) if options.sampler is None else sampled(options)


def whole_grid(options):
    """Train all combinations."""
    texts = fields(options)
    for name in OF_SAMPLER:
        if getattr(options, name) is not None:
            raise LabError(f"--{name.replace('_', '-')} belongs to --sampler: add --sampler tpe, or leave it out.")
    for name, text in texts.items():
        if is_range(name, text):
            search_space(texts)                               # which says what else may be wrong with it
            raise LabError(f"{name} = {text!r} is a range, of which a grid cannot try all values: draw from it with "
                           "--sampler tpe --trials 20, or give values with commas between them.")
    from labkit.engine.sweep import grid  # loads torch, and bad input is to be answered before that

    values = {name: text if name in LISTS else text.split(",") for name, text in texts.items()}
    return train_all(grid(load_design(options.config), **values), options)


def sampled(options):
    """Train what a sampler draws; all that can be wrong is told before anything is opened."""
    known("--sampler", options.sampler, SAMPLERS)
    options.pruner = known("--pruner", options.pruner or "median", PRUNERS)
    fixed, space = search_space(fields(options))
    if not space:
        raise LabError("--sampler has nothing to draw: give a range or values with --set, such as "
                       "--set learning_rate=1e-5..1e-2.")
    count = trials(options, space)
    options.side_by_side = SIDE_BY_SIDE if options.side_by_side is None else options.side_by_side
    if options.side_by_side < 1:
        raise LabError(f"--side-by-side {options.side_by_side}: give a whole number from 1 up, such as 4.")
    if "seed" in space:
        raise LabError("seed is chance and no setting, so that a sampler would take luck for merit: leave it out, or "
                       "compare seeds with `labkit sweep` without --sampler.")
    design = load_design(options.config, **fixed)
    check_lengths(design, space, options.pruner)
    designs = [design.replace(**values) for values in corners(space)]
    check(designs, options)
    load()
    return train_trials(design, designs, space, count, options)


def known(option, name, names):
    """Return a name that is one of these; LabError names the nearest."""
    if name not in names:
        raise LabError(f"{option} {name}: there is none of this name.{suggest(name, names)}")
    return name


def trials(options, space):
    """Return how many trials there are to be in all; LabError where that is not said or cannot be."""
    ranges = [name for name, knob in space.items() if isinstance(knob, Range)]
    if options.trials is not None and options.trials < 1:
        raise LabError(f"--trials {options.trials}: give a whole number from 1 up, such as 20.")
    if options.sampler == "grid":
        if ranges:
            raise LabError(f"{ranges[0]} is given as a range, through which --sampler grid cannot go: give values "
                           "with commas between them, or take --sampler tpe.")
        size = 1
        for choices in space.values():
            size *= len(choices)
        return min(options.trials or size, size)
    if options.trials is None:
        raise LabError(f"--sampler {options.sampler} draws as many runs as --trials says: add it, such as "
                       "--trials 20.")
    return options.trials


def check_lengths(design, space, pruner):
    """Refuse runs of different lengths where a pruner compares them on their way."""
    of_epochs = EPOCH_LENGTHS if design.num_train_epochs else ()
    if lengths := [name for name in space if name in (*LENGTHS, *of_epochs) and pruner != "none"]:
        raise LabError(f"{lengths[0]} changes how many updates a run makes, so that runs cannot be compared on their "
                       "way: add --pruner none, or give max_train_steps for all of them.")
