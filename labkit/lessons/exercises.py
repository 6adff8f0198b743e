"""Check answers against the numbers of a learner's own runs: what every lesson asks."""

import math
import unicodedata

import numpy as np

from labkit.design.config import differing_fields, load_design, run_id
from labkit.design.ladders import LADDERS, rung_text
from labkit.design.naming import DERIVED
from labkit.design.parameters import checked
from labkit.engine.seeding import seed63
from labkit.errors import LabError
from labkit.judge.arms import difference, losses, noise_among, rise
from labkit.judge.diagnose import DIVERGED, MIN_CONFIDENCE, OVERSHOOTING, UNSURE, diagnose
from labkit.judge.findings import SHARED_RISE
from labkit.judge.stats import seeds_difference
from labkit.lessons.results import Result, check
from labkit.store.history import Run
from labkit.store.runs import COMPLETE
from labkit.text import counted, loss_text, with_interval

SEEDS = 2  # runs needed at a rung: one alone is one draw of order and noise
OWN_SEEDS = 10  # a learner's seeds: the first and those after it
AGAINST = {DIVERGED: 1.0, OVERSHOOTING: 1.0, UNSURE: 0.5}  # how much a verdict speaks against a run's stability


def own_seed(student, seed=0):
    """Return the first of a student's ten seeds, from the name or number and `seed`; `seed` itself without one.

    Case and spaces don't count, nor do a number's leading zeros: papermill reads 007 as 7.
    """
    name = " ".join(unicodedata.normalize("NFKC", checked("student", student, "")).casefold().split())
    if name.isdecimal():
        name = name.lstrip("0") or "0"
    return OWN_SEEDS * (1 + seed63(seed or 0, "student", name) % 10**6) if name else seed


class Checks:
    """Check answers against runs on one lab's base and pictures, made with one learner's seeds.

    lab     a `labkit.lab.Lab`; its store is where runs are looked for
    seed    the learner's first seed; it and the nine after it are the learner's own

    `run` is everywhere a Run or a run id. Losses are held-out ones on fixed noise at the end of a run, differences
    are paired over pictures, with 95 % intervals over pictures and seeds.
    """

    def __init__(self, lab, seed: int = 0):
        """Check runs of `lab` with the seeds from `seed` on."""
        self.lab, self.seeds = lab, range(seed, seed + OWN_SEEDS)

    @check
    def best(self, answer, design, name: str = "learning_rate", runs=None) -> Result:
        """Check that neither neighbour of `answer` on the ladder of `name` ends lower beyond noise.

        design    what the runs have in common, but for `name` and the seed
        runs      look among these only, all the learner's own; None looks in the store
        """
        at = _rung(name, answer)
        value, neighbours = LADDERS[name][at], LADDERS[name][max(at - 1, 0):at] + LADDERS[name][at + 1:at + 2]
        by_value = self._by_value(name, (value, *neighbours), design, runs)
        words = rung_text(name, value)
        ends = {value: _losses(group) for value, group in by_value.items()}
        if not np.isfinite(ends[value]).all():
            raise LabError(f"At {words} the loss is no longer a number: go down the ladder.")
        noise = noise_among(list(ends.values()), [_losses(group, 0).mean() for group in by_value.values()])
        for neighbour in neighbours:
            higher = seeds_difference(ends[value], ends[neighbour], noise)
            if higher.low > 0:
                raise LabError(f"{rung_text(name, neighbour)} ends lower than {words}, by {with_interval(higher)} "
                               f"over pictures and {len(by_value[neighbour])} seeds. "
                               "What made you expect otherwise? Answer again.")
        return f"No neighbour of {words} is lower beyond noise of pictures and seeds: {_ends(name, by_value)}."

    @check
    def largest_stable(self, answer, design, name: str = "learning_rate", runs=None) -> Result:
        """Check that runs at `answer` learn and stay stable while those one rung above do not.

        Near the border seeds may disagree. Arguments are those of `best`.
        """
        at = _rung(name, answer)
        if at + 1 == len(LADDERS[name]):
            raise LabError(f"The ladder ends at {rung_text(name, answer)}, so nothing above shows that it is the "
                           "largest: go down a rung.")
        value, next_value = LADDERS[name][at:at + 2]
        by_value = self._by_value(name, (value, next_value), design, runs)
        group, next_group = by_value[value], by_value[next_value]
        words, above, ends = rung_text(name, value), rung_text(name, next_value), _ends(name, by_value)
        if _broken_share(group) == 1:
            raise LabError(f"{words} is not stable with any seed ({ends}): go down the ladder.")
        if _broken_share(next_group) == 0:
            raise LabError(f"{above}, the rung above, is stable as well ({ends}): go up the ladder.")
        if _broken_share(group) >= _broken_share(next_group):
            raise LabError(f"Your seeds do not tell {words} and {above} apart ({ends}): "
                           "add a seed at both, or train longer.")
        if not any(rise(run, 0).high < 0 for run in group):
            raise LabError(f"At {words} nothing was learned beyond noise ({ends}): "
                           "stable is more than standing still.")
        pairs = zip(next_group, group, strict=True)  # of one seed each
        if not _broke(next_group) and not all(difference(upper, lower).low > 0 for upper, lower in pairs):
            raise LabError(f"{above} does not end higher than {words} with every seed ({ends}): "
                           "add a seed at both, or train longer.")
        return f"{words} learns and is stable, {above} is not: {ends}."

    @check
    def overfitting(self, run, gentler, answer) -> Result:
        """Check that `run` overfits, that `gentler` differs by a lower rate alone, and what the lower rate did.

        answer    'prevents' or 'delays'
        """
        run, gentler = self._own(run), self._own(gentler)
        evidence = _evidence(run)
        since_best, best_step = evidence["rise"], evidence["best_step"]
        if not _rises(evidence):
            raise LabError("The held-out loss does not rise beyond noise from its lowest "
                           f"({with_interval(since_best)} since step {best_step}): "
                           "fewer pictures, a larger rank or more updates make it.")
        if evidence["probe_since_best"].mean >= SHARED_RISE * since_best.mean:
            shared = with_interval(evidence["probe_since_best"])
            raise LabError(f"The loss on training pictures rises with it ({shared}), so this is overshooting: "
                           "lower the rate.")
        differences = given_differently(run, gentler)
        if differences != ["learning_rate"] or gentler.config.learning_rate >= run.config.learning_rate:
            raise LabError("The second run must differ from the first by a lower learning rate alone; "
                           f"here differ: {', '.join(differences) or 'none'}.")
        right_answers, observation = _what_kept_it_from_turning(run, gentler)
        if str(answer).strip().casefold() not in right_answers:
            begin = "There is no answer yet" if answer is None else f"Your answer {answer!r} does not fit"
            raise LabError(f"{begin}: compare when each run turned, and how low its loss on training pictures had "
                           "come by then. Is it 'prevents' or 'delays'?")
        return (f"The first run turned at step {best_step} and rose by {with_interval(since_best)}; "
                f"{observation} One seed each.")

    @check
    def failure(self, healthy, broken, knob=None) -> Result:
        """Check that `broken` fails where `healthy` learns, and that they differ by one knob, not by rate or seed.

        knob    the one that must differ; None leaves the choice to the learner
        """
        healthy, broken = self._own(healthy), self._own(broken)
        differences = given_differently(healthy, broken)
        listed = ", ".join(differences) or "none"
        if knob and differences != [knob]:
            raise LabError(f"{knob} alone must differ; here differ: {listed}.")
        if len(differences) != 1 or differences[0] in ("learning_rate", "lr_edits", "seed"):
            raise LabError(f"One knob must differ, other than the rate and the seed; here differ: {listed}.")
        name, = differences
        change = f"{name} {getattr(healthy.config, name)} → {getattr(broken.config, name)}"
        if AGAINST.get(diagnose(healthy).label) or not rise(healthy, 0).high < 0:
            raise LabError(f"The first run should learn and stay stable; it is: {diagnose(healthy).seen}")
        if AGAINST.get(diagnose(broken).label) != 1:
            raise LabError(f"The second run does not fail ({change}): {diagnose(broken).seen} "
                           "Go further with this knob, or try another.")
        if not _broke([broken]):
            _comparable("validation", [broken, healthy])
            if not (higher := difference(broken, healthy)).low > 0:
                raise LabError(f"The second run ends no higher than the first beyond noise ({with_interval(higher)}): "
                               "go further with this knob, or train longer.")
        return (f"{change} was enough: held-out loss {_end([healthy])} in one run, {_end([broken])} in the other, "
                "at the same rate and with one seed.")

    def _by_value(self, name, values, design, runs) -> dict[object, list[Run]]:
        """Return {value: runs}, each value with the same seeds; LabError names the runs that are still to train."""
        candidates = None if runs is None else {run.run_id: run for run in map(self._own, runs)}
        by_seed, unusable = {seed: {} for seed in self.seeds}, {}
        for seed in self.seeds:
            for value in values:
                try:
                    config = load_design(design, **{name: value, "seed": seed})
                    config = config if value is not None else config.replace(**{name: None})
                    run = self._find(self.lab.config(config), candidates)
                    by_seed[seed] |= {value: run} if run else {}
                except LabError as error:
                    unusable[seed, value] = str(error)
        complete = [seed for seed in self.seeds if len(by_seed[seed]) == len(values)]
        if len(complete) >= SEEDS:
            _comparable("validation", [by_seed[seed][value] for seed in complete for value in values])
            return {value: [by_seed[seed][value] for seed in complete] for value in values}
        fullest = sorted(self.seeds, key=lambda seed: -len(by_seed[seed]))[:SEEDS]
        lacking = [(seed, value) for seed in sorted(fullest) for value in values if value not in by_seed[seed]]
        wanted = ", ".join(f"{rung_text(name, value)} with seed {seed}" for seed, value in lacking)
        why = " ".join(unusable[pair] for pair in lacking if pair in unusable)
        raise LabError(f"Runs are missing that differ in {name} and seed alone: {wanted}. "
                       f"{why or 'Train them, then check again.'}")

    def _find(self, config, candidates: dict[str, Run] | None) -> Run | None:
        """Return the usable run of a resolved configuration, or None; where no candidates are, look in the store."""
        name = run_id(config, self.lab.base.fingerprint, self.lab.cache.fingerprint)
        if candidates is not None:
            return candidates.get(name)
        folder = self.lab.store.run(name)
        return self._own(folder.load()) if (folder.path / "config.json").exists() else None

    def _own(self, run) -> Run:
        """Return a run if it is complete, measured and the learner's own; LabError says what it is instead."""
        if isinstance(run, str) and run:
            run = self.lab.store.named(run).load()
        if not isinstance(run, Run) or run.config is None:
            raise LabError("There is no run yet: hand in what lab.train returned, or a run's id.")
        base, cache = self.lab.base.fingerprint, self.lab.cache.fingerprint
        if not run.config.is_resolved or run.run_id != run_id(run.config, base, cache):
            raise LabError(f"Run {run.run_id} was trained on another base or other pictures than this lesson's, "
                           "or its record was changed: train it here.")
        if run.config.seed not in self.seeds:
            raise LabError(f"Run {run.run_id} has seed {run.config.seed}, yours are {self.seeds[0]} to "
                           f"{self.seeds[-1]}: it looks like somebody else's. Train your own.")
        if run.status == "error":
            why = f": {run.stopped.message}" if run.stopped and run.stopped.message else ""
            raise LabError(f"Run {run.run_id} failed{why}. Mend that and train it again.")
        if run.status not in COMPLETE:
            made = run.steps["global_step"][-1] if len(run.steps["global_step"]) else 0
            raise LabError(f"Run {run.run_id} is unfinished ({made} of "
                           f"{counted(run.config.max_train_steps, 'update')}): let it end, or resume it.")
        if not {"validation", "probe"} <= run.validations.keys() or len(run.validations["validation"].steps) < 2:
            raise LabError(f"Run {run.run_id} was trained without measuring held-out and training pictures: "
                           "train it again with the usual measurements.")
        return run


def _rung(name, answer) -> int:
    """Return the place of an answer on a ladder."""
    ladder = LADDERS[name]
    rungs = ", ".join(rung_text(name, value) for value in ladder)
    if answer is None and None not in ladder:
        raise LabError(f"There is no answer yet. It is a rung of the ladder: {rungs}.")
    for at, value in enumerate(ladder):
        if value is answer or isinstance(answer, str | int | float) and value is not None and _same(value, answer):
            return at
    raise LabError(f"{answer!r} is not on the ladder: take one of {rungs}.")


def _same(value, answer) -> bool:
    try:
        return value == answer or math.isclose(float(value), float(answer))
    except ValueError:
        return False


def _losses(runs, at=-1) -> np.ndarray:
    """Return the held-out losses (seeds, pictures) of runs that differ by the seed; infinite where a run broke."""
    # `over_seeds` makes arms of such runs, but needs evaluations at the same steps, and a learner's may differ.
    return np.concatenate([losses(run, at) for run in runs])


def _comparable(name, runs):
    """Raise LabError unless the runs were measured on the same pictures, timesteps and noise."""
    for run in runs:
        if not np.array_equal(run.timesteps[name], runs[0].timesteps[name]):
            raise LabError(f"Runs {run.run_id} and {runs[0].run_id} were measured on different pictures: "
                           "train both again, with the same measurements.")


def _broke(runs) -> bool:
    """Tell whether one of the runs broke, so that its losses at the end are no numbers."""
    return not np.isfinite(_losses(runs)).all()


def _broken_share(runs) -> float:
    """Return the share of runs that are not stable; a run that nobody can judge counts half."""
    return float(np.mean([AGAINST.get(diagnose(run).label, 0.0) for run in runs]))


def _evidence(run) -> dict:
    """Return the numbers of a run's verdict."""
    verdict = diagnose(run)
    if verdict.label == DIVERGED:
        raise LabError(f"Run {run.run_id} broke instead: {verdict.seen}")
    return verdict.evidence


def _rises(evidence) -> bool:
    """Tell whether the held-out loss rose from its lowest, beyond noise and by more than a small share of its gain."""
    return evidence["share_of_draws_that_rise"] >= MIN_CONFIDENCE


def _what_kept_it_from_turning(run, gentler) -> tuple[set[str], str]:
    """Return the answers that fit, and what was seen.

    The lower rate kept the run from turning, or only from getting to where the other run turned.
    """
    first, second = _evidence(run), _evidence(gentler)
    if _rises(second):
        if second["best_step"] <= first["best_step"]:
            raise LabError(f"At the lower rate the run turned no later, at step {second['best_step']}: "
                           "choose a rate further down.")
        return {"delays"}, f"at the lower rate it turned later, at step {second['best_step']}."
    _comparable("probe", [run, gentler])
    turned = list(run.validations["probe"].steps).index(first["best_step"])
    left = seeds_difference(losses(gentler, name="probe"), losses(run, turned, "probe"))
    if left.low > 0:
        return {"delays"}, ("at the lower rate it has not come so far yet: on training pictures its loss is still "
                            f"{with_interval(left)} above where the first turned.")
    if left.high < 0:
        return {"prevents"}, ("at the lower rate it went further on training pictures, "
                              f"by {with_interval(left)}, and did not turn.")
    return {"delays", "prevents"}, ("at the lower rate it came just as far and has not turned: "
                                    "these updates cannot tell the two answers apart.")


def given_differently(run: Run, other: Run) -> list[str]:
    """Return the fields that two runs were given differently."""
    differing = differing_fields([run.config.to_dict(), other.config.to_dict()])
    return [name for name in differing if name not in DERIVED]


def _end(runs) -> str:
    """Write the mean of the final held-out losses."""
    return loss_text(_losses(runs).mean())


def _ends(name, by_value) -> str:
    """Write the final loss at every value, in the ladder's order, and of how many seeds."""
    values = sorted(by_value, key=LADDERS[name].index)
    ends = ", ".join(f"{rung_text(name, value)}: {_end(by_value[value])}" for value in values)
    return f"held-out loss ends at {ends}, {len(by_value[values[0]])} seeds each"
